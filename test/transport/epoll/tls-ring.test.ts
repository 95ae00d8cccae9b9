/** The ring that TLS writes to: how much is in it is read in place where that can be found, and asked for where it cannot. */
import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { AF_UNIX, SOCK_NONBLOCK, SOCK_STREAM } from "../../../lib/ffi/layout.ts";
import { close, recv } from "../../../lib/ffi/libc.ts";
import { bind, viewOf } from "../../../lib/ffi/library.ts";
import { type Openssl, openssl } from "../../../lib/ffi/openssl.ts";
import { BIO_CTRL_RESET, findWaiting, makePair } from "../../../lib/ffi/openssl-bio.ts";
import { Ring } from "../../../lib/transport/epoll/tls-ring.ts";
import { room } from "./tls-gear.ts";

const socketpair = bind("socketpair", "int", ["int", "int", "int", "intptr_t"]);

/** One half of a pair with 64 KiB of room. */
function half(t: TestContext, lib: Openssl): number {
  const pair = makePair(lib, 65_536, lib.pin(16));
  assert.ok(pair !== null);
  t.after(() => {
    lib.BIO_free(pair.near);
    lib.BIO_free(pair.far);
  });
  return pair.near;
}

test("what waits in a pair is found in place, and is what OpenSSL says through every filling", (t) => {
  const lib = openssl();
  const near = half(t, lib);
  assert.ok(lib.waitingAt !== null, "not found in this OpenSSL");
  assert.equal(findWaiting(lib, near, room.address), lib.waitingAt);
  assert.equal(lib.BIO_ctrl_wpending(near), 0);
  const view = viewOf(lib.BIO_get_data(near) + lib.waitingAt, 4);
  for (const lengths of [[1], [517, 22, 1], [16_406, 16_406, 16_406], [65_536], [0]]) {
    for (const length of lengths) {
      lib.BIO_write(near, room.address, length);
      assert.equal(view.readUInt32LE(), lib.BIO_ctrl_wpending(near));
    }
    assert.equal(
      view.readUInt32LE(),
      lengths.reduce((sum, length) => sum + length, 0),
    );
    lib.BIO_ctrl(near, BIO_CTRL_RESET, 0, 0);
    assert.equal(view.readUInt32LE(), 0);
  }
});

test("a library whose structure does not show it is asked, and the bytes leave all the same", (t) => {
  const elsewhere = openssl().pin(64);
  elsewhere.bytes.fill(0);
  const stranger: Openssl = { ...openssl(), BIO_get_data: () => elsewhere.address };
  assert.equal(findWaiting(stranger, half(t, stranger), room.address), null);

  assert.equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, room.address), 0);
  const [near, far] = [room.bytes.readInt32LE(0), room.bytes.readInt32LE(4)];
  const blind: Openssl = { ...openssl(), waitingAt: null };
  const ring = new Ring(blind);
  t.after(() => {
    ring.free();
    close(near);
    close(far);
  });
  room.bytes.write("to be sent", 0);
  assert.equal(ring.flush(near), 0);
  blind.BIO_write(ring.bio, room.address, 10);
  assert.equal(ring.flush(near), 0);
  assert.equal(recv(far, room.address + 64, 100, 0), 10);
  assert.equal(room.bytes.toString("latin1", 64, 74), "to be sent");
});
