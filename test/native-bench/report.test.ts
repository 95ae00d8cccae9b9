import assert from "node:assert/strict";
import { test } from "node:test";
import { parseCalls } from "../../native-bench/calls.ts";
import { charts } from "../../native-bench/chart.ts";
import { compare } from "../../native-bench/compare.ts";
import { order } from "../../native-bench/measure.ts";
import { changes, slower } from "../../native-bench/micro-compare.ts";
import { choose } from "../../native-bench/peers/index.ts";
import { rank } from "../../native-bench/ranking.ts";
import { readmeTable, replaceTable } from "../../native-bench/readme.ts";
import type { Report, Row, Run, WorkResult } from "../../native-bench/result.ts";
import { markdown, overview } from "../../native-bench/tables.ts";

function run(round: number, cost: number, dropped: string | null = null): Run {
  const latency = { count: 1, min: 1, mean: 1, p50: 1, p90: 1, p99: 1, p999: 1, max: 1 };
  const shares = { proxyShare: 0.9, loadShare: 0.5, foreign: 0, steal: 0 };
  return {
    round,
    cost,
    machineCost: 2 * cost,
    rate: 1e6 / cost,
    ...shares,
    latency,
    tickets: 0,
    logged: 1,
    dropped,
  };
}

function row(contender: string, kind: Row["kind"], costs: readonly number[]): Row {
  const runs = costs.map((cost, round) => run(round, cost));
  return { contender, kind, version: "1", runs, cold: null, histogram: [[1000, 5]], failed: null };
}

function work(rows: readonly Row[], more: Partial<WorkResult> = {}): WorkResult {
  return {
    name: "crr",
    title: "connect",
    shape: "plain",
    unit: "operation",
    rate: null,
    sweep: null,
    rows,
    ...more,
  };
}

function report(works: readonly WorkResult[]): Report {
  return {
    ...{
      format: 1,
      date: "2026-01-01 00:00",
      command: "npm run bench",
      quick: false,
      revision: "abc",
      generator: "c",
    },
    ...{ accessLog: true, seconds: 1, runs: 3, warmup: 1, missing: [{ name: "envoy", reason: "not here" }] },
    place: {
      ...{ namespace: true, proxyCpu: 1, loadCpu: 0, congestion: "reno", descriptors: 1024 },
      machine: { cpu: "cpu", cpus: 2, kernel: "6.1", memory: 2 ** 31 },
    },
    contenders: works[0]!.rows.map((r) => ({ name: r.contender, kind: r.kind, version: "1", note: null })),
    works,
    idle: [],
    calls: [],
  };
}

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
  assert.deepEqual(ours.toBest, { median: 1.2, low: 1.1, high: 1.3 });
  assert.equal(ours.toFloor!.median, 2.4);
  assert.equal(ours.verdict, "loses");
});

test("a repeated run replaces the dropped one of its round", () => {
  const ours = {
    ...row("millrace-epoll", "millrace", []),
    runs: [run(0, 99, "steal 5 %"), run(0, 10), run(1, 8, "errors")],
  };
  const ranking = rank(work([ours, row("haproxy", "peer", [10, 10])]));
  assert.deepEqual(ranking.ranked[0]!.toBest, { median: 1, low: 1, high: 1 });
});

test("runs that differ too much, stolen time and a busy machine are doubts", () => {
  assert.deepEqual(rank(work([row("haproxy", "peer", [10, 11, 12])])).doubts, []);
  assert.match(rank(work([row("haproxy", "peer", [10, 10, 14])])).doubts.join(), /runs differ by 40 %/);
  const stolen = { ...row("haproxy", "peer", []), runs: [run(0, 9, "steal 3.0 %"), run(0, 10)] };
  assert.match(rank(work([stolen])).doubts.join(), /1 runs dropped/);
  const busy = { ...row("haproxy", "peer", []), runs: [{ ...run(0, 10), foreign: 0.3 }] };
  assert.match(rank(work([busy])).doubts.join(), /30 % of the machine/);
});

test("a contender that cannot hold a fixed rate is named", () => {
  const rows = [row("haproxy", "peer", [10, 10]), row("nginx", "peer", [20, 20])];
  assert.deepEqual(rank(work(rows, { rate: 1e5 })).doubts, ["nginx: could not hold the rate"]);
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
    ["cost", "latency", "by-x"],
  );
  for (const [, svg] of list) {
    assert.match(svg, /^<svg .*millrace-epoll.*<\/svg>\n$/s);
    assert.doesNotMatch(svg, /NaN|Infinity|undefined/);
  }
});

test("two reports are compared ratio by ratio", () => {
  const before = report([work(ROWS)]);
  const same = compare(before, before);
  assert.equal(same.compared, 3);
  assert.deepEqual(same.differ, []);
  const faster = report([
    work(ROWS.map((r) => (r.kind === "millrace" ? row(r.contender, r.kind, [5, 5, 5]) : r))),
  ]);
  assert.match(
    compare(before, faster).differ.join("\n"),
    /crr: millrace-epoll to haproxy was 1\.20 .* is 0\.50/,
  );
});

test("the README's table goes between the marks and nowhere else", () => {
  const readme = "a\n<!-- bench:begin -->\nold\n<!-- bench:end -->\nz\n";
  const table = readmeTable(report([work(ROWS)]), "results/x.json");
  const once = replaceTable(readme, table);
  assert.match(once, /^a\n<!-- bench:begin -->\n\| CPU cost.*results\/x\.json.*\n<!-- bench:end -->\nz\n$/s);
  assert.equal(replaceTable(once, table), once);
  assert.throws(() => replaceTable("no marks", table), /bench:begin/);
});

test("rounds turn: forwards, backwards, then from the next on", () => {
  const list = ["a", "b", "c"];
  assert.deepEqual(
    [0, 1, 2, 3].map((round) => order(list, round).join("")),
    ["abc", "cba", "bca", "acb"],
  );
});

test("peers are chosen by name with their variants, Millrace always", () => {
  const make = (name: string, kind: Row["kind"]) => ({
    name,
    kind,
    version: "",
    shapes: [],
    many: true,
    launch: () => ({ command: [] }),
  });
  const all = [
    make("floor", "floor"),
    make("millrace-net", "millrace"),
    make("haproxy", "peer"),
    make("haproxy+splice", "peer"),
    make("nginx", "peer"),
  ];
  const names = choose(all, ["haproxy"]).map((c) => c.name);
  assert.deepEqual(names, ["millrace-net", "haproxy", "haproxy+splice"]);
  assert.equal(choose(all, []).length, all.length);
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
