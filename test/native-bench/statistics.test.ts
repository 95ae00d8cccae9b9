import assert from "node:assert/strict";
import { test } from "node:test";
import {
  agree,
  apartByChance,
  median,
  merge,
  percentile,
  ratio,
  spread,
  summary,
  tailOf,
  trimmed,
  verdict,
} from "../../native-bench/statistics.ts";

test("the median of an even list lies between the middle two", () => {
  assert.equal(median([4, 1, 3, 2]), 2.5);
  assert.equal(median([3, 1, 2]), 2);
  assert.ok(Number.isNaN(median([])));
});

test("a summary holds the median and what holds it, and its spread is how wide that is", () => {
  const values = summary([10, 12, 9]);
  assert.deepEqual(values, { median: 10, low: 9, high: 12 });
  assert.equal(spread(values), 0.3);
  // Of twelve the two smallest and the two largest say nothing of the median.
  assert.deepEqual(summary([99, 4, 5, 6, 7, 8, 9, 10, 11, 0, 1, 88]), { median: 7.5, low: 4, high: 11 });
});

test("up to eight values the interval reaches from the smallest to the largest", () => {
  for (const count of [1, 3, 5, 7, 8]) assert.equal(trimmed(count), 0, `${count}`);
});

test("with more values extremes are left out as long as 93 % hold", () => {
  // 1 - 2 * (C(10,0) + C(10,1)) / 2^10 = 0.979; one more on each side would give 0.891.
  assert.equal(trimmed(10), 1);
  // Order statistics of 20: 1 - 2 * P(X <= 5) = 0.959, P(X <= 6) gives 0.885.
  assert.equal(trimmed(20), 5);
});

test("ratios are made of pairs from one round, dropped runs left out", () => {
  const value = ratio([10, null, 30, 44], [5, 1, 10, 11]);
  assert.deepEqual(value, { value: 3, low: 2, high: 4, count: 3 });
  assert.equal(ratio([null], [1]), null);
  assert.equal(ratio([1], []), null);
});

test("a ratio wins or loses only when its whole interval does", () => {
  assert.equal(verdict({ low: 0.8, high: 0.99 }), "wins");
  assert.equal(verdict({ low: 0.8, high: 1.01 }), "ties");
  assert.equal(verdict({ low: 1.02, high: 1.2 }), "loses");
});

test("two runs agree when their intervals meet", () => {
  const first = { low: 0.9, high: 1.1 };
  assert.ok(agree(first, { low: 1.1, high: 1.3 }));
  assert.ok(!agree(first, { low: 1.11, high: 1.3 }));
});

test("how often two results of the same thing are apart is exact", () => {
  // All of one five below all of the other, or above: 2 of the 252 ways to order them.
  assert.equal(apartByChance(5, 5), 2 / 252);
  assert.equal(apartByChance(3, 3), 2 / 20);
  assert.equal(apartByChance(1, 1), 1);
  assert.equal(apartByChance(3, 7), apartByChance(7, 3));
  // From nine runs on the interval leaves extremes out: counted in all orders of two times ten.
  const orders = choices(20, 10);
  const apart = orders.filter((ours) => {
    const theirs = Array.from({ length: 20 }, (_, i) => i).filter((i) => !ours.includes(i));
    return ours[8]! < theirs[1]! || theirs[8]! < ours[1]!;
  });
  assert.ok(Math.abs(apartByChance(10, 10) - apart.length / orders.length) < 1e-12);
});

/** All ways to choose `k` of the numbers below `n`, each in rising order. */
function choices(n: number, k: number, from = 0): number[][] {
  if (k === 0) return [[]];
  const list: number[][] = [];
  for (let i = from; i <= n - k; i++) for (const rest of choices(n, k - 1, i + 1)) list.push([i, ...rest]);
  return list;
}

test("more chance events than expected are the less likely the more there are", () => {
  assert.equal(tailOf(0, 3), 1);
  assert.ok(Math.abs(tailOf(1, 0.5) - (1 - Math.exp(-0.5))) < 1e-12);
  assert.ok(tailOf(4, 0.5) < 0.01);
});

test("percentiles of merged histograms are those of all samples together", () => {
  const all = merge([
    [
      [10, 98],
      [20, 1],
    ],
    [
      [5, 100],
      [1000, 1],
    ],
  ]);
  assert.deepEqual(all, [
    [5, 100],
    [10, 98],
    [20, 1],
    [1000, 1],
  ]);
  assert.equal(percentile(all, 50), 5);
  assert.equal(percentile(all, 99), 10);
  assert.equal(percentile(all, 99.5), 20);
  assert.equal(percentile(all, 100), 1000);
  assert.ok(Number.isNaN(percentile([], 50)));
});
