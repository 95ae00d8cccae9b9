/** Ensures that the kernel's timer stands at the nearest of the deadlines that were asked for, and is not touched for later ones. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, it, type TestContext } from "node:test";
import { Alarm } from "../../../lib/transport/epoll/alarm.ts";
import { WorkerMemory } from "../../../lib/transport/epoll/memory.ts";
import { skip } from "./rig.ts";

function setUp(t: TestContext) {
  let rung = 0;
  const alarm = new Alarm(
    new WorkerMemory(),
    () => rung++,
    () => {},
  );
  t.after(() => alarm.close());
  /** ms until it rings, as proc_pid_fdinfo(5) has it; 0: never. */
  const left = (): number => {
    const text = readFileSync(`/proc/self/fdinfo/${alarm.descriptor}`, "utf8");
    const [, seconds, nanoseconds] = /^it_value: \((\d+), (\d+)\)$/m.exec(text)!;
    return Number(seconds) * 1000 + Number(nanoseconds) / 1e6;
  };
  return { alarm, left, rung: () => rung };
}

const HOUR = 3_600_000;

describe("alarm", { skip }, () => {
  it("rings at the nearest deadline", (t) => {
    const { alarm, left } = setUp(t);
    alarm.set(Number.POSITIVE_INFINITY, 5);
    assert.equal(left(), 0);
    alarm.set(10 * HOUR + 500.5, 500.5);
    assert.ok(left() > 9 * HOUR && left() <= 10 * HOUR, `${left()}`);
    alarm.set(HOUR, 0);
    assert.ok(left() > 0 && left() <= HOUR, `${left()}`);
    const before = left();
    for (const later of [2 * HOUR, HOUR, Number.POSITIVE_INFINITY]) {
      alarm.set(later, 0);
      assert.ok(left() > 0 && left() <= before, `${left()}`);
    }
  });

  it("is set anew once it has rung", (t) => {
    const { alarm, left, rung } = setUp(t);
    alarm.set(HOUR, 0);
    alarm.onEvents();
    assert.equal(rung(), 1);
    alarm.set(3 * HOUR, 0);
    assert.ok(left() > 2 * HOUR, `${left()}`);
  });

  it("rings for what is due already, too", (t) => {
    const { alarm } = setUp(t);
    alarm.set(1000, 2000);
    const text = () => readFileSync(`/proc/self/fdinfo/${alarm.descriptor}`, "utf8");
    while (!/^ticks: 1$/m.test(text()));
  });
});
