/**
 * The portable generator, for a machine without a C compiler: the options and the result of load.c, in Node. It is
 * slower than most proxies, so its rates are its own; the proxy's CPU per unit of work stays comparable.
 */
import { readFileSync } from "node:fs";
import type { Socket } from "node:net";
import * as net from "node:net";
import { cpus } from "node:os";
import * as tls from "node:tls";
import { TLS12_CIPHERS, TLS13_CIPHER } from "./contender.ts";
import { clientHello } from "./load-node-hello.ts";
import { given, mode } from "./load-node-options.ts";
import { machineTime, ownWait, treeTime } from "./load-node-sample.ts";
import { IDLE_TENTHS } from "./pace.ts";
import { percentile } from "./statistics.ts";

const connections = Number(given.connections);
const idle = Number(given.idle);
const rate = Number(given.rate);
const root = Number(given.watch ?? 0);
const ms = (seconds: string): number => Number(seconds) * 1000;

const BLOCK = Buffer.alloc(256 * 1024);
for (let i = 0; i < BLOCK.length; i++) BLOCK[i] = Math.imul(i, 2654435761) >>> 13;
function die(message: string): never {
  process.stderr.write(`load: ${message}\n`);
  process.exit(1);
}

const identity = given.cert
  ? { cert: readFileSync(given.cert), key: readFileSync(given.key!), ca: readFileSync(given.ca!) }
  : {};
const terms = {
  ...identity,
  minVersion: `TLSv${given["tls-version"]}` as tls.SecureVersion,
  maxVersion: `TLSv${given["tls-version"]}` as tls.SecureVersion,
  ciphers: `${TLS13_CIPHER}:${TLS12_CIPHERS}`,
  ecdhCurve: given.group,
};
const counts = {
  operations: 0,
  up: 0,
  down: 0,
  handshakes: 0,
  resumed: 0,
  tickets: 0,
  connect: 0,
  io: 0,
  data: 0,
};
const latencies = new Map<number, number>();
/** Operations since the first, those of the warm-up included. */
let answers = 0;
let measuring = false;
let running = true;
/** When the window opened: requests that were due before it do not count as latency. */
let opened = 0n;
let session: Buffer | undefined;
let message: Buffer = Buffer.from(BLOCK.subarray(0, Number(given.size)));
/** What a bulk connection begins with. */
let preface: Buffer = Buffer.alloc(0);

/** The address that the next connection comes from: each has its own ephemeral ports. */
let nextSource = 0;
function source(): { localAddress?: string } {
  const sources = Number(given.sources);
  if (sources < 2) return {};
  const [a, b, c, d] = given.from.split(".").map(Number);
  return { localAddress: `${a}.${b}.${c}.${d! + (nextSource++ % sources)}` };
}

function where(address: string): { host: string; port: number } {
  const at = address.lastIndexOf(":");
  return { host: address.slice(0, at), port: Number(address.slice(at + 1)) };
}

function pour(socket: Socket): void {
  const more = (): void => {
    while (running && socket.writable && socket.write(BLOCK)) {
      // until the socket's buffer is full
    }
  };
  socket.on("drain", more);
  more();
}

/** The service: what the mode needs behind the proxy. */
function serve(): Promise<void> {
  const onSocket = (socket: Socket): void => {
    socket.on("error", () => {});
    socket.setNoDelay(true);
    if (mode === "bulk-down" || mode === "bulk-both") pour(socket);
    let seen = 0;
    socket.on("data", (data) => {
      if (mode.startsWith("bulk-")) {
        const hello = Math.min(data.length, preface.length - seen);
        seen += hello;
        if (measuring && mode !== "bulk-down") counts.up += data.length - hello;
        return;
      }
      socket.write(data);
      seen += data.length;
      if (mode === "crr" && given.close === "service-fin" && seen >= message.length) socket.end();
    });
  };
  const service = given["service-tls"]
    ? tls.createServer({ ...terms, requestCert: true, rejectUnauthorized: true }, onSocket)
    : net.createServer({ noDelay: true }, onSocket);
  return new Promise((resolve) =>
    service.listen({ ...where(given.service!), backlog: 4096 }, () => resolve()),
  );
}

