/**
 * Ensures that connections are shared out by weight, within the best priority that can serve, by every policy, as it is known of
 * the policies alone: to two percent, or better where nothing is left to chance.
 */
import assert from "node:assert/strict";
import { createBalancer } from "../../lib/cluster/balancer.ts";
import { discovering, NAME } from "../gear/discovery.ts";
import { a, srv, startResponder, zone } from "../gear/dns.ts";
import { greeter, greeters, plainProxy, roll, tally, visit } from "../gear/fleet.ts";
import { type Scene, type Service, type Stage, scenario } from "../gear/scene.ts";

const AT_ONCE = 8;

/** Like `roll`, several at a time. */
async function rolls(scene: Scene, stage: Stage, count: number): Promise<string> {
  const lanes = Array.from({ length: AT_ONCE }, () => roll(scene, stage, count / AT_ONCE));
  return (await Promise.all(lanes)).join("");
}

/** Like `roll`, each only when the one before is counted out: its client may hear of the end a moment earlier. */
async function apart(scene: Scene, stage: Stage, count: number): Promise<string> {
  let names = "";
  for (let turn = 0; turn < count; turn++) {
    names += await roll(scene, stage, 1);
    await stage.settled();
  }
  return names;
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

scenario("random: to 2 % over 1,024 connections", async (scene) => {
  const stage = await plainProxy(scene, {
    balance: "random",
    endpoints: weighted(await greeters(scene, 4), [1, 2, 4, 9]),
  });
  const counts = tally(await rolls(scene, stage, 1024));
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
  const list = services.flatMap(({ at: { host, port } }, index) => [
    srv(NAME, [0, [1, 2, 5][index]!, port, `t${index}.example.test`]),
    a(`t${index}.example.test`, host),
  ]);
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

for (const balance of ["round_robin", "random", "least_connections"] as const) {
  scenario(`SRV weights and priorities by ${balance}; weight 0 gets almost nothing`, async (scene) => {
    const [light, heavy, zero, spare] = [
      await greeter(scene, "l"),
      await greeter(scene, "h"),
      await greeter(scene, "z"),
      await greeter(scene, "s"),
    ];
    const dns = await startResponder(
      scene,
      zone([
        srv(NAME, [1, 10, light.port, "l.example.test"]),
        srv(NAME, [1, 30, heavy.port, "h.example.test"]),
        srv(NAME, [1, 0, zero.port, "z.example.test"]),
        srv(NAME, [2, 1, spare.port, "s.example.test"]),
        a("l.example.test", light.at.host),
        a("h.example.test", heavy.at.host),
        a("z.example.test", zero.at.host),
        a("s.example.test", spare.at.host),
      ]),
    );
    const stage = await discovering(scene, [dns.key], {}, {}, balance);
    const picks = balance === "random" ? 1024 : 80;
    const counts = tally(await (balance === "random" ? rolls : apart)(scene, stage, picks));
    // One in a hundred goes to who has no weight. A deck of random numbers has a few slices on the edges of the shares.
    const edges = balance === "random" ? 8 : 2;
    for (const [name, share] of Object.entries({ l: 0.2475, h: 0.7426, z: 0.0099 })) {
      const off = Math.abs((counts[name] ?? 0) - share * picks);
      assert.ok(off <= edges, JSON.stringify(counts));
    }
    assert.equal(counts["s"], undefined, "the second tier waits");
  });
}
