/** Ensures that IPv6 listeners and endpoints work, and that `:PORT` and `[::]` take IPv4 clients as well, under their IPv4 address. */
import assert from "node:assert/strict";
import { connect } from "node:net";
import { readAll, type Scene, scenario } from "../gear/scene.ts";

for (const [address, dialled, source] of [
  ["[::1]:0", "::1", /^\[::1\]:\d+$/],
  [":0", "127.0.0.1", /^127\.0\.0\.1:\d+$/],
  [":0", "::1", /^\[::1\]:\d+$/],
  ["[::]:0", "127.0.0.1", /^127\.0\.0\.1:\d+$/],
  ["0.0.0.0:0", "127.0.0.1", /^127\.0\.0\.1:\d+$/],
] as const) {
  scenario(`${address}, dialled as ${dialled}`, async (scene) => {
    const service = await scene.service((socket) => socket.end("six"), "::1");
    const stage = await scene.proxy({
      listeners: [{ name: "in", address, routes: [{ tls: "none", cluster: "out" }] }],
      clusters: { out: { endpoints: [`[::1]:${service.port}`] } },
    });
    assert.equal(await ask(scene, dialled, stage.port("in")), "six");
    const access = await stage.access();
    assert.equal(access.reason, "ok");
    assert.match(access.source, source);
    assert.equal(access.endpoint, `[::1]:${service.port}`);
  });
}

async function ask(scene: Scene, host: string, port: number): Promise<string> {
  const socket = connect({ port, host });
  scene.onClose(() => {
    socket.destroy();
  });
  return (await readAll(socket)).toString();
}
