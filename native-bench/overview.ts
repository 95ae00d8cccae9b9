/** What the README shows of a report: one line per piece of work, and where, when and with what it was measured. Pure. */
import { bestAt, bestIdle, type Ranked, rank, tailToBest } from "./ranking.ts";
import type { Report, WorkResult } from "./result.ts";
import { type Verdict, verdict } from "./statistics.ts";
import { NOTHING, ratioText, table } from "./table.ts";

function marked(text: string, judged: Verdict | null, doubtful: boolean): string {
  if (text === NOTHING) return NOTHING;
  const mark = judged === "loses" ? " **loses**" : judged ? ` ${judged}` : "";
  return `${text}${mark}${doubtful ? " ?" : ""}`;
}

/** A cell is as doubtful as the two rows it is made of. */
function cells(
  ranked: readonly Ranked[],
  millraces: readonly string[],
  best: string | null,
  cell: (ranked: Ranked) => readonly [text: string, judged: Verdict | null],
): string[] {
  const doubted = (name: string | null): boolean =>
    ranked.some((r) => r.row.contender === name && r.doubts.length > 0);
  return millraces.map((name) => {
    const mine = ranked.find((r) => r.row.contender === name);
    if (!mine) return NOTHING;
    return mine.row.failed ? "failed" : marked(...cell(mine), doubted(name) || doubted(best));
  });
}

/** A work at a fixed rate is shown by what it adds to the tail, any other by what it costs. */
function workLine(work: WorkResult, millraces: readonly string[]): string[] {
  const { best, ranked } = rank(work);
  if (work.rate === null) {
    const texts = cells(ranked, millraces, best, (r) => [ratioText(r.toBest), r.verdict]);
    return [work.title, best ?? "no peer", ...texts];
  }
  const least = bestAt(work, 99)?.contender ?? null;
  const texts = cells(ranked, millraces, least, ({ row }) => {
    const ratio = tailToBest(work, row, 99);
    return [ratioText(ratio), ratio && verdict(ratio)];
  });
  return [`added latency p99: ${work.title}`, least ?? "no peer", ...texts];
}

/** Memory is counted, not sampled: what differs by less is level. */
const LEVEL = 0.05;

function idleLine(report: Report, shape: "plain" | "terminate", millraces: readonly string[]): string[] {
  const best = bestIdle(report.idle, shape);
  if (!best) return [];
  const texts = millraces.map((name) => {
    const row = report.idle.find((r) => r.contender === name && r.shape === shape && !r.failed);
    if (!row) return NOTHING;
    const value = row.user / row.connections / (best.user / best.connections);
    return marked(value.toFixed(2), verdict({ low: value - LEVEL, high: value + LEVEL }), false);
  });
  return [`memory of an idle ${shape === "plain" ? "plain" : "TLS"} connection`, best.contender, ...texts];
}

/**
 * Millrace's ratio to the best peer in each piece of work, and whether it wins, ties or loses. `shown` holds what earlier tables
 * said; a line that would only say the same of the same contenders again is left out. Takes up what this table says.
 */
export function overview(report: Report, shown: Set<string> = new Set()): string {
  const millraces = report.contenders.filter((c) => c.kind === "millrace").map((c) => c.name);
  const works = report.works.filter((work) => !work.sweep && work.rows.every((row) => !row.workers));
  if (millraces.length === 0) return "";
  const rows = [
    ...works.map((work) => workLine(work, millraces)),
    ...(["plain", "terminate"] as const).map((shape) => idleLine(report, shape, millraces)),
  ].filter((row) => row.length > 0 && says(row, millraces, shown));
  if (rows.length === 0) return "";
  return table(["CPU cost, ratio to the best peer (interval)", "best peer", ...millraces], rows);
}

/** Whether a line tells anything new; notes what it tells. */
function says(
  [title, , ...cells]: readonly string[],
  millraces: readonly string[],
  shown: Set<string>,
): boolean {
  const told = millraces.filter((_, i) => cells[i] !== NOTHING).map((name) => `${title} ${name}`);
  const anew = told.filter((key) => !shown.has(key));
  for (const key of anew) shown.add(key);
  return anew.length > 0;
}

/** Where, when, with what. */
export function provenance(report: Report): string {
  const { place } = report;
  const link =
    place.link === "veth"
      ? "veth link of MTU 1500 without offloads"
      : `loopback of ${place.namespace ? "a network namespace" : "the machine"}`;
  const versions = report.contenders.filter((c) => c.version).map((c) => `${c.name} ${c.version}`);
  const lines = [
    `- ${report.date}, revision ${report.revision}: \`${report.command}\`${report.quick ? " (quick: a guide, not a result)" : ""}`,
    `- ${place.machine.cpus} × ${place.machine.cpu}, ${Math.round(place.machine.memory / 2 ** 30)} GiB, Linux ${place.machine.kernel}; ${link}, ${place.congestion}`,
    `- ${report.runs} runs of ${report.seconds} s after ${report.warmup} s of warm-up, one worker each, access log ${report.accessLog ? "on" : "off"}, ${report.generator === "c" ? "C generator" : "**portable generator: rates are its own, not the contenders'**"}`,
    `- ${versions.join("; ")}`,
    ...report.contenders.filter((c) => c.note).map((c) => `- ${c.name}: ${c.note}`),
    ...report.missing.map((m) => `- missing: ${m.name} (${m.reason})`),
  ];
  return lines.join("\n");
}
