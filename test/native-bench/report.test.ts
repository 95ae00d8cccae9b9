import assert from "node:assert/strict";
import { test } from "node:test";
import { parseCalls } from "../../native-bench/calls.ts";
import { charts } from "../../native-bench/chart.ts";
import { growth } from "../../native-bench/idle.ts";
import { disturbance, order } from "../../native-bench/measure.ts";
import { changes, slower } from "../../native-bench/micro-compare.ts";
import { overview } from "../../native-bench/overview.ts";
import { besideBuilds, bestAt, rank, tailToBest } from "../../native-bench/ranking.ts";
import { readmeTable, replaceTable } from "../../native-bench/readme.ts";
import { parseReport, type Row } from "../../native-bench/result.ts";
import { markdown, workTable } from "../../native-bench/tables.ts";
import { PERCENTS, type Tail } from "../../native-bench/tail.ts";
import { WORKS } from "../../native-bench/works.ts";
import { report, row, run, work } from "./reports.ts";

const ROWS = [
  row("direct", "direct", []),
  row("floor", "floor", [5, 5, 5]),
  row("millrace-epoll", "millrace", [11, 12, 13]),
  row("haproxy", "peer", [10, 10, 10]),
  row("nginx", "peer", [9.9, 15, 15]),
  row("node-pipe", "baseline", [1, 1, 1]),
];

test("the best peer is the one with the lowest median, never a yardstick or the baseline", () => {
  const ranking = rank(work(ROWS));
  assert.equal(ranking.best, "haproxy");
  const ours = ranking.ranked.find((r) => r.row.contender === "millrace-epoll")!;
  assert.deepEqual(ours.toBest, { value: 1.2, low: 1.1, high: 1.3, count: 3 });
  assert.equal(ours.toFloor!.value, 2.4);
  assert.equal(ours.verdict, "loses");
});

test("a repeated run replaces the dropped one of its round", () => {
  const ours = {
    ...row("millrace-epoll", "millrace", []),
    runs: [run(0, 99, "steal 5 %"), run(0, 10), run(1, 8, "errors")],
  };
  const ranking = rank(work([ours, row("haproxy", "peer", [10, 10])]));
  assert.deepEqual(ranking.ranked[0]!.toBest, { value: 1, low: 1, high: 1, count: 1 });
});

test("this build stands beside every other build on the same transport", () => {
  const rows = [
    row("millrace-epoll", "millrace", [9, 9, 18]),
    row("millrace-net", "millrace", [1, 1, 1]),
    row("millrace-epoll@old", "millrace", [10, 10, 10]),
    row("millrace-net@old", "millrace", []),
  ];
  assert.deepEqual(besideBuilds(work(rows)), [
    {
      name: "millrace-epoll",
      to: "millrace-epoll@old",
      ratio: { value: 0.9, low: 0.9, high: 1.8, count: 3 },
    },
  ]);
  assert.match(
    workTable(work(rows)),
    /CPU beside other builds: millrace-epoll to millrace-epoll@old: 0\.90 /,
  );
  assert.doesNotMatch(workTable(work(rows.slice(0, 2))), /beside other builds/);
});

function doubts(one: Row, rate: number | null = null): string {
  return rank(work([one], { rate })).ranked[0]!.doubts.join("; ");
}

test("runs that differ too much, dropped runs, a busy machine and a late generator are doubts of their row", () => {
  assert.equal(doubts(row("haproxy", "peer", [10, 11, 12])), "");
  assert.match(doubts(row("haproxy", "peer", [10, 10, 14])), /runs differ by 40 %/);
  const stolen = { ...row("haproxy", "peer", []), runs: [run(0, 9, "steal 3.0 %"), run(0, 10)] };
  assert.equal(doubts(stolen), "1 runs did not count (steal)");
  const busy = { ...row("haproxy", "peer", []), runs: [{ ...run(0, 10), foreign: 0.3 }] };
  assert.match(doubts(busy), /30 % of the machine/);
  const late = { ...run(0, 10), waited: { proxy: 0, generator: 0.05 } };
  assert.match(doubts({ ...busy, runs: [late] }), /the generator waited 5 %/);
  // With several workers on all CPUs the generator has to wait.
  assert.equal(doubts({ ...busy, workers: 2, runs: [late] }), "");
});

