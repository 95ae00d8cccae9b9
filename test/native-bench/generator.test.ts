/** The generators against their own service, through the bare relay, and through relays that misbehave. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { before, type TestContext, test } from "node:test";
import { makeCertificates } from "../../native-bench/certificates.ts";
import {
  buildGenerator,
  type Generator,
  holdIdle,
  type LoadResult,
  runLoad,
} from "../../native-bench/generator.ts";
import { script } from "../../native-bench/program.ts";
import { percentile } from "../../native-bench/statistics.ts";

const LIMIT = 20_000;
const SHORT = ["--seconds", "0.1", "--warmup", "0.05"];
let built: Generator;
let portable: Generator;
let skip: string | false = false;

before(() => {
  const { generator, reason } = buildGenerator();
  built = generator;
  if (generator.kind !== "c") skip = reason ?? "no C generator";
  portable = { ...generator, kind: "node", command: [process.execPath, script("load-node.js")] };
});

/** A port that was free a moment ago: the generator's service cannot take port 0, since the proxy must know it. */
async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, "close");
  return port;
}

async function direct(generator: Generator, ...load: string[]): Promise<LoadResult> {
  const port = await freePort();
  return runLoad(
    generator,
    [...load, "--target", `127.0.0.1:${port}`, "--service", `127.0.0.1:${port}`, ...SHORT],
    LIMIT,
  );
}

/** A relay to `target` whose way up goes through `change`, which calls `pass` with what may go on. */
async function relay(
  t: TestContext,
  target: number,
  change: (data: Buffer, pass: (data: Buffer) => void) => void,
): Promise<number> {
  const sockets = new Set<Socket>();
  const server = createServer((downstream) => {
    const upstream = connect(target, "127.0.0.1");
    for (const socket of [downstream, upstream]) {
      sockets.add(socket.on("error", () => {}).setNoDelay(true));
    }
    downstream.on("data", (data: Buffer) => change(data, (rest) => upstream.write(rest)));
    upstream.pipe(downstream);
    downstream.on("close", () => upstream.destroy());
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return (server.address() as AddressInfo).port;
}

function clean(result: LoadResult): void {
  assert.deepEqual(result.errors, { connect: 0, io: 0, tls: 0, data: 0 });
  assert.equal(result.stalled, 0);
}

test("messages are counted, and the histogram holds every one of them", async (t) => {
  if (skip) return t.skip(skip);
  const result = await direct(built, "ping", "--connections", "4");
  clean(result);
  assert.ok(result.operations > 0);
  const samples = result.histogram.reduce((sum, [, count]) => sum + count, 0);
  assert.equal(samples, result.latency.count);
  assert.equal(result.latency.count, result.operations);
  for (const [name, percent] of [
    ["p50", 50],
    ["p90", 90],
    ["p99", 99],
  ] as const) {
    assert.equal(percentile(result.histogram, percent), result.latency[name], name);
  }
  assert.ok(result.latency.min <= result.latency.p50 && result.latency.p999 <= result.latency.max);
});

test("bulk moves bytes in the direction asked for, all compared", async (t) => {
  if (skip) return t.skip(skip);
  const [up, down, both] = await Promise.all(
    ["up", "down", "both"].map((way) => direct(built, `bulk-${way}`, "--connections", "2", "--verify")),
  );
  for (const result of [up!, down!, both!]) clean(result);
  assert.ok(up!.bytes_up > 0 && up!.bytes_down === 0);
  assert.ok(down!.bytes_down > 0 && down!.bytes_up === 0);
  assert.ok(both!.bytes_up > 0 && both!.bytes_down > 0);
});

for (const closing of ["client-rst", "client-fin", "service-fin"]) {
  test(`short connections that end by ${closing} all succeed through the bare relay`, async (t) => {
    if (skip || !built.floor) return t.skip(skip || "no floor");
    const [listen, service] = [await freePort(), await freePort()];
    const floor = spawn(built.floor, [String(listen), String(service)], { stdio: "ignore" });
    t.after(() => floor.kill("SIGKILL"));
    while (!(await reachable(listen)));
    const addresses = ["--target", `127.0.0.1:${listen}`, "--service", `127.0.0.1:${service}`];
    const options = [
      "crr",
      "--connections",
      "4",
      "--sources",
      "4",
      "--close",
      closing,
      "--watch",
      String(floor.pid),
    ];
    const result = await runLoad(built, [...options, ...addresses, ...SHORT], LIMIT);
    clean(result);
    assert.ok(result.operations > 0);
    assert.ok(result.cpu.proxy > 0, "the relay's CPU time was read");
  });
}

function reachable(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1", () => {
      socket.destroy();
      resolve(true);
    }).on("error", () => resolve(false));
  });
}

