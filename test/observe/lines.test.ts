/** Access lines between a worker and the log: nothing is lost, cut or overwritten, and what waits is bounded. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { createSharedLines, freeLines, LineWriter, linesIn } from "../../lib/observe/lines.ts";

const KIB = 1024;

/** Both ends in one thread: what was handed over waits in `handed` until it is read. */
function bench() {
  const shared = createSharedLines();
  const handed: { slot: number; length: number }[] = [];
  const writer = new LineWriter(shared, (slot, length) => handed.push({ slot, length }));
  const read = (): string => {
    const { slot, length } = handed.shift()!;
    const text = linesIn(shared, slot, length).toString();
    freeLines(shared, slot);
    return text;
  };
  return { writer, handed, read };
}

test("lines arrive whole and in order, through slots that are used again", () => {
  const { writer, handed, read } = bench();
  const lines = Array.from({ length: 5000 }, (_, i) => `${i} ${"é€𝄞x".repeat(1 + (i % 97))}\n`);
  let text = "";
  for (const line of lines) {
    assert.equal(writer.add(line), true);
    while (handed.length > 1) text += read();
  }
  writer.flush();
  while (handed.length > 0) text += read();
  assert.equal(text, lines.join(""));
});

test("a line that nobody has room for is refused, and what waits is not touched", () => {
  const { writer, handed, read } = bench();
  const line = `${"x".repeat(160 * KIB - 1)}\n`;
  let taken = 0;
  while (writer.add(line)) taken += 1;
  assert.equal(handed.length, 16);
  assert.equal(writer.waiting, false);
  assert.equal(writer.add(line), false);
  read();
  assert.equal(writer.add("again\n"), true);
  writer.flush();
  let text = "";
  while (handed.length > 0) text += read();
  assert.equal(text, `${line.repeat(taken - taken / 16)}again\n`);
});

test("a log that is behind is offered nothing before a slot is full", () => {
  const { writer, handed, read } = bench();
  writer.add("1\n");
  writer.offer();
  assert.equal(handed.length, 1);
  writer.add("2\n");
  writer.offer();
  writer.add("3\n");
  writer.offer();
  assert.equal(handed.length, 1);
  assert.equal(writer.waiting, true);
  assert.equal(read(), "1\n");
  writer.offer();
  assert.equal(read(), "2\n3\n");
  writer.add("4\n");
  writer.offer();
  assert.equal(read(), "4\n", "in a slot that was used before");
  assert.equal(writer.waiting, false);
});

test("a line may fill a slot, and one that is larger is refused", () => {
  const { writer, read } = bench();
  const whole = `${"x".repeat(512 * KIB - 1)}\n`;
  assert.equal(writer.add("before\n"), true);
  assert.equal(writer.add(whole), true);
  writer.flush();
  assert.deepEqual([read(), read()], ["before\n", whole]);
  assert.equal(writer.add(`x${whole}`), false);
  assert.equal(writer.add("fits\n"), true);
});
