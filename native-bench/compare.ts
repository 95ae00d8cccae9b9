/**
 * Two reports of one machine: which ratios agree within their intervals, and whether more differ than chance explains. Pure.
 */
import { rank } from "./ranking.ts";
import type { Report, Row, WorkResult } from "./result.ts";
import { agree, apartByChance, type Estimate, type Ratio, tailOf } from "./statistics.ts";
import { ratioText } from "./table.ts";

export interface Comparison {
  readonly compared: number;
  /** One line each: what differs and by how much. */
  readonly differ: readonly string[];
  /** Ratios whose intervals are so wide that to agree means nothing. */
  readonly vague: readonly string[];
  /** Works in which a contender of ours differs, in one ratio or in many. */
  readonly apart: number;
  /** How many would by chance if nothing had changed. */
  readonly expected: number;
  /** More are apart than chance explains. */
  readonly changed: boolean;
  /** What else is not the same. */
  readonly conditions: readonly string[];
}

/** An interval wider than this share of its middle agrees with nearly everything. */
const VAGUE = 0.25;
/** So many differences come by chance once in a hundred comparisons. */
const SIGNIFICANCE = 0.01;
/** Intervals of 95 % do not meet when two estimates are 2.77 standard errors apart. */
const TAILS_APART = 0.006;

interface Pair {
  readonly what: string;
  /** The work and the contender of ours: a process that has a bad life shifts all its ratios at once, so they tell one thing. */
  readonly group: string;
  readonly before: Estimate;
  readonly after: Estimate;
  /** That the two differ though nothing changed. */
  readonly chance: number;
}

/** The cost of `ours` as a ratio to that of `theirs` in one report. */
function costRatio(work: WorkResult, ours: string, theirs: string): Ratio | null {
  const rows = work.rows
    .filter((row) => row.contender === ours || row.contender === theirs)
    .map((row): Row => (row.contender === theirs ? { ...row, kind: "peer" } : row));
  return rank({ ...work, rows }).ranked.find((r) => r.row.contender === ours)?.toBest ?? null;
}

/** Ratios to each peer: ratios to "the best" alone would hide a change of best. */
function pairs(before: WorkResult, after: WorkResult): Pair[] {
  const list: Pair[] = [];
  const others = before.rows.filter((row) => row.kind === "peer" || row.kind === "floor");
  for (const { contender: ours, tails } of before.rows.filter((row) => row.kind === "millrace")) {
    const again = after.rows.find((row) => row.contender === ours);
    const group = `${before.name}: ${ours}`;
    for (const { contender: theirs } of others) {
      const what = `${group} to ${theirs}`;
      const [a, b] = [costRatio(before, ours, theirs), costRatio(after, ours, theirs)];
      // At a fixed rate the tail is what counts.
      if (before.rate === null && a && b) {
        list.push({ what, group, before: a, after: b, chance: apartByChance(a.count, b.count) });
      }
      for (const tail of tails ?? []) {
        const x = tail.ratios[theirs];
        const y = again?.tails?.find((one) => one.percent === tail.percent)?.ratios[theirs];
        if (x && y)
          list.push({ what: `${what}, p${tail.percent}`, group, before: x, after: y, chance: TAILS_APART });
      }
    }
  }
  return list;
}

function isVague({ value, low, high }: Estimate): boolean {
  return high - low > VAGUE * value;
}

function conditions(before: Report, after: Report): string[] {
  const facts = (r: Report): [string, string][] => [
    ["CPU", `${r.place.machine.cpus} × ${r.place.machine.cpu}`],
    ["kernel", r.place.machine.kernel],
    ["link", r.place.link ?? "loopback"],
    ["generator", r.generator],
    ["access log", r.accessLog ? "on" : "off"],
    ...r.contenders.map((c): [string, string] => [c.name, c.version]),
  ];
  const now = new Map(facts(after));
  return facts(before)
    .filter(([name, value]) => now.has(name) && now.get(name) !== value)
    .map(([name, value]) => `${name}: was ${value}, is ${now.get(name)}`);
}

/** How many groups would have a ratio that differs by chance: the most there can be, as if their ratios were independent. */
function expectedApart(all: readonly Pair[]): number {
  const none = new Map<string, number>();
  for (const { group, chance } of all) none.set(group, (none.get(group) ?? 1) * (1 - chance));
  return [...none.values()].reduce((sum, agreeing) => sum + 1 - agreeing, 0);
}

export function compare(before: Report, after: Report): Comparison {
  const all = before.works.flatMap((work) => {
    const again = after.works.find((other) => other.name === work.name);
    return again ? pairs(work, again) : [];
  });
  const line = (pair: Pair): string =>
    `${pair.what} was ${ratioText(pair.before)}, is ${ratioText(pair.after)}`;
  const differ = all.filter((pair) => !agree(pair.before, pair.after));
  const vague = all.filter((pair) => !differ.includes(pair) && (isVague(pair.before) || isVague(pair.after)));
  const apart = new Set(differ.map((pair) => pair.group)).size;
  const expected = expectedApart(all);
  return {
    compared: all.length,
    differ: differ.map(line),
    vague: vague.map(line),
    apart,
    expected,
    changed: tailOf(apart, expected) < SIGNIFICANCE,
    conditions: conditions(before, after),
  };
}
