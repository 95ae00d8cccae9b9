/** The wheel against a model that is too simple to be wrong: a list of deadlines. */
import assert from "node:assert/strict";
import { it } from "node:test";
import fc from "fast-check";
import { TICK, type Timer, Wheel } from "../../lib/timing/wheel.ts";

type Step =
  | { do: "start"; timer: number; ms: number }
  | { do: "stop"; timer: number }
  | { do: "pass"; ms: number }
  | { do: "wait" };

const COUNT = 12;
const span = fc.oneof(
  fc.integer({ min: 0, max: 40 }),
  fc.integer({ min: 0, max: 2000 }),
  fc.double({ min: 0, max: 400_000, noNaN: true }),
  fc.integer({ min: 0, max: 40_000_000 }),
);
const timer = fc.integer({ min: 0, max: COUNT - 1 });
const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({ do: fc.constant("start" as const), timer, ms: span }),
  fc.record({ do: fc.constant("stop" as const), timer }),
  fc.record({ do: fc.constant("pass" as const), ms: span }),
  fc.record({ do: fc.constant("wait" as const) }),
);

it("fires exactly what the model fires, in the order of the ticks, and never waits too long", () => {
  fc.assert(
    fc.property(
      fc.double({ min: 0, max: 2 ** 36, noNaN: true }),
      fc.array(step, { maxLength: 60 }),
      (origin, steps) => {
        let now = origin;
        const wheel = new Wheel(() => now);
        const due = new Map<number, number>();
        const fired: number[] = [];
        const timers: Timer[] = Array.from({ length: COUNT }, (_, index) =>
          wheel.createTimer({ expired: () => fired.push(index) }),
        );
        const pass = () => {
          fired.length = 0;
          wheel.advance(now);
          // Due: the first tick at or after start + ms has come, and a tick has passed since the start.
          const expected = [...due].filter(([, tick]) => tick * TICK <= now).sort((a, b) => a[1] - b[1]);
          for (const [index] of expected) due.delete(index);
          assert.deepEqual(new Set(fired), new Set(expected.map(([index]) => index)));
          assert.equal(fired.length, expected.length);
          const order = fired.map((index) => expected.find(([other]) => other === index)![1]);
          assert.deepEqual(
            order,
            order.toSorted((a, b) => a - b),
          );
        };
        for (const each of steps) {
          if (each.do === "start") {
            timers[each.timer]!.start(each.ms);
            const tick = Math.max(Math.ceil((now + each.ms) / TICK), Math.floor(now / TICK) + 1);
            due.set(each.timer, tick);
          } else if (each.do === "stop") {
            timers[each.timer]!.stop();
            due.delete(each.timer);
          } else if (each.do === "pass") {
            now += each.ms;
            pass();
          } else {
            // With nobody due that is Infinity, too.
            const nearest = Math.min(...due.values()) * TICK;
            assert.ok(wheel.due <= nearest, `${wheel.due} ${nearest}`);
            if (due.size === 0) assert.equal(wheel.due, Number.POSITIVE_INFINITY);
            else {
              now = Math.max(now, wheel.due);
              pass();
            }
          }
          assert.equal(wheel.size, due.size);
        }
      },
    ),
    { numRuns: 1500 },
  );
});
