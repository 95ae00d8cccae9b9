/**
 * Ensures that half of the targets may go with one answer, and return with another: their connections neither end nor move, and
 * who returns is the endpoint it was, with its load.
 */
import assert from "node:assert/strict";
import { discovering, records } from "../gear/discovery.ts";
import { startResponder, zone } from "../gear/dns.ts";
import { becomes, endpointOf, events, greeters, roll, tally, visit } from "../gear/fleet.ts";
import { scenario } from "../gear/scene.ts";

scenario("half of the targets go, and return", async (scene) => {
  const services = await greeters(scene, 4);
  const [a, b, c, d] = services;
  const dns = await startResponder(scene, zone(records(services, 0)));
  const stage = await discovering(scene, [dns.key], { min_ttl: "100ms" });
  const lasting = await Promise.all(Array.from({ length: 8 }, () => visit(scene, stage)));
  assert.deepEqual(tally(lasting.map(({ name }) => name).join("")), { a: 2, b: 2, c: 2, d: 2 });

  for (let round = 0; round < 2; round++) {
    dns.say(zone(records([a!, b!], 0)));
    for (const gone of [c!, d!]) await becomes(stage, gone, "draining");
    assert.deepEqual(tally(await roll(scene, stage, 4)), { a: 2, b: 2 });
    assert.deepEqual([endpointOf(stage, c!.key)?.active, endpointOf(stage, d!.key)?.active], [2, 2]);
    for (const one of lasting) assert.ok(await one.echo(), "nobody is cut");

    dns.say(zone(records(services, 0)));
    for (const back of [c!, d!]) await becomes(stage, back, "up");
    assert.equal(endpointOf(stage, c!.key)?.active, 2, "with the load that it has");
    assert.deepEqual(tally(await roll(scene, stage, 8)), { a: 2, b: 2, c: 2, d: 2 });
  }
  for (const one of lasting) assert.ok(await one.echo());
  for (const one of lasting) await one.end();
  assert.equal(events(stage, new RegExp(`${c!.key} returned to the set`)).length, 2);
  assert.deepEqual(
    events(stage, /are missing from the answer/),
    [],
    "half is no more than one answer may remove",
  );
});