function open(ready: (socket: Socket) => void): Socket {
  const to = where(given.target!);
  const plain = { ...to, ...source(), noDelay: true, autoSelectFamily: false };
  const socket: Socket = given.tls
    ? tls.connect(
        {
          ...plain,
          ...terms,
          servername: given.sni!,
          checkServerIdentity: () => undefined,
          ...(session ? { session } : {}),
        },
        () => {
          if (measuring) counts.handshakes++;
          if (measuring && (socket as tls.TLSSocket).isSessionReused()) counts.resumed++;
          ready(socket);
        },
      )
    : net.connect(plain, () => ready(socket));
  if (given.tls) {
    socket.on("session", (ticket: Buffer) => {
      if (measuring) counts.tickets++;
      if (given.resume) session = ticket;
    });
  }
  return socket;
}

function exchanger(socket: Socket, done: (ok: boolean) => void): () => void {
  let received = 0;
  socket.on("data", (data) => {
    if (!data.equals(message.subarray(received, received + data.length))) {
      counts.data++;
      socket.destroy();
      return done(false);
    }
    received += data.length;
    if (received < message.length) return;
    received = 0;
    answers++;
    done(true);
  });
  return () => socket.write(message);
}

function record(since: bigint): void {
  counts.operations++;
  counts.up += message.length;
  counts.down += message.length;
  if (since < opened) return;
  const ns = Number(process.hrtime.bigint() - since);
  /** Three digits, as many as the C generator's histogram keeps. */
  const value = Number(ns.toPrecision(3));
  latencies.set(value, (latencies.get(value) ?? 0) + 1);
}

function crr(intended = process.hrtime.bigint(), again = true): void {
  if (!running) return;
  let answered = false;
  const socket = open(() => send());
  socket.on("error", () => {
    if (answered || !running) return;
    counts.io++;
    answered = true;
  });
  const send = exchanger(socket, (ok) => {
    answered = true;
    if (ok && measuring) record(intended);
    if (given.close === "client-rst") given.tls ? socket.destroy() : socket.resetAndDestroy();
    else if (given.close === "client-fin") socket.end();
  });
  socket.on("close", () => {
    if (again) setImmediate(crr);
  });
}

/** An established connection that has carried one message. */
function settled(): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = open(() => {
      socket.once("data", () => resolve(socket));
      socket.write("x");
    });
    socket.on("error", reject);
  });
}

/** Requests are due at fixed times whatever the answers do. */
function openLoop(start: (intended: bigint) => boolean): void {
  let begun = process.hrtime.bigint();
  let sent = 0;
  const turn = (): void => {
    const now = process.hrtime.bigint();
    // Nothing was sent while CPU times were read at the opening of the window: what fell due then is due from then on.
    if (begun < opened) [begun, sent] = [opened, 0];
    for (;;) {
      const due = begun + BigInt(Math.round((sent * 1e9) / rate));
      if (due > now || !start(due)) break;
      sent++;
    }
    if (running) setImmediate(turn);
  };
  turn();
}

