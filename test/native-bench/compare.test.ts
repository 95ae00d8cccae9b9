import assert from "node:assert/strict";
import { test } from "node:test";
import { compare } from "../../native-bench/compare.ts";
import type { Report } from "../../native-bench/result.ts";
import { PERCENTS } from "../../native-bench/tail.ts";
import { report, row, work } from "./reports.ts";

/** As many works as costs of Millrace in a run of each, beside a peer that costs 10. */
function measured(costs: readonly (readonly number[])[]): Report {
  return report(
    costs.map((ours, i) =>
      work(
        [
          row("millrace-epoll", "millrace", ours),
          row(
            "haproxy",
            "peer",
            ours.map(() => 10),
          ),
        ],
        {
          name: `w${i}`,
        },
      ),
    ),
  );
}

const STEADY = Array.from({ length: 12 }, () => [10, 10.1, 10.2, 10.3, 10.4]);

test("results of the same thing agree", () => {
  const again = STEADY.map((costs) => costs.map((cost) => cost + 0.05));
  const found = compare(measured(STEADY), measured(again));
  assert.equal(found.compared, 12);
  assert.deepEqual([found.differ, found.vague, found.conditions], [[], [], []]);
  assert.ok(!found.changed);
  assert.ok(Math.abs(found.expected - 12 * (2 / 252)) < 1e-9);
});

test("one of many may differ by chance, several may not", () => {
  const with_ = (changed: number): Report =>
    measured(STEADY.map((costs, i) => (i < changed ? costs.map((cost) => cost * 1.1) : costs)));
  const one = compare(measured(STEADY), with_(1));
  assert.deepEqual(one.differ, ["w0: millrace-epoll to haproxy was 1.02 (1.00–1.04), is 1.12 (1.10–1.14)"]);
  assert.ok(!one.changed);
  const three = compare(measured(STEADY), with_(3));
  assert.equal(three.differ.length, 3);
  assert.ok(three.changed);
});

/** As many works of five runs, beside four peers that cost 10. */
function besideFour(...costs: readonly (readonly number[])[]): Report {
  const peers = ["haproxy", "nginx", "hitch", "stunnel"];
  const works = costs.map((ours, i) => {
    const rows = peers.map((name) => row(name, "peer", [10, 10, 10, 10, 10]));
    return work([row("millrace-epoll", "millrace", ours), ...rows], { name: `w${i}` });
  });
  return report(works);
}

test("a process with a bad life differs from all peers at once, and that is one difference", () => {
  const [good, bad] = [
    [10, 10.1, 10.2, 10.3, 10.4],
    [12, 12.1, 12.2, 12.3, 12.4],
  ];
  const steady = [good, good, good, good, good, good];
  const once = compare(besideFour(...steady), besideFour(bad, ...steady.slice(1)));
  assert.deepEqual([once.compared, once.differ.length, once.apart], [24, 4, 1]);
  assert.ok(Math.abs(once.expected - 6 * (1 - (1 - 2 / 252) ** 4)) < 1e-9);
  assert.ok(!once.changed);
  const thrice = compare(besideFour(...steady), besideFour(bad, bad, bad, ...steady.slice(3)));
  assert.deepEqual([thrice.differ.length, thrice.apart, thrice.changed], [12, 3, true]);
});

test("a single ratio that differs is a change", () => {
  assert.ok(compare(measured([[10, 10, 10, 10, 10]]), measured([[11, 11, 11, 11, 11]])).changed);
  // With three runs each it comes by chance once in ten times.
  assert.ok(!compare(measured([[10, 10, 10]]), measured([[11, 11, 11]])).changed);
});

test("intervals that agree with anything are not taken for agreement", () => {
  const wide = compare(measured([[7, 9, 10, 12, 15]]), measured([[10, 10, 10, 10, 10]]));
  assert.deepEqual(wide.differ, []);
  assert.deepEqual(wide.vague, ["w0: millrace-epoll to haproxy was 1.00 (0.70–1.50), is 1.00 (1.00–1.00)"]);
});

test("at a fixed rate tails are compared, not costs", () => {
  const at = (value: number): Report => {
    const estimate = { value, low: value * 0.95, high: value * 1.05 };
    const tails = PERCENTS.map((percent) => ({
      ...{ percent, value: estimate, added: estimate },
      ratios: { haproxy: estimate },
    }));
    const rows = [{ ...row("millrace-epoll", "millrace", [10]), tails }, row("haproxy", "peer", [10])];
    return report(["latency", "tlatency"].map((name) => work(rows, { name, rate: 1000 })));
  };
  assert.equal(compare(at(1), at(1.05)).compared, 6);
  assert.ok(!compare(at(1), at(1.05)).changed);
  assert.match(
    compare(at(1), at(1.5)).differ.join("\n"),
    /latency: millrace-epoll to haproxy, p99\.9 was 1\.00/,
  );
  assert.ok(compare(at(1), at(1.5)).changed);
});

test("another kernel, link or version is said", () => {
  const before = measured(STEADY);
  const place = { ...before.place, link: "veth" as const };
  const contenders = before.contenders.map((c) => (c.name === "haproxy" ? { ...c, version: "2" } : c));
  assert.deepEqual(compare(before, { ...before, place, contenders }).conditions, [
    "link: was loopback, is veth",
    "haproxy: was 1, is 2",
  ]);
});
