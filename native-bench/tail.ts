/**
 * Latency at a fixed rate: percentiles of all windows of a contender together, what they add to a direct connection, and
 * the ratio of what is added to each peer's. Pure.
 *
 * Intervals come from a bootstrap over rounds: whole rounds are drawn with replacement, the same for all contenders, so
 * that what a round did to all of them cancels out. A percentile that rests on one bad window has a wide interval.
 */
import type { Kind } from "./contender.ts";
import type { Estimate, Histogram } from "./statistics.ts";

export const PERCENTS = [50, 99, 99.9] as const;

export interface Window {
  readonly round: number;
  readonly histogram: Histogram;
}

/** One percentile of one contender; ns, with intervals that hold 95 % of what resampling gives. */
export interface Tail {
  readonly percent: number;
  readonly value: Estimate;
  /** To the same percentile of a direct connection; null without one. */
  readonly added: Estimate | null;
  /** What is added as a ratio to what each peer adds, by the peer's name. */
  readonly ratios: Readonly<Record<string, Estimate>>;
}

export interface Measured {
  readonly name: string;
  readonly kind: Kind;
  readonly windows: readonly Window[];
}

const RESAMPLES = 500;
const COVERAGE = 0.95;
/** Any fixed number: the same windows give the same interval. */
const SEED = 20_200_117;

/** A generator of numbers from 0 to 1 (mulberry32). */
function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** The windows of one contender as a table, so that a resample is a weighted sum of its rows. */
class Pool {
  readonly #values: Float64Array;
  readonly #windows: readonly { readonly round: number; readonly counts: Float64Array }[];

  constructor(windows: readonly Window[]) {
    const values = new Set(windows.flatMap((window) => window.histogram.map(([value]) => value)));
    this.#values = Float64Array.from(values).sort();
    const slots = new Map(Array.from(this.#values, (value, slot) => [value, slot]));
    this.#windows = windows.map(({ round, histogram }) => {
      const counts = new Float64Array(this.#values.length);
      for (const [value, count] of histogram) counts[slots.get(value)!]! += count;
      return { round, counts };
    });
  }

  /** The percentiles with each round counted `weights[round]` times; NaN when no sample is left. */
  percentiles(weights: readonly number[]): number[] {
    const sums = new Float64Array(this.#values.length);
    for (const { round, counts } of this.#windows) {
      const weight = weights[round]!;
      if (weight > 0) for (let i = 0; i < sums.length; i++) sums[i]! += weight * counts[i]!;
    }
    const total = sums.reduce((sum, count) => sum + count, 0);
    return PERCENTS.map((percent) => {
      const wanted = Math.max(1, Math.ceil((percent / 100) * total));
      let seen = 0;
      const slot = sums.findIndex((count) => {
        seen += count;
        return seen >= wanted;
      });
      return this.#values[slot] ?? Number.NaN;
    });
  }
}

/** Null when the value is none or infinite, or when half of the resamples have none; its ends may be infinite. */
function estimate(value: number, resampled: readonly number[]): Estimate | null {
  const list = resampled.filter((one) => !Number.isNaN(one)).sort(ascending);
  if (!Number.isFinite(value) || list.length < resampled.length / 2) return null;
  const out = Math.floor((list.length * (1 - COVERAGE)) / 2);
  return { value, low: list[out]!, high: list[list.length - 1 - out]! };
}

/** Of infinities, too, whose difference is no number. */
function ascending(a: number, b: number): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/**
 * `ours` and `theirs` are what is added. To a peer that adds nothing there is no ratio where we add nothing, too; where we do, it
 * is infinite: to leave that out would leave out what is worst for us.
 */
function quotient(ours: number, theirs: number): number {
  if (theirs > 0) return ours / theirs;
  return ours > 0 ? Number.POSITIVE_INFINITY : Number.NaN;
}

/** The percentiles of each contender, in the order given; null for one without samples. */
export function tails(measured: readonly Measured[]): (readonly Tail[] | null)[] {
  const rounds = 1 + Math.max(-1, ...measured.flatMap((m) => m.windows.map((window) => window.round)));
  const pools = measured.map((m) => new Pool(m.windows));
  const random = seeded(SEED);
  /** [draw][contender][percentile]; the first draw is the measurement itself. */
  const draws: number[][][] = [];
  for (let draw = 0; draw <= RESAMPLES; draw++) {
    const weights = new Array<number>(rounds).fill(draw === 0 ? 1 : 0);
    for (let i = 0; draw > 0 && i < rounds; i++) weights[Math.floor(random() * rounds)]!++;
    draws.push(pools.map((pool) => pool.percentiles(weights)));
  }
  const direct = measured.findIndex((m) => m.kind === "direct");
  const over = (pick: (draw: number[][]) => number): Estimate | null => {
    const [value, ...resampled] = draws.map(pick);
    return estimate(value!, resampled);
  };
  return measured.map((_, mine) => {
    const list = PERCENTS.map((percent, p): Tail | null => {
      const added = (draw: number[][], who: number): number =>
        direct < 0 ? Number.NaN : draw[who]![p]! - draw[direct]![p]!;
      const value = over((draw) => draw[mine]![p]!);
      if (!value) return null;
      const ratios: Record<string, Estimate> = {};
      for (const [peer, { name, kind }] of measured.entries()) {
        const ratio =
          kind === "peer" && mine !== direct
            ? over((draw) => quotient(added(draw, mine), added(draw, peer)))
            : null;
        if (ratio) ratios[name] = ratio;
      }
      return { percent, value, added: mine === direct ? null : over((draw) => added(draw, mine)), ratios };
    });
    return list.every((tail) => tail !== null) ? list : null;
  });
}
