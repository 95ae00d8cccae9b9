import assert from "node:assert/strict";
import { test } from "node:test";
import { createProgress } from "../../native-bench/progress.ts";

/** What a terminal or a file would get. */
function screen(isTTY: boolean): { readonly lines: string[]; readonly out: NodeJS.WriteStream } {
  const lines: string[] = [];
  const out = { isTTY, columns: 80, write: (text: string) => lines.push(text) > 0 };
  return { lines, out: out as unknown as NodeJS.WriteStream };
}

test("a terminal has one line that never wraps, with the time that is left", () => {
  const { lines, out } = screen(true);
  let now = 0;
  const progress = createProgress(out, () => now);
  progress.begin(100);
  progress.step("crr", "haproxy", "run 1 of 5", 40);
  assert.equal(lines.at(-1), "0 %  2 min left  crr  haproxy  run 1 of 5");
  // Twice as slow as planned: the other 60 s will take 120.
  now = 80_000;
  progress.step("a-very-long-name-of-work", "a-contender-with-a-name", "run 2 of 5, and it goes on", 10);
  assert.match(lines.at(-1)!, /^40 % {2}2 min left {2}a-very-long/);
  assert.equal(lines.at(-1)!.length, 79);
});

test("a file has one line for each piece of work", () => {
  const { lines, out } = screen(false);
  const progress = createProgress(out, () => 0);
  progress.begin(30);
  progress.step("crr", "haproxy", "run 1 of 5", 10);
  progress.step("crr", "nginx", "run 1 of 5", 10);
  progress.step("hs", "nginx", "run 1 of 5", 10);
  progress.end();
  assert.deepEqual(lines, ["crr, about 30 s left\n", "hs, about 10 s left\n"]);
});
