/** Who is best at a piece of work and how far the others are: ratios from pairs of runs of the same round. Pure. */
import type { IdleRow, Row, WorkResult } from "./result.ts";
import { type Ratio, ratio, spread, summary, type Verdict, verdict } from "./statistics.ts";

export interface Ranked {
  readonly row: Row;
  readonly toBest: Ratio | null;
  readonly toFloor: Ratio | null;
  /** Of Millrace's rows against the best peer. */
  readonly verdict: Verdict | null;
}

export interface Ranking {
  readonly best: string | null;
  readonly ranked: readonly Ranked[];
  /** Why these numbers mean little; empty when they mean something. */
  readonly doubts: readonly string[];
}

/** From here on the runs of one contender differ too much to be compared. */
const SPREAD_MAX = 0.25;
/** Somebody else's share of the machine. */
const FOREIGN_MAX = 0.1;
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
    return { row, toBest, toFloor: against(row, floor), verdict: judged };
  });
  return { best: best?.contender ?? null, ranked, doubts: doubts(work) };
}

function doubts(work: WorkResult): string[] {
  const list: string[] = [];
  for (const row of work.rows) {
    const runs = counted(row);
    const values = runs.flatMap((run) => run.cost ?? []);
    const wide = spread(summary(values));
    if (wide > SPREAD_MAX) list.push(`${row.contender}: runs differ by ${Math.round(wide * 100)} %`);
    const rate = summary(runs.map((run) => run.rate)).median;
    if (work.rate !== null && rate < work.rate * HELD_MIN)
      list.push(`${row.contender}: could not hold the rate`);
    const steals = row.runs.filter((run) => run.dropped?.startsWith("steal")).length;
    if (steals > 0)
      list.push(`${row.contender}: ${steals} runs dropped because the hypervisor took CPU time`);
  }
  const foreign = summary(work.rows.flatMap((row) => counted(row).map((run) => run.foreign))).median;
  if (foreign > FOREIGN_MAX) list.push(`something else used ${Math.round(foreign * 100)} % of the machine`);
  return list;
}

/** The best peer's user memory per idle connection of this shape. */
export function bestIdle(rows: readonly IdleRow[], shape: IdleRow["shape"]): IdleRow | null {
  const peers = rows.filter((row) => row.shape === shape && row.kind === "peer" && !row.failed);
  return peers.sort((a, b) => a.user / a.connections - b.user / b.connections)[0] ?? null;
}
