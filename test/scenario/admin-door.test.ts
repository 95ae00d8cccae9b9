/**
 * Ensures that the admin door shows the running proxy on a UNIX socket and on loopback, read-only, from its start to the end of
 * its drain, and follows the configuration over reloads.
 */
import assert from "node:assert/strict";
import { existsSync, mkdtempSync, rmSync, statSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createProxy, ProxyError } from "../../lib/index.ts";
import { askAt, doorOf, get } from "../gear/admin.ts";
import { events, greeter, plainConfig, plainProxy, visit } from "../gear/fleet.ts";
import { CapturedLog, eventually, type Scene, scenario } from "../gear/scene.ts";

const LOOPBACK = { admin: { listen: "127.0.0.1:0" } } as const;

/** A folder for sockets that goes with the scenario. */
function folder(scene: Scene): string {
  const path = mkdtempSync(join(tmpdir(), "admin-"));
  scene.onClose(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

scenario("every path, on a UNIX socket that only its owner may use", async (scene) => {
  const path = join(folder(scene), "admin.sock");
  const service = await greeter(scene, "a");
  const mask = process.umask(0);
  const stage = await plainProxy(
    scene,
    { endpoints: [service.address] },
    { admin: { listen: `unix:${path}` } },
  );
  process.umask(mask);
  assert.equal(statSync(path).mode & 0o777, 0o600);
  assert.equal(process.umask(), mask, "the mask is as it was");

  const one = await visit(scene, stage);
  const json = async (what: string) => {
    const { status, headers, body } = await get(stage, what);
    assert.deepEqual([status, headers["content-type"]], [200, "application/json"]);
    return JSON.parse(body);
  };
  assert.deepEqual(await json("/live"), { live: true });
  assert.deepEqual(await json("/ready"), { ready: true, state: "running" });
  const status = await json("/status");
  assert.deepEqual([status.state, status.generation, status.transport], ["running", 1, scene.transport]);
  assert.equal(status.io_uring, scene.ioUring);
  assert.deepEqual(status.connections.active, 1);
  assert.deepEqual(
    status.listeners.map(({ name, address, active, total }: Record<string, unknown>) => [
      name,
      address,
      active,
      total,
    ]),
    [["in", `127.0.0.1:${stage.port("in")}`, 1, 0]],
  );
  assert.deepEqual(status.clusters, [{ name: "out", state: "resolved", endpoints: 1, up: 1, draining: 0 }]);
  const [row, ...others] = await json("/connections");
  assert.equal(others.length, 0);
  assert.deepEqual(
    [row.phase, row.listener, row.cluster, row.endpoint, row.bytes_down, row.transport],
    ["relay", "in", "out", service.key, 2, scene.transport],
  );
  const { address, port } = one.socket.address() as { address: string; port: number };
  assert.equal(row.source, `${address}:${port}`);
  const [cluster] = await json("/clusters");
  assert.deepEqual(
    [cluster.name, cluster.endpoints[0].active, cluster.endpoints[0].health],
    ["out", 1, "up"],
  );
  await one.end();
  await stage.settled();
  assert.deepEqual(await json("/connections"), []);
  assert.equal((await stage.access()).id, row.id, "the listing and the access line are of one record");
  await stage.proxy.close();
  assert.equal(existsSync(path), false);
});

scenario("read-only: what comes later is refused by name, what never comes is not found", async (scene) => {
  const stage = await plainProxy(scene, { endpoints: [] }, LOOPBACK);
  for (const [method, path] of [
    ["POST", "/reload"],
    ["POST", "/drain"],
    ["DELETE", "/connections/00000000000000000000000000000000"],
    ["GET", "/config"],
  ] as const) {
    const { status, body } = await get(stage, path, method);
    assert.equal(status, 501);
    assert.deepEqual(JSON.parse(body), { error: `${method} ${path} is not available in this version` });
  }
  for (const [method, path] of [
    ["POST", "/status"],
    ["DELETE", "/connections"],
    ["PUT", "/reload"],
  ] as const) {
    const { status, headers } = await get(stage, path, method);
    assert.deepEqual([status, headers["allow"]], [405, "GET, HEAD"]);
  }
  assert.equal(stage.proxy.state, "running", "and nothing was done");
  const { status, body } = await get(stage, "/metricz");
  assert.equal(status, 404);
  assert.ok(JSON.parse(body).paths.includes("/metrics"));
  assert.deepEqual(
    [(await get(stage, "//")).status, (await get(stage, "/connections?limit=0")).status],
    [400, 400],
  );
  const head = await get(stage, "/metrics", "HEAD");
  assert.deepEqual([head.status, head.body], [200, ""]);
  assert.ok(Number(head.headers["content-length"]) > 1000);
});

scenario("draining: not ready at once, alive and readable until the last connection", async (scene) => {
  const service = await greeter(scene, "a");
  const stage = await plainProxy(scene, { endpoints: [service.address] }, LOOPBACK);
  const one = await visit(scene, stage);
  assert.equal((await get(stage, "/ready")).status, 200);
  const door = doorOf(stage);
  const drained = stage.proxy.drain();
  const ready = await get(stage, "/ready");
  assert.deepEqual([ready.status, JSON.parse(ready.body)], [503, { ready: false, state: "draining" }]);
  assert.equal((await get(stage, "/live")).status, 200);
  assert.match((await get(stage, "/metrics")).body, /millrace_connections_active\{listener="in"\} 1/);
  assert.equal(JSON.parse((await get(stage, "/connections")).body).length, 1);
  assert.equal(JSON.parse((await get(stage, "/status")).body).state, "draining");
  assert.ok(await one.echo());
  await one.end();
  await drained;
  await assert.rejects(askAt(door, "/live"), /ECONNREFUSED/);
});

scenario(
  "a reload moves the door, closes it and opens it again; one that cannot is refused whole",
  async (scene) => {
    const service = await greeter(scene, "a");
    const path = join(folder(scene), "admin.sock");
    const config = plainConfig({ endpoints: [service.address] }, LOOPBACK);
    const stage = await scene.proxy(config);
    const first = doorOf(stage);
    await stage.reload({ ...config, timeouts: { idle: "2h" } });
    assert.deepEqual(doorOf(stage), first, "the same address is the same door");
    await stage.reload({ ...config, admin: { listen: `unix:${path}` } });
    assert.deepEqual(doorOf(stage), { kind: "unix", path });
    await assert.rejects(askAt(first, "/live"), /ECONNREFUSED/);
    assert.equal((await get(stage, "/live")).status, 200);

    const taken = createServer().listen(0, "127.0.0.1");
    scene.onClose(() => {
      taken.close();
    });
    await eventually(() => taken.listening, "somebody else listens");
    const { port } = taken.address() as { port: number };
    await assert.rejects(
      stage.reload({ ...config, admin: { listen: `127.0.0.1:${port}` } }),
      (error: ProxyError) =>
        error.code === "LISTEN" &&
        /^admin: 127\.0\.0\.1:\d+ is in use by another process; stop it/.test(error.message),
    );
    assert.equal((await get(stage, "/live")).status, 200, "the old door stays");
    assert.equal(stage.proxy.generation, 3);

    const { admin: _, ...without } = config;
    await stage.reload(without);
    assert.equal(stage.proxy.adminAddress, null);
    assert.equal(existsSync(path), false);
    await stage.reload(config);
    assert.equal((await get(stage, "/ready")).status, 200);
  },
);

scenario("an address that is taken refuses the start, everything released", async (scene) => {
  const first = await plainProxy(scene, { endpoints: [] }, LOOPBACK);
  const { port } = doorOf(first) as { port: number };
  const start = plainProxy(scene, { endpoints: [] }, { admin: { listen: `127.0.0.1:${port}` } });
  await assert.rejects(start, (error: ProxyError) => error instanceof ProxyError && error.code === "LISTEN");
  assert.equal((await get(first, "/live")).status, 200);

  const path = join(folder(scene), "admin.sock");
  await plainProxy(scene, { endpoints: [] }, { admin: { listen: `unix:${path}` } });
  const second = plainProxy(scene, { endpoints: [] }, { admin: { listen: `unix:${path}` } });
  await assert.rejects(second, /served by another process/);
  assert.equal((await askAt({ kind: "unix", path }, "/live")).status, 200, "the first one keeps its socket");
});

scenario("a proxy of a program has the door that its configuration asks for", async (scene) => {
  const log = new CapturedLog();
  const proxy = createProxy(
    { transport: scene.transport, workers: 1, ...plainConfig({ endpoints: [] }, LOOPBACK) },
    { log },
  );
  assert.equal(proxy.adminAddress, null);
  await proxy.start();
  scene.onClose(() => proxy.close());
  const { status } = await askAt(proxy.adminAddress!, "/ready");
  assert.equal(status, 200);
  const [running] = events({ log } as Parameters<typeof events>[0], /^running$/);
  assert.match(String(running!["admin"]), /^127\.0\.0\.1:\d+$/);
});
