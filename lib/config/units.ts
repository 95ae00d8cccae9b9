/**
 * Durations and sizes as a configuration writes them: `500ms 5s 2m 1h` and `512B 64KiB 1MiB 2GiB`. Inside the
 * program they are ms and bytes; this file is the only edge. Invariant: `parse(format(n))` is `n` for every n that
 * a parse can give. A number without a unit is refused, because nobody can tell seconds from milliseconds by looking.
 */

/** Longest duration: timers count ms in a signed 32-bit integer (Node's setTimeout; some 24.8 days). */
export const MAX_DURATION = 2 ** 31 - 1;
/** Largest size: sizes stay exact integers far below 2^53. */
export const MAX_SIZE = 2 ** 40;

const DURATION_UNITS = { h: 3_600_000, m: 60_000, s: 1000, ms: 1 } as const;
const SIZE_UNITS = { GiB: 2 ** 30, MiB: 2 ** 20, KiB: 2 ** 10, B: 1 } as const;

/** ms, or null when `text` is no duration or longer than `MAX_DURATION`. */
export function parseDuration(text: string): number | null {
  const parts = /^(\d{1,12})(ms|s|m|h)$/.exec(text);
  if (parts === null) return null;
  const ms = Number(parts[1]) * DURATION_UNITS[parts[2] as keyof typeof DURATION_UNITS];
  return ms <= MAX_DURATION ? ms : null;
}

/** The shortest exact way to write `ms`, a whole number that is not negative. */
export function formatDuration(ms: number): string {
  return format(ms, DURATION_UNITS, "s");
}

/** Bytes, or null when `text` is no size or larger than `MAX_SIZE`. */
export function parseSize(text: string): number | null {
  const parts = /^(\d{1,13})(B|KiB|MiB|GiB)$/.exec(text);
  if (parts === null) return null;
  const bytes = Number(parts[1]) * SIZE_UNITS[parts[2] as keyof typeof SIZE_UNITS];
  return bytes <= MAX_SIZE ? bytes : null;
}

/** The shortest exact way to write `bytes`, a whole number that is not negative. */
export function formatSize(bytes: number): string {
  return format(bytes, SIZE_UNITS, "B");
}

/** `units` from the largest to the smallest; zero is written in `zeroUnit`. */
function format(amount: number, units: Readonly<Record<string, number>>, zeroUnit: string): string {
  if (amount === 0) return `0${zeroUnit}`;
  for (const [unit, factor] of Object.entries(units)) {
    if (amount % factor === 0) return `${amount / factor}${unit}`;
  }
  throw new RangeError(`${amount} is no whole number`);
}
