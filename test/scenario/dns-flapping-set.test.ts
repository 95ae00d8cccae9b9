/** Ensures that DNS answers which flap, or go empty, neither empty a cluster nor cut a connection. */
import assert from "node:assert/strict";
import { discovering, honest, records } from "../gear/discovery.ts";
import { respond, soa, startResponder, zone } from "../gear/dns.ts";
import { greeters, roll, tally, visit } from "../gear/fleet.ts";
import { eventually, scenario } from "../gear/scene.ts";

scenario("an empty answer after a full one is not believed", async (scene) => {
  const services = await greeters(scene, 2);
  const dns = await startResponder(scene, zone(records(services, 0)));
  const stage = await discovering(scene, [dns.key], { min_ttl: "100ms" });
  assert.deepEqual(tally(await roll(scene, stage, 4)), { a: 2, b: 2 });
  for (const rcode of [0, 3]) {
    const before = dns.queries.length;
    dns.say((query) => respond(query, [], { rcode, authorities: [soa("example.test", 0, 0)] }));
    await eventually(() => dns.queries.length >= before + 3, "the empty answer was given, more than once");
    assert.deepEqual(tally(await roll(scene, stage, 4)), { a: 2, b: 2 });
  }
});

scenario("a set that flaps never empties and cuts nobody", async (scene) => {
  const services = await greeters(scene, 4);
  const dns = await startResponder(scene, zone(records(services, 0)));
  const stage = await discovering(scene, [dns.key], { min_ttl: "100ms" });
  const lasting = await Promise.all(Array.from({ length: 4 }, () => visit(scene, stage)));
  assert.deepEqual(lasting.map(({ name }) => name).sort(), ["a", "b", "c", "d"]);
  // Each query for the service sees another three quarters of it gone.
  let turn = 0;
  dns.say((query) => {
    if (query.type === "SRV") turn += 1;
    return honest(turn % 2 === 0 ? records(services, 0) : records(services.slice(0, 1), 0), query);
  });
  await eventually(
    () => turn >= 6,
    "it flapped",
    () => `${turn} turns`,
  );
  assert.deepEqual(tally(await roll(scene, stage, 8)), { a: 2, b: 2, c: 2, d: 2 });
  assert.ok(stage.log.messages.some((event) => /3 of 4 targets are missing/.test(String(event["msg"]))));
  for (const one of lasting) assert.ok(await one.echo());
  for (const one of lasting) await one.end();
});
