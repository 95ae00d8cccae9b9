/**
 * Ensures that a reset right behind an end, while the shutdown is on its way, still closes the descriptor, and that bytes which
 * Node has read and could not pass on yet outlive the reset of their sender.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { RelayEnd } from "../../../lib/transport/transport.ts";
import { eventually } from "../../gear/scene.ts";
import { accept, dial, transport } from "./rig.ts";

test("a reset in the turn of the end", { timeout: 5_000 }, async (t) => {
  const { service, stream } = await dial(t);
  service.resume();
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

test("a reset behind bytes that the other side has no room for yet", { timeout: 20_000 }, async (t) => {
  const { client, stream: downstream } = await accept(t);
  const { service, stream: upstream } = await dial(t);
  const flow = { bytesUp: 0, bytesDown: 0, lastActive: 0, endedUp: false, endedDown: false };
  const relayed = new Promise<RelayEnd>((resolve) =>
    transport.relay(downstream, upstream, flow, { relayed: resolve }),
  );
  client.pause();
  const piece = Buffer.alloc(4096, "x");
  const passed = async (bytes: number): Promise<void> => {
    service.write(piece);
    await eventually(
      () => flow.bytesDown === bytes,
      "a piece is passed on",
      () => `${flow.bytesDown} bytes`,
    );
  };
  await passed(4096);
  // More than the sockets hold: now the client has no room. The piece that finds out is passed on, and no more is taken then.
  const filling = Buffer.alloc(16 << 20);
  downstream.socket.write(filling);
  await passed(8192);
  service.write(piece);
  await eventually(() => upstream.socket.readableLength === 4096, "a piece waits in its sender's socket");
  const closed = new Promise((resolve) => upstream.socket.once("close", resolve));
  service.resetAndDestroy();
  await closed;
  let received = 0;
  client.on("data", (chunk: Buffer) => {
    received += chunk.length;
  });
  client.resume();
  const { how, side } = await relayed;
  assert.deepEqual([how, side, flow.bytesDown], ["reset", "upstream", 3 * 4096]);
  await eventually(
    () => received === filling.length + 3 * 4096,
    "all of it arrives",
    () => `${received} bytes`,
  );
});
