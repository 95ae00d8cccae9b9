/** Ensures that 64 MiB each way at once arrive byte for byte, on plain and TLS legs alike. */
import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import type { Socket } from "node:net";
import { COMBINATIONS, legs } from "../gear/legs.ts";
import { scenario } from "../gear/scene.ts";

const SIZE = 64 * 1024 * 1024;
// A prime, so that no chunk falls together with a record, a page or a buffer.
const BLOCK = randomBytes(262_139);

for (const combination of COMBINATIONS) {
  scenario(`64 MiB both ways at once: ${combination.join(" to ")}`, async (scene) => {
    let atService: Promise<string> | null = null;
    const { stage, connect } = await legs(scene, combination, (socket) => {
      atService = hashOf(socket);
      void send(socket);
    });
    const client = await connect();
    const atClient = hashOf(client);
    const sent = await send(client);
    assert.equal(await atClient, sent);
    const access = await stage.access();
    assert.equal(await atService, sent);
    assert.equal(access.reason, "ok");
    assert.equal(access.bytes_up, SIZE);
    assert.equal(access.bytes_down, SIZE);
  });
}

/** Sends SIZE bytes and ends; resolves with their hash. */
async function send(socket: Socket): Promise<string> {
  const hash = createHash("sha256");
  for (let left = SIZE; left > 0; left -= BLOCK.length) {
    const block = left < BLOCK.length ? BLOCK.subarray(0, left) : BLOCK;
    hash.update(block);
    if (!socket.write(block)) await new Promise((resolve) => socket.once("drain", resolve));
  }
  socket.end();
  return hash.digest("hex");
}

function hashOf(socket: Socket): Promise<string> {
  const hash = createHash("sha256");
  return new Promise((resolve, reject) => {
    socket.on("data", (chunk: Buffer) => hash.update(chunk));
    socket.on("end", () => resolve(hash.digest("hex")));
    socket.on("error", reject);
  });
}
