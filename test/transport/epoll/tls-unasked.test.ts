/**
 * What TLS 1.3 sends behind a handshake without being asked: KeyUpdates without end must not keep the worker inside of one call, and
 * half a ticket must stop neither data nor an orderly end.
 */
import assert from "node:assert/strict";
import { once } from "node:events";
import { connect } from "node:net";
import { test } from "node:test";
import { MSG_PEEK } from "../../../lib/ffi/layout.ts";
import { recv, send } from "../../../lib/ffi/libc.ts";
import { WOULD_BLOCK } from "../../../lib/transport/epoll/channel.ts";
import { OpensslClient } from "../../gear/openssl-client.ts";
import {
  accepted,
  channelOn,
  clientSpec,
  engine,
  listening,
  room,
  serverSpec,
  socketPair,
  sServer,
  until,
} from "./tls-gear.ts";

test("a flood of KeyUpdates is worked through a buffer at a time, and what lies behind it arrives", async (t) => {
  const tls = engine(t);
  const { descriptor, port } = listening(t);
  const client = new OpensslClient(port);
  t.after(() => client.close());
  const serverFd = await accepted(t, descriptor);
  const server = channelOn(t, tls, serverFd, tls.context(await serverSpec({ clientAuth: "none" })));
  let ours = WOULD_BLOCK;
  await until("the handshake", () => {
    const theirs = client.shake();
    if (ours === WOULD_BLOCK) ours = server.handshake();
    return theirs && ours === 1;
  });
  // 27 bytes each: three times what OpenSSL reads at once.
  await client.update(2000);
  await client.say("behind it");

  let calls = 0;
  let count = WOULD_BLOCK;
  await until("the data", () => {
    do {
      const before = Math.max(recv(serverFd, room.address, 131_072, MSG_PEEK), 0);
      count = server.read(room.address, 1024);
      const after = Math.max(recv(serverFd, room.address + 1024, 131_072, MSG_PEEK), 0);
      assert.ok(before - after <= 17_408, `one call took ${before - after} bytes`);
      calls += 1;
    } while (count === WOULD_BLOCK && !server.drained());
    return count !== WOULD_BLOCK;
  });
  assert.equal(room.bytes.toString("latin1", 0, count), "behind it");
  assert.ok(calls > 3, `${calls} calls`);
});

test("half a ticket stops neither data nor the end, they wait for its other half", async (t) => {
  // The session in the ticket names the client's certificate, which makes it longer than one record of 512 bytes.
  const peer = await sServer(t, ["-tls1_3", "-max_send_frag", "512"]);
  const tls = engine(t);
  const [ourFd, wireFd] = socketPair(t);
  const channel = channelOn(t, tls, ourFd, tls.context(await clientSpec()));
  const wire = connect(peer.port, "127.0.0.1");
  t.after(() => wire.destroy());
  await once(wire, "connect");
  let held: Buffer = Buffer.alloc(0);
  wire.on("data", (bytes: Buffer) => {
    held = Buffer.concat([held, bytes]);
  });
  /** Carries up to `length` bytes to the channel, and all that it has said to the peer. */
  const carry = (length: number): void => {
    const part = held.subarray(0, length);
    held = held.subarray(part.length);
    room.bytes.set(part);
    if (part.length > 0) assert.equal(send(wireFd, room.address, part.length, 0), part.length);
    const said = recv(wireFd, room.address, 131_072, 0);
    if (said > 0) wire.write(Buffer.from(room.bytes.subarray(0, said)));
  };
  await until("the handshake", () => {
    const result = channel.handshake();
    carry(result === 1 ? 0 : 65_536);
    return result === 1;
  });
  // One whole record, which is the beginning of the ticket.
  await until("the ticket", () => held.length > 5 && held.length > 5 + held.readUInt16BE(3));
  assert.ok(held.readUInt16BE(3) >= 512, "the ticket fits into one record");
  carry(5 + held.readUInt16BE(3));
  assert.equal(channel.read(room.address, 1024), WOULD_BLOCK);

  room.bytes.write("data", 0);
  assert.equal(channel.write(room.address, 4), WOULD_BLOCK);
  assert.equal(channel.failure(), null);
  assert.equal(channel.end(), WOULD_BLOCK);
  assert.ok(recv(wireFd, room.address + 1024, 1024, 0) < 0, "nothing was sent, and no FIN");

  carry(65_536);
  assert.equal(channel.read(room.address + 1024, 1024), WOULD_BLOCK);
  room.bytes.write("data", 0);
  assert.equal(channel.write(room.address, 4), 4);
  assert.equal(channel.end(), 0);
  await until("the data", () => {
    carry(0);
    return peer.output().includes("data");
  });
});
