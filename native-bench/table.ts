/** How numbers look in a table, and a table in Markdown. Pure. */
import { type Estimate, type Summary, summary } from "./statistics.ts";

export const NOTHING = "–";

export function number(value: number): string {
  if (!Number.isFinite(value)) return NOTHING;
  if (value < 0) return `-${number(-value)}`;
  if (value >= 1000) return Math.round(value).toLocaleString("en-US");
  return value >= 100
    ? value.toFixed(0)
    : value >= 10
      ? value.toFixed(1)
      : value >= 1
        ? value.toFixed(2)
        : value.toFixed(3);
}

export function withExtremes(values: readonly number[]): string {
  const s: Summary = summary(values);
  return Number.isFinite(s.median) ? `${number(s.median)} (${number(s.low)}–${number(s.high)})` : NOTHING;
}

export function ratioText(value: Estimate | null): string {
  const text = (one: number): string => (one === Number.POSITIVE_INFINITY ? "∞" : one.toFixed(2));
  return value ? `${text(value.value)} (${text(value.low)}–${text(value.high)})` : NOTHING;
}

export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]): string => `| ${cells.join(" | ")} |`;
  return [line(head), line(head.map((_, i) => (i === 0 ? "---" : "---:"))), ...rows.map(line)].join("\n");
}

export function micro(ns: number): string {
  return Number.isFinite(ns) && ns > 0 ? number(ns / 1000) : NOTHING;
}

/** ns, shown as microseconds. */
export function microRange(value: Estimate | null): string {
  return value
    ? `${number(value.value / 1000)} (${number(value.low / 1000)}–${number(value.high / 1000)})`
    : NOTHING;
}

/** An error in one cell. */
export function failure(reason: string): string {
  return `failed: ${reason.replaceAll("\n", " ").replaceAll("|", "/")}`;
}
