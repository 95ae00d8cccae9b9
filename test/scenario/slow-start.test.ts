/** Ensures that an endpoint which returns begins with a small share and grows to its full one. */
import assert from "node:assert/strict";
import { becomes, endpointOf, greeter, plainProxy, roll, tally } from "../gear/fleet.ts";
import { eventually, scenario } from "../gear/scene.ts";

scenario("a tenth first, the full share in the end", async (scene) => {
  const steady = await greeter(scene, "a");
  const first = await greeter(scene, "b");
  const stage = await plainProxy(scene, {
    endpoints: [steady.address, first.address],
    health: { interval: "40ms", timeout: "2s", rise: 1, fall: 1 },
    slow_start: "900ms",
  });
  assert.deepEqual(tally(await roll(scene, stage, 10)), { a: 5, b: 5 }, "a start is not a return");
  await first.close();
  await becomes(stage, first, "down");
  await greeter(scene, "b", first.at);
  await becomes(stage, first, "up");
  const share = () => endpointOf(stage, first.key)!.share;
  const early = share();
  assert.ok(early < 0.5, String(early));
  const counts = tally(await roll(scene, stage, 20));
  if (share() < 0.5) assert.ok((counts["b"] ?? 0) <= 7, JSON.stringify(counts));
  await eventually(() => share() === 1, "it has its full share");
  assert.deepEqual(tally(await roll(scene, stage, 10)), { a: 5, b: 5 });
});
