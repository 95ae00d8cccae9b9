/** Ensures that a lower tier takes over exactly while the better one cannot serve, and gives back when it can. */
import assert from "node:assert/strict";
import { becomes, greeter, plainProxy, roll, visit } from "../gear/fleet.ts";
import { scenario } from "../gear/scene.ts";

scenario("tiers: fallback, and return with the first endpoint that is well again", async (scene) => {
  const first = await greeter(scene, "a");
  const second = await greeter(scene, "b");
  const third = await greeter(scene, "c");
  const stage = await plainProxy(scene, {
    endpoints: [
      { address: first.address, priority: 0 },
      { address: second.address, priority: 0 },
      { address: third.address, priority: 7 },
    ],
    health: { interval: "40ms", timeout: "2s", rise: 1, fall: 1 },
  });
  const lasting = await visit(scene, stage);
  assert.match(await roll(scene, stage, 6), /^(ab){3}$|^(ba){3}$/);
  await first.close();
  await becomes(stage, first, "down");
  assert.equal(await roll(scene, stage, 4), "bbbb");
  await second.close();
  await becomes(stage, second, "down");
  assert.equal(await roll(scene, stage, 4), "cccc");
  const again = await greeter(scene, "a", first.at);
  await becomes(stage, again, "up");
  assert.equal(await roll(scene, stage, 4), "aaaa");
  assert.ok(lasting.name === "a" || lasting.name === "b");
});
