/**
 * An epoll transport inside the test's own thread: its turns are taken between those of Node's loop, so that peers can be plain
 * `node:net` sockets. Everything a test makes is released when it ends, and what it leaves behind fails it.
 */
import assert from "node:assert/strict";
import { createHash, type Hash } from "node:crypto";
import { once } from "node:events";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { connect, createServer, type NetConnectOpts, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestContext } from "node:test";
import type { ProxyError } from "../../../lib/errors.ts";
import { bindListener } from "../../../lib/listen/socket.ts";
import { probeEpoll } from "../../../lib/transport/epoll/probe.ts";
import type { EpollStream } from "../../../lib/transport/epoll/stream.ts";
import {
  createEpollTransport,
  type EpollOptions,
  type EpollTransport,
} from "../../../lib/transport/epoll/transport.ts";
import type { Flow, RelayEnd, Stream } from "../../../lib/transport/transport.ts";
import type { SocketAddress } from "../../../lib/wire/address.ts";

/** For `it(…, { skip })`. */
export const skip = probeEpoll() ?? false;

export const LOOPBACK: SocketAddress = { kind: "ip", host: "127.0.0.1", port: 0 };

/** Waits are ended by what they wait for; this one only keeps a broken test from hanging. */
const PATIENCE_MS = 10_000;

/** One relayed connection as the test sees it. */
export interface Relayed extends Flow {
  downstream: EpollStream;
  upstream: EpollStream | null;
  end: RelayEnd | null;
  dialError: ProxyError | null;
}

export class Rig {
  readonly transport: EpollTransport;
  /** What was contained. A test that expects faults empties it. */
  readonly faults: unknown[] = [];
  readonly #closers: (() => void)[] = [];
  /** Releases everything and checks that nothing is left; done at the end of the test anyway. */
  readonly close: () => Promise<void>;
  readonly #sockets = new Set<Socket>();
  #running = true;

