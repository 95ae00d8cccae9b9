/** Ensures that counts per source are never too low, are exact where they matter, and return to zero. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { createSharedSources, SourceCounts } from "../../lib/listen/sources.ts";

describe("source counts", () => {
  it("count each source in each scope for itself", () => {
    const counts = new SourceCounts(createSharedSources());
    assert.deepEqual(
      [1, 2, 3],
      [0, 0, 0].map(() => counts.enter(0, "10.0.0.1")),
    );
    assert.equal(counts.enter(1, "10.0.0.1"), 1);
    assert.equal(counts.enter(0, "10.0.0.2"), 1);
    assert.equal(counts.enter(0, "2001:db8::1"), 1);
    counts.leave(0, "10.0.0.1");
    assert.equal(counts.enter(0, "10.0.0.1"), 3);
  });

  it("are shared by all who hold the same memory", () => {
    const shared = createSharedSources();
    const [one, two] = [new SourceCounts(shared), new SourceCounts(structuredClone(shared))];
    one.enter(0, "10.0.0.1");
    assert.equal(two.enter(0, "10.0.0.1"), 2);
    one.leave(0, "10.0.0.1");
    two.leave(0, "10.0.0.1");
    assert.ok(shared.counts.every((count) => count === 0));
  });

  it("stay exact with ten thousand sources, and of the same size with a million", () => {
    const shared = createSharedSources([1, 2]);
    const counts = new SourceCounts(shared);
    const name = (index: number): string => `10.${index >> 16}.${(index >> 8) & 255}.${index & 255}`;
    let wrong = 0;
    for (let index = 0; index < 10_000; index++) if (counts.enter(0, name(index)) !== 1) wrong++;
    assert.ok(wrong < 10, `${wrong} estimates too high`);
    const { byteLength } = shared.counts;
    for (let index = 10_000; index < 300_000; index++) counts.enter(0, name(index));
    assert.equal(shared.counts.byteLength, byteLength);
    for (let index = 0; index < 300_000; index++) counts.leave(0, name(index));
    assert.ok(shared.counts.every((count) => count === 0));
  });

  it("fall elsewhere with another seed", () => {
    const place = (seed: readonly [number, number]): string => {
      const shared = createSharedSources(seed);
      new SourceCounts(shared).enter(0, "10.0.0.1");
      return [...shared.counts.keys()].filter((index) => shared.counts[index] === 1).join();
    };
    assert.equal(place([1, 2]), place([1, 2]));
    assert.notEqual(place([1, 2]), place([3, 2]));
    assert.notEqual(place([1, 2]), place([1, 4]));
    assert.notDeepEqual(createSharedSources().seed, createSharedSources().seed);
  });
});