test("a doubt marks the cells that rest on it, and no others", () => {
  const wide = row("millrace-net", "millrace", [20, 20, 40]);
  const [line] = overview(report([work([...ROWS, wide])]))
    .split("\n")
    .filter((text) => text.includes("haproxy"));
  assert.match(line!, /1\.20 \(1\.10–1\.30\) \*\*loses\*\* \| 2\.00 \(2\.00–4\.00\) \*\*loses\*\* \? \|/);
});

test("a contender that cannot hold a fixed rate is doubted", () => {
  assert.equal(doubts(row("haproxy", "peer", [10, 10]), 1e5), "");
  assert.equal(doubts(row("nginx", "peer", [20, 20]), 1e5), "could not hold the rate");
});

test("workers are shown beside one worker of the same contender", () => {
  const rows = [
    { ...row("nginx", "peer", [10, 10]), workers: 1 },
    { ...row("nginx ×2", "peer", [11, 12]), workers: 2 },
    { ...row("nginx+tuned", "peer", [5, 5]), workers: 1 },
    { ...row("nginx+tuned ×2", "peer", [10, 10]), workers: 2 },
  ];
  const text = markdown(report([work(ROWS), work(rows, { name: "crr-workers" })]));
  assert.match(text, /\| nginx ×2 \| 2 \| 11\.5 \(11\.0–12\.0\) \| 1\.15 \(1\.10–1\.20\) \|/);
  assert.match(text, /\| nginx\+tuned ×2 \| 2 \| 10\.0 \(10\.0–10\.0\) \| 2\.00 \(2\.00–2\.00\) \|/);
});

test("a fixed rate is shown by what it adds to a direct connection", () => {
  const tail = (percent: number, value: number, ratios: Tail["ratios"]): Tail => {
    const at = { value, low: value, high: value };
    return { percent, value: at, added: { ...at, value: value - 1000 }, ratios };
  };
  const ratio = { haproxy: { value: 0.5, low: 0.4, high: 0.6 } };
  const rows = [
    { ...row("millrace-epoll", "millrace", [10]), tails: PERCENTS.map((p) => tail(p, 2000, ratio)) },
    { ...row("haproxy", "peer", [10]), tails: PERCENTS.map((p) => tail(p, 3000, {})) },
  ];
  const one = report([work(rows, { name: "latency", title: "fixed", rate: 1e4 })]);
  assert.match(overview(one), /\| added latency p99: fixed \| haproxy \| 0\.50 \(0\.40–0\.60\) wins \|/);
  assert.match(markdown(one), /\| millrace-epoll \| 2\.00 .* 1\.00 .* \| 0\.50 \(0\.40–0\.60\) \| wins \|/);
});

test("a peer that adds nothing is the best, and nobody is judged against a worse one", () => {
  const at = (value: number) => ({ value, low: value, high: value });
  const adds = (value: number, ratios: Tail["ratios"] = {}): Tail[] =>
    PERCENTS.map((percent) => ({ percent, value: at(1000 + value), added: at(value), ratios }));
  const ours = { ...row("millrace-epoll", "millrace", [10]), tails: adds(500, { haproxy: at(0.5) }) };
  const rows = [
    ours,
    { ...row("haproxy", "peer", [10]), tails: adds(1000) },
    { ...row("nginx", "peer", [10]), tails: adds(-10) },
  ];
  const one = work(rows, { name: "latency", rate: 1e4 });
  assert.equal(bestAt(one, 99)?.contender, "nginx");
  assert.equal(tailToBest(one, ours, 99), null);
});

test("an interval without an end is stored, read and shown", () => {
  const ratio = { haproxy: { value: 0.5, low: 0.4, high: Number.POSITIVE_INFINITY } };
  const tails = PERCENTS.map((percent) => {
    const value = { value: 2000, low: 2000, high: 2000 };
    return { percent, value, added: value, ratios: ratio };
  });
  const rows = [
    { ...row("millrace-epoll", "millrace", [10]), tails },
    { ...row("haproxy", "peer", [10]), tails: tails.map((tail) => ({ ...tail, ratios: {} })) },
  ];
  const one = report([work(rows, { name: "latency", title: "fixed", rate: 1e4 })]);
  const read = parseReport(JSON.stringify(one));
  assert.deepEqual(read, one);
  assert.match(overview(read), /0\.50 \(0\.40–∞\) ties/);
});

test("one tick of stolen time is no reason to repeat a short run", () => {
  const ping = WORKS.find(({ name }) => name === "ping64")!;
  for (const [ticks, seconds, again] of [
    [1, 0.3, false],
    [2, 0.3, true],
    [5, 3, false],
    [7, 3, true],
  ] as const) {
    const stolen = { ...run(0, 10), steal: (ticks * 0.01) / (2 * seconds) };
    assert.equal(disturbance(stolen, ping, seconds, 2) !== null, again, `${ticks} ticks of ${seconds} s`);
  }
});

