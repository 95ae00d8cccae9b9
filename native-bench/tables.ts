/** Markdown tables of a report. Every number is a median with what holds it; a ratio has its interval. Pure. */
import { overview, provenance } from "./overview.ts";
import { besideBuilds, bestIdle, costs, counted, type Ranked, rank, tailToBest } from "./ranking.ts";
import type { CallsRow, IdleRow, Report, Row, WorkResult } from "./result.ts";
import { percentile, ratio, summary, verdict } from "./statistics.ts";
import { failure, micro, microRange, NOTHING, number, ratioText, table, withExtremes } from "./table.ts";

function unitOf(work: WorkResult): string {
  return work.unit === "GB" ? "s/GB" : "µs";
}

function rateOf(work: WorkResult): string {
  return work.unit === "GB" ? "GB/s" : "per s";
}

function costList(row: Row): number[] {
  return counted(row).flatMap((run) => run.cost ?? []);
}

/** The row's cells, or the reason why there are none. */
function line(row: Row, name: string, width: number, cells: () => string[]): string[] {
  if (!row.failed) return [name, ...cells()];
  return [name, failure(row.failed), ...Array<string>(width - 2).fill(NOTHING)];
}

function doubts(ranked: readonly Ranked[]): string {
  const list = ranked.filter((r) => r.doubts.length > 0 && !r.row.failed);
  const each = list.map((r) => `${r.row.contender}: ${r.doubts.join(", ")}`);
  return each.length > 0 ? `\n\nDoubtful: ${each.join("; ")}.` : "";
}

function builds(work: WorkResult): string {
  const each = besideBuilds(work).map(
    ({ name, to, ratio: beside }) => `${name} to ${to}: ${ratioText(beside)}`,
  );
  return each.length > 0 ? `\n\nCPU beside other builds: ${each.join("; ")}.` : "";
}

export function workTable(work: WorkResult): string {
  const { best, ranked } = rank(work);
  const head = [
    ...["contender", `CPU ${unitOf(work)}`, "to best peer", "to floor", "", rateOf(work)],
    ...["p50 / p99 / p99.9 µs", `machine ${unitOf(work)}`, "CPU used"],
  ];
  const rows = ranked.map(({ row, toBest, toFloor, verdict: judged }) => {
    const runs = counted(row);
    const tail = [50, 99, 99.9].map((p) => micro(percentile(row.histogram, p))).join(" / ");
    const share = summary(runs.map((run) => run.proxyShare)).median;
    return line(row, row.contender === best ? `**${row.contender}**` : row.contender, head.length, () => [
      withExtremes(costList(row)),
      ratioText(toBest),
      ratioText(toFloor),
      judged ?? "",
      withExtremes(runs.map((run) => run.rate)),
      work.unit === "GB" ? NOTHING : tail,
      number(summary(runs.map((run) => run.machineCost)).median),
      row.kind === "direct" ? NOTHING : `${Math.round(share * 100)} %`,
    ]);
  });
  return `### ${work.name}: ${work.title}\n\n${table(head, rows)}${builds(work)}${doubts(ranked)}\n`;
}

/** Of a work at a fixed rate. */
function latencyTable(work: WorkResult): string {
  const { ranked } = rank(work);
  const head = [
    ...["contender", "p50 µs", "p99 µs", "p99.9 µs", "adds p50", "adds p99", "adds p99.9"],
    ...["p50 to best peer", "p99 to best peer", "", `CPU ${unitOf(work)}`],
  ];
  const rows = ranked.map(({ row }) => {
    const [median, ...high] = row.tails ?? [];
    const p99 = tailToBest(work, row, 99);
    const tails = [median ?? null, ...high];
    return line(row, row.contender, head.length, () => [
      ...tails.map((tail) => microRange(tail?.value ?? null)),
      ...tails.map((tail) => microRange(tail?.added ?? null)),
      ratioText(tailToBest(work, row, 50)),
      ratioText(p99),
      row.kind === "millrace" && p99 ? verdict(p99) : "",
      number(summary(costList(row)).median),
    ]);
  });
  const windows = Math.max(0, ...work.rows.map((row) => counted(row).length));
  const how = `Fixed rate ${number(work.rate!)}/s in ${windows} windows; latency counts from the moment a request was due. "Adds" is the difference to a direct connection at the same rate.`;
  return `### ${work.name}: ${work.title}\n\n${table(head, rows)}\n\n${how}${builds(work)}${doubts(ranked)}\n`;
}

/** Of a work with several numbers of workers: each beside the first. */
function scalingTable(work: WorkResult): string {
  const { ranked } = rank(work);
  const head = ["contender", "workers", `CPU ${unitOf(work)}`, "to one worker", rateOf(work), "CPUs used"];
  const rows = work.rows.map((row) => {
    const one = work.rows.find((r) => r.workers === 1 && r.contender === row.contender.split(" ×")[0]);
    const rounds = row.runs.length;
    const runs = counted(row);
    return line(row, row.contender, head.length, () => [
      String(row.workers),
      withExtremes(costList(row)),
      one && one !== row ? ratioText(ratio(costs(row, rounds), costs(one, rounds))) : NOTHING,
      withExtremes(runs.map((run) => run.rate)),
      number(summary(runs.map((run) => run.proxyShare)).median),
    ]);
  });
  const how = "Nothing is pinned to a CPU here; the generator uses one of them, too.";
  return `### ${work.name}: ${work.title}\n\n${table(head, rows)}\n\n${how}${doubts(ranked)}\n`;
}

function idleTable(rows: readonly IdleRow[], shape: IdleRow["shape"]): string {
  const list = rows.filter((row) => row.shape === shape);
  if (list.length === 0) return "";
  const best = bestIdle(rows, shape);
  const each = best ? best.user / best.connections : Number.NaN;
  const cells = list.map((row) => {
    if (row.failed) return [row.contender, failure(row.failed), ...Array<string>(4).fill(NOTHING)];
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
      ? [row.contender, failure(row.failed), ""]
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

function sweepTable(works: readonly WorkResult[]): string {
  const first = works[0]!;
  const contenders = [...new Set(works.flatMap((work) => work.rows.map((row) => row.contender)))];
  const rows = contenders.map((name) => [
    name,
    ...works.map((work) => {
      const row = work.rows.find((r) => r.contender === name);
      if (!row) return NOTHING;
      return row.failed
        ? "failed"
        : `${number(summary(costList(row)).median)}, ${micro(percentile(row.histogram, 99))}`;
    }),
  ]);
  const head = [
    `${first.sweep!.axis}: CPU ${unitOf(first)}, p99 µs`,
    ...works.map((work) => work.sweep!.x.toLocaleString("en-US")),
  ];
  return `### ${first.sweep!.name}: cost against ${first.sweep!.axis}\n\n${table(head, rows)}\n`;
}

function tableOf(work: WorkResult): string {
  if (work.rows.some((row) => row.workers)) return scalingTable(work);
  // A result of an older version has no percentiles of its own at a fixed rate.
  return work.rows.some((row) => row.tails) ? latencyTable(work) : workTable(work);
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
    ...report.works.filter((work) => !work.sweep).map(tableOf),
    idleTable(report.idle, "plain"),
    idleTable(report.idle, "terminate"),
    callsTable(report.calls),
    ...sweeps(report).map(sweepTable),
  ];
  return `${parts.filter((part) => part !== "").join("\n\n")}\n`;
}
