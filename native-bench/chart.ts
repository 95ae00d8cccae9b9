/**
 * SVG charts of a report, without a library: bars of CPU cost beside the peers, latency by percentile, and lines of
 * cost against a number that should not matter. Pure: text out.
 */
import { counted } from "./ranking.ts";
import type { Report, Row, WorkResult } from "./result.ts";
import { percentile, type Summary, summary } from "./statistics.ts";
import { number } from "./table.ts";
import { sweeps } from "./tables.ts";

const WIDTH = 860;
const FONT = 'font-family="system-ui, sans-serif" font-size="12"';
/** Okabe and Ito's palette, distinguishable for most colour-blind readers. */
const COLOURS = [
  "#d55e00",
  "#e69f00",
  "#0072b2",
  "#56b4e9",
  "#009e73",
  "#88cc88",
  "#cc79a7",
  "#999999",
  "#000000",
  "#f0e442",
  "#8c564b",
  "#5f4b8b",
];

function xml(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}

function text(x: number, y: number, content: string, more = ""): string {
  return `<text x="${x.toFixed(1)}" y="${y.toFixed(1)}" ${FONT} fill="#222" ${more}>${xml(content)}</text>`;
}

function svg(height: number, title: string, body: readonly string[]): string {
  const head = `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${height}" viewBox="0 0 ${WIDTH} ${height}" role="img">`;
  const back = `<title>${xml(title)}</title><rect width="100%" height="100%" fill="#fff"/>`;
  return `${head}${back}${text(16, 22, title, 'font-weight="600"')}${body.join("")}</svg>\n`;
}

function colours(report: Report): Map<string, string> {
  return new Map(report.contenders.map((c, i) => [c.name, COLOURS[i % COLOURS.length]!]));
}

/** A contender with several workers has its own colour. */
function colourOf(colour: ReadonlyMap<string, string>, row: Row): string {
  return colour.get(row.contender.split(" ×")[0]!) ?? "#222";
}

function cost(row: Row): Summary {
  return summary(counted(row).flatMap((run) => run.cost ?? []));
}

/** One group of bars per piece of work, each scaled to its dearest bar. */
export function costChart(report: Report): string {
  const colour = colours(report);
  const body: string[] = [];
  const left = 150;
  let y = 44;
  for (const work of report.works.filter((w) => !w.sweep)) {
    const rows = work.rows.filter((row) => !row.failed && Number.isFinite(cost(row).median));
    const scale = (WIDTH - left - 120) / Math.max(...rows.map((row) => cost(row).high));
    body.push(
      text(16, y + 4, `${work.title}, CPU ${work.unit === "GB" ? "s/GB" : "µs"}`, 'font-weight="600"'),
    );
    y += 12;
    for (const row of rows) {
      const c = cost(row);
      body.push(text(left - 6, y + 11, row.contender, 'text-anchor="end"'));
      body.push(
        `<rect x="${left}" y="${y}" width="${(c.median * scale).toFixed(1)}" height="14" fill="${colourOf(colour, row)}"/>`,
      );
      const [from, to] = [left + c.low * scale, left + c.high * scale];
      body.push(`<path d="M${from.toFixed(1)} ${y + 7}H${to.toFixed(1)}" stroke="#222" stroke-width="1.5"/>`);
      body.push(text(Math.max(to, left) + 6, y + 11, number(c.median)));
      y += 18;
    }
    y += 18;
  }
  return svg(y, "CPU per unit of work (bar: median, line: what holds it; shorter is better)", body);
}

const PERCENTS = [50, 75, 90, 95, 99, 99.5, 99.9, 99.95, 99.99];

/** Points of a line chart with a logarithmic y axis; x is a position from 0 to 1. */
interface Line {
  readonly name: string;
  readonly colour: string;
  readonly points: readonly (readonly [number, number])[];
}

