import assert from "node:assert/strict";
import { test } from "node:test";
import { cut, formatSize, formatSpan, table } from "../../lib/cli/text.ts";

test("a table is aligned: texts to the left, numbers to the right", () => {
  assert.deepEqual(
    table(
      ["name", "now"],
      [
        ["edge", 7],
        ["a", 1234],
      ],
    ),
    ["name   now", "edge     7", "a     1234"],
  );
});

test("what does not fit is cut in the middle of the widest texts, never in a number", () => {
  const lines = table(
    ["name", "address", "now"],
    [["n".repeat(128), `unix:/run/${"p".repeat(90)}.sock`, 123456]],
  );
  for (const line of lines) assert.ok(line.length <= 80, line);
  assert.match(lines[1]!, /^n+…n+ +unix:\/run\/p+…p+\.sock +123456$/);
  const hopeless = table(["a", "b"], [[10 ** 20, 10 ** 20]], 30);
  assert.match(hopeless[1]!, /^100000000000000000000 {2}100000000000000000000$/);
});

test("cut, sizes and spans", () => {
  assert.deepEqual([cut("abcdef", 6), cut("abcdefg", 6), cut("abcdefg", 5)], ["abcdef", "abc…fg", "ab…fg"]);
  assert.deepEqual([0, 1023, 1024, 1536, 150 * 1024, 3 * 2 ** 30, 2 ** 70].map(formatSize), [
    "0 B",
    "1023 B",
    "1.0 KiB",
    "1.5 KiB",
    "150 KiB",
    "3.0 GiB",
    "1048576 PiB",
  ]);
  assert.deepEqual([0, 59, 60, 3599, 3600, 86_399, 86_400 * 4 + 3700].map(formatSpan), [
    "0 s",
    "59 s",
    "1 min",
    "59 min",
    "1 h 0 min",
    "23 h 59 min",
    "4 d 1 h",
  ]);
});
