/**
 * Ensures that a connection whose endpoint refuses, or does not answer, goes on to another one before any byte was relayed;
 * within the connect deadline, the number of retries and the retry budget.
 */
import assert from "node:assert/strict";
import { identityFiles } from "../gear/certificates.ts";
import { endpointOf, greeter, mute, nobody, plainProxy, roll, visit } from "../gear/fleet.ts";
import { NAME, paths, tlsService } from "../gear/legs.ts";
import { scenario } from "../gear/scene.ts";

scenario("refused twice: the third endpoint serves, and the record names it", async (scene) => {
  const well = await greeter(scene, "a");
  const stage = await plainProxy(scene, {
    endpoints: [
      { address: nobody(), priority: 0 },
      { address: nobody(), priority: 1 },
      { address: well.address, priority: 2 },
    ],
  });
  assert.equal(await roll(scene, stage, 3), "aaa");
  const access = await stage.access();
  assert.deepEqual([access.reason, access.endpoint], ["ok", well.key]);
});

scenario("one more endpoint than retries: it gives up and says how often it tried", async (scene) => {
  const well = await greeter(scene, "a");
  const refused = [nobody(), nobody(), nobody()];
  const stage = await plainProxy(scene, {
    endpoints: [...refused, well.address].map((address, priority) => ({ address, priority })),
  });
  assert.equal(await roll(scene, stage, 1), "-");
  const access = await stage.access();
  assert.equal(access.reason, "dial_failed");
  assert.match(access.error!, /the last of 3 attempts/);
  assert.equal(access.endpoint, refused[2]);
  assert.equal(well.accepted, 0);
});

scenario("no answer: the next one after connect.timeout", async (scene) => {
  const silent = await mute(scene);
  const well = await greeter(scene, "a");
  const stage = await plainProxy(scene, {
    endpoints: [
      { address: silent, priority: 0 },
      { address: well.address, priority: 1 },
    ],
    connect: { timeout: "60ms" },
  });
  const one = await visit(scene, stage);
  assert.equal(one.name, "a");
  await one.end();
  const access = await stage.access();
  assert.equal(access.endpoint, well.key);
  assert.ok(access.duration_ms >= 60);
});

scenario("no answer anywhere: the connect deadline ends it, whatever retries are left", async (scene) => {
  const silent = [await mute(scene), await mute(scene), await mute(scene)];
  const stage = await plainProxy(
    scene,
    { endpoints: silent, connect: { timeout: "150ms", retries: 10 } },
    { timeouts: { connect: "200ms" } },
  );
  assert.equal(await roll(scene, stage, 1), "-");
  const access = await stage.access();
  assert.equal(access.reason, "dial_timeout");
  assert.match(access.error!, /the last of 2 attempts/);
  assert.ok(access.duration_ms >= 199 && access.duration_ms < 450, String(access.duration_ms));
});

scenario("an endpoint that breaks the handshake: the next one serves", async (scene) => {
  const alice = await identityFiles("alice");
  scene.onClose(alice.remove);
  const plain = await greeter(scene, "p");
  const well = await tlsService(scene, (socket) => socket.end("a\n"));
  const stage = await plainProxy(
    scene,
    {
      endpoints: [
        { address: plain.address, priority: 0 },
        { address: well.address, priority: 1 },
      ],
      tls: { identity: "alice", server_name: NAME },
    },
    { identities: { alice: paths(alice.config) } },
  );
  assert.equal(await roll(scene, stage, 2), "aa");
  assert.equal((await stage.access()).endpoint, well.key);
  assert.equal(plain.accepted, 2);
});

scenario("once a byte was relayed there is no other endpoint: a reset is a reset", async (scene) => {
  const cutting = await scene.service((socket) => {
    socket.write("a\n");
    socket.once("data", () => socket.resetAndDestroy());
  });
  const other = await greeter(scene, "b");
  const stage = await plainProxy(scene, {
    endpoints: [
      { address: cutting.address, priority: 0 },
      { address: other.address, priority: 1 },
    ],
  });
  const one = await visit(scene, stage);
  assert.equal(await one.echo(), false);
  assert.equal((await stage.access()).reason, "upstream_reset");
  assert.equal(other.accepted, 0);
});

scenario("the retry budget: a cluster that fails does not cost its connections threefold", async (scene) => {
  const gone = [nobody(), nobody(), nobody()];
  const stage = await plainProxy(scene, { endpoints: gone });
  const connections = 300;
  assert.equal(await roll(scene, stage, connections), "-".repeat(connections));
  const dials = gone.reduce((sum, key) => sum + endpointOf(stage, key)!.dials, 0);
  // A reserve of 100, a fifth of all dials, ten a second; without a budget there would be 900.
  assert.ok(dials >= connections + 100, `${dials} dials`);
  assert.ok(dials < connections + 100 + dials / 5 + 100, `${dials} dials`);
});
