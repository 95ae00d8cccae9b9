/**
 * Ensures that UNIX sockets work on both sides with half-close, that a close there is an end and no reset, that a stale path is
 * taken over, and that a served one, one that is no socket and one that is too long are refused with a word on what to do.
 */
import assert from "node:assert/strict";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { connect, createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ProxyError } from "../../lib/index.ts";
import { ending, readAll, readBytes, type Scene, type Stage, scenario } from "../gear/scene.ts";
import { Arrivals } from "../gear/streams.ts";

scenario("from UNIX socket to UNIX socket, half-closed, and the path is gone in the end", async (scene) => {
  const directory = folder(scene);
  const service = createServer({ allowHalfOpen: true }, (socket) => {
    void readAll(socket).then((request) => socket.end(`${request.length} bytes`));
  });
  await new Promise<void>((resolve) => service.listen(join(directory, "out.sock"), resolve));
  scene.onClose(() => new Promise<void>((resolve) => service.close(() => resolve())));
  const path = join(directory, "in.sock");
  const stage = await proxy(scene, path, `unix:${join(directory, "out.sock")}`);
  const client = await dial(scene, path);
  client.end("x".repeat(300_000));
  assert.equal((await readAll(client)).toString(), "300000 bytes");
  const access = await stage.access();
  assert.equal(access.reason, "ok");
  assert.equal(access.destination, `unix:${path}`);
  await stage.proxy.close();
  assert(!existsSync(path), "the path is removed");
});

scenario("a client that closes a UNIX socket has ended in order", async (scene) => {
  const path = join(folder(scene), "in.sock");
  const arrivals = new Arrivals();
  const stage = await proxy(scene, path, (await scene.service(arrivals.talk)).address);
  const client = await dial(scene, path);
  client.write("request");
  const service = await arrivals.next();
  await readBytes(service, 7);
  service.write("answer");
  await readBytes(client, 6);
  client.destroy();
  assert.equal(await ending(service), "end");
  service.end();
  assert.equal((await stage.access()).reason, "ok");
});

scenario("an upstream that answers and closes a UNIX socket has ended in order", async (scene) => {
  const path = join(folder(scene), "out.sock");
  // More than the sockets between it and the client hold: the rest is on its way when the end is seen.
  const answer = "x".repeat(16 << 20);
  const service = createServer({ allowHalfOpen: true }, (socket) => {
    socket.once("data", () => socket.end(answer, () => socket.destroy()));
  });
  await new Promise<void>((resolve) => service.listen(path, resolve));
  scene.onClose(() => new Promise<void>((resolve) => service.close(() => resolve())));
  const stage = await scene.proxy({
    listeners: [{ name: "in", address: "127.0.0.1:0", routes: [{ tls: "none", cluster: "out" }] }],
    clusters: { out: { endpoints: [`unix:${path}`] } },
  });
  const client = await scene.client(stage.port("in"));
  client.write("request");
  assert.equal((await readAll(client)).length, answer.length);
  client.end();
  const access = await stage.access();
  assert.deepEqual([access.reason, access.bytes_down], ["ok", answer.length]);
});

scenario("a path that a dead process left behind", async (scene) => {
  const path = join(folder(scene), "in.sock");
  await leaveBehind(path);
  const service = await scene.service((socket) => socket.end("hello"));
  await proxy(scene, path, service.address);
  const client = await dial(scene, path);
  assert.equal((await readAll(client)).toString(), "hello");
  client.end();
});

scenario("paths that cannot be had", async (scene) => {
  const directory = folder(scene);
  const served = join(directory, "served.sock");
  const other = createServer();
  await new Promise<void>((resolve) => other.listen(served, resolve));
  scene.onClose(() => new Promise<void>((resolve) => other.close(() => resolve())));
  const file = join(directory, "file");
  writeFileSync(file, "precious");
  const refusals: [string, RegExp][] = [
    [served, /served by another process; stop it or choose another path/],
    [file, /is no socket; remove it or choose another path/],
    [join(directory, "x".repeat(120)), /at most 107 bytes/],
    [join(directory, "no/such/folder.sock"), /directory|ENOENT|cannot/],
  ];
  for (const [path, message] of refusals) {
    await assert.rejects(proxy(scene, path, "127.0.0.1:1"), (error: unknown) => {
      assert(error instanceof ProxyError, String(error));
      assert.match(error.message, message);
      return true;
    });
  }
  assert(existsSync(served), "a served path stays");
  assert(existsSync(file), "a file stays");
});

function folder(scene: Scene): string {
  const directory = mkdtempSync(join(tmpdir(), "millrace-"));
  scene.onClose(() => rmSync(directory, { recursive: true }));
  return directory;
}

function proxy(scene: Scene, path: string, endpoint: string): Promise<Stage> {
  return scene.proxy({
    listeners: [{ name: "in", address: `unix:${path}`, routes: [{ tls: "none", cluster: "out" }] }],
    clusters: { out: { endpoints: [endpoint] } },
  });
}

function dial(scene: Scene, path: string): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect({ path, allowHalfOpen: true }, () => resolve(socket)).on("error", reject);
    scene.onClose(() => {
      socket.destroy();
    });
  });
}

/** Binds in a process that dies without cleaning up. */
async function leaveBehind(path: string): Promise<void> {
  const { spawnSync } = await import("node:child_process");
  const script = `require("net").createServer().listen(${JSON.stringify(path)}, () => process.kill(process.pid, "SIGKILL"))`;
  spawnSync(process.execPath, ["-e", script]);
  assert(existsSync(path), "a stale path to start with");
}
