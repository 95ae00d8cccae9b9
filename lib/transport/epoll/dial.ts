/**
 * Begins connections: a non-blocking socket(2) and connect(2). The bytes of a target's sockaddr are made once per address
 * object, because endpoints are dialled again and again.
 */
import { ProxyError } from "../../errors.ts";
import { EALREADY, EINPROGRESS, ENODEV, errnoName } from "../../ffi/errno.ts";
import {
  AF_INET,
  AF_INET6,
  IP_BIND_ADDRESS_NO_PORT,
  IPPROTO_IP,
  SOCK_CLOEXEC,
  SOCK_NONBLOCK,
  SOCK_STREAM,
  SOCKADDR_IN,
  SOCKADDR_IN6,
} from "../../ffi/layout.ts";
import { bindTo, connect, socket } from "../../ffi/libc.ts";
import { encodeSockaddr } from "../../ffi/sockaddr.ts";
import { formatAddress, type SocketAddress } from "../../wire/address.ts";
import type { Dialler, DialOptions } from "../transport.ts";
import { dialFailed } from "./connect.ts";
import type { Gear } from "./gear.ts";
import { CONNECTING } from "./phase.ts";
import { EpollStream } from "./stream.ts";

const LOOPBACK6 = Buffer.from([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);

interface Target {
  readonly sockaddr: Buffer;
  /** On this machine for certain: the handshake is over, one way or the other, when connect(2) returns. */
  readonly near: boolean;
}

const targets = new WeakMap<SocketAddress, Target>();

/** See Transport.dial. */
export function dial(gear: Gear, target: SocketAddress, options: DialOptions, dialler: Dialler): EpollStream {
  const known = targets.get(target) ?? know(target);
  const descriptor =
    known === null ? -ENODEV : socket(known.sockaddr[0]!, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  const stream = new EpollStream(gear, descriptor, target, target.kind === "unix" ? target : null, true);
  stream.dialler = dialler;
  stream.phase = CONNECTING;
  const error = descriptor < 0 ? gear.dialError(target, descriptor) : begin(gear, stream, known!, options);
  if (error !== null) gear.loop.defer(() => dialFailed(stream, error));
  return stream;
}

/** Null: its zone names an interface that is not there now. */
function know(target: SocketAddress): Target | null {
  const zoned = target.kind === "ip" && target.host.includes("%");
  let sockaddr: Buffer;
  try {
    sockaddr = encodeSockaddr(target);
  } catch (thrown) {
    if (zoned) return null;
    throw thrown;
  }
  const known = { sockaddr, near: isLoopback(sockaddr) };
  // An interface that is made again has another index.
  if (!zoned) targets.set(target, known);
  return known;
}

/** 127.0.0.0/8 or ::1. */
function isLoopback(sockaddr: Buffer): boolean {
  if (sockaddr[0] === AF_INET) return sockaddr[SOCKADDR_IN.address] === 127;
  const { address } = SOCKADDR_IN6;
  return sockaddr[0] === AF_INET6 && LOOPBACK6.equals(sockaddr.subarray(address, address + 16));
}

function begin(gear: Gear, stream: EpollStream, target: Target, options: DialOptions): ProxyError | null {
  const { sockaddr, near } = target;
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
  let result = connect(descriptor, memory.address, sockaddr.length);
  // Asking once more, connect(2) tells how it went, and that spares an event.
  if (near && result === -EINPROGRESS) result = connect(descriptor, memory.address, sockaddr.length);
  if (result < 0 && result !== -EINPROGRESS && result !== -EALREADY) return gear.dialError(remote, result);
  loop.watch(stream);
  if (result === 0) stream.stood();
  return null;
}
