/** Ensures that the library's door does what it says: start, addresses, connections, kill, reload, drain, close, and errors with faults. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type ConfigInput, createProxy, ProxyError } from "../../lib/index.ts";
import { CapturedLog, ending, readAll, readBytes, type Scene, scenario } from "../gear/scene.ts";

scenario("from start to close", async (scene) => {
  const echo = await scene.service((socket) => socket.pipe(socket));
  const log = new CapturedLog();
  const proxy = createProxy(config(scene, echo.address), { log });
  scene.onClose(() => proxy.close());
  assert.equal(proxy.state, "new");
  await proxy.start();
  assert.deepEqual([proxy.state, proxy.generation], ["running", 1]);
  await assert.rejects(proxy.start(), { name: "ProxyError", code: "USAGE" });

  const address = proxy.addresses.get("in");
  assert(address?.kind === "ip");
  const client = await scene.client(address.port);
  client.write("x");
  await readBytes(client, 1);
  const [row] = await proxy.connections();
  assert.equal(row?.["phase"], "relay");
  assert.equal(row?.["bytes_up"], 1);
  const seen = ending(client);
  assert.equal(await proxy.kill(row?.["id"] as string), true);
  assert.equal(await seen, "ECONNRESET");
  assert.equal((await log.next()).reason, "killed");

  const directory = mkdtempSync(join(tmpdir(), "millrace-"));
  scene.onClose(() => rmSync(directory, { recursive: true }));
  const file = join(directory, "millrace.yaml");
  writeFileSync(file, JSON.stringify(config(scene, echo.address)));
  await proxy.reload(file);
  assert.equal(proxy.generation, 2);
  writeFileSync(file, "listeners: 7\n");
  await assert.rejects(proxy.reload(file), (error: unknown) => {
    assert(error instanceof ProxyError);
    assert.equal(error.code, "CONFIG");
    assert.deepEqual([error.faults[0]?.file, error.faults[0]?.line], [file, 1]);
    return true;
  });
  assert.deepEqual([proxy.state, proxy.generation], ["running", 2]);

  const last = connect({ port: address.port, host: "127.0.0.1", allowHalfOpen: true });
  last.write("y");
  await readBytes(last, 1);
  const drained = proxy.drain();
  const rest = readAll(last);
  last.end();
  await rest;
  await drained;
  assert.equal(proxy.state, "stopped");
  await proxy.close();
  assert.deepEqual(await proxy.connections(), []);
});

scenario("what is wrong is told at once, and a start that fails leaves nothing", async (scene) => {
  assert.throws(() => createProxy({ listeners: [] }), { name: "ProxyError", code: "CONFIG" });
  assert.throws(() => createProxy("/not/there.yaml"), { name: "ProxyError", code: "CONFIG" });
  const taken = await scene.service(() => {});
  const wrong = config(scene, taken.address);
  const proxy = createProxy(
    { ...wrong, listeners: [{ ...wrong.listeners![0]!, address: taken.address }] },
    { log: new CapturedLog() },
  );
  await assert.rejects(proxy.start(), { name: "ProxyError", code: "LISTEN" });
  assert.equal(proxy.state, "stopped");
  await proxy.close();
});

function config(scene: Scene, endpoint: string): ConfigInput {
  return {
    transport: scene.transport,
    workers: 1,
    listeners: [{ name: "in", address: "127.0.0.1:0", routes: [{ tls: "none", cluster: "a" }] }],
    clusters: { a: { endpoints: [endpoint] } },
  };
}
