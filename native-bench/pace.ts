/** How often and how long a piece of work is measured, and how long that takes. */
import type { Kind } from "./contender.ts";
import type { Work } from "./works.ts";

/** A new process per run has its sockets and caches to fill even when the contender is warm. */
const SETTLE_SECONDS = 0.2;
/** A window is so short that a disturbance spoils few requests, and long enough for a percentile of a percent. */
const WINDOW_SECONDS = 0.25;
const WINDOW_SETTLE_SECONDS = 0.1;
const WINDOWS_MAX = 60;

/** Seen on a machine with two CPUs: a contender starts and stops, the generator's process starts and reports. */
const START_SECONDS = 0.6;
const PROCESS_SECONDS = 0.1;

export interface Pace {
  readonly seconds: number;
  readonly runs: number;
  readonly warmup: number;
}

export interface Rhythm {
  readonly rounds: number;
  /** Of one run, and before it. */
  readonly seconds: number;
  readonly settle: number;
}

/** A work at a fixed rate takes the same time as others, but cut into windows. */
export function rhythm({ runs, seconds }: Pace, work: Pick<Work, "rate">): Rhythm {
  if (!work.rate) return { rounds: runs, seconds, settle: SETTLE_SECONDS };
  const length = Math.min(seconds, Math.max(WINDOW_SECONDS, (runs * seconds) / WINDOWS_MAX));
  return { rounds: Math.round((runs * seconds) / length), seconds: length, settle: WINDOW_SETTLE_SECONDS };
}

/**
 * Processes of a contender in a piece of work, one after the other: what differs from start to start (compiled code, the sizes that
 * the kernel has tuned buffers to) belongs into the spread. Too few rounds are not worth a second warm-up.
 */
const LIVES = 2;
const ROUNDS_OF_A_LIFE = 2;

function lives(rounds: number): number {
  return rounds >= LIVES * ROUNDS_OF_A_LIFE ? LIVES : 1;
}

/** Whether contenders begin their next life before this round. */
export function isReborn(round: number, rounds: number): boolean {
  const life = (one: number): number => Math.floor((one * lives(rounds)) / rounds);
  return round > 0 && life(round) !== life(round - 1);
}

/** Seconds until a contender is up and warm. */
export function warmingTime(pace: Pace): number {
  return START_SECONDS + pace.warmup;
}

/** Seconds of one run, all told. */
export function runTime({ seconds, settle }: Rhythm): number {
  return seconds + settle + PROCESS_SECONDS;
}

/** Seconds that a piece of work takes with so many contenders, if no run is repeated. */
export function expected(pace: Pace, work: Work, contenders: number): number {
  const beat = rhythm(pace, work);
  const entries = contenders * (work.workers?.length ?? 1);
  return entries * (lives(beat.rounds) * warmingTime(pace) + beat.rounds * runTime(beat));
}

/** How many of the idle connections are open at each stage, in tenths; the same in load.c. */
export const IDLE_TENTHS: readonly number[] = [1, 4, 7, 10];

/** Time for buffers to be given back: nginx and HAProxy do so at once, a garbage collector after a second or two of quiet. */
export const IDLE_SETTLE_MS = 2_500;
/** V8 gives back what a start left behind when a thread was idle for eight seconds (its memory reducer); it is no connection's. */
const REDUCED_MS = 12_000;
/** Seen on a machine with two CPUs, for all of the connections together. */
const FILL_SECONDS = { plain: 2, terminate: 9 };

/** ms from the start of a contender to its first idle connection. */
export function idleStart(kind: Kind): number {
  return kind === "millrace" || kind === "baseline" ? REDUCED_MS : IDLE_SETTLE_MS;
}

/** How long one contender's idle connections take: a wait at each stage, and one when they have gone. */
export function idleSeconds(kind: Kind, shape: keyof typeof FILL_SECONDS): number {
  return FILL_SECONDS[shape] + (idleStart(kind) + (IDLE_TENTHS.length + 1) * IDLE_SETTLE_MS) / 1000;
}
