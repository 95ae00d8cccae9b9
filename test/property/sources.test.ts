/** Per-source counts against exact ones: never below, and zero when everybody has left, in whatever order they come and go. */
import assert from "node:assert/strict";
import { it } from "node:test";
import fc from "fast-check";
import { createSharedSources, SourceCounts } from "../../lib/listen/sources.ts";

it("never estimates below the truth, and returns to zero", () => {
  const shared = createSharedSources();
  const counts = new SourceCounts(shared);
  const who = fc.tuple(
    fc.integer({ min: 0, max: 3 }),
    fc.oneof(fc.ipV4(), fc.ipV6(), fc.constantFrom("a", "b", "")),
  );
  fc.assert(
    fc.property(fc.array(fc.tuple(who, fc.boolean()), { maxLength: 80 }), (steps) => {
      const present = new Map<string, { scope: number; source: string; count: number }>();
      for (const [[scope, source], enters] of steps) {
        const key = `${scope} ${source}`;
        const entry = present.get(key) ?? { scope, source, count: 0 };
        if (enters) {
          entry.count++;
          present.set(key, entry);
          assert.ok(counts.enter(scope, source) >= entry.count);
        } else if (entry.count > 0) {
          entry.count--;
          counts.leave(scope, source);
        }
      }
      for (const { scope, source, count } of present.values()) {
        for (let left = count; left > 0; left--) counts.leave(scope, source);
      }
      assert.ok(shared.counts.every((count) => count === 0));
    }),
    { numRuns: 100 },
  );
});
