/**
 * The portable generator, for a machine without a C compiler: the options and the result of load.c, in Node. It is
 * slower than most proxies, so its rates are its own; the proxy's CPU per unit of work stays comparable.
 */
import { readFileSync } from "node:fs";
import type { Socket } from "node:net";
import * as net from "node:net";
import { cpus } from "node:os";
import * as tls from "node:tls";
import { parseArgs } from "node:util";
import { machineTime, treeTime } from "./load-node-sample.ts";
import { percentile } from "./statistics.ts";

const text = { type: "string" } as const;
const flag = { type: "boolean", default: false } as const;
const { values: given, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    ...{
      target: text,
      service: text,
      ca: text,
      cert: text,
      key: text,
      sni: text,
      cpu: text,
      watch: text,
      sources: text,
    },
    ...{ tls: flag, "service-tls": flag, resume: flag, hello: flag, verify: flag, spin: flag },
    connections: { type: "string", default: "1" },
    size: { type: "string", default: "100" },
    seconds: { type: "string", default: "2" },
    warmup: { type: "string", default: "0.3" },
    idle: { type: "string", default: "0" },
    rate: { type: "string", default: "0" },
    close: { type: "string", default: "client-rst" },
  },
});
const mode = positionals[0] ?? "";
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
  minVersion: "TLSv1.3",
  ciphers: "TLS_AES_128_GCM_SHA256",
  ecdhCurve: "P-256",
} as const;
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
let measuring = false;
let running = true;
let session: Buffer | undefined;
let message: Buffer = Buffer.from(BLOCK.subarray(0, Number(given.size)));

/** A ClientHello, as Node would send it, and the message behind it. */
function helloMessage(): Promise<Buffer> {
  return new Promise((resolve) => {
    const server = net.createServer((socket) => {
      socket.once("data", (data: Buffer) => {
        socket.destroy();
        server.close();
        resolve(Buffer.concat([data, message]));
      });
    });
    server.listen(0, "127.0.0.1", () => {
      const { port } = server.address() as net.AddressInfo;
      tls
        .connect({ port, host: "127.0.0.1", servername: given.sni!, rejectUnauthorized: false })
        .on("error", () => {});
    });
  });
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
        if (measuring && mode !== "bulk-down") counts.up += data.length;
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
  const plain = { ...to, noDelay: true, autoSelectFamily: false };
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
    done(true);
  });
  return () => socket.write(message);
}

function record(since: bigint): void {
  const ns = Number(process.hrtime.bigint() - since);
  counts.operations++;
  counts.up += message.length;
  counts.down += message.length;
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
  const begun = process.hrtime.bigint();
  let sent = 0;
  const turn = (): void => {
    const now = process.hrtime.bigint();
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
    for (let i = 0; i < connections; i++) held.push(await settled());
    process.stdout.write(`${JSON.stringify({ event: "idle", connections })}\n`);
    await new Promise((resolve) => process.stdin.once("data", resolve));
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

function finish(from: {
  at: bigint;
  tree: ReturnType<typeof treeTime>;
  machine: ReturnType<typeof machineTime>;
  own: NodeJS.CpuUsage;
}): void {
  const own = process.cpuUsage(from.own);
  const machine = machineTime();
  const after = treeTime(root);
  const seconds = Number(process.hrtime.bigint() - from.at) / 1e9;
  running = measuring = false;
  const histogram = [...latencies].sort((a, b) => a[0] - b[0]);
  const at = (percent: number): number => (histogram.length > 0 ? percentile(histogram, percent) : 0);
  const sum = histogram.reduce((total, [value, count]) => total + value * count, 0);
  const user = after.user - from.tree.user;
  const system = after.system - from.tree.system;
  const result = {
    mode,
    seconds,
    operations: counts.operations,
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
      machine: machine.busy - from.machine.busy,
      steal: machine.steal - from.machine.steal,
      available: machine.all - from.machine.all || seconds * 1e9 * cpus().length,
    },
    processes: after.processes,
    latency: {
      count: counts.operations,
      min: histogram[0]?.[0] ?? 0,
      mean: counts.operations > 0 ? Math.round(sum / counts.operations) : 0,
      ...{ p50: at(50), p90: at(90), p99: at(99), p999: at(99.9), max: histogram.at(-1)?.[0] ?? 0 },
    },
    histogram,
  };
  process.stdout.write(`${JSON.stringify(result)}\n`, () => process.exit(0));
}

if (given.hello) message = await helloMessage();
if (given.service) await serve();
try {
  await begin();
} catch (error) {
  die((error as Error).message);
}
setTimeout(() => {
  Object.assign(counts, { operations: 0, up: 0, down: 0, handshakes: 0, resumed: 0, tickets: 0 });
  const from = {
    tree: treeTime(root),
    machine: machineTime(),
    own: process.cpuUsage(),
    at: process.hrtime.bigint(),
  };
  measuring = true;
  setTimeout(() => finish(from), ms(given.seconds));
}, ms(given.warmup));
