/** The generators against their own service, through the bare relay, and through relays that misbehave. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { before, type TestContext, test } from "node:test";
import { createServer as createTlsServer } from "node:tls";
import { type Certificates, makeCertificates } from "../../native-bench/certificates.ts";
import {
  buildGenerator,
  type Generator,
  holdIdle,
  type LoadResult,
  runLoad,
} from "../../native-bench/generator.ts";
import { IDLE_TENTHS } from "../../native-bench/pace.ts";
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

async function direct(generator: Generator, mode: string, ...load: string[]): Promise<LoadResult> {
  const port = await freePort();
  return runLoad(
    generator,
    // The last of an option counts.
    [mode, "--target", `127.0.0.1:${port}`, "--service", `127.0.0.1:${port}`, ...SHORT, ...load],
    LIMIT,
  );
}

type Change = (data: Buffer, pass: (data: Buffer) => void) => void;

const unchanged: Change = (data, pass) => pass(data);

/** A relay to `target` whose way up goes through `change`, which calls `pass` with what may go on; the way down likewise. */
async function relay(
  t: TestContext,
  target: number,
  change: Change,
  changeBack = unchanged,
): Promise<number> {
  const sockets = new Set<Socket>();
  const server = createServer((downstream) => {
    const upstream = connect(target, "127.0.0.1");
    for (const socket of [downstream, upstream]) {
      sockets.add(socket.on("error", () => {}).setNoDelay(true));
    }
    downstream.on("data", (data: Buffer) => change(data, (rest) => upstream.write(rest)));
    upstream.on("data", (data: Buffer) => changeBack(data, (rest) => downstream.write(rest)));
    upstream.on("end", () => downstream.end());
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
  // The four that were on their way when the window opened waited for the reading of CPU times, too.
  assert.equal(result.latency.count, result.operations - 4);
  assert.ok(result.operations_all > result.operations, "the warm-up's are counted, too");
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

test("bulk that comes back changed at the end of a read ends the run", async (t) => {
  if (skip) return t.skip(skip);
  const service = await freePort();
  const port = await relay(t, service, unchanged, (data, pass) => {
    data[data.length - 1]! ^= 1;
    pass(data);
  });
  const addresses = ["--target", `127.0.0.1:${port}`, "--service", `127.0.0.1:${service}`];
  const load = ["bulk-down", "--connections", "1"];
  await assert.rejects(runLoad(built, [...load, ...addresses, ...SHORT], LIMIT), /failed during the run/);
});

for (const mode of ["ping", "crr"]) {
  test(`${mode}: a connection that hangs is found in a window of any length, and is not one that is slow`, async (t) => {
    if (skip) return t.skip(skip);
    for (const hang of [400, Number.POSITIVE_INFINITY]) {
      const service = await freePort();
      let seen = 0;
      const port = await relay(t, service, (data, pass) => {
        if (++seen > 1) pass(data);
        else if (Number.isFinite(hang)) setTimeout(() => pass(data), hang);
      });
      const addresses = ["--target", `127.0.0.1:${port}`, "--service", `127.0.0.1:${service}`];
      const result = await runLoad(built, [mode, "--connections", "3", ...addresses, ...SHORT], LIMIT);
      assert.ok(result.operations > 0);
      assert.equal(result.stalled, Number.isFinite(hang) ? 0 : 1);
    }
  });

  test(`${mode}, open loop: what is due when the window closes has a latency, answered or not`, async (t) => {
    if (skip) return t.skip(skip);
    for (const hang of [300, Number.POSITIVE_INFINITY]) {
      const service = await freePort();
      let seen = 0;
      const port = await relay(t, service, (data, pass) => {
        // At 250 per s that is past the middle of the window; the one connection carries nothing else meanwhile.
        if (++seen !== 85) pass(data);
        else if (Number.isFinite(hang)) setTimeout(() => pass(data), hang);
      });
      const addresses = ["--target", `127.0.0.1:${port}`, "--service", `127.0.0.1:${service}`];
      const load = [mode, "--connections", "1", "--rate", "250", "--seconds", "0.4", "--warmup", "0.1"];
      const result = await runLoad(built, [...load, ...addresses], LIMIT);
      assert.deepEqual(result.errors, { connect: 0, io: 0, tls: 0, data: 0 });
      assert.equal(result.stalled, Number.isFinite(hang) ? 0 : 1);
      const { count, max } = result.latency;
      // More where the machine wakes the generator late at the window's end.
      assert.ok(count >= 99, `${count} of the 100 that were due`);
      assert.ok(max > (Number.isFinite(hang) ? 299e6 : 1000e6), `${max}`);
    }
  });
}

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

function folderFor(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), "millrace-test-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

function tlsOptions(c: Certificates): string[] {
  return ["--tls", "--service-tls", "--ca", c.ca, "--cert", c.cert, "--key", c.key, "--sni", c.name];
}

test("full handshakes verify both sides; resumed ones are counted as such", async (t) => {
  if (skip || !built.tls) return t.skip(skip || "no libssl");
  const tls = tlsOptions(await makeCertificates(folderFor(t)));
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

test("a version of TLS is taken at its word, by either side and with either kind of key", async (t) => {
  if (skip || !built.tls) return t.skip(skip || "no libssl");
  const c = await makeCertificates(folderFor(t), "rsa");
  for (const version of ["1.2", "1.3"]) {
    const options = ["--tls-version", version, ...tlsOptions(c)];
    const result = await direct(built, "crr", "--connections", "2", ...options);
    clean(result);
    assert.ok(result.handshakes > 0, version);
  }
  const only = createTlsServer({
    cert: readFileSync(c.cert),
    key: readFileSync(c.key),
    minVersion: "TLSv1.3",
  });
  only.on("tlsClientError", () => {});
  only.listen(0, "127.0.0.1");
  await once(only, "listening");
  t.after(() => only.close());
  const target = `127.0.0.1:${(only.address() as AddressInfo).port}`;
  const options = ["ping", "--target", target, "--tls", "--ca", c.ca, "--tls-version", "1.2", ...SHORT];
  await assert.rejects(runLoad(built, options, LIMIT), /client handshake failed: .*version/);
});

test("bulk may begin with a ClientHello, which is compared and not counted", async (t) => {
  if (skip || !built.tls) return t.skip(skip || "no libssl");
  clean(await direct(built, "bulk-up", "--connections", "2", "--hello", "--verify"));
  const service = await freePort();
  const port = await relay(t, service, (data, pass) => {
    // The handshake's type, 5 bytes into the first record.
    if (data[0] === 22 && data[5] === 1) data[6]! ^= 1;
    pass(data);
  });
  const addresses = ["--target", `127.0.0.1:${port}`, "--service", `127.0.0.1:${service}`];
  // Without a warm-up: what goes wrong before the window is not counted.
  const load = ["bulk-up", "--hello", "--seconds", "0.1", "--warmup", "0"];
  const changed = await runLoad(built, [...load, ...addresses], LIMIT);
  assert.ok(changed.errors.data > 0 && changed.bytes_up > 0);
});

test("time without a CPU and other processes' time are told apart from the proxy's", async (t) => {
  if (skip || !built.floor) return t.skip(skip || "no floor");
  const busy = spawn(process.execPath, ["-e", "for (;;);"], { stdio: "ignore" });
  t.after(() => busy.kill("SIGKILL"));
  const watched = await direct(built, "ping", "--watch", String(busy.pid));
  const unwatched = await direct(built, "ping");
  assert.ok(watched.cpu.proxy > 0 && unwatched.cpu.proxy === 0);
  assert.ok(unwatched.cpu.others > 0);
  assert.ok(unwatched.waited.proxy === 0);
});

test("idle connections are held until they are released", async (t) => {
  if (skip) return t.skip(skip);
  const port = await freePort();
  const addresses = ["--target", `127.0.0.1:${port}`, "--service", `127.0.0.1:${port}`];
  const held = await holdIdle(built, ["idle", "--connections", "50", ...addresses], LIMIT);
  for (let stage = 1; stage < IDLE_TENTHS.length; stage++) await held.more();
  await held.release();
  assert.ok(!(await reachable(port)));
});

test("the portable generator does every kind of work", async (t) => {
  const [ec, rsa] = [await makeCertificates(folderFor(t)), await makeCertificates(folderFor(t), "rsa")];
  const tls = tlsOptions(ec);
  const works: readonly (readonly [string, ...string[]])[] = [
    ["ping", "--size", "1048576"],
    ["ping", "--rate", "500", "--idle", "3"],
    ["bulk-up", "--hello", "--sni", ec.name],
    ["bulk-down"],
    ["bulk-both", ...tls],
    ["crr", "--sources", "4"],
    ["crr", "--close", "service-fin"],
    ["crr", "--close", "client-fin", "--rate", "100"],
    ["crr", "--hello", "--sni", ec.name],
    ["crr", ...tls, "--resume"],
    ["crr", ...tlsOptions(rsa), "--tls-version", "1.2"],
  ];
  const longer = ["--connections", "2", "--seconds", "0.4"];
  for (const pair of [0, 2, 4, 6, 8, 10].map((i) => works.slice(i, i + 2))) {
    const results = await Promise.all(pair.map((work) => direct(portable, ...work, ...longer)));
    for (const [i, result] of results.entries()) isDone(pair[i]!, result);
  }
});

function isDone(work: readonly string[], result: LoadResult): void {
  const what = work.slice(0, 3).join(" ");
  assert.deepEqual(result.errors, { connect: 0, io: 0, tls: 0, data: 0 }, what);
  assert.ok(result.operations + result.bytes_up + result.bytes_down > 0, what);
  assert.ok(result.operations_all >= result.operations, what);
  const samples = result.histogram.reduce((sum, [, count]) => sum + count, 0);
  assert.equal(result.latency.count, samples, what);
  if (!work.includes("--tls") || result.mode !== "crr") return;
  assert.ok(result.handshakes > 0, what);
  assert.equal(result.resumed, work.includes("--resume") ? result.handshakes : 0, what);
}