async function begin(): Promise<void> {
  const held: Socket[] = [];
  for (let i = 0; i < idle; i++) held.push(await settled());
  if (mode === "idle") {
    for (const tenths of IDLE_TENTHS) {
      const count = Math.floor((connections * tenths) / 10);
      while (held.length < idle + count) held.push(await settled());
      process.stdout.write(`${JSON.stringify({ event: "idle", connections: count })}\n`);
      await new Promise((resolve) => process.stdin.once("data", resolve));
    }
    process.exit(0);
  }
  if (mode === "crr") {
    if (given.resume) {
      (await settled()).on("error", () => {});
      while (!session) await new Promise((resolve) => setTimeout(resolve, 1));
    }
    if (rate > 0) {
      openLoop((due) => {
        crr(due, false);
        return true;
      });
      return;
    }
    for (let i = 0; i < connections; i++) crr();
    return;
  }
  const free: ((due: bigint) => void)[] = [];
  for (let i = 0; i < connections; i++) {
    const socket = await new Promise<Socket>((resolve, reject) => open(resolve).on("error", reject));
    socket.on("error", () => counts.io++);
    if (mode.startsWith("bulk-")) {
      if (preface.length > 0) socket.write(preface);
      if (mode !== "bulk-down") pour(socket);
      socket.on("data", (data) => {
        if (measuring) counts.down += data.length;
      });
      continue;
    }
    let since = 0n;
    const send = exchanger(socket, (ok) => {
      if (ok && measuring) record(since);
      if (!ok) return;
      if (rate > 0) free.push(start);
      else start(process.hrtime.bigint());
    });
    const start = (due: bigint): void => {
      since = due;
      send();
    };
    if (rate > 0) free.push(start);
    else start(process.hrtime.bigint());
  }
  if (rate > 0) {
    openLoop((due) => {
      const next = free.pop();
      next?.(due);
      return next !== undefined;
    });
  }
}

/** CPU times when the window opened. */
interface Before {
  readonly at: bigint;
  readonly tree: ReturnType<typeof treeTime>;
  readonly machine: ReturnType<typeof machineTime>;
  readonly own: NodeJS.CpuUsage;
  readonly wait: number;
}

function finish(from: Before): void {
  const own = process.cpuUsage(from.own);
  const machine = machineTime();
  const after = treeTime(root);
  const seconds = Number(process.hrtime.bigint() - from.at) / 1e9;
  running = measuring = false;
  const histogram = [...latencies].sort((a, b) => a[0] - b[0]);
  const at = (percent: number): number => (histogram.length > 0 ? percentile(histogram, percent) : 0);
  const sum = histogram.reduce((total, [value, count]) => total + value * count, 0);
  const samples = histogram.reduce((total, [, count]) => total + count, 0);
  const user = after.user - from.tree.user;
  const system = after.system - from.tree.system;
  const result = {
    mode,
    seconds,
    operations: counts.operations,
    operations_all: answers,
    bytes_up: counts.up,
    bytes_down: counts.down,
    ...{
      handshakes: counts.handshakes,
      resumed: counts.resumed,
      tickets: counts.tickets,
      stalled: 0,
      late_max: 0,
    },
    errors: { connect: 0, io: counts.io, tls: 0, data: counts.data },
    cpu: {
      proxy: user + system,
      proxy_user: user,
      proxy_system: system,
      generator: (own.user + own.system) * 1000,
      others: Math.max(0, machine.busy - from.machine.busy - user - system - (own.user + own.system) * 1000),
      machine: machine.busy - from.machine.busy,
      steal: machine.steal - from.machine.steal,
      available: machine.all - from.machine.all || seconds * 1e9 * cpus().length,
    },
    waited: { proxy: after.waited - from.tree.waited, generator: ownWait() - from.wait },
    processes: after.processes,
    latency: {
      count: samples,
      min: histogram[0]?.[0] ?? 0,
      mean: samples > 0 ? Math.round(sum / samples) : 0,
      ...{ p50: at(50), p90: at(90), p99: at(99), p999: at(99.9), max: histogram.at(-1)?.[0] ?? 0 },
    },
    histogram,
  };
  process.stdout.write(`${JSON.stringify(result)}\n`, () => process.exit(0));
}

if (given.hello && mode.startsWith("bulk-")) preface = await clientHello(given.sni!);
else if (given.hello) message = Buffer.concat([await clientHello(given.sni!), message]);
if (given.service) await serve();
try {
  await begin();
} catch (error) {
  die((error as Error).message);
}
setTimeout(() => {
  Object.assign(counts, { operations: 0, up: 0, down: 0, handshakes: 0, resumed: 0, tickets: 0 });
  const [tree, machine, wait, own] = [treeTime(root), machineTime(), ownWait(), process.cpuUsage()];
  opened = process.hrtime.bigint();
  const from: Before = { tree, machine, wait, own, at: opened };
  measuring = true;
  setTimeout(() => finish(from), ms(given.seconds));
}, ms(given.warmup));
