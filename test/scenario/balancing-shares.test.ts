/** Ensures that connections are shared out by weight, within the best priority that can serve, by every policy. */
import assert from "node:assert/strict";
import { discovering } from "../gear/discovery.ts";
import { a, srv, startResponder, zone } from "../gear/dns.ts";
import { greeter, greeters, plainProxy, roll, tally } from "../gear/fleet.ts";
import { scenario } from "../gear/scene.ts";

const NAME = "_db._tcp.example.test";

for (const balance of ["round_robin", "least_connections"] as const) {
  scenario(`weights 1, 2 and 5 by ${balance}: exact shares`, async (scene) => {
    const [one, two, five] = await greeters(scene, 3);
    const stage = await plainProxy(scene, {
      balance,
      endpoints: [
        { address: one!.address, weight: 1 },
        { address: two!.address, weight: 2 },
        { address: five!.address, weight: 5 },
      ],
    });
    const counts = tally(await roll(scene, stage, 40));
    if (balance === "round_robin") assert.deepEqual(counts, { a: 5, b: 10, c: 25 });
    else
      for (const [name, share] of [
        ["a", 5],
        ["b", 10],
        ["c", 25],
      ] as const)
        assert.ok(Math.abs(counts[name]! - share) <= 2, JSON.stringify(counts));
  });
}

scenario("weights by random: shares within chance", async (scene) => {
  const [one, three] = await greeters(scene, 2);
  const stage = await plainProxy(scene, {
    balance: "random",
    endpoints: [
      { address: one!.address, weight: 1 },
      { address: three!.address, weight: 3 },
    ],
  });
  const counts = tally(await roll(scene, stage, 200));
  // 150 expected of `b`; 120 is five standard deviations away.
  assert.ok(counts["b"]! > 120 && counts["b"]! < 180, JSON.stringify(counts));
});

scenario(
  "SRV weights and priorities are honoured by every policy; weight 0 gets almost nothing",
  async (scene) => {
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
    const stage = await discovering(scene, [dns.key]);
    const counts = tally(await roll(scene, stage, 40));
    assert.ok((counts["z"] ?? 0) <= 1, JSON.stringify(counts));
    assert.ok(Math.abs(counts["h"]! - 30) <= 2 && Math.abs(counts["l"]! - 10) <= 2, JSON.stringify(counts));
    assert.equal(counts["s"], undefined, "the second tier waits");
  },
);
