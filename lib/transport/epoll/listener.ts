/**
 * Accepts clients from a listening socket that all workers share: level-triggered and EPOLLEXCLUSIVE, so that a connection
 * wakes one worker. No error of a single accept ends the listener. When the process has no descriptor left, the one kept in
 * reserve is used to reset who waits in the queue, and the listener rests: a level-triggered listener that cannot accept
 * would spin.
 */
import { asProxyError, ProxyError } from "../../errors.ts";
import {
  EAGAIN,
  ECONNABORTED,
  EHOSTDOWN,
  EHOSTUNREACH,
  EINTR,
  EMFILE,
  ENETDOWN,
  ENETUNREACH,
  ENFILE,
  ENOBUFS,
  ENOMEM,
  ENONET,
  ENOPROTOOPT,
  EOPNOTSUPP,
  EPERM,
  EPROTO,
  errnoName,
} from "../../ffi/errno.ts";
import {
  EPOLLEXCLUSIVE,
  EPOLLIN,
  F_DUPFD_CLOEXEC,
  IP_TRANSPARENT,
  IPPROTO_IP,
  O_CLOEXEC,
  SO_ACCEPTCONN,
  SOCK_CLOEXEC,
  SOCK_NONBLOCK,
  SOL_SOCKET,
} from "../../ffi/layout.ts";
import { accept4, close, eventfd, fcntl, setNonBlocking } from "../../ffi/libc.ts";
import { decodeSockaddr } from "../../ffi/sockaddr.ts";
import { BACKLOG } from "../../listen/backlog.ts";
import type { Task, Timer } from "../../timing/wheel.ts";
import { formatAddress, type SocketAddress } from "../../wire/address.ts";
import type { Accepted, Listening } from "../transport.ts";
import type { Caller } from "./batch.ts";
import type { Gear } from "./gear.ts";
import type { Source } from "./loop.ts";
import { resetOnClose } from "./sockets.ts";
import { EpollStream } from "./stream.ts";

// Alone, take what the queue has, but no more than the reserve of descriptors can bear; beside others leave them their share
// (HAProxy: 4). Together with other calls, as many come as came before: two workers cost 0.96 of what they do with 4.
const MOST = 16;
const MOST_SHARED = 4;
// The last batch: all that can wait, and as many that come meanwhile; a flood must not keep us for ever.
const LONGEST_QUEUE = 2 * BACKLOG;
// How many are turned away then.
const TURNED_AWAY = 64;
// Until the next try after descriptors or memory ran out.
const REST_MS = 100;

// Errors of one connection, which the next accept does not meet; accept(2), "Error handling".
const OF_ONE = new Set([
  EINTR,
  ECONNABORTED,
  EPERM,
  ENETUNREACH,
  EHOSTUNREACH,
  EPROTO,
  ENOPROTOOPT,
  EOPNOTSUPP,
  ENETDOWN,
  EHOSTDOWN,
  ENONET,
]);
const EXHAUSTED = new Set([EMFILE, ENFILE, ENOBUFS, ENOMEM]);

export class Listener implements Listening, Source, Caller, Task {
  readonly descriptor: number;
  readonly address: SocketAddress;
  generation = 0;
  waiting = false;
  readonly #gear: Gear;
  readonly #accepted: Accepted;
  readonly #most: number;
  readonly #resting: Timer;
  /** What `Stream.local` is for every client; null where it must be asked for. */
  readonly #local: SocketAddress | null;
  #reserve: number;
  #rests = false;
  #closed = false;
  /** Who still comes is served: accepts that were asked for before may bring some. */
  #finished = false;
  /** How many are asked for at the next event: as many as came at the last one, or more. */
  #expected = 1;
  /** Of those that were asked for: how many are still to be heard of, and how many came. */
  #asked = 0;
  #came = 0;

  /** Takes a duplicate of `descriptor`, which stays the caller's. Throws LISTEN when it does not listen. */
  constructor(gear: Gear, descriptor: number, workers: number, accepted: Accepted) {
    this.#gear = gear;
    this.#accepted = accepted;
    this.#most = workers > 1 && !gear.loop.batch.accepts ? MOST_SHARED : MOST;
    const { sockets, loop } = gear;
    if (sockets.get(descriptor, SOL_SOCKET, SO_ACCEPTCONN) !== 1) {
      throw new ProxyError("LISTEN", `descriptor ${descriptor} is not a listening socket`);
    }
    // A number of our own cannot be closed by others, and be a client's the next moment.
    this.descriptor = fcntl(descriptor, F_DUPFD_CLOEXEC, 0);
    if (this.descriptor < 0)
      throw new ProxyError("LISTEN", `no descriptor is left: ${errnoName(this.descriptor)}`);
    setNonBlocking(this.descriptor);
    this.address = sockets.localAddress(this.descriptor);
    this.#local = this.#sharedLocal();
    if (this.address.kind === "ip") {
      // Accepted sockets inherit these.
      sockets.noDelay(this.descriptor);
      sockets.keepAlive(this.descriptor);
    }
    this.#reserve = eventfd(0, O_CLOEXEC);
    this.#resting = loop.wheel.createTimer(this);
    const result = loop.add(this, EPOLLIN | EPOLLEXCLUSIVE);
    if (result === 0) return;
    this.#release();
    throw new ProxyError("LISTEN", `${formatAddress(this.address)} cannot be watched: ${errnoName(result)}`);
  }

