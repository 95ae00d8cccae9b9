/** Who is best at a piece of work and how far the others are: ratios from pairs of runs of the same round. Pure. */
import type { IdleRow, Row, WorkResult } from "./result.ts";
import { type Estimate, type Ratio, ratio, spread, summary, type Verdict, verdict } from "./statistics.ts";

export interface Ranked {
  readonly row: Row;
  readonly toBest: Ratio | null;
  readonly toFloor: Ratio | null;
  /** Of Millrace's rows against the best peer. */
  readonly verdict: Verdict | null;
  /** Why these numbers mean little; empty when they mean something. */
  readonly doubts: readonly string[];
}

export interface Ranking {
  readonly best: string | null;
  readonly ranked: readonly Ranked[];
}

/** From here on the runs of one contender differ too much to be compared. */
const SPREAD_MAX = 0.25;
/** Somebody else's share of the machine. */
const FOREIGN_MAX = 0.05;
/** A generator that waits this long for its own CPU measures its own waiting. */
const WAITED_MAX = 0.02;
/** A contender that gets less than this share of a fixed rate through has no latency at that rate. */
const HELD_MIN = 0.98;

/** The costs of a row by round; null for dropped runs. */
export function costs(row: Row, rounds: number): (number | null)[] {
  return Array.from({ length: rounds }, (_, round) => {
    const run = row.runs.findLast((r) => r.round === round && r.dropped === null);
    return run?.cost ?? null;
  });
}

export function counted(row: Row): Row["runs"] {
  return row.runs.filter((run) => run.dropped === null);
}

function medianCost(row: Row): number {
  return summary(counted(row).flatMap((run) => run.cost ?? [])).median;
}

export function rank(work: WorkResult): Ranking {
  const rounds = 1 + Math.max(-1, ...work.rows.flatMap((row) => row.runs.map((run) => run.round)));
  const peers = work.rows.filter((row) => row.kind === "peer" && !row.failed && medianCost(row) > 0);
  const best = peers.sort((a, b) => medianCost(a) - medianCost(b))[0] ?? null;
  const floor = work.rows.find((row) => row.kind === "floor" && !row.failed) ?? null;
  const against = (row: Row, other: Row | null): Ratio | null =>
    other && !row.failed ? ratio(costs(row, rounds), costs(other, rounds)) : null;
  const ranked = work.rows.map((row): Ranked => {
    const toBest = against(row, best);
    const judged = row.kind === "millrace" && toBest ? verdict(toBest) : null;
    return { row, toBest, toFloor: against(row, floor), verdict: judged, doubts: doubts(row, work.rate) };
  });
  return { best: best?.contender ?? null, ranked };
}

/** The ratio of this build to every further one of the same transport, which is named millrace-TRANSPORT@BUILD. */
export function besideBuilds(
  work: WorkResult,
): { readonly name: string; readonly to: string; readonly ratio: Ratio }[] {
  return work.rows.flatMap((row) => {
    const [name, build] = row.contender.split("@");
    const own = build === undefined ? undefined : work.rows.find((one) => one.contender === name);
    if (!own || own.failed || row.failed) return [];
    const rounds = Math.max(own.runs.length, row.runs.length);
    const beside = ratio(costs(own, rounds), costs(row, rounds));
    return beside ? [{ name: own.contender, to: row.contender, ratio: beside }] : [];
  });
}

function middle(row: Row, of: (run: Row["runs"][number]) => number): number {
  return summary(counted(row).map(of)).median;
}

/** `rate`: the fixed one, if there was one. */
function doubts(row: Row, rate: number | null): string[] {
  const list: string[] = [];
  const percent = (share: number): string => `${Math.round(share * 100)} %`;
  const wide = spread(summary(counted(row).flatMap((run) => run.cost ?? [])));
  // Windows at a fixed rate are short, and their cost is not what they are for.
  if (wide > SPREAD_MAX && rate === null) list.push(`runs differ by ${percent(wide)}`);
  if (rate !== null && middle(row, (run) => run.rate) < rate * HELD_MIN) list.push("could not hold the rate");
  const foreign = middle(row, (run) => run.foreign);
  if (foreign > FOREIGN_MAX) list.push(`something else used ${percent(foreign)} of the machine`);
  // Where several workers run on all CPUs, the generator shares them.
  const waited = row.workers ? 0 : middle(row, (run) => run.waited?.generator ?? 0);
  if (waited > WAITED_MAX) list.push(`the generator waited ${percent(waited)} of the time for its CPU`);
  const dropped = row.runs.flatMap((run) => run.dropped?.replace(/ [\d.]+ %$/, "") ?? []);
  if (dropped.length > 0)
    list.push(`${dropped.length} runs did not count (${[...new Set(dropped)].join(", ")})`);
  return list;
}

/** The peer that adds least at this percentile; it may add nothing, and then nobody has a ratio to it. */
export function bestAt(work: WorkResult, percent: number): Row | null {
  const added = (row: Row): number =>
    row.tails?.find((tail) => tail.percent === percent)?.added?.value ?? Number.POSITIVE_INFINITY;
  const peers = work.rows.filter((row) => row.kind === "peer" && !row.failed && Number.isFinite(added(row)));
  return peers.sort((a, b) => added(a) - added(b))[0] ?? null;
}

/** What `row` adds at this percentile as a ratio to what the best peer adds. */
export function tailToBest(work: WorkResult, row: Row, percent: number): Estimate | null {
  const best = bestAt(work, percent);
  const tail = row.tails?.find((one) => one.percent === percent);
  return (best && tail?.ratios[best.contender]) ?? null;
}

/** The best peer's user memory per idle connection of this shape. */
export function bestIdle(rows: readonly IdleRow[], shape: IdleRow["shape"]): IdleRow | null {
  const peers = rows.filter((row) => row.shape === shape && row.kind === "peer" && !row.failed);
  return peers.sort((a, b) => a.user / a.connections - b.user / b.connections)[0] ?? null;
}
