/**
 * Begins connections: a non-blocking socket(2) and connect(2). The bytes of a target's sockaddr are made once per address
 * object, because endpoints are dialled again and again.
 */
import { ProxyError } from "../../errors.ts";
import { EINPROGRESS, errnoName } from "../../ffi/errno.ts";
import {
  AF_INET,
  AF_UNIX,
  IP_BIND_ADDRESS_NO_PORT,
  IPPROTO_IP,
  SOCK_CLOEXEC,
  SOCK_NONBLOCK,
  SOCK_STREAM,
} from "../../ffi/layout.ts";
import { bindTo, connect, socket } from "../../ffi/libc.ts";
import { encodeSockaddr } from "../../ffi/sockaddr.ts";
import { formatAddress, type SocketAddress } from "../../wire/address.ts";
import type { Dialler, DialOptions } from "../transport.ts";
import { dialFailed } from "./connect.ts";
import type { Gear } from "./gear.ts";
import { CONNECTING } from "./phase.ts";
import { EpollStream, WATCH_BOTH } from "./stream.ts";

const encoded = new WeakMap<SocketAddress, Buffer>();

/** See Transport.dial. */
export function dial(gear: Gear, target: SocketAddress, options: DialOptions, dialler: Dialler): EpollStream {
  let sockaddr = encoded.get(target);
  if (sockaddr === undefined) {
    sockaddr = encodeSockaddr(target);
    encoded.set(target, sockaddr);
  }
  const family = sockaddr[0]!;
  const descriptor = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  const stream = new EpollStream(gear, descriptor, target, family === AF_UNIX ? target : null, true);
  stream.dialler = dialler;
  stream.phase = CONNECTING;
  const error = descriptor < 0 ? gear.dialError(target, descriptor) : begin(gear, stream, sockaddr, options);
  if (error !== null) gear.loop.defer(() => dialFailed(stream, error));
  return stream;
}

function begin(gear: Gear, stream: EpollStream, sockaddr: Buffer, options: DialOptions): ProxyError | null {
  const { memory, loop, sockets } = gear;
  const { descriptor, remote } = stream;
  if (options.from !== null) {
    const from = encodeSockaddr({ kind: "ip", host: options.from, port: 0 });
    if (from[0] === AF_INET) sockets.set(descriptor, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1);
    memory.addressBytes.set(from);
    const bound = bindTo(descriptor, memory.address, from.length);
    if (bound < 0) {
      return new ProxyError(
        "DIAL",
        `${formatAddress(remote)}: cannot dial from ${options.from}: ${errnoName(bound)}`,
      );
    }
  }
  if (options.speaksFirst && remote.kind === "ip") {
    sockets.quickAck(descriptor, false);
    stream.quiet = true;
  }
  memory.addressBytes.set(sockaddr);
  const result = connect(descriptor, memory.address, sockaddr.length);
  if (result < 0 && result !== -EINPROGRESS) return gear.dialError(remote, result);
  const added = loop.add(stream, WATCH_BOTH);
  return added < 0 ? gear.dialError(remote, added) : null;
}
