/**
 * Ensures that active checks keep connections away from an endpoint that fails them, whichever way it fails, and bring it
 * back after `rise` good ones; live connections stay where they are.
 */
import assert from "node:assert/strict";
import { identityFiles } from "../gear/certificates.ts";
import { becomes, endpointOf, events, greeter, plainProxy, roll, visit } from "../gear/fleet.ts";
import { NAME, paths, tlsService } from "../gear/legs.ts";
import { scenario } from "../gear/scene.ts";

const QUICK = { interval: "40ms", timeout: "500ms", rise: 2, fall: 2 };

scenario("tcp: refused is down, and not dialled; accepted is up again", async (scene) => {
  const well = await greeter(scene, "a");
  const ill = await greeter(scene, "b");
  const stage = await plainProxy(scene, { endpoints: [well.address, ill.address], health: QUICK });
  const lasting = [await visit(scene, stage), await visit(scene, stage)].find(({ name }) => name === "a")!;
  await ill.close();
  await becomes(stage, ill, "down");
  // A check that was in the closing service's queue is reset; every later one is refused.
  assert.match(endpointOf(stage, ill.key)!.reason!, /ECONNREFUSED|ECONNRESET/);
  const { dials } = endpointOf(stage, ill.key)!;
  assert.equal(await roll(scene, stage, 10), "a".repeat(10));
  assert.equal(endpointOf(stage, ill.key)!.dials, dials, "who is down is not dialled");
  const back = await greeter(scene, "b", ill.at);
  await becomes(stage, back, "up");
  assert.match(await roll(scene, stage, 4), /^(ab){2}$|^(ba){2}$/);
  assert.ok(await lasting.echo(), "a live connection outlives it all");
  assert.deepEqual(
    events(stage, new RegExp(`${ill.key} check`)).map(({ level, event }) => [level, event]),
    [
      ["warn", "down"],
      ["info", "up"],
    ],
  );
});

scenario("tcp: an endpoint that accepts and resets is down", async (scene) => {
  let broken = false;
  const well = await greeter(scene, "a");
  const ill = await greeter(scene, "b", { broken: () => broken });
  const stage = await plainProxy(scene, { endpoints: [well.address, ill.address], health: QUICK });
  assert.match(await roll(scene, stage, 4), /^(ab){2}$|^(ba){2}$/);
  broken = true;
  await becomes(stage, ill, "down");
  assert.equal(await roll(scene, stage, 4), "aaaa");
  broken = false;
  await becomes(stage, ill, "up");
  assert.match(await roll(scene, stage, 4), /^(ab){2}$|^(ba){2}$/);
});

scenario("send and expect: the wrong answer, and none, are down", async (scene) => {
  let answer: string | null = "+PONG\r\n";
  const redis = await scene.service((socket) => {
    socket.once("data", () => {
      if (answer !== null) socket.write(answer);
    });
  });
  const other = await greeter(scene, "+PONG");
  const stage = await plainProxy(scene, {
    endpoints: [redis.address, other.address],
    health: { ...QUICK, send: "PING\r\n", expect: "+PONG" },
  });
  answer = "-LOADING\r\n";
  await becomes(stage, redis, "down");
  assert.match(endpointOf(stage, redis.key)!.reason!, /answered .*-LOADING/);
  answer = "+PONG\r\n";
  await becomes(stage, redis, "up");
  answer = null;
  await becomes(stage, redis, "down");
  assert.match(endpointOf(stage, redis.key)!.reason!, /no answer within 500 ms/);
  assert.equal(endpointOf(stage, other.key)!.health, "up");
});

scenario("tls: an endpoint that succeeds in TCP and fails in TLS is down", async (scene) => {
  const alice = await identityFiles("alice");
  scene.onClose(alice.remove);
  const well = await tlsService(scene, (socket) => socket.end("a\n"));
  const plain = await greeter(scene, "p");
  const stage = await plainProxy(
    scene,
    {
      endpoints: [well.address, plain.address],
      tls: { identity: "alice", server_name: NAME },
      health: QUICK,
    },
    { identities: { alice: paths(alice.config) } },
  );
  await becomes(stage, plain, "down");
  assert.match(endpointOf(stage, plain.key)!.reason!, /TLS handshake/);
  assert.equal(endpointOf(stage, well.key)!.health, "up");
  assert.equal(await roll(scene, stage, 4), "aaaa");
});
