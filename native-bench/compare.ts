/** Two reports of the same machine: which ratios agree within their intervals, and which do not. Pure. */
import { rank } from "./ranking.ts";
import type { Report } from "./result.ts";
import { agree } from "./statistics.ts";
import { ratioText } from "./tables.ts";

export interface Comparison {
  readonly compared: number;
  /** One line each: what differs and by how much. */
  readonly differ: readonly string[];
}

/** Ratios of Millrace to each peer present in both reports; ratios to "the best" alone would hide a change of best. */
export function compare(before: Report, after: Report): Comparison {
  const differ: string[] = [];
  let compared = 0;
  for (const work of before.works) {
    const other = after.works.find((w) => w.name === work.name);
    if (!other) continue;
    for (const peer of work.rows.filter((row) => row.kind === "peer" || row.kind === "floor")) {
      const only = (w: typeof work) => ({
        ...w,
        rows: w.rows
          .filter((r) => r.kind === "millrace" || r.contender === peer.contender)
          .map((r) => (r.kind === "millrace" ? r : { ...r, kind: "peer" as const })),
      });
      const [first, second] = [rank(only(work)), rank(only(other))];
      for (const { row, toBest } of first.ranked) {
        const again = second.ranked.find((r) => r.row.contender === row.contender)?.toBest;
        if (row.kind !== "millrace" || !toBest || !again) continue;
        compared++;
        if (!agree(toBest, again))
          differ.push(
            `${work.name}: ${row.contender} to ${peer.contender} was ${ratioText(toBest)}, is ${ratioText(again)}`,
          );
      }
    }
  }
  return { compared, differ };
}
