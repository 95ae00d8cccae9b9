/**
 * What all streams of one worker share: the loop, the memory, the pipes, and who is told of faults. Made once by
 * transport.ts and handed to everything that serves a stream.
 */
import type { ProxyError } from "../../errors.ts";
import { errnoName } from "../../ffi/errno.ts";
import type { SocketAddress } from "../../wire/address.ts";
import { dialFailure } from "../failure.ts";
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
  /** How many streams wait for their peer to close. */
  lingering: number;
  /** Made when it is first needed. Throws TRANSPORT where OpenSSL cannot be reached. */
  tls(): TlsEngine;
  /** Hears of every fault of ours, after it was contained. */
  onFault(thrown: unknown): void;
  dialError(target: SocketAddress, errno: number): ProxyError;
}

/** `dialFailure` for an errno as this transport has it, negative or positive. */
export function dialError(target: SocketAddress, errno: number): ProxyError {
  return dialFailure(target, errnoName(errno));
}
