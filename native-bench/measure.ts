/**
 * One piece of work, all contenders: each is started on a port of its own, warmed up, then measured in rounds whose
 * order turns round (A B C, C B A, B C A, ...), so that a slow minute of the machine falls on all alike; half-way all are
 * started anew, so that the chance of one process is part of the spread. A run that was disturbed is done again. Latency at a fixed rate is measured in many short runs, called windows.
 */
import type { Contender } from "./contender.ts";
import { hopFor, type Setting } from "./hop.ts";
import { isReborn, rhythm, runTime, warmingTime } from "./pace.ts";
import { type Running, start } from "./process.ts";
import type { Row, Run, WorkResult } from "./result.ts";
import { runOnce } from "./run.ts";
import { median, merge } from "./statistics.ts";
import { tails, type Window } from "./tail.ts";
import { WORKS, type Work } from "./works.ts";

/** A run from which the hypervisor took more than this is done again; one tick, which may be as good as nothing, is no reason. */
const STEAL_MAX = 0.01;
const STEAL_TICKS = 1.5;
/** What is stolen is counted in ticks: USER_HZ, 100 on every Linux that Node runs on. */
const TICK_SECONDS = 0.01;
/** A latency cannot be told from somebody else's work: windows in which there was more of it are done again, too. */
const FOREIGN_MAX = 0.01;
const WAITED_MAX = 0.01;
/** So many of a contender's runs may be done again, as a share: on a machine that is never quiet it would not help. */
const REPEATS = 0.5;
const CEILING_SECONDS = 0.5;
const CEILING_WARMUP_SECONDS = 0.2;

interface Entry {
  readonly contender: Contender;
  readonly workers: number;
  readonly index: number;
  running: Running | null;
  cold: Run | null;
  readonly runs: Run[];
  readonly windows: Window[];
  repeats: number;
  failed: string | null;
}

/** The order of a round: forwards, backwards, and starting elsewhere every second round. */
export function order<T>(list: readonly T[], round: number): T[] {
  const shift = list.length > 0 ? (round >> 1) % list.length : 0;
  const turned = [...list.slice(shift), ...list.slice(0, shift)];
  return round % 2 === 0 ? turned : turned.reverse();
}

/** Who can do a piece of work. Only a proxy that routes can choose among many routes or endpoints. */
export function able(contenders: readonly Contender[], work: Work): Contender[] {
  const chooses = work.routes !== undefined || work.endpoints !== undefined;
  return contenders.filter((c) => {
    if (!c.shapes.includes(work.shape) || !(c.many || work.connections <= 64)) return false;
    if (work.workers) return c.scales === true;
    if (chooses) return (c.kind === "millrace" || c.kind === "peer") && c.shapes.includes("passthrough");
    return !work.sweep || c.kind !== "direct";
  });
}

/** Why a run of so many seconds is to be done again. */
export function disturbance(run: Run, work: Work, seconds: number, cpus: number): string | null {
  const percent = (share: number): string => `${(share * 100).toFixed(1)} %`;
  const ticks = (STEAL_TICKS * TICK_SECONDS) / (cpus * seconds);
  if (run.steal > Math.max(STEAL_MAX, ticks)) return `steal ${percent(run.steal)}`;
  if (!work.rate) return null;
  if (run.foreign > FOREIGN_MAX) return `others used ${percent(run.foreign)}`;
  const { generator } = run.waited ?? { generator: 0 };
  return generator > WAITED_MAX ? `the generator waited ${percent(generator)}` : null;
}

async function warmUp(
  setting: Setting,
  work: Work,
  entry: Entry,
  load: readonly string[],
  seconds: number,
): Promise<Run | null> {
  try {
    const { contender, index, workers } = entry;
    const cpu = work.workers ? null : setting.place.proxyCpu;
    const hop = hopFor(setting, contender, work, index, workers);
    entry.running ??= await start(setting.generator, setting.link, contender, hop, cpu);
    return (await runOnce(setting, work, entry.running, load, { round: -1, seconds, warmup: 0 })).run;
  } catch (error) {
    entry.failed = (error as Error).message;
    return null;
  }
}

