/** Markdown tables of a report. Every number is a median with its extremes; a ratio has its interval. Pure. */
import { bestIdle, counted, type Ranked, rank } from "./ranking.ts";
import type { CallsRow, IdleRow, Report, WorkResult } from "./result.ts";
import { percentile, type Ratio, type Summary, summary } from "./statistics.ts";

const NOTHING = "–";

export function number(value: number): string {
  if (!Number.isFinite(value)) return NOTHING;
  if (value >= 1000) return Math.round(value).toLocaleString("en-US");
  return value >= 100
    ? value.toFixed(0)
    : value >= 10
      ? value.toFixed(1)
      : value >= 1
        ? value.toFixed(2)
        : value.toFixed(3);
}

function withExtremes(values: readonly number[]): string {
  const s: Summary = summary(values);
  return Number.isFinite(s.median) ? `${number(s.median)} (${number(s.min)}–${number(s.max)})` : NOTHING;
}

export function ratioText(value: Ratio | null): string {
  return value ? `${value.median.toFixed(2)} (${value.low.toFixed(2)}–${value.high.toFixed(2)})` : NOTHING;
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]): string => `| ${cells.join(" | ")} |`;
  return [line(head), line(head.map((_, i) => (i === 0 ? "---" : "---:"))), ...rows.map(line)].join("\n");
}

function micro(ns: number): string {
  return Number.isFinite(ns) && ns > 0 ? number(ns / 1000) : NOTHING;
}

function workRow(ranked: Ranked, best: string | null, unit: string): string[] {
  const { row } = ranked;
  if (row.failed)
    return [
      row.contender,
      `failed: ${row.failed.replaceAll("\n", " ").replaceAll("|", "/")}`,
      ...Array(7).fill(NOTHING),
    ];
  const runs = counted(row);
  const name = row.contender === best ? `**${row.contender}**` : row.contender;
  const share = summary(runs.map((run) => run.proxyShare)).median;
  return [
    name,
    withExtremes(runs.flatMap((run) => run.cost ?? [])),
    ratioText(ranked.toBest),
    ratioText(ranked.toFloor),
    ranked.verdict ?? "",
    withExtremes(runs.map((run) => run.rate)),
    unit === "GB" ? NOTHING : [50, 99, 99.9].map((p) => micro(percentile(row.histogram, p))).join(" / "),
    number(summary(runs.map((run) => run.machineCost)).median),
    row.kind === "direct" ? NOTHING : `${Math.round(share * 100)} %`,
  ];
}

export function workTable(work: WorkResult): string {
  const ranking = rank(work);
  const unit = work.unit === "GB" ? "s/GB" : "µs";
  const head = [
    "contender",
    `CPU ${unit}`,
    "to best peer",
    "to floor",
    "",
    work.unit === "GB" ? "GB/s" : "per s",
    "p50 / p99 / p99.9 µs",
    `machine ${unit}`,
    "CPU used",
  ];
  const rows = ranking.ranked.map((ranked) => workRow(ranked, ranking.best, work.unit));
  const rate = work.rate
    ? `\n\nFixed rate ${number(work.rate)}/s; latency counts from the moment a request was due.`
    : "";
  const notes = ranking.doubts.length > 0 ? `\n\nDoubtful: ${ranking.doubts.join("; ")}.` : "";
  return `### ${work.name}: ${work.title}\n\n${table(head, rows)}${rate}${notes}\n`;
}

function idleTable(rows: readonly IdleRow[], shape: IdleRow["shape"]): string {
  const list = rows.filter((row) => row.shape === shape);
  if (list.length === 0) return "";
  const best = bestIdle(rows, shape);
  const each = best ? best.user / best.connections : Number.NaN;
  const cells = list.map((row) => {
    if (row.failed) return [row.contender, `failed: ${row.failed}`, ...Array(4).fill(NOTHING)];
    const user = row.user / row.connections;
    return [
      row === best ? `**${row.contender}**` : row.contender,
      String(row.connections),
      number(user / 1000),
      best ? (user / each).toFixed(2) : NOTHING,
      number(row.atStart / 1e6),
      number(row.afterRelease / 1e6),
    ];
  });
  const head = [
    "contender",
    "connections",
    "user kB each",
    "to best peer",
    "MB at start",
    "MB after release",
  ];
  return `### idle ${shape === "plain" ? "plain" : "TLS"} connections\n\n${table(head, cells)}\n`;
}

