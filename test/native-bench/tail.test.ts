import assert from "node:assert/strict";
import { test } from "node:test";
import type { Kind } from "../../native-bench/contender.ts";
import { type Measured, type Tail, tails, type Window } from "../../native-bench/tail.ts";

/** Per round: 1,000 requests of `value` ns, of which `slow` took `late` ns. */
function windows(rounds: number, value: number, slow = 0, late = 0): Window[] {
  return Array.from({ length: rounds }, (_, round) => ({
    round,
    histogram: [[value, 1000 - slow] as const, ...(slow > 0 ? [[late, slow] as const] : [])],
  }));
}

function measured(name: string, kind: Kind, list: readonly Window[]): Measured {
  return { name, kind, windows: list };
}

const DIRECT = measured("direct", "direct", windows(8, 100));

function tail(list: readonly Measured[], name: string, percent: number): Tail {
  const all = tails(list);
  return all[list.findIndex((m) => m.name === name)]!.find((one) => one.percent === percent)!;
}

test("percentiles are those of all windows together, and what is added is the difference", () => {
  const ours = measured("millrace", "millrace", windows(8, 300, 20, 5000));
  const theirs = measured("haproxy", "peer", windows(8, 500, 20, 2100));
  const list = [DIRECT, ours, theirs];
  const median = tail(list, "millrace", 50);
  assert.deepEqual(median.value, { value: 300, low: 300, high: 300 });
  assert.deepEqual(median.added, { value: 200, low: 200, high: 200 });
  assert.deepEqual(median.ratios, { haproxy: { value: 0.5, low: 0.5, high: 0.5 } });
  const p99 = tail(list, "millrace", 99);
  assert.equal(p99.value.value, 5000);
  assert.equal(p99.ratios["haproxy"]!.value, 4900 / 2000);
});

test("a percentile that rests on one window has an interval that says so", () => {
  const bad: Window = { round: 3, histogram: [[300, 900] as const, [90_000, 100] as const] };
  const ours = measured(
    "millrace",
    "millrace",
    windows(8, 300).map((window) => (window.round === 3 ? bad : window)),
  );
  const { value } = tail([DIRECT, ours], "millrace", 99);
  assert.deepEqual(value, { value: 90_000, low: 300, high: 90_000 });
});

test("a draw in which a peer adds nothing is the worst for us and not left out", () => {
  const ours = measured("millrace", "millrace", windows(8, 300));
  // Five rounds of eight are slow: in many draws the others make the median.
  const some = windows(8, 100).map((window) =>
    window.round < 5 ? { ...window, histogram: [[200, 1000] as const] } : window,
  );
  const { ratios } = tail([DIRECT, ours, measured("haproxy", "peer", some)], "millrace", 50);
  assert.deepEqual(ratios["haproxy"], { value: 2, low: 2, high: Number.POSITIVE_INFINITY });
  // What adds nothing at all has no ratio.
  const nothing = measured("nginx", "peer", windows(8, 100));
  assert.deepEqual(tail([DIRECT, ours, nothing], "millrace", 50).ratios, {});
});

test("what a round did to all cancels out", () => {
  const slower = (list: Window[]): Window[] =>
    list.map(({ round, histogram }) => ({
      round,
      histogram: histogram.map(([value, count]) => [value * (1 + round), count] as const),
    }));
  const ours = measured("millrace", "millrace", slower(windows(9, 200)));
  const theirs = measured("haproxy", "peer", slower(windows(9, 300)));
  const direct = measured("direct", "direct", slower(windows(9, 100)));
  const { value, ratios } = tail([direct, ours, theirs], "millrace", 50);
  assert.ok(value.high > value.low);
  assert.deepEqual(ratios["haproxy"], { value: 0.5, low: 0.5, high: 0.5 });
});

test("without a direct connection nothing is added, and without samples there is nothing", () => {
  const ours = measured("millrace", "millrace", windows(4, 300));
  const [alone] = tails([ours]);
  assert.equal(alone![0]!.added, null);
  assert.deepEqual(tails([DIRECT, measured("nginx", "peer", [])])[1], null);
  assert.deepEqual(tails([]), []);
});

test("the same windows give the same interval", () => {
  const uneven = windows(8, 300).map((window, i) => ({ ...window, histogram: [[300 + 7 * i, 50] as const] }));
  const list = [DIRECT, measured("millrace", "millrace", uneven)];
  assert.deepEqual(tails(list), tails(list));
});