  close(): void {
    if (this.#closed) return;
    this.#gear.loop.remove(this);
    this.#release();
  }

  finish(finished: () => void): void {
    if (!this.#closed) {
      this.#accept(LONGEST_QUEUE);
      this.close();
      this.#finished = true;
    }
    this.#gear.loop.defer(finished);
  }

  onEvents(): void {
    const { batch } = this.#gear.loop;
    if (!batch.accepts) {
      this.#accept(this.#most);
      return;
    }
    this.#asked = this.#expected;
    this.#came = 0;
    for (let left = this.#asked; left > 0; left--) batch.accept(this);
  }

  called(_accept: number, result: number, address: number, length: number): void {
    if (this.#took(result, this.#gear.memory.blockBytes, address, length)) this.#came++;
    if (--this.#asked > 0) return;
    // More may wait than were asked for: then the listener is reported again.
    this.#expected =
      this.#came < this.#expected ? Math.max(this.#came, 1) : Math.min(2 * this.#came, this.#most);
  }

  /** At once, until nobody waits, but at most `most`. */
  #accept(most: number): void {
    const { cell, cellInts, address, addressBytes } = this.#gear.memory;
    const { batch } = this.#gear.loop;
    for (let left = most; left > 0; left--) {
      cellInts[0] = addressBytes.length;
      const result = accept4(this.descriptor, address, cell, SOCK_NONBLOCK | SOCK_CLOEXEC);
      if (!this.#took(result, addressBytes, 0, cellInts[0]!)) return;
      // Who is refused holds its descriptor until then.
      if (batch.waiting >= MOST) batch.flush();
    }
  }

  /** What an accept gave, the client's address where it says. Whether another one may be waiting. */
  #took(result: number, bytes: Buffer, offset: number, length: number): boolean {
    if (result >= 0) {
      if (this.#closed && !this.#finished) this.#gear.loop.batch.reset(result);
      else this.#take(result, decodeSockaddr(bytes, offset, length));
      return true;
    }
    const errno = -result;
    if (OF_ONE.has(errno)) return true;
    if (errno === EAGAIN || this.#closed || this.#rests) return false;
    if (EXHAUSTED.has(errno)) this.#turnAway();
    else
      this.#gear.onFault(
        new ProxyError("LISTEN", `${formatAddress(this.address)}: accept: ${errnoName(errno)}`),
      );
    this.#rest();
    return false;
  }

  onReady(): void {}

  onFault(thrown: unknown): void {
    this.#gear.onFault(asProxyError(thrown));
  }

  #take(descriptor: number, remote: SocketAddress): void {
    const stream = new EpollStream(this.#gear, descriptor, remote, this.#local, false);
    this.#gear.loop.watch(stream);
    try {
      this.#accepted(stream);
    } catch (thrown) {
      stream.reset();
      this.onFault(thrown);
    }
  }

  /** Resets who waits in the queue, with the reserved descriptor: better than silence. */
  #turnAway(): void {
    if (this.#reserve < 0) return;
    for (let left = TURNED_AWAY; left > 0; left--) {
      close(this.#reserve);
      this.#reserve = -1;
      const descriptor = accept4(this.descriptor, 0, 0, SOCK_CLOEXEC);
      if (descriptor >= 0) {
        resetOnClose(this.#gear.memory, descriptor);
        close(descriptor);
      }
      this.#reserve = eventfd(0, O_CLOEXEC);
      if (descriptor < 0 || this.#reserve < 0) return;
    }
  }

  #rest(): void {
    // EPOLL_CTL_MOD is not allowed with EPOLLEXCLUSIVE, epoll_ctl(2).
    this.#gear.loop.remove(this);
    this.#rests = true;
    this.#resting.start(REST_MS);
  }

  /** Has rested. */
  expired(): void {
    if (this.#closed) return;
    if (this.#reserve < 0) this.#reserve = eventfd(0, O_CLOEXEC);
    if (this.#gear.loop.add(this, EPOLLIN | EPOLLEXCLUSIVE) < 0) this.#resting.start(REST_MS);
    else this.#rests = false;
  }

  /** One address where clients can have come to no other: neither a wildcard nor a transparent listener. */
  #sharedLocal(): SocketAddress | null {
    const { address } = this;
    if (address.kind === "unix") return address;
    if (address.host === "::" || address.host === "0.0.0.0") return null;
    return this.#gear.sockets.get(this.descriptor, IPPROTO_IP, IP_TRANSPARENT) === 1 ? null : address;
  }

  #release(): void {
    this.#closed = true;
    this.#resting.stop();
    this.#gear.loop.batch.close(this.descriptor);
    if (this.#reserve >= 0) close(this.#reserve);
  }
}