  constructor(t: TestContext, options: Partial<EpollOptions> = {}) {
    const before = openDescriptors();
    this.transport = createEpollTransport({
      workers: 1,
      wakeup: null,
      onFault: (thrown) => this.faults.push(thrown),
      ...options,
    });
    const turn = (): void => {
      if (!this.#running) return;
      this.transport.turn(0);
      setImmediate(turn);
    };
    setImmediate(turn);
    this.close = async () => {
      if (!this.#running) return;
      for (const socket of this.#sockets) socket.destroy();
      for (const close of this.#closers) close();
      this.#running = false;
      this.transport.stop();
      this.transport.run();
      assert.deepEqual(this.faults, [], "faults of ours");
      assert.equal(this.transport.state.chunks, 0, "chunks in use at the end");
      await until(
        () => openDescriptors() <= before,
        () => `descriptors: ${before} before, ${openDescriptors()} after`,
      );
    };
    t.after(this.close);
  }

  /** Listens and calls `accepted` for every client. */
  listen(
    accepted: (stream: Stream) => void,
    address: SocketAddress = LOOPBACK,
    ready: (error: ProxyError | null) => void = () => {},
  ): SocketAddress {
    const bound = bindListener("test", address);
    this.#closers.push(() => bound.close());
    const options = { address, descriptor: bound.descriptor };
    const listening = this.transport.listen(options, accepted, ready);
    this.#closers.push(() => listening.close());
    return bound.address;
  }

  /** A plain proxy, as small as a story can be. */
  proxy(
    target: SocketAddress,
    address: SocketAddress = LOOPBACK,
  ): { address: SocketAddress; relayed: Relayed[] } {
    const relayed: Relayed[] = [];
    const bound = this.listen((downstream) => relayed.push(this.relay(downstream, target)), address);
    return { address: bound, relayed };
  }

  /** Dials, relays, and ends both sides as the story does. */
  relay(downstream: Stream, target: SocketAddress): Relayed {
    const record: Relayed = {
      downstream: downstream as EpollStream,
      upstream: null,
      end: null,
      dialError: null,
      bytesUp: 0,
      bytesDown: 0,
      lastActive: 0,
      endedUp: false,
      endedDown: false,
    };
    const upstream = this.transport.dial(
      target,
      { from: null, speaksFirst: false },
      {
        dialled: (error) => {
          if (error !== null) {
            record.dialError = error;
            downstream.reset();
            return;
          }
          this.transport.relay(downstream, upstream, record, {
            relayed: (end) => {
              record.end = end;
              for (const side of [downstream, upstream]) {
                if (end.how === "ok") side.finish();
                else side.reset();
              }
            },
          });
        },
      },
    );
    record.upstream = upstream as EpollStream;
    return record;
  }

  /** A Node socket connected to `address`, half-open allowed. Errors are kept in its `errored`. */
  async connect(address: SocketAddress, options: Partial<NetConnectOpts> = {}): Promise<Socket> {
    const socket = this.open(address, options);
    await once(socket, "connect");
    return socket;
  }

  /** The same without waiting, for clients that may be turned away. */
  open(address: SocketAddress, options: Partial<NetConnectOpts> = {}): Socket {
    const socket = connect({ ...optionsOf(address), allowHalfOpen: true, ...options } as NetConnectOpts);
    this.keep(socket);
    return socket;
  }

  /** A Node server; `serve` gets every connection. */
  async serve(serve: (socket: Socket) => void, address: SocketAddress = LOOPBACK): Promise<SocketAddress> {
    const server: Server = createServer({ allowHalfOpen: true }, (socket) => {
      this.keep(socket);
      serve(socket);
    });
    server.listen(address.kind === "unix" ? address.path : { host: address.host, port: address.port });
    await once(server, "listening");
    this.#closers.push(() => server.close());
    const bound = server.address();
    if (typeof bound === "string" || bound === null) return address;
    return { kind: "ip", host: bound.address, port: bound.port };
  }

  keep(socket: Socket): void {
    this.#sockets.add(socket);
    socket.on("error", () => {});
    socket.on("close", () => this.#sockets.delete(socket));
  }
}

export function optionsOf(address: SocketAddress): NetConnectOpts {
  return address.kind === "unix" ? { path: address.path } : { host: address.host, port: address.port };
}

/** Returns to the loops until `true`. */
export async function until(
  holds: () => boolean,
  otherwise: () => string = () => String(holds),
): Promise<void> {
  const started = performance.now();
  while (!holds()) {
    if (performance.now() - started > PATIENCE_MS) assert.fail(`waited in vain: ${otherwise()}`);
    await new Promise((resolve) => setImmediate(resolve));
  }
}

/** Gives both loops `count` turns, for what must not happen. */
export async function turns(count: number): Promise<void> {
  for (let left = count; left > 0; left--) await new Promise((resolve) => setImmediate(resolve));
}

/** A folder that is removed with the test. */
export function folder(t: TestContext): string {
  const path = mkdtempSync(join(tmpdir(), "millrace-"));
  t.after(() => rmSync(path, { recursive: true }));
  return path;
}

export function openDescriptors(): number {
  return readdirSync("/proc/self/fd").length;
}

/** `length` bytes that differ from place to place, so that loss, repetition and reordering all change the hash. */
export function pattern(length: number): Buffer {
  const bytes = Buffer.allocUnsafe(length);
  for (let at = 0; at + 4 <= length; at += 4)
    bytes.writeUInt32LE((Math.imul(at, 2_654_435_761) ^ (at >>> 7)) >>> 0, at);
  bytes.fill(0x2a, length - (length % 4));
  return bytes;
}

/** Counts and hashes what a socket receives, until it ends. */
export class Tally {
  bytes = 0;
  ended = false;
  readonly #hash: Hash = createHash("sha1");

  constructor(socket: Socket) {
    socket.on("data", (chunk: Buffer) => {
      this.bytes += chunk.length;
      this.#hash.update(chunk);
    });
    socket.on("end", () => {
      this.ended = true;
    });
  }

  get hash(): string {
    return this.#hash.copy().digest("hex");
  }
}

export function hashOf(bytes: Uint8Array): string {
  return createHash("sha1").update(bytes).digest("hex");
}
