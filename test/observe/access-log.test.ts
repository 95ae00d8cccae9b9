/** Records become lines together: none is lost, none comes twice, and each says when its connection ended, not when it was written. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { AccessLog } from "../../lib/observe/access-log.ts";
import { createSharedLines, LineWriter, linesIn } from "../../lib/observe/lines.ts";
import { ConnectionRecord } from "../../lib/observe/record.ts";

const CLIENT = { kind: "ip", host: "192.0.2.1", port: 41000 } as const;
const EDGE = { kind: "ip", host: "192.0.2.2", port: 443 } as const;

function bench() {
  const shared = createSharedLines();
  const handed: Record<string, unknown>[] = [];
  let lost = 0;
  const writer = new LineWriter(shared, (slot, length) => {
    const text = linesIn(shared, slot, length).toString();
    handed.push(
      ...text
        .trimEnd()
        .split("\n")
        .map((line) => JSON.parse(line) as Record<string, unknown>),
    );
  });
  return { log: new AccessLog(writer, (count) => (lost += count)), shared, handed, lost: () => lost };
}

/** One that began `ago` ms ago and lasted `ms`. */
function record(ago: number, ms: number): ConnectionRecord {
  const made = new ConnectionRecord("edge", 1, "epoll", CLIENT, EDGE, performance.now() - ago);
  made.durationMs = ms;
  made.reason = "ok";
  return made;
}

test("what waits is handed over whole and in order by a flush", () => {
  const { log, handed } = bench();
  assert.equal(log.waiting, false);
  const records = Array.from({ length: 200 }, () => record(5, 1));
  for (const one of records) log.add(one);
  assert.equal(log.waiting, true);
  log.flush();
  assert.equal(log.waiting, false);
  assert.deepEqual(
    handed.map((line) => line.id),
    records.map((one) => one.id),
  );
  log.flush();
  assert.equal(handed.length, 200);
});

test("long lines that do not fit into one slot together use several", () => {
  const { log, handed, lost } = bench();
  const records = Array.from({ length: 60 }, () => record(5, 1));
  for (const one of records) one.error = "é".repeat(30_000);
  for (const one of records) log.add(one);
  log.flush();
  assert.deepEqual([lost(), handed.map((line) => line.id)], [0, records.map((one) => one.id)]);
});

test("a line tells when its connection ended, however long it waited", () => {
  const { log, handed } = bench();
  const before = Date.now();
  log.add(record(90_000, 30_000));
  log.flush();
  const ended = handed[0]!.time as number;
  assert.ok(ended >= before - 60_001 && ended <= Date.now() - 60_000 + 1, `${ended - before}`);
});

test("every record without room for its line is counted", () => {
  const { log, shared, handed, lost } = bench();
  shared.flags.fill(1);
  for (let count = 0; count < 100; count++) log.add(record(1, 1));
  log.offer();
  assert.deepEqual([lost(), handed.length, log.waiting], [100, 0, false]);
});
