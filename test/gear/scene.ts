/**
 * The stage of a scenario: the real proxy, started through the public door, on each transport in turn, between peers that the
 * scenario scripts. Every scenario ends at the resource baseline: no live connection, no endpoint load, no more descriptors
 * than before.
 */
import assert from "node:assert/strict";
import { readdirSync, watch } from "node:fs";
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { test } from "node:test";
import { pino } from "pino";
import { type ConfigInput, normalizeConfig } from "../../lib/config/parse.ts";
import type { Log } from "../../lib/observe/log.ts";
import { Proxy } from "../../lib/proxy.ts";
import { probeEpoll, probeIoUring } from "../../lib/transport/epoll/probe.ts";
import { CONNECTIONS } from "../../lib/worker.ts";

/** An access line, parsed. */
export interface Access {
  readonly level: string;
  readonly id: string;
  readonly parent?: string;
  readonly link?: string;
  readonly listener: string;
  readonly route?: string;
  readonly cluster?: string;
  readonly endpoint?: string;
  readonly source: string;
  readonly destination: string;
  readonly sni?: string;
  readonly alpn?: string;
  readonly tls?: string;
  readonly resumed?: boolean;
  readonly peer?: { subject: string; san: string[]; fingerprint: string };
  readonly upstream_tls?: string;
  readonly upstream_resumed?: boolean;
  readonly upstream_peer?: { subject: string; san: string[]; fingerprint: string };
  readonly reason: string;
  readonly error?: string;
  readonly bytes_up: number;
  readonly bytes_down: number;
  readonly duration_ms: number;
  readonly generation: number;
  readonly transport: string;
}

export type TransportName = "net" | "epoll";

/** The transports that run here; both wherever epoll loads. */
export const TRANSPORTS: readonly TransportName[] = probeEpoll() === null ? ["net", "epoll"] : ["net"];

/** What a scenario needs of the machine: see `needs()` of nameservers.ts. */
export interface Needs {
  readonly skip: string | false;
  /** It looks at system calls, which io_uring(7) hides. */
  readonly oneByOne?: true;
}

interface Rig {
  readonly transport: TransportName;
  readonly how: string;
  /** MILLRACE_IO_URING. */
  readonly ring: "on" | "off";
}

const NET: Rig = { transport: "net", how: "net", ring: "off" };
const EPOLL: Rig = { transport: "epoll", how: "epoll", ring: "off" };
const TOGETHER: Rig = { transport: "epoll", how: "epoll, io_uring", ring: "on" };
/** `epoll` makes its calls one by one, and together where the kernel can. */
const RIGS = [NET, ...(TRANSPORTS.length > 1 ? [EPOLL] : []), ...(probeIoUring() ? [TOGETHER] : [])];

/**
 * Declares one test per transport. `only` narrows it, with a reason in the scenario's own comment; `needs` is what the machine
 * lacks, as `needs()` of nameservers.ts says it.
 */
export function scenario(
  name: string,
  body: (scene: Scene) => Promise<void>,
  only: readonly TransportName[] = TRANSPORTS,
  needs: Needs = { skip: false },
): void {
  for (const { transport, how, ring } of RIGS) {
    if (!only.includes(transport) || (needs.oneByOne === true && ring === "on")) continue;
    test(`${name} (${how})`, { timeout: 60_000, skip: needs.skip }, async () => {
      process.env.MILLRACE_IO_URING = ring;
      await warmUp();
      const scene = new Scene(transport, transport === "epoll" ? ring === "on" : undefined);
      try {
        await body(scene);
        await scene.close();
      } finally {
        await scene.abandon();
      }
    });
  }
}

let warm: Promise<void> | null = null;

/** Node opens a few descriptors for itself when sockets are first used; they are no leak. */
function warmUp(): Promise<void> {
  warm ??= new Promise((resolve) => {
    watch(tmpdir(), { persistent: false }).close();
    const server = createServer((socket) => socket.destroy());
    server.listen(0, "127.0.0.1", () => {
      connect((server.address() as AddressInfo).port, "127.0.0.1").on("close", () =>
        server.close(() => resolve()),
      );
    });
  });
  return warm;
}

