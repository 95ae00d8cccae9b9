/** A worker's view: waiting for the first set, updates, failure counts and the retry budget. */
import assert from "node:assert/strict";
import { it } from "node:test";
import {
  DIALS,
  directEndpoint,
  type Endpoint,
  FAILURES,
  HEALTH,
  HEALTH_DOWN,
} from "../../lib/cluster/endpoint.ts";
import { ClusterView } from "../../lib/cluster/pool.ts";
import { clusterConfig, equals, HandClock, seeded, setOf } from "./gear.ts";

function viewOf(config = clusterConfig()) {
  const clock = new HandClock();
  const failures: [string, number][] = [];
  const view = new ClusterView(
    config,
    seeded(1),
    (endpoint, count) => failures.push([endpoint.key, count]),
    () => clock.now(),
  );
  return { view, clock, failures };
}

it("lets connections wait for the first answer, and runs each once", () => {
  const { view } = viewOf();
  const ran: string[] = [];
  assert.equal(view.resolved, false);
  assert.equal(view.pick(null, null), null);
  view.whenResolved(() => ran.push("one"));
  const two = view.whenResolved(() => ran.push("two"));
  view.whenResolved(() => {
    ran.push("three");
    four.cancel();
  });
  const four = view.whenResolved(() => ran.push("four"));
  two.cancel();
  view.update({ ...setOf([]), version: 1, resolved: false });
  assert.equal(ran.length, 0);
  view.update({ ...setOf(equals(1)), version: 2 });
  view.update({ ...setOf(equals(1)), version: 3 });
  assert.deepEqual(ran, ["one", "three"]);
  assert.equal(view.resolved, true);
  view.whenResolved(() => ran.push("late"));
  assert.deepEqual(ran, ["one", "three", "late"]);
});

it("is resolved by an answer that says there is nobody", () => {
  const { view } = viewOf();
  view.update(setOf([]));
  assert.equal(view.resolved, true);
  assert.equal(view.pick("10.1.1.1", null), null);
});

it("takes over newer sets and ignores older ones", () => {
  const { view } = viewOf();
  const [one, two] = equals(2) as [Endpoint, Endpoint];
  view.update(setOf([one], 5));
  view.update(setOf([two], 4));
  assert.equal(view.pick(null, null), one);
  view.update(setOf([two], 6));
  assert.equal(view.pick(null, null), two);
  assert.equal(view.pick(null, [one]), two);
  assert.equal(view.set?.version, 6);
});

it("sees health in sets that travelled as messages, without a message", () => {
  const { view } = viewOf();
  const set = setOf(equals(2));
  view.update(structuredClone(set));
  Atomics.store(set.endpoints[0]!.cell, HEALTH, HEALTH_DOWN);
  Atomics.add(set.epoch, 0, 1);
  for (let turn = 0; turn < 20; turn++) assert.equal(view.pick(null, null)!.key, set.endpoints[1]!.key);
});

it("counts consecutive failures over all workers, tells each, and forgets them on success", () => {
  const a = viewOf();
  const b = viewOf();
  const [endpoint] = equals(1) as [Endpoint];
  for (const { view } of [a, b]) view.update(setOf([endpoint]));
  a.view.dialled(endpoint);
  a.view.dialFailed(endpoint);
  b.view.dialled(endpoint);
  b.view.dialFailed(endpoint);
  assert.deepEqual(a.failures, [[endpoint.key, 1]]);
  assert.deepEqual(b.failures, [[endpoint.key, 2]]);
  a.view.dialSucceeded(endpoint);
  assert.equal(endpoint.cell[FAILURES], 0);
  assert.equal(endpoint.cell[DIALS], 2);
});

it("needs no set where the client names the address, and reports nobody for ejection", () => {
  const { view, failures } = viewOf(clusterConfig({ source: { kind: "original", port: null } }));
  assert.equal(view.resolved, true);
  view.dialFailed(directEndpoint({ kind: "ip", host: "10.0.0.9", port: 80 }));
  assert.deepEqual(failures, []);
});

it("allows retries up to a fifth of the dials beyond ten a second", async () => {
  const { view, clock } = viewOf();
  const [endpoint] = equals(1) as [Endpoint];
  const spend = () => {
    let count = 0;
    while (count < 10_000 && view.mayRetry()) count++;
    return count;
  };
  assert.equal(spend(), 100);
  assert.equal(view.mayRetry(), false);
  for (let dial = 0; dial < 52; dial++) view.dialled(endpoint);
  assert.equal(spend(), 10);
  await clock.pass(1000);
  assert.equal(spend(), 10);
  await clock.pass(3_600_000);
  assert.equal(spend(), 100);
  // A storm: every dial fails and wants another one.
  let retries = 0;
  for (let dial = 0; dial < 10_000; dial++) {
    view.dialled(endpoint);
    if (view.mayRetry()) retries++;
  }
  assert.ok(retries >= 1990 && retries <= 2000, `${retries} retries`);
});
