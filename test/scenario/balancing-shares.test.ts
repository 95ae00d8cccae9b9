/**
 * Ensures that connections are shared out by weight, within the best priority that can serve, by every policy, as it is known of
 * the policies alone: to two percent, or better where nothing is left to chance.
 */
import assert from "node:assert/strict";
import type { Answer } from "dns-packet";
import { createBalancer } from "../../lib/cluster/balancer.ts";
import { discovering, NAME } from "../gear/discovery.ts";
import { a, srv, startResponder, zone } from "../gear/dns.ts";
import { greeter, greeters, plainProxy, roll, tally, visit } from "../gear/fleet.ts";
import { type Scene, type Service, type Stage, scenario } from "../gear/scene.ts";

const AT_ONCE = 8;

/** Like `roll`, each only when the one before is counted out: its client may hear of the end a moment earlier. */
async function apart(scene: Scene, stage: Stage, count: number): Promise<string> {
  let names = "";
  for (let turn = 0; turn < count; turn++) {
    names += await roll(scene, stage, 1);
    await stage.settled();
  }
  return names;
}

/** SRV records of the first tier, with a weight each. */
function records(services: readonly Service[], weights: readonly number[]): Answer[] {
  return services.flatMap(({ at: { host, port } }, index) => [
    srv(NAME, [0, weights[index]!, port, `t${index}.example.test`]),
    a(`t${index}.example.test`, host),
  ]);
}

/** The services with a weight each. */
function weighted(
  services: readonly Service[],
  weights: readonly number[],
): { address: string; weight: number }[] {
  return services.map(({ address }, index) => ({ address, weight: weights[index]! }));
}

scenario("round_robin: exact", async (scene) => {
  const stage = await plainProxy(scene, {
    balance: "round_robin",
    endpoints: weighted(await greeters(scene, 3), [1, 2, 5]),
  });
  assert.deepEqual(tally(await roll(scene, stage, 40)), { a: 5, b: 10, c: 25 });
});

scenario("random: SRV weights to 2 % over 1,024 connections", async (scene) => {
  const dns = await startResponder(scene, zone(records(await greeters(scene, 4), [1, 2, 4, 9])));
  const stage = await discovering(scene, [dns.key], {}, {}, "random");
  const lanes = Array.from({ length: AT_ONCE }, () => roll(scene, stage, 1024 / AT_ONCE));
  const counts = tally((await Promise.all(lanes)).join(""));
  for (const [name, expected] of Object.entries({ a: 64, b: 128, c: 256, d: 576 })) {
    assert.ok(Math.abs(counts[name]! - expected) <= 0.02 * expected, JSON.stringify(counts));
  }
});

scenario("least_connections: exact, in connections that end and in connections that stay", async (scene) => {
  const stage = await plainProxy(scene, {
    balance: "least_connections",
    endpoints: weighted(await greeters(scene, 3), [1, 2, 5]),
  });
  const short = tally(await apart(scene, stage, 40));
  for (const [name, expected] of Object.entries({ a: 5, b: 10, c: 25 })) {
    assert.ok(Math.abs(short[name]! - expected) <= 1, JSON.stringify(short));
  }
  const staying = [];
  for (let turn = 0; turn < 40; turn++) staying.push(await visit(scene, stage));
  const long = tally(staying.map(({ name }) => name).join(""));
  for (const [name, expected] of Object.entries({ a: 5, b: 10, c: 25 })) {
    assert.ok(Math.abs(long[name]! - expected) <= 1, JSON.stringify(long));
  }
});

scenario("source_hash: each source where the table of the SRV weights puts it", async (scene) => {
  const services = await greeters(scene, 3);
  const list = records(services, [1, 2, 5]);
  const dns = await startResponder(scene, zone([...list, srv(NAME, [1, 9, 9, "t0.example.test"])]));
  const stage = await discovering(scene, [dns.key], {}, {}, "source_hash");
  await roll(scene, stage, 1);
  // The table whose shares are known to two percent: it depends on keys and weights only.
  const table = createBalancer("source_hash", stage.proxy.clusters.get("out")!.set, Math.random);
  for (let client = 0; client < 64; client++) {
    const source = `127.3.${client}.${255 - client}`;
    const expected = services.findIndex(({ key }) => key === table.pick(source, null)!.key);
    assert.equal(await roll(scene, stage, 1, source), "abc"[expected], source);
  }
});

for (const balance of ["round_robin", "least_connections"] as const) {
  scenario(`SRV weights and priorities by ${balance}; weight 0 gets almost nothing`, async (scene) => {
    const services = await greeters(scene, 3);
    const spare = await greeter(scene, "s");
    const dns = await startResponder(
      scene,
      zone([
        ...records(services, [10, 30, 0]),
        srv(NAME, [2, 1, spare.port, "s.example.test"]),
        a("s.example.test", spare.at.host),
      ]),
    );
    const stage = await discovering(scene, [dns.key], {}, {}, balance);
    const counts = tally(await apart(scene, stage, 80));
    // One in a hundred goes to who has no weight.
    for (const [name, expected] of Object.entries({ a: 19.8, b: 59.4, c: 0.8 })) {
      assert.ok(Math.abs((counts[name] ?? 0) - expected) <= 2, JSON.stringify(counts));
    }
    assert.equal(counts["s"], undefined, "the second tier waits");
  });
}
