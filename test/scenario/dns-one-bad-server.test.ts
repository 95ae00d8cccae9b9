/** Ensures that one of two name servers may be slow or lie: the other one answers in time, and confirms what is hard to believe. */
import assert from "node:assert/strict";
import { discovering, records, sourceOf } from "../gear/discovery.ts";
import { type Query, respond, soa, startResponder, zone } from "../gear/dns.ts";
import { endpointOf, events, greeters, roll, tally } from "../gear/fleet.ts";
import { eventually, scenario } from "../gear/scene.ts";

scenario("one of two is slow: it is waited for once, and then asked last", async (scene) => {
  const services = await greeters(scene, 2);
  const script = zone(records(services, 0));
  const releases: (() => void)[] = [];
  const slow = await startResponder(scene, async (query) => {
    await new Promise<void>((resolve) => releases.push(resolve));
    return script(query);
  });
  const dns = await startResponder(scene, script);
  const stage = await discovering(scene, [slow.key, dns.key], { min_ttl: "100ms" }, { timeout: "60ms" });
  assert.deepEqual(tally(await roll(scene, stage, 4)), { a: 2, b: 2 });
  const asked = (): number => dns.queries.filter(({ type }) => type === "SRV").length;
  await eventually(() => asked() >= 4, "asked again and again");
  assert.equal(slow.queries.length, 1);
  assert.equal((await sourceOf(stage)).phase, "fresh");
  for (const release of releases) release();
});

scenario(
  "one of two tells of a quarter of the targets: the other one is asked, and nobody goes",
  async (scene) => {
    const services = await greeters(scene, 4);
    const all = zone(records(services, 0));
    const first = await startResponder(scene, all);
    const second = await startResponder(scene, all);
    const stage = await discovering(scene, [first.key, second.key], { min_ttl: "100ms" });
    assert.deepEqual(tally(await roll(scene, stage, 4)), { a: 1, b: 1, c: 1, d: 1 });
    assert.equal(second.queries.length, 0);
    first.say(zone(records(services.slice(0, 1), 0)));
    await eventually(
      () => events(stage, /3 of 4 targets are missing/).length >= 2,
      "it lies, and goes on lying",
    );
    assert.ok(second.queries.length > 0, "the other one is asked");
    assert.deepEqual(tally(await roll(scene, stage, 8)), { a: 2, b: 2, c: 2, d: 2 });
    for (const { key } of services) assert.equal(endpointOf(stage, key)?.health, "up");
    assert.deepEqual(events(stage, /removed/), []);
  },
);

for (const [what, lie] of [
  ["says that there is no such name", { rcode: 3, authorities: [soa("test", 0, 0)] }],
  ["says that there are no such records", { authorities: [soa("test", 0, 0)] }],
  [
    "is not asked about this zone and says so",
    { authorities: [{ type: "NS", name: "test", ttl: 5, data: "ns.test" }] },
  ],
] as const) {
  scenario(`one of two ${what}: everybody serves on`, async (scene) => {
    const services = await greeters(scene, 2);
    const all = zone(records(services, 0));
    const first = await startResponder(scene, all);
    const second = await startResponder(scene, all);
    const stage = await discovering(scene, [first.key, second.key], { min_ttl: "100ms" });
    assert.deepEqual(tally(await roll(scene, stage, 4)), { a: 2, b: 2 });
    let lies = 0;
    first.say((query: Query) => {
      lies += 1;
      return respond(query, [], { ...lie, authorities: [...lie.authorities] });
    });
    await eventually(() => lies >= 1 && second.queries.length + lies >= 3, "asked again");
    assert.deepEqual(tally(await roll(scene, stage, 4)), { a: 2, b: 2 });
    assert.deepEqual(events(stage, /removed/), []);
  });
}
