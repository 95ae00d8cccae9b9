/**
 * Ensures that a name server's answer which comes when its question has been given up is never taken: the retry's answer is,
 * and the late one is counted. So is one to an earlier question that arrives at the port of a later one.
 */
import assert from "node:assert/strict";
import { discovering, honest, records, sourceBecomes, sourceOf } from "../gear/discovery.ts";
import { type Query, startResponder } from "../gear/dns.ts";
import { greeters, roll } from "../gear/fleet.ts";
import { type Scene, type Service, scenario } from "../gear/scene.ts";

const PATIENCE = { timeout: "250ms", attempts: 3 };

/** Keeps its answer to the first query, which names `evil`, until the second came; that one is answered with `good`. */
function slowAtFirst(scene: Scene, good: Service, evil: Service): ReturnType<typeof startResponder> {
  let release = (): void => {};
  const tooLate = new Promise<void>((resolve) => {
    release = resolve;
  });
  return startResponder(scene, async (query) => {
    if (query.turn === 0) {
      await tooLate;
      return honest(records([evil]), query);
    }
    release();
    return honest(records([good]), query);
  });
}

scenario("an answer after its time: the retry's counts", async (scene) => {
  const [good, evil] = await greeters(scene, 2);
  const dns = await slowAtFirst(scene, good!, evil!);
  const stage = await discovering(scene, [dns.key], {}, PATIENCE);
  assert.equal(await roll(scene, stage, 4), "aaaa");
  await sourceBecomes(stage, "the late one is counted", ({ ignored }) => ignored["late"] === 1);
  assert.equal(evil!.accepted, 0);
  assert.equal((await sourceOf(stage)).targets, 1);
});

scenario("an answer to an earlier question, at the port of a later one, is passed over", async (scene) => {
  const [good, evil] = await greeters(scene, 2);
  let earlier: Query | null = null;
  const dns = await startResponder(scene, (query) => {
    if (earlier !== null) return [honest(records([evil!]), earlier), honest(records([good!]), query)];
    earlier = query;
    return null;
  });
  const stage = await discovering(scene, [dns.key], {}, PATIENCE);
  assert.equal(await roll(scene, stage, 4), "aaaa");
  assert.equal(evil!.accepted, 0);
  assert.ok(((await sourceOf(stage)).ignored["wrongId"] ?? 0) >= 1);
});

scenario(
  "a whole query in vain: the next one is answered, and who waited for it is served",
  async (scene) => {
    const [good, evil] = await greeters(scene, 2);
    const dns = await slowAtFirst(scene, good!, evil!);
    const stage = await discovering(scene, [dns.key], {}, { timeout: "50ms", attempts: 1 });
    const { failures, phase } = await sourceBecomes(stage, "it failed", (source) => source.failures > 0);
    assert.deepEqual([failures, phase], [1, "unresolved"]);
    assert.equal(await roll(scene, stage, 4), "aaaa");
    assert.equal(evil!.accepted, 0);
  },
);
