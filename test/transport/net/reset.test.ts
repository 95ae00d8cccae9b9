/** Ensures that a reset right behind an end, while the shutdown is on its way, still closes the descriptor. */
import assert from "node:assert/strict";
import { type AddressInfo, createServer } from "node:net";
import { test } from "node:test";
import type { NetStream } from "../../../lib/transport/net/stream.ts";
import { createNetTransport } from "../../../lib/transport/net/transport.ts";

test("a reset in the turn of the end", { timeout: 5_000 }, async (t) => {
  const service = createServer((socket) => socket.on("error", () => {}).resume());
  await new Promise<void>((resolve) => service.listen(0, "127.0.0.1", resolve));
  t.after(() => service.close());
  const { port } = service.address() as AddressInfo;
  const stream = await new Promise<NetStream>((resolve, reject) => {
    const target = { kind: "ip", host: "127.0.0.1", port } as const;
    const dialled = createNetTransport().dial(
      target,
      { from: null, speaksFirst: false },
      { dialled: (error) => (error === null ? resolve(dialled as NetStream) : reject(error)) },
    );
  });
  const { socket } = stream;
  const closed = new Promise((resolve) => socket.once("close", resolve));
  socket.end();
  // Node hands the shutdown to libuv in a tick of its own, and libuv carries it out in its next turn: between the two.
  await new Promise<void>((resolve) => {
    process.nextTick(() => process.nextTick(resolve));
  });
  assert.equal(socket.writableFinished, false);
  stream.reset();
  // Where libuv refuses, this event never comes.
  await closed;
});
