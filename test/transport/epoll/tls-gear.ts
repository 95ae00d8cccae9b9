/**
 * TLS channels in tests without the rest of the transport: pairs of sockets, both ends driven by hand. A channel is pumped
 * until it has done what a test waits for; between the turns Node's loop runs, for peers that live in it or in a child.
 */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { createServer, type Server, type Socket } from "node:net";
import { join } from "node:path";
import type { TestContext } from "node:test";
import type { ProxyError } from "../../../lib/errors.ts";
import {
  AF_INET,
  AF_UNIX,
  SO_RCVBUF,
  SO_SNDBUF,
  SOCK_CLOEXEC,
  SOCK_NONBLOCK,
  SOCK_STREAM,
  SOL_SOCKET,
} from "../../../lib/ffi/layout.ts";
import {
  accept4,
  bindTo,
  close,
  connect,
  getsockname,
  listen,
  setsockopt,
  socket,
} from "../../../lib/ffi/libc.ts";
import { bind } from "../../../lib/ffi/library.ts";
import { allocate } from "../../../lib/ffi/memory.ts";
import { decodeSockaddr, encodeSockaddr } from "../../../lib/ffi/sockaddr.ts";
import { WOULD_BLOCK } from "../../../lib/transport/epoll/channel.ts";
import { createTlsEngine, type EpollTlsEngine } from "../../../lib/transport/epoll/tls.ts";
import type { EpollTlsChannel } from "../../../lib/transport/epoll/tls-channel.ts";
import type { EpollTlsContext } from "../../../lib/transport/epoll/tls-context.ts";
import type { TlsContextSpec } from "../../../lib/transport/transport.ts";
import { authority, directoryWith, type LeafName, leaf } from "../../gear/certificates.ts";

const socketpair = bind("socketpair", "int", ["int", "int", "int", "intptr_t"]);
const FLAGS = SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC;

// A condition that does not come true by then will not: the bound only turns a hang into a message.
const PATIENCE_MS = 10_000;

/** What every channel reads into and writes from: the worker's scratch memory. */
export const room = allocate(256 * 1024);

export interface Specs extends Omit<Partial<TlsContextSpec>, "cert"> {
  readonly leaf?: LeafName | null;
}

/** The server end of most tests: wants a client certificate of the test CA. */
export async function serverSpec(options: Specs = {}): Promise<TlsContextSpec> {
  return {
    ...(await common(options.leaf ?? "server")),
    side: "server",
    label: "route test",
    ...rest(options),
  };
}

/** The client end of most tests: alice. `leaf: null` shows no certificate. */
export async function clientSpec(options: Specs = {}): Promise<TlsContextSpec> {
  const name = options.leaf === undefined ? "alice" : options.leaf;
  return { ...(await common(name)), side: "client", label: "cluster test", ...rest(options) };
}

function rest({ leaf: _leaf, ...others }: Specs): Partial<TlsContextSpec> {
  return others;
}

async function common(name: LeafName | null): Promise<Omit<TlsContextSpec, "side" | "label">> {
  const pair = name === null ? { cert: null, key: null } : await leaf(name);
  return {
    ...pair,
    ca: (await authority()).cert,
    crl: null,
    clientAuth: "required",
    alpn: [],
    minVersion: "1.2",
    sessionContext: new Uint8Array(32),
    ticketKeys: null,
    authorise: () => null,
  };
}

export function engine(t: TestContext, now?: () => number): EpollTlsEngine {
  const made = createTlsEngine(now);
  t.after(() => made.release());
  return made;
}

/** Two connected stream sockets. */
export function socketPair(t: TestContext): [number, number] {
  assert.equal(socketpair(AF_UNIX, FLAGS, 0, room.address), 0);
  const ends: [number, number] = [room.bytes.readInt32LE(0), room.bytes.readInt32LE(4)];
  t.after(() => {
    for (const end of ends) close(end);
  });
  return ends;
}

