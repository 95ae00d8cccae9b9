/**
 * Listening sockets for the epoll transport, made by the control thread and shared by all workers. A UNIX path is taken over
 * only when it is a socket that nobody answers on; it is removed at the end only if it is still ours.
 */
import { lstatSync, unlinkSync } from "node:fs";
import { ProxyError } from "../errors.ts";
import {
  EACCES,
  EADDRINUSE,
  EADDRNOTAVAIL,
  EAGAIN,
  ECONNREFUSED,
  ENOENT,
  EPERM,
  errnoName,
} from "../ffi/errno.ts";
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
import {
  bindTo,
  close,
  connect,
  getsockname,
  listen,
  requireEpoll,
  setsockopt,
  socket,
} from "../ffi/libc.ts";
import { allocate, type Memory } from "../ffi/memory.ts";
import { decodeSockaddr, encodeSockaddr } from "../ffi/sockaddr.ts";
import { formatAddress, type SocketAddress } from "../wire/address.ts";

// Enough for every core's listeners to queue a burst; the kernel caps it at net.core.somaxconn.
const BACKLOG = 4096;
const ROOM = 128;
const FLAGS = SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC;

/** A listening socket of this process. */
export interface Bound {
  /** Non-blocking and close-on-exec. Owned by this object; others take duplicates. */
  readonly descriptor: number;
  /** Port 0 is resolved. */
  readonly address: SocketAddress;
  /** Closes the descriptor and removes a UNIX path that is still ours. Duplicates go on listening. */
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
  if (address.kind === "unix") replaceStale(name, address.path, sockaddr);
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
      if (address.kind === "unix" && owned !== null && identityOf(address.path) === owned)
        unlinkSync(address.path);
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

/** Removes a socket that an earlier process left behind. Anything else at the path is left alone, and bind(2) says so. */
function replaceStale(name: string, path: string, sockaddr: Buffer): void {
  if (path.startsWith("@")) return;
  const there = lstatSync(path, { throwIfNoEntry: false });
  if (there === undefined) return;
  if (!there.isSocket()) {
    throw new ProxyError(
      "LISTEN",
      `listener ${name}: ${path} exists and is no socket; remove it or choose another path`,
    );
  }
  const probe = socket(AF_UNIX, FLAGS, 0);
  if (probe < 0) throw listenError(name, { kind: "unix", path }, -probe);
  memory!.bytes.set(sockaddr);
  const result = connect(probe, memory!.address, sockaddr.length);
  close(probe);
  if (result === 0 || result === -EAGAIN) {
    throw new ProxyError(
      "LISTEN",
      `listener ${name}: another process answers on unix:${path}; stop it or choose another path`,
    );
  }
  if (result === -ECONNREFUSED) unlinkSync(path);
  else if (result !== -ENOENT) throw listenError(name, { kind: "unix", path }, -result);
}

/** Tells one file from another that took its path later. */
function identityOf(path: string): string | null {
  const there = path.startsWith("@") ? undefined : lstatSync(path, { throwIfNoEntry: false });
  return there === undefined ? null : `${there.dev} ${there.ino}`;
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
  return new ProxyError("LISTEN", `listener ${name}: ${formatAddress(address)} ${advice(address, errno)}`);
}

function advice(address: SocketAddress, errno: number): string {
  switch (errno) {
    case EADDRINUSE:
      return "is in use by another process; stop it or choose another port";
    case EACCES:
    case EPERM:
      return address.kind === "unix"
        ? "cannot be made: no write access to the directory; change its owner or choose another path"
        : "needs a privilege that this process lacks; grant CAP_NET_BIND_SERVICE (setcap or AmbientCapabilities=) or choose a port from 1024 on";
    case EADDRNOTAVAIL:
      return "is not an address of this machine; see `ip address`";
    case ENOENT:
      return "cannot be made: the directory does not exist; create it (RuntimeDirectory= does so under systemd)";
    default:
      return `cannot be listened on: ${errnoName(errno)}`;
  }
}
