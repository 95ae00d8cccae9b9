/** Passive ejection: when, for how long, how many at once, and the way back. */
import assert from "node:assert/strict";
import { it } from "node:test";
import { Ejector } from "../../lib/cluster/eject.ts";
import {
  createEpoch,
  FAILURES,
  HEALTH_DOWN,
  HEALTH_EJECTED,
  HEALTH_UP,
  SHARE,
} from "../../lib/cluster/endpoint.ts";
import { Standing } from "../../lib/cluster/standing.ts";
import { equals, HandClock } from "./gear.ts";

const EJECT = { failures: 5, for: 30_000, maxPercent: 50 };

function ejectorOf(count: number, overrides: Partial<typeof EJECT> = {}, slowStart = 0) {
  const clock = new HandClock();
  const epoch = createEpoch();
  const members = equals(count).map((endpoint) => new Standing(endpoint, { clock, slowStart, epoch }));
  const log: string[] = [];
  const ejector = new Ejector({
    eject: { ...EJECT, ...overrides },
    clock,
    members: () => members,
    onEjected: (standing, reason, ms) => log.push(`out ${members.indexOf(standing)} ${ms}: ${reason}`),
    onReturned: (standing) => log.push(`in ${members.indexOf(standing)}`),
    onSpared: (standing) => log.push(`spared ${members.indexOf(standing)}`),
  });
  return { clock, epoch, members, ejector, log };
}

it("ejects at the configured count, tells workers by the epoch, and returns after the time", async () => {
  const { clock, epoch, members, ejector, log } = ejectorOf(4);
  const [first] = members as [Standing];
  for (let count = 1; count < 5; count++) ejector.report(first, count);
  assert.equal(first.health, HEALTH_UP);
  const before = epoch[0]!;
  first.endpoint.cell[FAILURES] = 5;
  ejector.report(first, 5);
  assert.equal(first.health, HEALTH_EJECTED);
  assert.ok(epoch[0]! > before);
  await clock.pass(29_999);
  assert.equal(first.health, HEALTH_EJECTED);
  await clock.pass(1);
  assert.equal(first.health, HEALTH_UP);
  assert.equal(first.endpoint.cell[FAILURES], 0);
  assert.deepEqual(log, ["out 0 30000: 5 failures in a row", "in 0"]);
});

it("ignores late reports of one that is out, and reports of one that checks call down", () => {
  const { members, ejector, log } = ejectorOf(4);
  ejector.report(members[0]!, 5);
  ejector.report(members[0]!, 6);
  members[1]!.setDown("check failed");
  ejector.report(members[1]!, 5);
  assert.equal(log.length, 1);
  assert.equal(members[1]!.health, HEALTH_DOWN);
});

it("stays out twice as long each time, up to sixteen times, and starts anew after a good stretch", async () => {
  const { clock, members, ejector, log } = ejectorOf(4);
  const times: number[] = [];
  for (let round = 0; round < 7; round++) {
    ejector.report(members[0]!, 5);
    const from = clock.now();
    while (members[0]!.health === HEALTH_EJECTED) await clock.pass(1000);
    times.push(clock.now() - from);
  }
  assert.deepEqual(times, [30_000, 60_000, 120_000, 240_000, 480_000, 480_000, 480_000]);
  await clock.pass(2 * 480_000);
  ejector.report(members[0]!, 5);
  assert.match(log.at(-1)!, /^out 0 30000/);
});

it("never has more than max_percent out, with every endpoint failing for long", async () => {
  for (const [count, maxPercent, allowed] of [
    [10, 50, 5],
    [3, 50, 1],
    [1, 50, 0],
    [1, 100, 1],
    [7, 0, 0],
    [7, 100, 7],
  ] as const) {
    const { clock, members, ejector } = ejectorOf(count, { maxPercent });
    let most = 0;
    const failures = members.map(() => 0);
    for (let turn = 0; turn < 100; turn++) {
      for (const [index, standing] of members.entries()) {
        failures[index] = standing.health === HEALTH_UP ? failures[index]! + 1 : 0;
        ejector.report(standing, failures[index]!);
        most = Math.max(most, members.filter((each) => each.health === HEALTH_EJECTED).length);
      }
      await clock.pass(7000);
    }
    assert.equal(most, allowed, `${maxPercent} % of ${count}`);
  }
});

it("counts those that checks call down towards the limit, and says whom it spared", () => {
  const { members, ejector, log } = ejectorOf(4);
  members[0]!.setDown("check failed");
  ejector.report(members[1]!, 5);
  ejector.report(members[2]!, 5);
  ejector.report(members[2]!, 6);
  assert.equal(members[2]!.health, HEALTH_UP);
  assert.deepEqual(log.slice(1), ["spared 2"]);
  members[0]!.setDown(null);
  ejector.report(members[2]!, 7);
  assert.equal(members[2]!.health, HEALTH_EJECTED);
});

it("lets the returned one grow to its full share", async () => {
  const { clock, members, ejector } = ejectorOf(4, {}, 10_000);
  const { cell } = members[0]!.endpoint;
  ejector.report(members[0]!, 5);
  await clock.pass(30_000);
  assert.equal(cell[SHARE], 100);
  await clock.pass(5000);
  assert.ok(cell[SHARE]! >= 500 && cell[SHARE]! <= 600, `${cell[SHARE]}`);
  await clock.pass(5000);
  assert.equal(cell[SHARE], 1000);
  assert.equal(clock.pending, 0);
});

it("stops a slow start that is overtaken by the next failure", async () => {
  const { clock, members } = ejectorOf(2, {}, 10_000);
  members[0]!.setDown("check failed");
  members[0]!.setDown(null);
  await clock.pass(2000);
  members[0]!.setDown("check failed again");
  assert.equal(clock.pending, 0);
  assert.equal(members[0]!.describe().reason, "check failed again");
});

it("keeps the worst of the three in the cell", async () => {
  const { clock, members, ejector } = ejectorOf(4);
  const [first] = members as [Standing];
  ejector.report(first, 5);
  first.setDown("check failed");
  assert.equal(first.health, HEALTH_DOWN);
  await clock.pass(30_000);
  assert.equal(first.health, HEALTH_DOWN);
  first.setDown(null);
  assert.equal(first.health, HEALTH_UP);
});

it("returns nobody once stopped or forgotten", async () => {
  const { clock, members, ejector, log } = ejectorOf(4);
  ejector.report(members[0]!, 5);
  ejector.report(members[1]!, 5);
  ejector.forget(members[0]!);
  ejector.stop();
  await clock.pass(60_000);
  assert.equal(log.filter((line) => line.startsWith("in")).length, 0);
  assert.equal(clock.pending, 0);
});
