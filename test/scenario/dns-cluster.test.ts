/** Ensures that a cluster by host name follows its A and AAAA records over time. */
import assert from "node:assert/strict";
import { a, aaaa, cname, soa, startResponder, zone } from "../gear/dns.ts";
import { endpointOf, greeter, plainProxy, roll, tally, visit } from "../gear/fleet.ts";
import { eventually, scenario } from "../gear/scene.ts";

// What a missing family holds for: no longer than the records.
const NEGATIVE = soa("test", 1, 1);

scenario("addresses come and go, of both families and behind an alias", async (scene) => {
  const four = await greeter(scene, "4", { host: "127.0.0.41" });
  const { port } = four;
  const other = await greeter(scene, "o", { host: "127.0.0.42", port });
  const six = await greeter(scene, "6", { host: "::1", port });
  const first = [cname("api.test", "pool.test", 1), a("pool.test", "127.0.0.41", 1)];
  const dns = await startResponder(scene, zone(first, NEGATIVE));
  const stage = await plainProxy(scene, { dns: `api.test:${port}` }, { dns: { servers: [dns.key] } });
  assert.equal(await roll(scene, stage, 2), "44");
  const lasting = await visit(scene, stage);

  dns.say(zone([...first, aaaa("pool.test", "::1", 1)], NEGATIVE));
  await eventually(() => endpointOf(stage, `[::1]:${port}`) !== undefined, "the IPv6 address is there");
  assert.deepEqual(tally(await roll(scene, stage, 4)), { 4: 2, 6: 2 });

  dns.say(zone([a("api.test", "127.0.0.42", 1)], NEGATIVE));
  await eventually(() => endpointOf(stage, four.key)?.health === "draining", "the first one drains");
  assert.equal(await roll(scene, stage, 3), "ooo");
  assert.deepEqual([lasting.name, await lasting.echo()], ["4", true]);
  await lasting.end();
  assert.ok(other.accepted === 3 && six.accepted === 2);
});

scenario(
  "names among endpoints: their own weight and priority, each as many members as addresses",
  async (scene) => {
    const one = await greeter(scene, "1", { host: "127.0.0.51" });
    const two = await greeter(scene, "2", { host: "127.0.0.52", port: one.port });
    const fixed = await greeter(scene, "f");
    const dns = await startResponder(
      scene,
      zone([a("pair.test", "127.0.0.51"), a("pair.test", "127.0.0.52")], NEGATIVE),
    );
    const stage = await plainProxy(
      scene,
      {
        endpoints: [
          { address: `pair.test:${one.port}`, priority: 0 },
          { address: fixed.address, priority: 1 },
        ],
      },
      { dns: { servers: [dns.key] } },
    );
    await eventually(() => endpointOf(stage, two.key) !== undefined, "the name is resolved");
    assert.deepEqual(tally(await roll(scene, stage, 4)), { 1: 2, 2: 2 });
    await one.close();
    await two.close();
    assert.equal(await roll(scene, stage, 2), "ff");
  },
);
