/** Ensures that timers fire once, in order, never early, and that the wait computed for them is never too long. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { TICK, Wheel } from "../../lib/timing/wheel.ts";

/** A wheel with a clock in the hand. */
function setUp(origin = 0) {
  const clock = { now: origin };
  const wheel = new Wheel(() => clock.now);
  const go = (now: number) => {
    clock.now = now;
    wheel.advance(now);
  };
  return { clock, wheel, go };
}

describe("wheel", () => {
  it("fires once, not before its time and at most a tick late", () => {
    const { wheel, go } = setUp(3);
    let fired = 0;
    wheel.createTimer({ expired: () => fired++ }).start(100);
    go(102.999);
    assert.equal(fired, 0);
    go(103 + TICK);
    assert.equal(fired, 1);
    go(100_000);
    assert.equal(fired, 1);
  });

  it("does not fire after stop, and starts again", () => {
    const { wheel, go } = setUp();
    let fired = 0;
    const timer = wheel.createTimer({ expired: () => fired++ });
    timer.start(50);
    timer.stop();
    timer.stop();
    go(1000);
    assert.equal(fired, 0);
    assert.equal(wheel.size, 0);
    timer.start(50);
    go(2000);
    assert.equal(fired, 1);
  });

  it("re-arms: the later start counts", () => {
    const { wheel, go } = setUp();
    let fired = 0;
    const timer = wheel.createTimer({ expired: () => fired++ });
    timer.start(50);
    go(40);
    timer.start(50);
    assert.equal(wheel.size, 1);
    go(88);
    assert.equal(fired, 0);
    go(104);
    assert.equal(fired, 1);
  });

  it("lets a timer start itself again from its own run", () => {
    const { clock, wheel, go } = setUp();
    const at: number[] = [];
    const timer = wheel.createTimer({
      expired: () => {
        at.push(clock.now);
        timer.start(0);
      },
    });
    timer.start(0);
    for (let now = 1; now <= 5 * TICK; now++) go(now);
    assert.deepEqual(at, [TICK, 2 * TICK, 3 * TICK, 4 * TICK, 5 * TICK]);
  });

  it("lets a run stop another timer that is due in the same tick", () => {
    const { wheel, go } = setUp();
    const fired: string[] = [];
    const one = wheel.createTimer({
      expired: () => {
        fired.push("one");
        two.stop();
      },
    });
    const two = wheel.createTimer({
      expired: () => {
        fired.push("two");
        one.stop();
      },
    });
    one.start(10);
    two.start(10);
    go(100);
    assert.equal(fired.length, 1);
    assert.equal(wheel.size, 0);
  });

  it("keeps the rest of a tick due when one run throws", () => {
    const { wheel, go } = setUp();
    let fired = 0;
    for (let index = 0; index < 3; index++) {
      wheel
        .createTimer({
          expired: () => {
            fired++;
            if (fired === 2) throw new Error("broken");
          },
        })
        .start(10);
    }
    assert.throws(() => go(16), /broken/);
    assert.equal(fired, 2);
    go(16);
    assert.equal(fired, 3);
  });

  it("says until when nothing is due", () => {
    const { wheel, go } = setUp();
    assert.equal(wheel.due, Number.POSITIVE_INFINITY);
    const timer = wheel.createTimer({ expired: () => {} });
    timer.start(100);
    assert.equal(wheel.due, 104);
    timer.stop();
    assert.equal(wheel.due, Number.POSITIVE_INFINITY);
    go(1000);
    timer.start(1);
    assert.equal(wheel.due, 1008);
  });

  it("reaches an hour, a week and four months in few steps, when driven by its own waits", () => {
    for (const span of [3_600_000, 7 * 86_400_000, 120 * 86_400_000]) {
      const { clock, wheel, go } = setUp(12_345);
      let at = 0;
      wheel
        .createTimer({
          expired: () => {
            at = clock.now;
          },
        })
        .start(span);
      let steps = 0;
      while (at === 0) {
        const wait = wheel.due - clock.now;
        assert.ok(wait > 0);
        go(clock.now + wait);
        steps++;
        assert.ok(steps < 60);
      }
      assert.ok(at >= 12_345 + span && at < 12_345 + span + 2 * TICK, `${at}`);
    }
  });

  it("goes on past 2^32 ticks", () => {
    const { wheel, go } = setUp(2 ** 32 * TICK - 500);
    let fired = 0;
    for (const ms of [1, 400, 600, 5000, 400_000]) wheel.createTimer({ expired: () => fired++ }).start(ms);
    const origin = 2 ** 32 * TICK - 500;
    const seen: number[] = [];
    for (const ms of [0, 10, 390, 410, 590, 610, 4990, 5010, 399_990, 400_010]) {
      go(origin + ms);
      seen.push(fired);
    }
    assert.deepEqual(seen, [0, 1, 1, 2, 2, 3, 3, 4, 4, 5]);
  });

  it("counts from the clock, not from the last advance, after a long silence", () => {
    const { clock, wheel, go } = setUp();
    let fired = 0;
    clock.now = 3_600_000;
    wheel.createTimer({ expired: () => fired++ }).start(1000);
    go(3_600_999);
    assert.equal(fired, 0);
    go(3_601_008);
    assert.equal(fired, 1);
  });

  it("carries fifty thousand timers", () => {
    const { wheel, go } = setUp();
    let fired = 0;
    const timers = Array.from({ length: 50_000 }, () => wheel.createTimer({ expired: () => fired++ }));
    timers.forEach((timer, index) => {
      timer.start((index * 7919) % 600_000);
    });
    timers.forEach((timer, index) => {
      if (index % 2 === 0) timer.stop();
    });
    assert.equal(wheel.size, 25_000);
    for (let now = 0; now <= 600_016; now += 100) go(now);
    go(600_016);
    assert.equal(fired, 25_000);
    assert.equal(wheel.size, 0);
  });
});