async function measureOne(
  setting: Setting,
  work: Work,
  entry: Entry,
  round: number,
  load: readonly string[],
): Promise<void> {
  const { rounds, seconds, settle } = rhythm(setting, work);
  for (;;) {
    try {
      const times = { round, seconds, warmup: settle };
      const { run, histogram } = await runOnce(setting, work, entry.running!, load, times);
      const disturbed = disturbance(run, work, seconds, setting.place.machine.cpus);
      const again = disturbed !== null && entry.repeats < Math.ceil(rounds * REPEATS);
      // A window that cannot be had without it counts, and the table says so.
      const dropped = run.dropped ?? (again || !work.rate ? disturbed : null);
      entry.runs.push({ ...run, dropped });
      if (!dropped) entry.windows.push({ round, histogram: merge([histogram]) });
      if (!again) return;
      entry.repeats++;
    } catch (error) {
      entry.failed = (error as Error).message;
      return;
    }
  }
}

/** A rate that everyone can hold: a share of what the slowest reached closed-loop, rounded to two digits. */
async function commonRate(
  setting: Setting,
  entries: readonly Entry[],
  reference: Work,
  share: number,
  known: readonly WorkResult[],
): Promise<number> {
  const before = known.find((result) => result.name === reference.name);
  const rates: number[] = [];
  const seconds = Math.min(CEILING_SECONDS, setting.seconds);
  for (const entry of entries.filter((e) => e.running && !e.failed && e.contender.kind !== "direct")) {
    const row = before?.rows.find((r) => r.contender === entry.contender.name && !r.failed);
    const times = { round: -1, seconds, warmup: CEILING_WARMUP_SECONDS };
    rates.push(
      row
        ? median(row.runs.filter((run) => !run.dropped).map((run) => run.rate))
        : (await runOnce(setting, reference, entry.running!, reference.load, times)).run.rate,
    );
  }
  return Number((Math.min(...rates) * share).toPrecision(2));
}

function toRows(entries: readonly Entry[], work: Work): Row[] {
  const measured = entries.map(({ contender, windows }) => ({ ...contender, windows }));
  const latencies = work.rate ? tails(measured) : [];
  return entries.map(
    ({ contender, workers, runs, cold, windows, failed }, i): Row => ({
      contender: workers === 1 ? contender.name : `${contender.name} ×${workers}`,
      kind: contender.kind,
      version: contender.version,
      ...(work.workers ? { workers } : {}),
      runs,
      cold,
      histogram: merge(windows.map((window) => window.histogram)),
      ...(latencies[i] ? { tails: latencies[i] } : {}),
      failed: failed ?? (runs.every((run) => run.dropped) ? (runs[0]?.dropped ?? "no run") : null),
    }),
  );
}

/** Measures `work` with these contenders. One that fails has the reason in its row. */
export async function measure(
  setting: Setting,
  work: Work,
  contenders: readonly Contender[],
  known: readonly WorkResult[],
): Promise<WorkResult> {
  const { progress, warmup } = setting;
  const beat = rhythm(setting, work);
  const entries = contenders
    .flatMap((contender) => (work.workers ?? [1]).map((workers) => ({ contender, workers })))
    .map(
      (one, index): Entry => ({
        ...one,
        index,
        running: null,
        cold: null,
        runs: [],
        windows: [],
        repeats: 0,
        failed: null,
      }),
    );
  const reference = WORKS.find((w) => w.name === work.rate?.of) ?? work;
  let load = work.load;
  let rate: number | null = null;
  try {
    for (const entry of entries) {
      progress.step(work.name, entry.contender.name, "warming up", warmingTime(setting));
      entry.cold = await warmUp(setting, reference, entry, reference.load, warmup);
    }
    if (work.rate) {
      rate = await commonRate(setting, entries, reference, work.rate.share, known);
      load = [...work.load, "--rate", String(rate)];
    }
    for (let round = 0; round < beat.rounds; round++) {
      for (const entry of isReborn(round, beat.rounds) ? entries : []) {
        if (entry.failed) continue;
        progress.step(work.name, entry.contender.name, "starting anew", warmingTime(setting));
        await entry.running?.stop();
        entry.running = null;
        await warmUp(setting, reference, entry, reference.load, warmup);
      }
      for (const entry of order(entries, round)) {
        const which = `run ${round + 1} of ${beat.rounds}`;
        progress.step(work.name, entry.contender.name, which, runTime(beat));
        if (!entry.failed) await measureOne(setting, work, entry, round, load);
      }
    }
  } finally {
    for (const entry of entries) await entry.running?.stop();
  }
  const { name, title, shape, unit } = work;
  return { name, title, shape, unit, rate, sweep: work.sweep ?? null, rows: toRows(entries, work) };
}
