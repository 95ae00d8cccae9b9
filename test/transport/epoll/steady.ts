/** Connections over which so many short messages went that the kernel reads them by itself; see lib/transport/epoll/multishot.ts. */
import assert from "node:assert/strict";
import { once } from "node:events";
import type { Socket } from "node:net";
import { IORING_OP_ACCEPT_DONTWAIT } from "../../../lib/ffi/io-uring.ts";
import { STEADY } from "../../../lib/transport/epoll/multishot.ts";
import type { SocketAddress } from "../../../lib/wire/address.ts";
import { RawClient } from "../../gear/raw-client.ts";
import { LOOPBACK, type Relayed, type Rig, skip as rigSkip, Tally, until } from "./rig.ts";

process.env.MILLRACE_IO_URING = "on";
const { openRing } = await import("../../../lib/transport/epoll/batch.ts");

function without(): string | false {
  if (rigSkip !== false) return rigSkip;
  const ring = openRing();
  const able = ring?.knows(IORING_OP_ACCEPT_DONTWAIT) === true;
  ring?.close();
  return able ? false : "no io_uring of Linux 6.10";
}

/** For `describe(…, { skip })`. */
export const skip = without();

export interface Pair {
  readonly client: Socket;
  readonly service: Socket;
  readonly relayed: Relayed;
}

/** Connections that nothing was said on yet, where it is calm. */
export async function opened(rig: Rig, count = 1, service: SocketAddress = LOOPBACK): Promise<Pair[]> {
  const services: Socket[] = [];
  const target = await rig.serve((socket) => services.push(socket), service);
  const { address, relayed } = rig.proxy(target);
  const pairs: Pair[] = [];
  for (let index = 0; index < count; index++) {
    const client = await rig.connect(address);
    await until(() => services.length > index && relayed[index]?.upstream?.relay != null);
    beCalm(relayed[index]!);
    pairs.push({ client, service: services[index]!, relayed: relayed[index]! });
  }
  return pairs;
}

/** Connections over which so many short messages went that the kernel reads both sides of each by itself. */
export async function steady(rig: Rig, count = 1, service: SocketAddress = LOOPBACK): Promise<Pair[]> {
  const pairs = await opened(rig, count, service);
  await Promise.all(pairs.map(converse));
  return pairs;
}

/** Until both sides are read by the kernel. */
export async function converse({ client, service, relayed }: Pair): Promise<void> {
  const stands = () => relayed.downstream.standing >= 0 && relayed.upstream!.standing >= 0;
  for (let message = 0; message < 2 * STEADY && !stands(); message++) {
    client.write("ping");
    await once(service, "data");
    service.write("pong");
    await once(client, "data");
  }
  assert(stands(), "the kernel reads by itself");
}

export function readsByItself({ relayed }: Pair): [boolean, boolean] {
  return [relayed.downstream.standing >= 0, relayed.upstream!.standing >= 0];
}

/** What decides whether it pays has its own tests. */
export function beCalm(relayed: Relayed): void {
  const { crowd } = relayed.downstream.gear.loop.multishot!;
  Object.defineProperties(crowd, {
    isCalm: { value: true, configurable: true },
    isCrowded: { value: false, configurable: true },
  });
}

/** A client without Node, of whose connection the kernel reads the one direction. */
export async function rawSteady(rig: Rig) {
  const tallies: Tally[] = [];
  const target = await rig.serve((socket) => tallies.push(new Tally(socket)));
  const { address, relayed } = rig.proxy(target);
  const client = new RawClient(address);
  await until(() => tallies.length === 1);
  for (let sent = 1; (relayed[0]?.downstream.standing ?? -1) < 0; sent++) {
    client.sendNow(Buffer.from("x"));
    await until(() => tallies[0]!.bytes === sent);
  }
  return { client, tally: tallies[0]!, relayed: relayed[0]! };
}

/** The descriptor of a Node socket, for what only system calls can do. */
export function descriptorOf(socket: Socket): number {
  return (socket as unknown as { _handle: { fd: number } })._handle.fd;
}
