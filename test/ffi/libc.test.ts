/** Ensures that system calls return what the man pages say, -errno included, and that addresses survive the way to C. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { ProxyError } from "../../lib/errors.ts";
import { EAGAIN, errnoName } from "../../lib/ffi/errno.ts";
import * as layout from "../../lib/ffi/layout.ts";
import * as libc from "../../lib/ffi/libc.ts";
import { allocate, allocateBare, copy, free } from "../../lib/ffi/memory.ts";
import { decodeSockaddr, encodeSockaddr } from "../../lib/ffi/sockaddr.ts";
import type { SocketAddress } from "../../lib/wire/address.ts";

const skip = libc.probe() ?? false;

describe("libc", { skip }, () => {
  it("reads errno in the same breath", () => {
    const memory = allocate(4096);
    assert.equal(libc.recv(-1, memory.address, 1, 0), -9);
    const ends = new Int32Array(memory.bytes.buffer, memory.bytes.byteOffset, 2);
    assert.equal(libc.pipe2(memory.address, layout.O_NONBLOCK | layout.O_CLOEXEC), 0);
    const [out, into] = [ends[0]!, ends[1]!];
    assert.equal(libc.read(out, memory.address, 1), -EAGAIN);
    assert.equal(libc.write(into, memory.address, 7), 7);
    assert.equal(libc.read(out, memory.address + 64, 100), 7);
    assert.ok(libc.fcntl(out, layout.F_GETPIPE_SZ, 0) >= 4096);
    assert.equal(libc.close(out), 0);
    assert.equal(libc.close(into), 0);
    assert.equal(errnoName(-EAGAIN), "EAGAIN");
    assert.equal(errnoName(4711), "error 4711");
  });

  it("copies between addresses", () => {
    const from = allocate(64);
    const to = allocateBare(65_536);
    const back = allocate(64);
    from.bytes.write("millrace");
    copy(to, from.address, 8);
    copy(back.address, to, 8);
    assert.equal(back.bytes.toString("utf8", 0, 8), "millrace");
    free(to, 65_536);
  });

  for (const address of [
    { kind: "ip", host: "127.0.0.1", port: 443 },
    { kind: "ip", host: "255.254.253.252", port: 65_535 },
    { kind: "ip", host: "::1", port: 1 },
    { kind: "ip", host: "2001:db8::ff:0:1", port: 8080 },
    { kind: "unix", path: "/run/some.sock" },
    { kind: "unix", path: "@abstract" },
  ] satisfies SocketAddress[]) {
    it(`encodes and decodes ${JSON.stringify(address)}`, () => {
      const bytes = encodeSockaddr(address);
      assert.deepEqual(decodeSockaddr(bytes, 0, bytes.length), address);
    });
  }

  it("writes a mapped address as IPv4", () => {
    const bytes = encodeSockaddr({ kind: "ip", host: "::1", port: 9 });
    bytes.fill(0, 8, 24);
    bytes.writeUInt16BE(0xffff, 18);
    bytes.set([10, 1, 2, 3], 20);
    assert.deepEqual(decodeSockaddr(bytes, 0, 28), { kind: "ip", host: "10.1.2.3", port: 9 });
  });

  it("knows the interface of a zone, and says when there is none", () => {
    const bytes = encodeSockaddr({ kind: "ip", host: "fe80::1%lo", port: 9 });
    assert.equal(bytes.readUInt32LE(layout.SOCKADDR_IN6.scope), 1);
    assert.throws(
      () => encodeSockaddr({ kind: "ip", host: "fe80::1%nowhere", port: 9 }),
      /no network interface nowhere/,
    );
  });

  it("refuses a path that the system would cut", () => {
    assert.doesNotThrow(() => encodeSockaddr({ kind: "unix", path: "p".repeat(107) }));
    assert.throws(
      () => encodeSockaddr({ kind: "unix", path: "p".repeat(108) }),
      (thrown) => thrown instanceof ProxyError && /108 bytes, the system allows 107/.test(thrown.message),
    );
  });

  it("takes an unnamed UNIX client for one", () => {
    assert.deepEqual(decodeSockaddr(Buffer.from([1, 0]), 0, 2), { kind: "unix", path: "" });
    assert.deepEqual(decodeSockaddr(Buffer.alloc(16), 0, 0), { kind: "unix", path: "" });
  });
});
