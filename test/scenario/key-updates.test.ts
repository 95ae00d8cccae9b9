/**
 * Ensures that a client which updates its keys without end has its turn like everybody else, and that what it says behind all that
 * arrives: on epoll, OpenSSL reads from the socket by itself, and would go on as long as something comes.
 */
import assert from "node:assert/strict";
import { edge, TERMINATE } from "../gear/edge.ts";
import { OpensslClient } from "../gear/openssl-client.ts";
import { eventually, readAll, scenario } from "../gear/scene.ts";

scenario("two thousand KeyUpdates, then data", async (scene) => {
  let heard: Promise<Buffer> | null = null;
  const service = await scene.service((socket) => {
    heard = readAll(socket);
    socket.on("end", () => socket.end());
  });
  const stage = await edge(scene, service, [TERMINATE]);
  const client = new OpensslClient(stage.port("in"));
  scene.onClose(() => client.close());
  await eventually(() => client.shake(), "the handshake");
  await client.update(2000);
  await client.say("behind it");
  await client.end();
  const access = await stage.access();
  assert.equal(access.reason, "ok", access.error);
  assert.equal(access.bytes_up, 9);
  assert.equal(String(await heard!), "behind it");
});
