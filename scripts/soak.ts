/**
 * Churn for as long as one likes: a proxy of its own process, plain and TLS listeners, and clients that end in every way (at once,
 * in order, by reset in the middle of bulk, half-closed, as slow readers, killed by an operator). Prints descriptors, memory and
 * live connections every half minute; at the end everything must be back where it was after the first minute.
 *
 *   npm run soak -- 30         minutes; default 1
 */
import { spawn } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { get } from "node:http";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { connect as connectTls } from "node:tls";
import { fileURLToPath } from "node:url";
import { Authority } from "../lib/tls/authority.ts";

const MINUTES = Number(process.argv[2] ?? 1);
const TRANSPORT = process.argv[3] ?? "auto";
const WAVE = 60;
// Leaves most of a core to others, so that it can run beside them.
const BETWEEN_WAVES_MS = 150;
const BULK = Buffer.alloc(300_007, "b");
// What a heap may grow after its first minute without being called a leak.
const GROWTH_KB = 24 * 1024;

const directory = mkdtempSync(join(tmpdir(), "millrace-soak-"));
const authority = await Authority.create({ commonName: "soak CA", days: 1 });
const edge = await authority.issue({ commonName: "edge", dns: ["soak.test"], days: 1 });
const alice = await authority.issue({ commonName: "alice", dns: ["alice.test"], days: 1 });
for (const [name, text] of Object.entries({
  "ca.crt": authority.cert,
  "edge.crt": edge.cert,
  "edge.key": edge.key,
})) {
  writeFileSync(join(directory, name), text, { mode: 0o600 });
}

let served = 0;
const service = createServer({ allowHalfOpen: true }, (socket) => {
  served += 1;
  socket.on("error", () => {});
  if (served % 13 === 0) {
    socket.resetAndDestroy();
    return;
  }
  socket.resume();
  socket.write(BULK);
  socket.end();
});
const servicePort = await listening();
const [plainPort, tlsPort, adminPort] = [servicePort + 1, servicePort + 2, servicePort + 3];
const config = join(directory, "soak.yaml");
writeFileSync(
  config,
  JSON.stringify({
    transport: TRANSPORT,
    workers: 2,
    log: { level: "warn", access: true, format: "json" },
    admin: { listen: `127.0.0.1:${adminPort}` },
    timeouts: { hello: "2s", idle: "3s", half_close: "2s" },
    identities: { edge: { cert: "edge.crt", key: "edge.key", ca: "ca.crt" } },
    listeners: [
      { name: "plain", address: `127.0.0.1:${plainPort}`, routes: [{ tls: "none", cluster: "out" }] },
      {
        name: "tls",
        address: `127.0.0.1:${tlsPort}`,
        routes: [
          {
            match: { sni: ["soak.test"] },
            tls: "terminate",
            identity: "edge",
            client_auth: "required",
            allow: [{ dns: "alice.test" }],
            cluster: "out",
          },
        ],
      },
    ],
    clusters: { out: { endpoints: [`127.0.0.1:${servicePort}`] } },
  }),
);
const proxy = spawn(
  process.execPath,
  [fileURLToPath(new URL("../lib/main.js", import.meta.url)), "run", "-c", config],
  {
    stdio: ["ignore", "pipe", "inherit"],
  },
);
const reasons = new Map<string, number>();
let rest = "";
proxy.stdout.on("data", (chunk: Buffer) => {
  const lines = (rest + chunk.toString()).split("\n");
  rest = lines.pop() ?? "";
  for (const line of lines) {
    const reason = /"reason":"(\w+)"/.exec(line)?.[1];
    if (reason !== undefined) reasons.set(reason, (reasons.get(reason) ?? 0) + 1);
  }
});
await answers();

