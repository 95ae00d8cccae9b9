/** Ensures that the kernel's timer stands at the nearest of the deadlines that were asked for, and is not touched for later ones. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, it, type TestContext } from "node:test";
import { Alarm } from "../../../lib/transport/epoll/alarm.ts";
import { WorkerMemory } from "../../../lib/transport/epoll/memory.ts";
import { skip } from "./rig.ts";

function setUp(t: TestContext) {
  const alarm = new Alarm(new WorkerMemory());
  t.after(() => alarm.close());
  /** What proc_pid_fdinfo(5) says of it. */
  const told = (what: RegExp): string[] =>
    what.exec(readFileSync(`/proc/self/fdinfo/${alarm.descriptor}`, "utf8"))!.slice(1);
  /** ms until it rings; 0: never. */
  const left = (): number => {
    const [seconds, nanoseconds] = told(/^it_value: \((\d+), (\d+)\)$/m);
    return Number(seconds) * 1000 + Number(nanoseconds) / 1e6;
  };
  const hasRung = (): boolean => told(/^ticks: (\d+)$/m)[0] === "1";
  /** In an hour from when the test began, or in several. */
  const hours = (count: number): number => began + count * HOUR;
  const began = performance.now();
  return { alarm, left, hasRung, hours };
}

const HOUR = 3_600_000;

describe("alarm", { skip }, () => {
  it("rings at the nearest deadline", (t) => {
    const { alarm, left, hours } = setUp(t);
    alarm.set(Number.POSITIVE_INFINITY);
    assert.equal(left(), 0);
    alarm.set(hours(10));
    assert.ok(left() > 9 * HOUR && left() <= 10 * HOUR, `${left()}`);
    alarm.set(hours(1));
    assert.ok(left() > 0 && left() <= HOUR, `${left()}`);
    const before = left();
    for (const later of [hours(2), hours(1), Number.POSITIVE_INFINITY]) {
      alarm.set(later);
      assert.ok(left() > 0 && left() <= before, `${left()}`);
    }
  });

  it("is set anew once it has rung", (t) => {
    const { alarm, left, hours } = setUp(t);
    alarm.set(hours(1));
    alarm.onEvents();
    assert.equal(alarm.rung, 1);
    alarm.set(hours(3));
    assert.ok(left() > 2 * HOUR, `${left()}`);
  });

  it("rings for what is due already, too", (t) => {
    const { alarm, hasRung } = setUp(t);
    alarm.set(performance.now() - 1000);
    while (!hasRung());
  });
});