test("the overview says where Millrace loses", () => {
  assert.match(overview(report([work(ROWS)])), /connect .*\| haproxy \| 1\.20 \(1\.10–1\.30\) \*\*loses\*\*/);
});

test("a report names what is missing and what failed", () => {
  const failed = { ...row("nginx", "peer", []), failed: "did not come up: no | module" };
  const text = markdown(report([work([...ROWS.slice(0, 4), failed])]));
  assert.match(text, /missing: envoy \(not here\)/);
  assert.match(text, /\| nginx \| failed: did not come up: no \/ module \|/);
});

test("charts are made of every piece of work, fixed rate and sweep", () => {
  const sweep = [1, 10].map((x) =>
    work(ROWS.slice(1, 4), { name: `by-x-${x}`, sweep: { name: "by-x", axis: "x", x } }),
  );
  const list = charts(report([work(ROWS), work(ROWS, { name: "latency", rate: 100 }), ...sweep]));
  assert.deepEqual(
    list.map(([name]) => name),
    ["cost", "latency", "by-x", "by-x-p99"],
  );
  for (const [, svg] of list) {
    assert.match(svg, /^<svg .*millrace-epoll.*<\/svg>\n$/s);
    assert.doesNotMatch(svg, /NaN|Infinity|undefined/);
  }
});

test("the README's table goes between the marks and nowhere else", () => {
  const readme = "a\n<!-- bench:begin -->\nold\n<!-- bench:end -->\nz\n";
  const table = readmeTable(report([work(ROWS)]), "results/x.json");
  const once = replaceTable(readme, table);
  assert.match(once, /^a\n<!-- bench:begin -->\n\| CPU cost.*results\/x\.json.*\n<!-- bench:end -->\nz\n$/s);
  assert.equal(replaceTable(once, table), once);
  assert.throws(() => replaceTable("no marks", table), /bench:begin/);
});

test("of several results a line is shown once, from the first, unless a later one has further contenders", () => {
  const shown = new Set<string>();
  const crr = report([work(ROWS)]);
  const both = report([work(ROWS), work(ROWS, { name: "sni", title: "by name" })]);
  assert.match(readmeTable(crr, "newest.json", shown), /connect/);
  const second = readmeTable(both, "older.json", shown);
  assert.match(second, /by name/);
  assert.doesNotMatch(second, /\| connect/);
  assert.equal(readmeTable(crr, "oldest.json", shown), "");
});

test("what idle connections take is the median of the steps: once is no habit", () => {
  const each = 2048;
  const stages = [1, 4, 7, 10].map((tenths) => 50e6 + tenths * 1000 * each);
  assert.equal(Math.round(growth(stages)), 10_000 * each);
  // A collector gives back 9 MB in the second step.
  assert.equal(Math.round(growth(stages.map((bytes, i) => (i < 2 ? bytes : bytes - 9e6)))), 10_000 * each);
  // A young generation grows by 4 MB in the first.
  assert.equal(Math.round(growth(stages.map((bytes, i) => (i < 1 ? bytes : bytes + 4e6)))), 10_000 * each);
});

test("rounds turn: forwards, backwards, then from the next on", () => {
  const list = ["a", "b", "c"];
  assert.deepEqual(
    [0, 1, 2, 3].map((round) => order(list, round).join("")),
    ["abc", "cba", "bca", "acb"],
  );
});

test("strace's table is read with and without an error column", () => {
  const text = `% time     seconds  usecs/call     calls    errors syscall
------ ----------- ----------- --------- --------- ----------------
 60.00    0.000300           3       100        40 recvfrom
 40.00    0.000200           2        50           accept4
------ ----------- ----------- --------- --------- ----------------
100.00    0.000500           3       150        40 total
`;
  assert.deepEqual(
    [...parseCalls(text)],
    [
      ["recvfrom", 100],
      ["accept4", 50],
    ],
  );
});

test("a slower machine is not taken for slower code", () => {
  const before = { reference: 100, a: 10, b: 10 };
  const now = { reference: 200, a: 20, b: 40, added: 5 };
  const list = changes(before, now);
  assert.deepEqual(list, [
    { name: "a", factor: 1 },
    { name: "b", factor: 2 },
  ]);
  assert.deepEqual(slower(list), [{ name: "b", factor: 2 }]);
});
