/**
 * Ensures that source_hash sends one source to one endpoint: on every worker, after a reload, and again once an endpoint that
 * was down has returned; and that only the sources of that endpoint move meanwhile.
 */
import assert from "node:assert/strict";
import { becomes, greeter, plainConfig, roll } from "../gear/fleet.ts";
import { type Scene, type Service, type Stage, scenario } from "../gear/scene.ts";

const SOURCES = Array.from({ length: 24 }, (_, index) => `127.1.${index}.${index + 1}`);

/** Who serves each source; four connections each must agree. */
async function homes(scene: Scene, stage: Stage): Promise<string[]> {
  const found: string[] = [];
  for (const source of SOURCES) {
    const names = await roll(scene, stage, 4, source);
    assert.match(names, /^(.)\1{3}$/, `${source} always reaches the same endpoint`);
    found.push(names[0]!);
  }
  return found;
}

scenario("one source, one endpoint", async (scene) => {
  const services: Service[] = [];
  for (const name of ["a", "b", "c"]) services.push(await greeter(scene, name));
  const config = plainConfig(
    {
      balance: "source_hash",
      endpoints: services.map(({ address }) => address),
      health: { interval: "40ms", timeout: "2s", rise: 1, fall: 1 },
    },
    { workers: 2 },
  );
  const stage = await scene.proxy(config);
  const before = await homes(scene, stage);
  assert.ok(new Set(before).size > 1, "sources spread");

  const [gone] = services;
  await gone!.close();
  await becomes(stage, gone!, "down");
  const meanwhile = await homes(scene, stage);
  for (const [index, name] of before.entries()) {
    if (name === "a") assert.notEqual(meanwhile[index], "a");
    else assert.equal(meanwhile[index], name, "whose endpoint is well does not move");
  }

  await becomes(stage, await greeter(scene, "a", gone!.at), "up");
  assert.deepEqual(await homes(scene, stage), before);
  await stage.reload({ ...config, timeouts: { idle: "2h" } });
  assert.deepEqual(await homes(scene, stage), before);
});
