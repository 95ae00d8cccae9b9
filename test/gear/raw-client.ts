/**
 * A TCP client that Node has no part in: it sends what Node cannot send, and hears of ends what the kernel says. libuv takes a reset
 * behind unread bytes for an end.
 */
import assert from "node:assert/strict";
import { EAGAIN, errnoName } from "../../lib/ffi/errno.ts";
import { AF_INET, SHUT_WR, SOCK_CLOEXEC, SOCK_STREAM } from "../../lib/ffi/layout.ts";
import { close, connect, recv, send, shutdown, socket } from "../../lib/ffi/libc.ts";
import { allocate } from "../../lib/ffi/memory.ts";
import { encodeSockaddr } from "../../lib/ffi/sockaddr.ts";
import type { SocketAddress } from "../../lib/wire/address.ts";

// bits/socket.h.
export const MSG_OOB = 1;
const MSG_DONTWAIT = 0x40;

export class RawClient {
  readonly #descriptor = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  readonly #memory = allocate(65_536);

  /** Connects before it returns: to loopback, where somebody listens. */
  constructor(address: SocketAddress) {
    const bytes = encodeSockaddr(address);
    this.#memory.bytes.set(bytes);
    assert.equal(connect(this.#descriptor, this.#memory.address, bytes.length), 0);
  }

  /** As the other side takes it. */
  async send(bytes: Buffer): Promise<void> {
    for (let at = 0; at < bytes.length; ) {
      const part = bytes.subarray(at, at + 65_536);
      this.#memory.bytes.set(part);
      const sent = send(this.#descriptor, this.#memory.address, part.length, MSG_DONTWAIT);
      if (sent > 0) at += sent;
      else await turn();
    }
  }

  /** All of it at once. */
  sendNow(bytes: Buffer, flags = 0): void {
    this.#memory.bytes.set(bytes);
    assert.equal(send(this.#descriptor, this.#memory.address, bytes.length, flags), bytes.length);
  }

  /** Reads and forgets what comes, until it ends: `end`, or the errno by name. */
  async ended(): Promise<string> {
    for (;;) {
      const count = recv(this.#descriptor, this.#memory.address, 65_536, MSG_DONTWAIT);
      if (count === 0) return "end";
      if (count === -EAGAIN) await turn();
      else if (count < 0) return errnoName(count);
    }
  }

  end(): void {
    shutdown(this.#descriptor, SHUT_WR);
  }

  close(): void {
    close(this.#descriptor);
  }
}

function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