function callsTable(rows: readonly CallsRow[]): string {
  if (rows.length === 0) return "";
  const cells = rows.map((row) =>
    row.failed
      ? [row.contender, `failed: ${row.failed}`, ""]
      : [
          row.contender,
          row.total.toFixed(1),
          row.calls
            .slice(0, 10)
            .map(([name, count]) => `${name} ${count.toFixed(1)}`)
            .join(", "),
        ],
  );
  return `### system calls per connection (crr, separate runs under strace)\n\n${table(["contender", "calls", "which"], cells)}\n`;
}

/** One line per piece of work: Millrace's ratio to the best peer, and whether it wins, ties or loses. */
export function overview(report: Report): string {
  const millraces = report.contenders.filter((c) => c.kind === "millrace").map((c) => c.name);
  const works = report.works.filter((work) => !work.sweep);
  if (millraces.length === 0 || works.length === 0) return "";
  const rows = works.map((work) => {
    const ranking = rank(work);
    const cells = millraces.map((name) => {
      const ranked = ranking.ranked.find((r) => r.row.contender === name);
      if (!ranked) return NOTHING;
      if (ranked.row.failed) return "failed";
      const mark = ranked.verdict === "loses" ? " **loses**" : ranked.verdict ? ` ${ranked.verdict}` : "";
      return `${ratioText(ranked.toBest)}${mark}`;
    });
    return [`${work.title}${ranking.doubts.length > 0 ? " ?" : ""}`, ranking.best ?? "no peer", ...cells];
  });
  for (const shape of ["plain", "terminate"] as const) {
    const best = bestIdle(report.idle, shape);
    if (!best) continue;
    const cells = millraces.map((name) => {
      const row = report.idle.find((r) => r.contender === name && r.shape === shape && !r.failed);
      if (!row) return NOTHING;
      const value = row.user / row.connections / (best.user / best.connections);
      return `${value.toFixed(2)} ${value > 1.05 ? "**loses**" : value < 0.95 ? "wins" : "ties"}`;
    });
    rows.push([
      `memory of an idle ${shape === "plain" ? "plain" : "TLS"} connection`,
      best.contender,
      ...cells,
    ]);
  }
  return table(["CPU cost, ratio to the best peer (interval)", "best peer", ...millraces], rows);
}

/** Where, when, with what. */
export function provenance(report: Report): string {
  const { place } = report;
  const link = place.namespace ? "loopback of a network namespace" : "loopback of the machine";
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

function sweepTable(works: readonly WorkResult[]): string {
  const first = works[0]!;
  const contenders = [...new Set(works.flatMap((work) => work.rows.map((row) => row.contender)))];
  const rows = contenders.map((name) => [
    name,
    ...works.map((work) => {
      const row = work.rows.find((r) => r.contender === name);
      if (!row) return NOTHING;
      const runs = counted(row);
      return row.failed
        ? "failed"
        : `${number(summary(runs.flatMap((run) => run.cost ?? [])).median)}, ${micro(percentile(row.histogram, 99))}`;
    }),
  ]);
  const head = [
    `${first.sweep!.axis}: CPU µs, p99 µs`,
    ...works.map((work) => work.sweep!.x.toLocaleString("en-US")),
  ];
  return `### ${first.sweep!.name}: cost against ${first.sweep!.axis}\n\n${table(head, rows)}\n`;
}

/** Works of one sweep, in order. */
export function sweeps(report: Report): WorkResult[][] {
  const names = [...new Set(report.works.flatMap((work) => work.sweep?.name ?? []))];
  return names.map((name) => report.works.filter((work) => work.sweep?.name === name));
}

export function markdown(report: Report): string {
  const parts = [
    "# What a hop costs",
    provenance(report),
    overview(report),
    ...report.works.filter((work) => !work.sweep).map(workTable),
    idleTable(report.idle, "plain"),
    idleTable(report.idle, "terminate"),
    callsTable(report.calls),
    ...sweeps(report).map(sweepTable),
  ];
  return `${parts.filter((part) => part !== "").join("\n\n")}\n`;
}