/** Makes a socket's buffers as small as the kernel allows, so that it is soon full. */
export function shrink(descriptor: number): void {
  room.bytes.writeInt32LE(4096, 0);
  setsockopt(descriptor, SOL_SOCKET, SO_SNDBUF, room.address, 4);
  setsockopt(descriptor, SOL_SOCKET, SO_RCVBUF, room.address, 4);
}

/** A descriptor that listens on loopback, and its port. */
export function listening(t: TestContext): { descriptor: number; port: number } {
  const descriptor = socket(AF_INET, FLAGS, 0);
  t.after(() => close(descriptor));
  const address = encodeSockaddr({ kind: "ip", host: "127.0.0.1", port: 0 });
  room.bytes.set(address);
  assert.equal(bindTo(descriptor, room.address, address.length), 0);
  assert.equal(listen(descriptor, 16), 0);
  room.bytes.writeInt32LE(128, 1024);
  assert.equal(getsockname(descriptor, room.address, room.address + 1024), 0);
  const bound = decodeSockaddr(room.bytes, 0, room.bytes.readInt32LE(1024));
  assert.ok(bound.kind === "ip");
  return { descriptor, port: bound.port };
}

/** The next client of a listening descriptor. */
export async function accepted(t: TestContext, listener: number): Promise<number> {
  let descriptor = -1;
  await until("a client", () => {
    descriptor = accept4(listener, 0, 0, SOCK_NONBLOCK | SOCK_CLOEXEC);
    return descriptor >= 0;
  });
  t.after(() => close(descriptor));
  return descriptor;
}

/** A descriptor that connects to a port of loopback; the handshake waits for it by itself. */
export function dialled(t: TestContext, port: number): number {
  const descriptor = socket(AF_INET, FLAGS, 0);
  t.after(() => close(descriptor));
  const address = encodeSockaddr({ kind: "ip", host: "127.0.0.1", port });
  room.bytes.set(address);
  connect(descriptor, room.address, address.length);
  return descriptor;
}

/** A TCP server in this process's loop, for peers made with node:tls. */
export async function tcpServer(t: TestContext, talk: (socket: Socket) => void): Promise<number> {
  const server: Server = createServer({ allowHalfOpen: true }, (one) => {
    one.on("error", () => {});
    t.after(() => one.destroy());
    talk(one);
  });
  t.after(() => server.close());
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  assert.ok(address !== null && typeof address === "object");
  return address.port;
}

/** Runs Node's loop until `holds`, trying once per turn. */
export async function until(what: string, holds: () => boolean): Promise<void> {
  const end = performance.now() + PATIENCE_MS;
  while (!holds()) {
    if (performance.now() > end) assert.fail(`${what} did not happen`);
    await new Promise((resolve) => setImmediate(resolve));
  }
}

/** A channel that the test releases at its end, if it did not do so itself. */
export function channelOn(
  t: TestContext,
  tls: EpollTlsEngine,
  descriptor: number,
  context: EpollTlsContext,
  options: { readonly name?: string | null; readonly key?: string } = {},
): EpollTlsChannel {
  const server = context.spec.side === "server";
  const { name = server ? null : "localhost", key = "endpoint" } = options;
  const channel = tls.channel(descriptor, context, { serverName: name, sessionKey: key });
  t.after(() => channel.release());
  return channel;
}

export interface Ends {
  readonly server: EpollTlsChannel;
  readonly client: EpollTlsChannel;
  readonly serverFd: number;
  readonly clientFd: number;
}

/** Both ends ours, on a pair of sockets, not yet shaken. */
export function ends(
  t: TestContext,
  tls: EpollTlsEngine,
  serverContext: EpollTlsContext,
  clientContext: EpollTlsContext,
  options: { readonly name?: string; readonly key?: string; readonly small?: boolean } = {},
): Ends {
  const [serverFd, clientFd] = socketPair(t);
  if (options.small === true) for (const end of [serverFd, clientFd]) shrink(end);
  const server = channelOn(t, tls, serverFd, serverContext);
  const client = channelOn(t, tls, clientFd, clientContext, options);
  return { server, client, serverFd, clientFd };
}

export interface Outcome {
  readonly server: ProxyError | null;
  readonly client: ProxyError | null;
}