let connections = 0;
const started = performance.now();
const until = started + MINUTES * 60_000;
let nextReport = started + 30_000;
let baseline: { descriptors: number; memory: number } | null = null;
while (performance.now() < until) {
  await Promise.all(Array.from({ length: WAVE }, (_, i) => one(i)));
  await delay(BETWEEN_WAVES_MS);
  if (performance.now() < nextReport) continue;
  nextReport += 30_000;
  await quiet();
  const now = measure();
  baseline ??= now;
  report(now);
}
await quiet();
const end = measure();
baseline ??= end;
report(end);
proxy.kill("SIGTERM");
service.close();
rmSync(directory, { recursive: true, force: true });
const leaked = end.descriptors > baseline.descriptors || end.memory > baseline.memory + GROWTH_KB;
console.log(leaked ? "NOT back at the baseline" : "back at the baseline");
process.exit(leaked ? 1 : 0);

function report({ descriptors, memory }: { descriptors: number; memory: number }): void {
  const minutes = ((performance.now() - started) / 60_000).toFixed(1);
  const tally = [...reasons].map(([reason, count]) => `${reason} ${count}`).join(", ");
  console.log(
    `${minutes} min  ${connections} connections  ${descriptors} descriptors  ${memory} kB  ${tally}`,
  );
}

/** One connection that ends in its way; resolves when its client side is closed. */
function one(i: number): Promise<void> {
  connections += 1;
  return new Promise((resolve) => {
    const tls = i % 3 === 0;
    const socket: Socket = tls
      ? connectTls({
          port: tlsPort,
          host: "127.0.0.1",
          // Now and then nobody's name, or nobody's certificate.
          servername: i % 15 === 0 ? "nowhere.test" : "soak.test",
          ca: authority.cert,
          ...(i % 12 === 0 ? {} : { cert: alice.cert, key: alice.key }),
        })
      : connect({ port: plainPort, host: "127.0.0.1", allowHalfOpen: true });
    socket.on("error", () => {});
    socket.on("close", () => resolve());
    socket.once(tls ? "secureConnect" : "connect", () => act(socket, i % 7));
    // A slow reader, and whoever is left over, goes after the proxy's own deadlines.
    setTimeout(() => socket.destroy(), 4_000).unref();
  });
}

function act(socket: Socket, way: number): void {
  switch (way) {
    case 0:
      socket.destroy();
      return;
    case 1:
      // A TLS socket has no reset of its own; closing it with unread answers resets.
      if (!("encrypted" in socket)) socket.resetAndDestroy();
      socket.destroy();
      return;
    case 2:
      socket.resume();
      socket.end();
      return;
    case 3:
      socket.resume();
      socket.write(BULK);
      socket.end();
      return;
    case 4:
      socket.write(BULK, () => socket.destroy());
      return;
    case 5:
      socket.once("data", () => socket.destroy());
      return;
    default:
      socket.pause(); // never reads
  }
}

function measure(): { descriptors: number; memory: number } {
  const rollup = readFileSync(`/proc/${proxy.pid}/smaps_rollup`, "utf8");
  return {
    descriptors: readdirSync(`/proc/${proxy.pid}/fd`).length,
    memory: Number(/^Private_Dirty:\s+(\d+)/m.exec(rollup)?.[1] ?? 0),
  };
}

async function status(): Promise<{ connections: { active: number } } | null> {
  return new Promise((resolve) => {
    get({ host: "127.0.0.1", port: adminPort, path: "/status", agent: false }, (response) => {
      let body = "";
      response.on("data", (chunk) => {
        body += chunk;
      });
      response.on("end", () => resolve(JSON.parse(body) as { connections: { active: number } }));
    }).on("error", () => resolve(null));
  });
}

async function answers(): Promise<void> {
  while ((await status()) === null) await delay(50);
}

/** Until no connection lives, and the streams that linger behind an alert have gone. */
async function quiet(): Promise<void> {
  while (((await status())?.connections.active ?? 0) > 0) await delay(100);
  await delay(2_500);
}

function listening(): Promise<number> {
  return new Promise((resolve) => {
    // Below the ephemeral ports, because the three ports behind it are taken, too.
    service.listen(19_000 + (process.pid % 800) * 4, "127.0.0.1", () =>
      resolve((service.address() as AddressInfo).port),
    );
  });
}
