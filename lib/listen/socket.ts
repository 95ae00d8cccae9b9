/**
 * Listening sockets for the epoll transport, made by the control thread and shared by all workers. A UNIX path must be free
 * (unix.ts sees to it); it is removed at the end only if it is still ours.
 */
import { lstatSync, unlinkSync } from "node:fs";
import { ProxyError } from "../errors.ts";
import { errnoName } from "../ffi/errno.ts";
import {
  AF_INET6,
  AF_UNIX,
  IPPROTO_IPV6,
  IPV6_V6ONLY,
  SO_REUSEADDR,
  SOCK_CLOEXEC,
  SOCK_NONBLOCK,
  SOCK_STREAM,
  SOL_SOCKET,
} from "../ffi/layout.ts";
import { bindTo, close, getsockname, listen, requireEpoll, setsockopt, socket } from "../ffi/libc.ts";
import { allocate, type Memory } from "../ffi/memory.ts";
import { decodeSockaddr, encodeSockaddr } from "../ffi/sockaddr.ts";
import type { SocketAddress } from "../wire/address.ts";
import { BACKLOG } from "./backlog.ts";
import { listenFailure } from "./failure.ts";

const ROOM = 128;
const FLAGS = SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC;

/** A listening socket of this process. */
export interface Bound {
  /** Non-blocking and close-on-exec. Owned by this object; others take duplicates. */
  readonly descriptor: number;
  /** Port 0 is resolved. */
  readonly address: SocketAddress;
  /** Closes the descriptor and removes a UNIX path that is still ours, if it can. Duplicates go on listening. Never throws. */
  close(): void;
}

let memory: Memory | null = null;

/**
 * Binds and listens. `::` takes IPv4 as well. Throws ProxyError LISTEN that says what to do, TRANSPORT where C cannot be
 * reached. `name` is the listener's, for the message.
 */
export function bindListener(name: string, address: SocketAddress): Bound {
  requireEpoll();
  memory ??= allocate(256);
  const sockaddr = sockaddrOf(name, address);
  const family = sockaddr[0]!;
  const descriptor = socket(family, FLAGS, 0);
  if (descriptor < 0) throw listenError(name, address, -descriptor);
  // Reload and restart must not wait for TIME_WAIT of earlier connections.
  if (family !== AF_UNIX) option(descriptor, SOL_SOCKET, SO_REUSEADDR, 1);
  if (family === AF_INET6) option(descriptor, IPPROTO_IPV6, IPV6_V6ONLY, 0);
  memory.bytes.set(sockaddr);
  let result = bindTo(descriptor, memory.address, sockaddr.length);
  if (result === 0) result = listen(descriptor, BACKLOG);
  if (result < 0) {
    close(descriptor);
    throw listenError(name, address, -result);
  }
  const bound = boundAddress(descriptor);
  const owned = address.kind === "unix" ? identityOf(address.path) : null;
  let open = true;
  return {
    descriptor,
    address: bound,
    close: () => {
      if (!open) return;
      open = false;
      close(descriptor);
      if (address.kind === "unix" && owned !== null) removeOwned(address.path, owned);
    },
  };
}

function sockaddrOf(name: string, address: SocketAddress): Buffer {
  try {
    return encodeSockaddr(address);
  } catch (thrown) {
    throw new ProxyError("LISTEN", `listener ${name}: ${(thrown as Error).message}`, { cause: thrown });
  }
}

/** Tells one file from another that took its path later. */
function identityOf(path: string): string | null {
  const there = path.startsWith("@") ? undefined : lstatSync(path, { throwIfNoEntry: false });
  return there === undefined ? null : `${there.dev} ${there.ino}`;
}

/** Never throws: whoever closes a socket is on his way to something else, and a path that stays is taken over (unix.ts). */
function removeOwned(path: string, owned: string): void {
  try {
    if (identityOf(path) === owned) unlinkSync(path);
  } catch {
    // The directory is no longer ours to write to, or somebody was faster.
  }
}

function option(descriptor: number, level: number, name: number, value: number): void {
  memory!.bytes.writeInt32LE(value, ROOM);
  setsockopt(descriptor, level, name, memory!.address + ROOM, 4);
}

function boundAddress(descriptor: number): SocketAddress {
  memory!.bytes.writeInt32LE(ROOM, ROOM);
  getsockname(descriptor, memory!.address, memory!.address + ROOM);
  return decodeSockaddr(memory!.bytes, 0, memory!.bytes.readInt32LE(ROOM));
}

function listenError(name: string, address: SocketAddress, errno: number): ProxyError {
  const { code, message } = listenFailure(address, errnoName(errno));
  return new ProxyError(code, `listener ${name}: ${message}`);
}
