/**
 * The arithmetic of a result: medians with their extremes, ratios with an interval, merged histograms. Pure.
 *
 * An interval here is made of order statistics: with five runs the smallest and the largest value hold the true
 * median with 93.75 % (1 - 2 / 2^5), with seven 98.4 %, whatever the distribution. From nine runs on the interval
 * leaves out as many extremes as 93 % allows.
 */

export interface Summary {
  readonly median: number;
  readonly min: number;
  readonly max: number;
}

export interface Ratio {
  readonly median: number;
  /** The interval of the median; runs agree when their intervals meet. */
  readonly low: number;
  readonly high: number;
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
  return { median: median(list), min: list[0] ?? Number.NaN, max: list.at(-1) ?? Number.NaN };
}

/** Distance between the extremes as a share of the median. */
export function spread(values: Summary): number {
  return (values.max - values.min) / values.median;
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
  const trim = trimmed(values.length);
  return { median: median(values), low: values[trim]!, high: values[values.length - 1 - trim]! };
}

/** Of a ratio of costs: below one is cheaper. */
export function verdict(value: Ratio): Verdict {
  if (value.high < 1) return "wins";
  return value.low > 1 ? "loses" : "ties";
}

/** Whether two runs say the same: their intervals meet. */
export function agree(a: Ratio, b: Ratio): boolean {
  return a.low <= b.high && b.low <= a.high;
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
