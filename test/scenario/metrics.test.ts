/**
 * Ensures that the metrics say what happened: every name of the interface with its labels, in valid text, equal to what the
 * access lines say after traffic of every kind, and never less after a reload.
 */
import assert from "node:assert/strict";
import { get } from "../gear/admin.ts";
import { authority, leaf } from "../gear/certificates.ts";
import { a, srv, startResponder, zone } from "../gear/dns.ts";
import { edgeConfig, MUTUAL } from "../gear/edge.ts";
import { Exposition } from "../gear/exposition.ts";
import { nobody, plainConfig, plainProxy, roll, visit } from "../gear/fleet.ts";
import { tlsVerdict } from "../gear/peers.ts";
import { type Access, eventually, type Stage, scenario } from "../gear/scene.ts";

const ADMIN = { admin: { listen: "127.0.0.1:0" } } as const;

async function scrape(stage: Stage): Promise<Exposition> {
  const { status, headers, body } = await get(stage, "/metrics");
  assert.equal(status, 200);
  assert.match(String(headers["content-type"]), /^text\/plain; version=0\.0\.4/);
  return new Exposition(body);
}

scenario("metrics agree with the access lines", async (scene) => {
  const service = await scene.service((socket) => {
    socket.once("data", (asked: Buffer) => socket.end(asked));
  });
  const config = await edgeConfig(
    scene,
    service,
    [
      { name: "web", match: { sni: ["web.example.test"] }, ...MUTUAL },
      { name: "gone", match: { sni: ["gone.example.test"] }, ...MUTUAL, cluster: "gone" },
    ],
    { identities: ["alice"] },
  );
  const dns = await startResponder(
    scene,
    zone([
      srv("_db._tcp.example.test", [0, 1, service.port, "db.example.test"]),
      a("db.example.test", "127.0.0.1"),
    ]),
  );
  const stage = await scene.proxy({
    ...config,
    ...ADMIN,
    dns: { servers: [dns.key] },
    clusters: {
      ...config.clusters,
      gone: { endpoints: [nobody()], connect: { retries: 0 } },
      found: { discover: { srv: "_db._tcp.example.test" } },
    },
  });
  const port = stage.port("in");
  const { cert, key } = await leaf("alice");
  const alice = { cert, key, ca: (await authority()).cert, servername: "web.example.test" };
  const first = await tlsVerdict(port, alice);
  assert.deepEqual([first.answer, first.version], ["ping", "TLSv1.3"]);
  assert.equal((await tlsVerdict(port, { ...alice, session: first.session! }, "ping again")).resumed, true);
  assert.equal((await tlsVerdict(port, { ...alice, maxVersion: "TLSv1.2" })).version, "TLSv1.2");
  await tlsVerdict(port, { servername: "web.example.test", maxVersion: "TLSv1.2" });
  await tlsVerdict(port, { ...alice, servername: "gone.example.test" });
  await tlsVerdict(port, { ...alice, servername: "unknown.example.test" });
  const plain = await scene.client(port);
  plain.end("GET / HTTP/1.0\r\n\r\n");
  await eventually(
    () => stage.log.seen.length === 7,
    "every access line is there",
    () => String(stage.log.seen.length),
  );
  const lines = stage.log.seen;
  const count = (fits: (line: Access) => boolean): number => lines.filter(fits).length;

  const now = await scrape(stage);
  const reasons = [...new Set(lines.map(({ reason }) => reason))];
  assert.deepEqual(reasons.sort(), ["bad_hello", "denied", "dial_failed", "no_route", "ok"]);
  for (const reason of reasons) {
    const expected = count((line) => line.reason === reason);
    assert.equal(now.value("millrace_connections_total", { listener: "in", reason }), expected, reason);
  }
  assert.equal(now.sum("millrace_connections_total"), lines.length, "one reason each");
  assert.equal(now.value("millrace_connections_active", { listener: "in" }), 0);

  const bytes = (direction: "up" | "down") =>
    lines.reduce((sum, line) => sum + line[`bytes_${direction}`], 0);
  assert.equal(bytes("up"), "pingping againping".length);
  for (const direction of ["up", "down"] as const)
    assert.equal(now.value("millrace_bytes_total", { listener: "in", direction }), bytes(direction));

  const handshakes = (version: string, resumed: string, result: string) =>
    now.value("millrace_handshakes_total", { listener: "in", version, resumed, result });
  assert.equal(handshakes("TLSv1.3", "false", "ok"), 2);
  assert.equal(handshakes("TLSv1.3", "true", "ok"), 1);
  assert.equal(handshakes("TLSv1.2", "false", "ok"), 1);
  assert.equal(now.sum("millrace_handshakes_total", { result: "failed" }), 1);
  assert.equal(now.sum("millrace_handshakes_total"), 5);
  assert.equal(now.value("millrace_handshake_seconds_count", { listener: "in" }), 4);
  assert.ok(now.value("millrace_handshake_seconds_sum", { listener: "in" }) > 0);

  assert.equal(now.value("millrace_dial_seconds_count", { cluster: "out" }), 3);
  assert.equal(now.value("millrace_dial_seconds_count", { cluster: "gone" }), 0);
  assert.equal(now.value("millrace_connection_seconds_count", { listener: "in" }), lines.length);
  const seconds = lines.reduce((sum, line) => sum + line.duration_ms, 0) / 1000;
  const sum = now.value("millrace_connection_seconds_sum", { listener: "in" });
  assert.ok(Math.abs(sum - seconds) < 0.001, `${sum} s, ${seconds} s in the lines, which are rounded`);

  assert.equal(now.value("millrace_endpoint_up", { cluster: "out", endpoint: service.key }), 1);
  assert.equal(now.value("millrace_endpoint_active", { cluster: "out", endpoint: service.key }), 0);
  assert.equal(now.value("millrace_dns_answers_total", { name: "_db._tcp.example.test", result: "ok" }), 1);
  const expires = now.value("millrace_certificate_not_after_seconds", { identity: "server" });
  assert.equal(expires, Math.round(stage.proxy.identities["server"]!.notAfter! / 1000));
  assert.ok(expires > Date.now() / 1000);
  assert.equal(now.value("millrace_generation"), 1);
  assert.equal(now.sum("millrace_reloads_total"), 0);
  assert.equal(now.value("millrace_log_dropped_total"), 0);
  assert.ok(now.value("millrace_descriptors", { state: "open" }) > 10);
  assert.ok(
    now.value("millrace_descriptors", { state: "limit" }) >=
      now.value("millrace_descriptors", { state: "open" }),
  );
  const [build] = now.families.get("millrace_build_info")!.samples;
  assert.deepEqual(
    [build!.value, build!.labels["transport"], build!.labels["node"], build!.labels["openssl"]],
    [1, scene.transport, process.versions.node, process.versions.openssl],
  );
  assert.match(build!.labels["version"]!, /^\d+\.\d+\.\d+/);
});

