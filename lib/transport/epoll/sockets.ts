/**
 * Options of sockets and the addresses they have, set and read through the worker's cells.
 *
 * | option | value | why |
 * |---|---|---|
 * | TCP_NODELAY | on | a proxy must not add Nagle's delay. Clients inherit it from the listener; a dialled socket gets it before its second write (see stream.ts) |
 * | SO_KEEPALIVE, TCP_KEEPIDLE | 60 s | below the five minutes after which strict firewalls forget a flow; the same as on `net` |
 * | TCP_KEEPINTVL, TCP_KEEPCNT | 15 s, 4 | a vanished peer is known after two minutes |
 * | TCP_USER_TIMEOUT | not set | it would also end a peer that is well but has not read for so long (tcp(7): zero window) |
 * | TCP_DEFER_ACCEPT | not set | measured: no gain; a silent client would start its hello deadline a second late, and one that resets would leave no record |
 * | TCP_QUICKACK | off while dialling, where we speak first and system calls are cheap | the last packet of the handshake then carries our first bytes (tcp(7)). On again right behind them: else the first answer is acknowledged late, and a service that writes twice under Nagle's delay stalls for 40 ms |
 * | SO_SNDBUF, SO_RCVBUF | not set | the kernel tunes them to each path (tcp(7): tcp_wmem, tcp_rmem) |
 * | IP_BIND_ADDRESS_NO_PORT | with a source address | ports are then chosen per destination: 28,000 per endpoint instead of in all |
 * | SO_LINGER {1, 0} | where a reset is meant | |
 */
import {
  IPPROTO_TCP,
  SO_ERROR,
  SO_KEEPALIVE,
  SO_LINGER,
  SO_RCVLOWAT,
  SOL_SOCKET,
  TCP_KEEPCNT,
  TCP_KEEPIDLE,
  TCP_KEEPINTVL,
  TCP_NODELAY,
  TCP_QUICKACK,
} from "../../ffi/layout.ts";
import { getsockname, getsockopt, setsockopt } from "../../ffi/libc.ts";
import { decodeSockaddr } from "../../ffi/sockaddr.ts";
import type { SocketAddress } from "../../wire/address.ts";
import type { WorkerMemory } from "./memory.ts";

const KEEPIDLE_SECONDS = 60;
const KEEPINTVL_SECONDS = 15;
const KEEPCNT = 4;

/** The close that follows sends a reset and drops what was not sent. 0 or -errno. */
export function resetOnClose(memory: WorkerMemory, descriptor: number): number {
  return setsockopt(descriptor, SOL_SOCKET, SO_LINGER, memory.lingerZero, 8);
}

export class Sockets {
  readonly #memory: WorkerMemory;

  constructor(memory: WorkerMemory) {
    this.#memory = memory;
  }

  /** Sets an option that is an int. 0 or -errno; most callers may ignore it: the option is a wish. */
  set(descriptor: number, level: number, option: number, value: number): number {
    this.#memory.cellInts[0] = value;
    return setsockopt(descriptor, level, option, this.#memory.cell, 4);
  }

  noDelay(descriptor: number): void {
    this.set(descriptor, IPPROTO_TCP, TCP_NODELAY, 1);
  }

  /** Whether what arrives is acknowledged at once. */
  quickAck(descriptor: number, on: boolean): void {
    this.set(descriptor, IPPROTO_TCP, TCP_QUICKACK, on ? 1 : 0);
  }

  keepAlive(descriptor: number): void {
    this.set(descriptor, SOL_SOCKET, SO_KEEPALIVE, 1);
    this.set(descriptor, IPPROTO_TCP, TCP_KEEPIDLE, KEEPIDLE_SECONDS);
    this.set(descriptor, IPPROTO_TCP, TCP_KEEPINTVL, KEEPINTVL_SECONDS);
    this.set(descriptor, IPPROTO_TCP, TCP_KEEPCNT, KEEPCNT);
  }

  /** The input is not reported before `bytes` of it are there, or its end. */
  lowWater(descriptor: number, bytes: number): void {
    this.set(descriptor, SOL_SOCKET, SO_RCVLOWAT, bytes);
  }

  /** The pending error of the socket as a positive errno, 0: none. Clears it. */
  error(descriptor: number): number {
    this.#memory.lengthInts[0] = 4;
    this.#memory.cellInts[0] = 0;
    const result = getsockopt(descriptor, SOL_SOCKET, SO_ERROR, this.#memory.cell, this.#memory.lengthCell);
    return result < 0 ? -result : this.#memory.cellInts[0]!;
  }

  /** An option that is an int; null where the socket has none such. */
  get(descriptor: number, level: number, option: number): number | null {
    this.#memory.lengthInts[0] = 4;
    const result = getsockopt(descriptor, level, option, this.#memory.cell, this.#memory.lengthCell);
    return result < 0 ? null : this.#memory.cellInts[0]!;
  }

  localAddress(descriptor: number): SocketAddress {
    const { address, addressBytes, cell, cellInts } = this.#memory;
    cellInts[0] = addressBytes.length;
    if (getsockname(descriptor, address, cell) < 0) return { kind: "unix", path: "" };
    return decodeSockaddr(addressBytes, 0, cellInts[0]!);
  }
}