export class Scene {
  readonly transport: TransportName;
  /** As `/status` tells it. */
  readonly ioUring: boolean | undefined;
  readonly #descriptors = openDescriptors();
  readonly #stages: Stage[] = [];
  readonly #services: Service[] = [];
  readonly #releases: (() => void | Promise<void>)[] = [];
  #closed = false;

  constructor(transport: TransportName, ioUring: boolean | undefined) {
    this.transport = transport;
    this.ioUring = ioUring;
  }

  /** Starts a proxy. `transport` and one worker unless the configuration says otherwise. */
  async proxy(input: ConfigInput): Promise<Stage> {
    const log = new CapturedLog();
    const defaults = { transport: this.transport, workers: 1 };
    const proxy = new Proxy(normalizeConfig({ ...defaults, ...input }), { log });
    await proxy.start();
    const stage = new Stage(proxy, log, defaults);
    this.#stages.push(stage);
    return stage;
  }

  /** A plain service on loopback; `talk` gets each connection (allowHalfOpen). Port 0 is any. */
  async service(talk: (socket: Socket) => void, host = "127.0.0.1", port = 0): Promise<Service> {
    const sockets = new Set<Socket>();
    const server = createServer({ allowHalfOpen: true, pauseOnConnect: false }, (socket) => {
      sockets.add(socket);
      socket.on("close", () => sockets.delete(socket));
      socket.on("error", () => {});
      talk(socket);
    });
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject);
      server.listen(port, host, resolve);
    });
    const service = new Service(server, sockets);
    this.#services.push(service);
    return service;
  }

  /** Connects a client with its own half-close. */
  client(port: number, host = "127.0.0.1"): Promise<Socket> {
    return new Promise((resolve, reject) => {
      const socket = connect({ port, host, allowHalfOpen: true });
      this.onClose(() => {
        socket.destroy();
      });
      socket.once("error", reject);
      socket.once("connect", () => {
        socket.off("error", reject);
        socket.on("error", () => {});
        resolve(socket);
      });
    });
  }

  onClose(release: () => void | Promise<void>): void {
    this.#releases.push(release);
  }

  /** The same, for gear that is made for tests of other kinds. */
  after(release: () => void | Promise<void>): void {
    this.onClose(release);
  }

  /** Ends the scenario: everything is back at the baseline, or it fails. */
  async close(): Promise<void> {
    this.#closed = true;
    for (const release of this.#releases.reverse()) await release();
    for (const stage of this.#stages) await stage.settled();
    await this.#releaseAll();
    await eventually(
      () => openDescriptors() <= this.#descriptors,
      "descriptors at the baseline",
      () => {
        return `${openDescriptors()} open, ${this.#descriptors} before`;
      },
    );
  }

  /** After a failure: only releases. */
  async abandon(): Promise<void> {
    if (!this.#closed) for (const release of this.#releases.reverse()) await release();
    await this.#releaseAll();
  }

  async #releaseAll(): Promise<void> {
    for (const stage of this.#stages.splice(0)) await stage.proxy.close();
    for (const service of this.#services.splice(0)) await service.close();
  }
}

/** A running proxy and what it says. */
export class Stage {
  readonly proxy: Proxy;
  readonly log: CapturedLog;
  readonly #defaults: Partial<ConfigInput>;

  constructor(proxy: Proxy, log: CapturedLog, defaults: Partial<ConfigInput>) {
    this.proxy = proxy;
    this.log = log;
    this.#defaults = defaults;
  }

  /** Changes to another configuration, with the same defaults as at the start. */
  reload(input: ConfigInput): Promise<void> {
    return this.proxy.reload(normalizeConfig({ ...this.#defaults, ...input }));
  }

  port(listener: string): number {
    const address = this.proxy.addresses.get(listener);
    assert(address?.kind === "ip", `listener ${listener} has a port`);
    return address.port;
  }

  /** The next access line, in the order in which connections ended. */
  access(): Promise<Access> {
    return this.log.next();
  }

  /** Resolves when no connection lives and no endpoint carries load. */
  async settled(): Promise<void> {
    const load = (): number => {
      let sum = this.proxy.gauges[CONNECTIONS]!;
      for (const cluster of this.proxy.clusters.values()) {
        for (const endpoint of cluster.describe().endpoints) sum += endpoint.active;
      }
      return sum;
    };
    await eventually(
      () => load() === 0,
      "no live connection and no endpoint load",
      () => `${load()} left`,
    );
  }
}

export class Service {
  readonly server: Server;
  readonly sockets: Set<Socket>;
  readonly port: number;
  /** As `/clusters` names it. Stays after `close`, like the port. */
  readonly key: string;
  readonly at: { readonly host: string; readonly port: number };
  /** Connections so far. */
  accepted = 0;

  constructor(server: Server, sockets: Set<Socket>) {
    this.server = server;
    this.sockets = sockets;
    const { address, port } = server.address() as AddressInfo;
    this.port = port;
    this.key = address.includes(":") ? `[${address}]:${port}` : `${address}:${port}`;
    this.at = { host: address, port };
    server.on("connection", () => {
      this.accepted += 1;
    });
  }

  /** As a configuration names it. */
  get address(): string {
    return this.key;
  }

  async close(): Promise<void> {
    for (const socket of this.sockets) socket.destroy();
    await new Promise<void>((resolve) => this.server.close(() => resolve()));
  }
}

/** Collects access lines and events instead of writing them. */
export class CapturedLog implements Log {
  readonly seen: Access[] = [];
  readonly messages: Record<string, unknown>[] = [];
  readonly events = pino(
    { level: "debug", base: null, formatters: { level: (label) => ({ level: label }) } },
    { write: (line: string) => void this.messages.push(JSON.parse(line) as Record<string, unknown>) },
  );
  #taken = 0;
  #waiting: ((access: Access) => void)[] = [];

  lines(bytes: Buffer, written: () => void): void {
    for (const line of bytes.toString().split("\n"))
      if (line !== "") this.seen.push(JSON.parse(line) as Access);
    written();
    this.#serve();
  }

  next(): Promise<Access> {
    return new Promise((resolve) => {
      this.#waiting.push(resolve);
      this.#serve();
    });
  }

  level(): void {}

  close(): Promise<void> {
    return Promise.resolve();
  }

  #serve(): void {
    while (this.#waiting.length > 0 && this.#taken < this.seen.length) {
      this.#waiting.shift()!(this.seen[this.#taken]!);
      this.#taken += 1;
    }
  }
}

// A condition that does not come true by then will not: the bound only turns a hang into a message.
const PATIENCE_MS = 10_000;

/** Waits for a condition that another thread or the kernel makes true. */
export async function eventually(
  holds: () => boolean,
  what: string,
  found: () => string = () => "it is not so",
): Promise<void> {
  const until = performance.now() + PATIENCE_MS;
  while (!holds()) {
    if (performance.now() > until) assert.fail(`${what}: ${found()}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

export function openDescriptors(): number {
  return readdirSync("/proc/self/fd").length;
}

/** All bytes until the end of the stream; rejects on an error. */
export function readAll(socket: Socket): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    socket.on("data", (chunk: Buffer) => chunks.push(chunk));
    socket.on("end", () => resolve(Buffer.concat(chunks)));
    socket.on("error", reject);
  });
}

/** The first `count` bytes; rejects when the stream ends before. Later bytes stay for the next reader. */
export function readBytes(socket: Socket, count: number): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const look = (): void => {
      const bytes = socket.read(count) as Buffer | null;
      if (bytes === null) return;
      stop();
      resolve(bytes);
    };
    const ended = (): void => {
      stop();
      reject(new Error(`the stream ended before ${count} bytes`));
    };
    const stop = (): void => {
      socket.off("readable", look);
      socket.off("end", ended);
      socket.off("error", ended);
    };
    socket.on("readable", look);
    socket.on("end", ended);
    socket.on("error", ended);
    look();
  });
}

/** How a socket ends: `end` (FIN) or the error code (`ECONNRESET`). Data is read and dropped. */
export function ending(socket: Socket): Promise<string> {
  return new Promise((resolve) => {
    socket.on("end", () => resolve("end"));
    socket.on("error", (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message));
    socket.resume();
  });
}