/**
 * Drives both handshakes to their ends. In TLS 1.3 the client stands before the server has judged it, so a refusal that
 * the client learns of later is read for.
 */
export function shake({ server, client }: Pick<Ends, "server" | "client">): Outcome {
  let serverResult = WOULD_BLOCK;
  let clientResult = WOULD_BLOCK;
  for (let turn = 0; turn < 100 && (serverResult === WOULD_BLOCK || clientResult === WOULD_BLOCK); turn++) {
    if (clientResult === WOULD_BLOCK) clientResult = client.handshake();
    if (serverResult === WOULD_BLOCK) serverResult = server.handshake();
  }
  if (serverResult !== 1 && clientResult === 1) client.read(room.address, 1024);
  if (serverResult === 1 && clientResult === 1) {
    // The tickets are on their way.
    assert.equal(client.read(room.address, 1024), WOULD_BLOCK);
  }
  return { server: server.failure(), client: client.failure() };
}

/** The same, and it must stand. */
export function stand(both: Pick<Ends, "server" | "client">): void {
  const { server, client } = shake(both);
  assert.equal(server, null);
  assert.equal(client, null);
}

/** Drives one handshake against a peer elsewhere. Returns what it ended with. */
export async function handshake(channel: EpollTlsChannel): Promise<number> {
  let result = WOULD_BLOCK;
  await until("the handshake", () => {
    result = channel.handshake();
    // ENOTCONN while a dialled socket is still connecting shows as WOULD_BLOCK: OpenSSL takes it for "not yet".
    return result !== WOULD_BLOCK;
  });
  return result;
}

/** Writes all of it, waiting where the socket is full. */
export async function sendAll(channel: EpollTlsChannel, bytes: Buffer, step = 65_536): Promise<void> {
  let at = 0;
  await until("a write", () => {
    while (at < bytes.length) {
      const part = Math.min(step, bytes.length - at);
      bytes.copy(room.bytes, 0, at, at + part);
      const taken = channel.write(room.address, part);
      if (taken === WOULD_BLOCK) return false;
      assert.ok(taken > 0, `write gave ${taken}: ${channel.failure()?.message}`);
      at += taken;
    }
    return true;
  });
}

/** Reads until `count` bytes or the end. `end`: what ended it, null for enough bytes. */
export async function receive(
  channel: EpollTlsChannel,
  count = Number.POSITIVE_INFINITY,
): Promise<{ bytes: Buffer; end: number | null }> {
  const parts: Buffer[] = [];
  let total = 0;
  let end: number | null = null;
  await until("input", () => {
    while (total < count && end === null) {
      const got = channel.read(room.address, 65_536);
      if (got === WOULD_BLOCK) return false;
      if (got > 0) {
        parts.push(Buffer.from(room.bytes.subarray(0, got)));
        total += got;
      } else end = got;
    }
    return true;
  });
  return { bytes: Buffer.concat(parts), end };
}

/** `openssl s_server` as `server`, which wants a client certificate of the test CA and prints what it hears. */
export async function sServer(
  t: TestContext,
  args: readonly string[],
): Promise<{ port: number; output: () => string }> {
  const { cert, key } = await leaf("server");
  const directory = directoryWith({ "s.crt": cert, "s.key": key, "ca.crt": (await authority()).cert });
  t.after(directory.remove);
  const file = (name: string) => join(directory.path, name);
  const child = spawn("openssl", [
    ...["s_server", "-accept", "127.0.0.1:0", "-cert", file("s.crt"), "-key", file("s.key")],
    ...["-CAfile", file("ca.crt"), "-Verify", "1", "-servername", "localhost", "-cert2", file("s.crt")],
    ...["-key2", file("s.key"), ...args],
  ]);
  t.after(() => child.kill());
  let output = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.on("data", (chunk: Buffer) => {
      output += chunk;
    });
  }
  await until("s_server's port", () => /ACCEPT 127\.0\.0\.1:\d+/.test(output));
  return { port: Number(/ACCEPT 127\.0\.0\.1:(\d+)/.exec(output)![1]), output: () => output };
}
