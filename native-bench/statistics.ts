/**
 * The arithmetic of a result: medians with what holds them, ratios with an interval, merged histograms. Pure.
 *
 * An interval here is made of order statistics: with five runs the smallest and the largest value hold the true
 * median with 93.75 % (1 - 2 / 2^5), with seven 98.4 %, whatever the distribution. From nine runs on the interval
 * leaves out as many extremes as 93 % allows.
 */

/** A median and what holds it, see above. */
export interface Summary {
  readonly median: number;
  readonly low: number;
  readonly high: number;
}

/** What a statement rests on. */
export interface Interval {
  readonly low: number;
  readonly high: number;
}

export interface Estimate extends Interval {
  readonly value: number;
}

/** A median and its interval. */
export interface Ratio extends Estimate {
  /** Pairs of runs that it is made of. */
  readonly count: number;
}

/** [value, count] in rising order of value. */
export type Histogram = readonly (readonly [number, number])[];

export type Verdict = "wins" | "ties" | "loses";

const COVERAGE = 0.93;

function sorted(values: readonly number[]): number[] {
  return [...values].sort((a, b) => a - b);
}

/** NaN of an empty list. */
export function median(values: readonly number[]): number {
  const list = sorted(values);
  const middle = list.length >> 1;
  if (list.length === 0) return Number.NaN;
  return list.length % 2 === 1 ? list[middle]! : (list[middle - 1]! + list[middle]!) / 2;
}

export function summary(values: readonly number[]): Summary {
  const list = sorted(values);
  const trim = trimmed(list.length);
  return { median: median(list), low: list[trim] ?? Number.NaN, high: list.at(-1 - trim) ?? Number.NaN };
}

/** Width of what holds the median as a share of it. */
export function spread(values: Summary): number {
  return (values.high - values.low) / values.median;
}

/** How many values may be left out at each end so that the rest still holds the median with COVERAGE. */
export function trimmed(count: number): number {
  let term = 0.5 ** count;
  let outside = term;
  let trim = 0;
  while (trim < count / 2) {
    const more = (term * (count - trim)) / (trim + 1);
    if (1 - 2 * (outside + more) < COVERAGE) return trim;
    outside += more;
    term = more;
    trim++;
  }
  return trim;
}

/** `ours[i]` and `theirs[i]` come from the same round; null where a run was dropped. */
export function ratio(ours: readonly (number | null)[], theirs: readonly (number | null)[]): Ratio | null {
  const list: number[] = [];
  for (let i = 0; i < ours.length; i++) {
    const a = ours[i] ?? null;
    const b = theirs[i] ?? null;
    if (a !== null && b !== null && b > 0) list.push(a / b);
  }
  if (list.length === 0) return null;
  const values = sorted(list);
  const count = values.length;
  const trim = trimmed(count);
  return { value: median(values), low: values[trim]!, high: values[count - 1 - trim]!, count };
}

/** Of a ratio of costs: below one is cheaper. */
export function verdict(value: Interval): Verdict {
  if (value.high < 1) return "wins";
  return value.low > 1 ? "loses" : "ties";
}

/** Whether two results say the same: their intervals meet. */
export function agree(a: Interval, b: Interval): boolean {
  return a.low <= b.high && b.low <= a.high;
}

function choose(n: number, k: number): number {
  let value = 1;
  for (let i = 0; i < k; i++) value *= (n - i) / (i + 1);
  return value;
}

/** How often the `i`-th smallest of `n` values is below the `j`-th smallest of `m` of the same distribution. */
function below(i: number, n: number, j: number, m: number): number {
  // Of the i + j - 1 smallest values of all at least i must be among the n.
  const first = i + j - 1;
  let ways = 0;
  for (let x = i; x <= Math.min(n, first); x++) ways += choose(n, x) * choose(m, first - x);
  return ways / choose(n + m, first);
}

/**
 * How often the intervals of two results do not meet although nothing changed: 0.8 % of the time with five runs each,
 * 0.06 % with seven, whatever the distribution. Three runs each give 10 %: no evidence of anything.
 */
export function apartByChance(n: number, m: number): number {
  const [trimN, trimM] = [trimmed(n), trimmed(m)];
  return below(n - trimN, n, trimM + 1, m) + below(m - trimM, m, trimN + 1, n);
}

/** How likely `seen` or more chance events are where `expected` are to be expected (Poisson). */
export function tailOf(seen: number, expected: number): number {
  let term = Math.exp(-expected);
  let under = 0;
  for (let i = 0; i < seen; i++) {
    under += term;
    term *= expected / (i + 1);
  }
  return Math.max(0, 1 - under);
}

/** Three digits of a latency are more than two runs agree on, and a tenth of the generator's buckets to store. */
const DIGITS = 3;

export function merge(histograms: readonly Histogram[]): Histogram {
  const counts = new Map<number, number>();
  for (const histogram of histograms) {
    for (const [exact, count] of histogram) {
      const value = Number(exact.toPrecision(DIGITS));
      counts.set(value, (counts.get(value) ?? 0) + count);
    }
  }
  return [...counts].sort((a, b) => a[0] - b[0]);
}

/** The smallest recorded value that at least `percent` of the samples do not exceed; NaN without samples. */
export function percentile(histogram: Histogram, percent: number): number {
  let total = 0;
  for (const [, count] of histogram) total += count;
  const wanted = Math.max(1, Math.ceil((percent / 100) * total));
  let seen = 0;
  for (const [value, count] of histogram) {
    seen += count;
    if (seen >= wanted) return value;
  }
  return Number.NaN;
}
