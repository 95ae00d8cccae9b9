/**
 * Ensures that connections over which short messages go to and fro for a while lose none, whichever way the transport moves them by
 * then, and that they end as any other connection does.
 */
import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import type { Socket } from "node:net";
import { scenario } from "../gear/scene.ts";

const CONNECTIONS = 24;
// Enough for the transport to settle on how to move them, and to go on with that.
const MESSAGES = 150;

/** Says so many messages of changing lengths, the next when the last has come back. How many bytes that was. */
async function talk(socket: Socket, messages: number): Promise<number> {
  let bytes = 0;
  for (let number = 0; number < messages; number++) {
    const message = randomBytes(1 + ((number * 37) % 700));
    socket.write(message);
    let answer = Buffer.alloc(0);
    while (answer.length < message.length) answer = Buffer.concat([answer, (await once(socket, "data"))[0]]);
    assert(answer.equals(message), `message ${number}`);
    bytes += message.length;
  }
  return bytes;
}

scenario(
  "short messages come back whole, one connection and many, and each line counts them",
  async (scene) => {
    const service = await scene.service((socket) => socket.pipe(socket));
    const stage = await scene.proxy({
      listeners: [{ name: "in", address: "127.0.0.1:0", routes: [{ tls: "none", cluster: "out" }] }],
      clusters: { out: { endpoints: [service.address] } },
    });
    // Alone first: what comes one by one is moved otherwise than a crowd.
    const alone = await scene.client(stage.port("in"));
    const said = await talk(alone, 4 * MESSAGES);
    const sockets = await Promise.all(
      Array.from({ length: CONNECTIONS }, () => scene.client(stage.port("in"))),
    );
    await Promise.all(sockets.map((socket) => talk(socket, MESSAGES)));
    const bulk = randomBytes(3_000_000);
    const hash = createHash("sha1");
    alone.on("data", (chunk) => hash.update(chunk));
    alone.end(bulk);
    await once(alone, "end");
    assert.equal(hash.digest("hex"), createHash("sha1").update(bulk).digest("hex"));
    const line = await stage.access();
    assert.deepEqual(
      [line.reason, line.bytes_up, line.bytes_down],
      ["ok", said + bulk.length, said + bulk.length],
    );
    for (const socket of sockets) socket.end();
    const lines = await Promise.all(sockets.map(() => stage.access()));
    assert(lines.every(({ reason }) => reason === "ok"));
    await stage.settled();
  },
);
