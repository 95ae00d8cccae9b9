/**
 * The way of a stream that is dialled: its socket is made, its connection begun, then it stands or has failed; by the answer of
 * connect(2) where that tells at once, else by the first edge.
 */
import { ProxyError } from "../../errors.ts";
import { EALREADY, ECONNRESET, EINPROGRESS, errnoName } from "../../ffi/errno.ts";
import {
  AF_INET,
  EPOLLERR,
  EPOLLHUP,
  EPOLLOUT,
  IP_BIND_ADDRESS_NO_PORT,
  IPPROTO_IP,
} from "../../ffi/layout.ts";
import { bindTo, connect } from "../../ffi/libc.ts";
import { encodeSockaddr } from "../../ffi/sockaddr.ts";
import { formatAddress } from "../../wire/address.ts";
import type { DialOptions } from "../transport.ts";
import { CONNECTING, IDLE } from "./phase.ts";
import type { EpollStream } from "./stream.ts";

export interface Target {
  readonly sockaddr: Buffer;
  /** On this machine for certain: the handshake is over, one way or the other, when connect(2) returns. */
  readonly near: boolean;
}

/** What a stream keeps until its connection is begun. */
export interface Dialling {
  readonly target: Target;
  readonly options: DialOptions;
}

/** Its socket: `made`, or -errno. Begins the connection. */
export function begin(stream: EpollStream, made: number): void {
  const { gear } = stream;
  if (stream.phase !== CONNECTING) {
    if (made >= 0) gear.loop.batch.close(made);
    return;
  }
  if (made < 0) {
    dialFailed(stream, gear.dialError(stream.remote, made));
    return;
  }
  stream.descriptor = made;
  const { target, options } = stream.dialling!;
  stream.dialling = null;
  const { loop, sockets } = gear;
  loop.watch(stream);
  if (options.from !== null) {
    const error = bindFrom(stream, options.from);
    if (error !== null) {
      dialFailed(stream, error);
      return;
    }
  }
  if (stream.quiet) sockets.quickAck(made, false);
  const { memory } = gear;
  memory.addressBytes.set(target.sockaddr);
  let result = connect(made, memory.address, target.sockaddr.length);
  // Asking once more, connect(2) tells how it went, and that spares an event. Among many the event costs less.
  if (result === -EINPROGRESS && target.near && !loop.batch.together) {
    result = connect(made, memory.address, target.sockaddr.length);
  }
  if (result === 0 || result === -ECONNRESET) {
    stream.failure = result;
    stream.stood();
  } else if (result !== -EINPROGRESS && result !== -EALREADY) {
    dialFailed(stream, gear.dialError(stream.remote, result));
  }
}

/** An edge while connecting. */
export function connected(stream: EpollStream, mask: number): void {
  const { sockets, keepAlives, dialError } = stream.gear;
  if ((mask & (EPOLLERR | EPOLLHUP)) !== 0) {
    const errno = sockets.error(stream.descriptor);
    // A SYN is refused with ECONNREFUSED. A reset is the end of a connection that stood: the next step meets it, as in `begin`.
    if (errno !== 0 && errno !== ECONNRESET) {
      dialFailed(stream, dialError(stream.remote, errno));
      return;
    }
    stream.failure = -errno;
  } else if ((mask & EPOLLOUT) === 0) return;
  const dialler = stream.dialler!;
  stream.dialler = null;
  stream.phase = IDLE;
  keepAlives.add(stream);
  dialler.dialled(null);
}

/** The connection failed, or could not be begun: releases the stream and says so, unless it was reset meanwhile. */
export function dialFailed(stream: EpollStream, error: ProxyError): void {
  if (stream.phase !== CONNECTING) return;
  const dialler = stream.dialler!;
  stream.close();
  dialler.dialled(error);
}

function bindFrom(stream: EpollStream, host: string): ProxyError | null {
  const { memory, sockets } = stream.gear;
  const { descriptor, remote } = stream;
  const from = encodeSockaddr({ kind: "ip", host, port: 0 });
  if (from[0] === AF_INET) sockets.set(descriptor, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1);
  memory.addressBytes.set(from);
  const bound = bindTo(descriptor, memory.address, from.length);
  if (bound === 0) return null;
  return new ProxyError("DIAL", `${formatAddress(remote)}: cannot dial from ${host}: ${errnoName(bound)}`);
}