function lineChart(
  title: string,
  lines: readonly Line[],
  ticks: readonly (readonly [number, string])[],
  unit: string,
): string {
  const values = lines.flatMap((line) => line.points.map((point) => point[1])).filter((v) => v > 0);
  if (values.length === 0) return svg(60, `${title}: nothing measured`, []);
  const low = Math.log10(Math.min(...values)) - 0.05;
  const high = Math.log10(Math.max(...values)) + 0.05;
  const [left, right, top, bottom] = [70, WIDTH - 170, 44, 380];
  const x = (at: number): number => left + at * (right - left);
  const y = (value: number): number => bottom - ((Math.log10(value) - low) / (high - low)) * (bottom - top);
  const body: string[] = [];
  for (const [at, label] of ticks) body.push(text(x(at), bottom + 18, label, 'text-anchor="middle"'));
  for (let exponent = Math.floor(low); exponent <= high; exponent++) {
    for (const factor of [1, 2, 5]) {
      const value = factor * 10 ** exponent;
      if (Math.log10(value) < low || Math.log10(value) > high) continue;
      body.push(
        `<path d="M${left} ${y(value).toFixed(1)}H${right}" stroke="#ddd"/>`,
        text(left - 6, y(value) + 4, number(value), 'text-anchor="end"'),
      );
    }
  }
  lines.forEach((line, i) => {
    const path = line.points.map(([at, value]) => `${x(at).toFixed(1)},${y(value).toFixed(1)}`).join(" ");
    body.push(`<polyline points="${path}" fill="none" stroke="${line.colour}" stroke-width="2"/>`);
    body.push(`<rect x="${right + 14}" y="${top + i * 18}" width="12" height="12" fill="${line.colour}"/>`);
    body.push(text(right + 31, top + 10 + i * 18, line.name));
  });
  return svg(410, `${title} (${unit}, logarithmic)`, body);
}

export function latencyChart(report: Report, work: WorkResult): string {
  const colour = colours(report);
  const lines = work.rows
    .filter((row) => !row.failed && row.histogram.length > 0)
    .map((row) => ({
      name: row.contender,
      colour: colour.get(row.contender)!,
      points: PERCENTS.map(
        (p, i) => [i / (PERCENTS.length - 1), percentile(row.histogram, p) / 1000] as const,
      ),
    }));
  const ticks = PERCENTS.map((p, i) => [i / (PERCENTS.length - 1), `${p} %`] as const);
  return lineChart(
    `Latency by percentile: ${work.title}, ${number(work.rate ?? Number.NaN)}/s`,
    lines,
    ticks,
    "µs",
  );
}

function sweepLines(
  report: Report,
  works: readonly WorkResult[],
  of: (row: Row) => number,
): readonly [Line[], (readonly [number, string])[]] {
  const colour = colours(report);
  const position = (i: number): number => (works.length > 1 ? i / (works.length - 1) : 0);
  const lines = report.contenders.map((c) => ({
    name: c.name,
    colour: colour.get(c.name)!,
    points: works.flatMap((work, i) => {
      const row = work.rows.find((r) => r.contender === c.name && !r.failed);
      const value = row ? of(row) : Number.NaN;
      return value > 0 ? [[position(i), value] as const] : [];
    }),
  }));
  const ticks = works.map((work, i) => [position(i), work.sweep!.x.toLocaleString("en-US")] as const);
  return [lines.filter((line) => line.points.length > 0), ticks];
}

/** Cost and, where there are operations, p99 against the number that differs. */
export function sweepCharts(report: Report, works: readonly WorkResult[]): (readonly [string, string])[] {
  const { unit, sweep } = works[0]!;
  const { name, axis } = sweep!;
  const [costs, ticks] = sweepLines(report, works, (row) => cost(row).median);
  const chart = lineChart(`Cost against ${axis}`, costs, ticks, unit === "GB" ? "CPU s/GB" : "CPU µs");
  if (unit === "GB") return [[name, chart]];
  const [tails] = sweepLines(report, works, (row) => percentile(row.histogram, 99) / 1000);
  return [
    [name, chart],
    [`${name}-p99`, lineChart(`p99 against ${axis}, closed loop`, tails, ticks, "µs")],
  ];
}

/** File name without extension, and content. */
export function charts(report: Report): (readonly [string, string])[] {
  const list: (readonly [string, string])[] = [];
  if (report.works.some((work) => !work.sweep)) list.push(["cost", costChart(report)]);
  for (const work of report.works.filter((w) => w.rate)) list.push([work.name, latencyChart(report, work)]);
  for (const works of sweeps(report)) list.push(...sweepCharts(report, works));
  return list;
}