scenario("live connections are gauges, and their bytes count before they end", async (scene) => {
  const service = await scene.service((socket) => socket.pipe(socket.write("a\n") ? socket : socket));
  const stage = await plainProxy(scene, { endpoints: [service.address] }, ADMIN);
  const [one, two] = await Promise.all([visit(scene, stage), visit(scene, stage)]);
  assert.ok(await one.echo());
  const now = await scrape(stage);
  assert.equal(now.value("millrace_connections_active", { listener: "in" }), 2);
  assert.equal(now.value("millrace_endpoint_active", { cluster: "out", endpoint: service.key }), 2);
  let bytes = 0;
  while (bytes < 5)
    bytes = (await scrape(stage)).value("millrace_bytes_total", { listener: "in", direction: "down" });
  assert.equal(bytes, 5, "two greetings and an echo");
  await Promise.all([one.end(), two.end()]);
  await stage.settled();
  const after = await scrape(stage);
  assert.equal(after.value("millrace_connections_active", { listener: "in" }), 0);
  assert.equal(after.value("millrace_endpoint_active", { cluster: "out", endpoint: service.key }), 0);
});

scenario("counters never go back: not over reloads, nor when what they count is gone", async (scene) => {
  const service = await scene.service((socket) => socket.end("a\n"));
  const dns = await startResponder(
    scene,
    zone([
      srv("_db._tcp.example.test", [0, 1, service.port, "db.example.test"]),
      a("db.example.test", "127.0.0.1"),
    ]),
  );
  const config = plainConfig(
    { discover: { srv: "_db._tcp.example.test" } },
    { ...ADMIN, dns: { servers: [dns.key] } },
  );
  const stage = await scene.proxy(config);
  assert.equal(await roll(scene, stage, 3), "aaa");
  await eventually(() => stage.log.seen.length === 3, "they ended");
  let before = (await scrape(stage)).monotone();
  const [listener] = config.listeners!;
  for (const next of [
    { ...config, clusters: { out: { ...config.clusters!["out"]!, balance: "random" as const } } },
    { ...config, clusters: { out: { endpoints: [service.address] } } },
    { ...config, listeners: [{ ...listener!, name: "renamed" }] },
    config,
  ]) {
    await stage.reload(next);
    const exposition = await scrape(stage);
    const after = exposition.monotone();
    for (const [series, value] of before) assert.ok((after.get(series) ?? -1) >= value, series);
    before = after;
  }
  await assert.rejects(stage.reload({ ...config, listeners: [{ ...listener!, address: "192.0.2.1:1" }] }));
  const last = await scrape(stage);
  assert.equal(last.value("millrace_reloads_total", { result: "ok" }), 4);
  assert.equal(last.value("millrace_reloads_total", { result: "failed" }), 1);
  assert.equal(last.value("millrace_generation"), 5);
});

scenario("hostile names in labels are escaped", async (scene) => {
  const path = '/tmp/millrace "\\\n}.sock';
  const stage = await plainProxy(scene, { endpoints: [`unix:${path}`] }, ADMIN);
  const now = await scrape(stage);
  assert.equal(now.value("millrace_endpoint_up", { cluster: "out", endpoint: `unix:${path}` }), 1);
});
