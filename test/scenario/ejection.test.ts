/**
 * Ensures that endpoints which fail real connections are left out for a while, refusing and accept-then-reset ones alike,
 * never more of them than `max_percent`, and that they return.
 */
import assert from "node:assert/strict";
import {
  becomes,
  endpointOf,
  events,
  greeter,
  nobody,
  plainProxy,
  roll,
  tally,
  visit,
} from "../gear/fleet.ts";
import { eventually, scenario } from "../gear/scene.ts";

// A reset that comes before the proxy has seen its dial succeed is a failed dial, which another endpoint would make good.
const ONCE = { retries: 0 };

scenario("accept-then-reset: ejected after so many in a row, dialled no more, returned", async (scene) => {
  let broken = true;
  const well = await greeter(scene, "a");
  const ill = await greeter(scene, "b", { broken: () => broken });
  const stage = await plainProxy(scene, {
    endpoints: [well.address, ill.address],
    connect: ONCE,
    eject: { failures: 3, for: "600ms", max_percent: 50 },
  });
  assert.deepEqual(tally(await roll(scene, stage, 6)), { a: 3, "-": 3 });
  await becomes(stage, ill, "ejected");
  const { accepted } = ill;
  assert.equal(await roll(scene, stage, 10), "a".repeat(10));
  assert.equal(ill.accepted, accepted);
  broken = false;
  await becomes(stage, ill, "up");
  assert.deepEqual(tally(await roll(scene, stage, 4)), { a: 2, b: 2 });
  assert.deepEqual(
    events(stage, new RegExp(ill.key)).map(({ event }) => event),
    ["ejected", "returned"],
  );
  assert.match(String(events(stage, /ejected for/)[0]!["msg"]), /ejected for 600 ms: 3 failures in a row/);
});

scenario("an endpoint that works now and then is not ejected: failures count in a row", async (scene) => {
  let turn = 0;
  const moody = await greeter(scene, "a", { broken: () => turn++ % 3 !== 2 });
  const well = await greeter(scene, "b");
  const stage = await plainProxy(scene, {
    endpoints: [moody.address, well.address],
    connect: ONCE,
    eject: { failures: 3, for: "1m", max_percent: 100 },
  });
  assert.deepEqual(tally(await roll(scene, stage, 24)), { "-": 8, a: 4, b: 12 });
  assert.equal(endpointOf(stage, moody.key)!.health, "up");
});

scenario(
  "a connection that lives clears its endpoint with its first byte, not with its end",
  async (scene) => {
    let broken = true;
    const moody = await greeter(scene, "a", { broken: () => broken });
    const stage = await plainProxy(scene, {
      endpoints: [moody.address],
      eject: { failures: 3, for: "1m", max_percent: 100 },
    });
    assert.equal(await roll(scene, stage, 2), "--");
    assert.equal(endpointOf(stage, moody.key)!.failures, 2);
    broken = false;
    const living = await visit(scene, stage);
    assert.equal(living.name, "a");
    await eventually(() => endpointOf(stage, moody.key)!.failures === 0, "cleared while it lives");
  },
);

scenario("max_percent holds with every endpoint failing", async (scene) => {
  const gone = [nobody(), nobody(), nobody(), nobody()];
  const stage = await plainProxy(scene, {
    endpoints: gone,
    connect: ONCE,
    eject: { failures: 2, for: "1m", max_percent: 50 },
  });
  assert.equal(await roll(scene, stage, 24), "-".repeat(24));
  const out = () =>
    stage.proxy.clusters
      .get("out")!
      .describe()
      .endpoints.filter(({ health }) => health === "ejected").length;
  await eventually(() => events(stage, /too many of the set are out/).length > 0, "others are spared");
  assert.equal(out(), 2);
  await eventually(() => stage.log.seen.length === 24, "every access line is there");
  const reasons = new Set(stage.log.seen.map(({ reason }) => reason));
  assert.deepEqual([...reasons], ["dial_failed"]);
});