test("a message that comes back changed ends the run", async (t) => {
  if (skip) return t.skip(skip);
  const service = await freePort();
  const port = await relay(t, service, (data, pass) => {
    data[data.length - 1]! ^= 1;
    pass(data);
  });
  const addresses = ["--target", `127.0.0.1:${port}`, "--service", `127.0.0.1:${service}`];
  await assert.rejects(runLoad(built, ["ping", ...addresses, ...SHORT], LIMIT), /failed during the run/);
});

test("open loop: a stall is charged to every request that was due in it", async (t) => {
  if (skip) return t.skip(skip);
  const service = await freePort();
  let seen = 0;
  const port = await relay(t, service, (data, pass) => {
    // One pause of 200 ms in the middle of the window; requests of 1,000 per s go on being due.
    if (++seen === 150) setTimeout(() => pass(data), 200);
    else pass(data);
  });
  const addresses = ["--target", `127.0.0.1:${port}`, "--service", `127.0.0.1:${service}`];
  const load = ["ping", "--connections", "1", "--rate", "1000", "--seconds", "0.6", "--warmup", "0.05"];
  const result = await runLoad(built, [...load, ...addresses], LIMIT);
  clean(result);
  const late = result.histogram.reduce((sum, [ns, count]) => (ns > 50e6 ? sum + count : sum), 0);
  assert.ok(late >= 100, `${late} of ${result.operations} requests were charged`);
});

test("full handshakes verify both sides; resumed ones are counted as such", async (t) => {
  if (skip || !built.tls) return t.skip(skip || "no libssl");
  const folder = mkdtempSync(join(tmpdir(), "millrace-test-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const c = await makeCertificates(folder);
  const tls = ["--tls", "--service-tls", "--ca", c.ca, "--cert", c.cert, "--key", c.key, "--sni", c.name];
  const full = await direct(built, "crr", "--connections", "2", ...tls);
  clean(full);
  assert.ok(full.handshakes > 0 && full.resumed === 0);
  const resumed = await direct(built, "crr", "--connections", "2", "--resume", ...tls);
  clean(resumed);
  assert.ok(resumed.handshakes > 0);
  assert.equal(resumed.resumed, resumed.handshakes);
  const bulk = await direct(built, "bulk-up", "--connections", "2", "--verify", ...tls);
  clean(bulk);
  assert.ok(bulk.bytes_up > 0);
});

test("idle connections are held until they are released", async (t) => {
  if (skip) return t.skip(skip);
  const port = await freePort();
  const addresses = ["--target", `127.0.0.1:${port}`, "--service", `127.0.0.1:${port}`];
  const held = await holdIdle(built, ["idle", "--connections", "50", ...addresses], LIMIT);
  assert.ok(await reachable(port));
  await held.release();
  assert.ok(!(await reachable(port)));
});

test("the portable generator gives the same kind of result", async () => {
  const [ping, crr, bulk] = await Promise.all([
    direct(portable, "ping", "--connections", "2"),
    direct(portable, "crr", "--connections", "2"),
    direct(portable, "bulk-up", "--connections", "2"),
  ]);
  for (const result of [ping!, crr!, bulk!]) clean(result);
  assert.ok(ping!.operations > 0 && crr!.operations > 0 && bulk!.bytes_up > 0);
  assert.equal(ping!.latency.count, ping!.operations);
});
