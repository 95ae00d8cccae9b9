/**
 * What all streams of one worker share: the loop, the memory, the pipes, and who is told of faults. Made once by
 * transport.ts and handed to everything that serves a stream.
 */
import { ProxyError } from "../../errors.ts";
import {
  EADDRNOTAVAIL,
  EAGAIN,
  ECONNREFUSED,
  EHOSTUNREACH,
  EMFILE,
  ENETUNREACH,
  ENFILE,
  ENOENT,
  ETIMEDOUT,
  errnoName,
} from "../../ffi/errno.ts";
import { formatAddress, type SocketAddress } from "../../wire/address.ts";
import type { TlsEngine } from "./channel.ts";
import type { KeepAlives } from "./keepalives.ts";
import type { EventLoop } from "./loop.ts";
import type { WorkerMemory } from "./memory.ts";
import type { Pipes } from "./pipes.ts";
import type { Sockets } from "./sockets.ts";

export interface Gear {
  readonly loop: EventLoop;
  readonly memory: WorkerMemory;
  readonly sockets: Sockets;
  readonly pipes: Pipes;
  readonly keepAlives: KeepAlives;
  /** Made when it is first needed. Throws TRANSPORT where OpenSSL cannot be reached. */
  tls(): TlsEngine;
  /** Hears of every fault of ours, after it was contained. */
  onFault(thrown: unknown): void;
  dialError(target: SocketAddress, errno: number): ProxyError;
}

/** Why a dial failed, in the words that the net transport uses, too. */
export function dialError(target: SocketAddress, errno: number): ProxyError {
  return new ProxyError("DIAL", `${formatAddress(target)}: ${dialReason(Math.abs(errno))}`);
}

function dialReason(errno: number): string {
  switch (errno) {
    case ECONNREFUSED:
      return "connection refused; nothing listens there";
    case EHOSTUNREACH:
    case ENETUNREACH:
      return `no route (${errnoName(errno)})`;
    case ENOENT:
      return "no such socket";
    case ETIMEDOUT:
      return "no answer (ETIMEDOUT)";
    case EAGAIN:
      return "its queue of connections is full (EAGAIN)";
    case EADDRNOTAVAIL:
      return "no local port is free (EADDRNOTAVAIL); widen net.ipv4.ip_local_port_range or set net.ipv4.tcp_tw_reuse";
    case EMFILE:
    case ENFILE:
      return `no descriptor is left (${errnoName(errno)}); raise LimitNOFILE`;
    default:
      return errnoName(errno);
  }
}
