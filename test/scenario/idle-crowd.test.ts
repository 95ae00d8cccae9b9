/** Ensures that 500 idle connections each still carry their byte, there and back. */
import assert from "node:assert/strict";
import type { Socket } from "node:net";
import { CONNECTIONS } from "../../lib/worker.ts";
import { legs } from "../gear/legs.ts";
import { eventually, readBytes, scenario } from "../gear/scene.ts";

const CROWD = 500;

scenario("500 idle connections, then one byte on each", async (scene) => {
  const { stage, connect } = await legs(scene, ["plain", "plain"], (socket) => socket.pipe(socket));
  const clients: Socket[] = [];
  while (clients.length < CROWD) {
    clients.push(...(await Promise.all(Array.from({ length: 50 }, connect))));
  }
  // A client is connected when the kernel has it; the proxy accepts a little later.
  await eventually(
    () => stage.proxy.gauges[CONNECTIONS] === CROWD,
    "all accepted",
    () => `${stage.proxy.gauges[CONNECTIONS]} are`,
  );
  assert.equal((await stage.proxy.connections()).length, CROWD);
  for (const [i, client] of clients.entries()) client.write(Buffer.of(i & 255));
  const echoes = await Promise.all(clients.map((client) => readBytes(client, 1)));
  for (const [i, echo] of echoes.entries()) assert.equal(echo[0], i & 255);
  for (const client of clients) client.end();
  for (let i = 0; i < CROWD; i += 1) assert.equal((await stage.access()).reason, "ok");
});
