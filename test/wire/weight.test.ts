import assert from "node:assert/strict";
import { test } from "node:test";
import { zeroWorth } from "../../lib/wire/weight.ts";

test("weight 0 counts what the RFC's draw gives it, and together at most a hundredth of the others", () => {
  assert.equal(zeroWorth(100, 1), 1);
  assert.equal(zeroWorth(65_535, 4), 0.25);
  assert.equal(zeroWorth(20, 2), 0.1);
  assert.equal(zeroWorth(0, 3), 1, "where nobody has a weight all count the same");
});
