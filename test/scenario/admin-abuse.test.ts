/**
 * Ensures that the admin door serves whoever comes while others read nothing, finish nothing or come in a thousand, that what
 * they hold is bounded, and that connections of the proxy notice nothing of it.
 */
import assert from "node:assert/strict";
import { doorOf, get, knockAt } from "../gear/admin.ts";
import { Exposition } from "../gear/exposition.ts";
import { greeter, plainProxy, visit } from "../gear/fleet.ts";
import { eventually, openDescriptors, type Scene, type Stage, scenario } from "../gear/scene.ts";

async function start(scene: Scene): Promise<Stage> {
  const service = await greeter(scene, "a");
  return plainProxy(scene, { endpoints: [service.address] }, { admin: { listen: "127.0.0.1:0" } });
}

scenario("clients that read nothing, send half a request, or nonsense", async (scene) => {
  const stage = await start(scene);
  const before = process.memoryUsage().rss;
  const door = doorOf(stage);
  const deaf = await knockAt(door);
  scene.onClose(() => {
    deaf.destroy();
  });
  deaf.pause();
  deaf.write("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n".repeat(10_000));
  const half = await knockAt(door);
  scene.onClose(() => {
    half.destroy();
  });
  half.write("GET /status HTTP/1.1\r\nHo");
  const nonsense = await knockAt(door);
  let answer = "";
  nonsense.on("data", (chunk: Buffer) => {
    answer += chunk;
  });
  nonsense.write(Buffer.from([22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3]));
  await new Promise((resolve) => nonsense.once("close", resolve));
  assert.match(answer, /^HTTP\/1\.1 400 /);
  for (let turn = 0; turn < 20; turn++) assert.equal((await get(stage, "/metrics")).status, 200);
  const one = await visit(scene, stage);
  assert.ok(await one.echo());
  await one.end();
  assert.ok(process.memoryUsage().rss - before < 64 * 1024 * 1024, "what is not read is not kept");
});

scenario("a thousand connections: the door stays open, and holds 128 of them", async (scene) => {
  const stage = await start(scene);
  const door = doorOf(stage);
  const before = openDescriptors();
  const sockets = await Promise.all(Array.from({ length: 1000 }, () => knockAt(door)));
  scene.onClose(() => {
    for (const socket of sockets) socket.destroy();
  });
  for (let turn = 0; turn < 5; turn++) assert.equal((await get(stage, "/ready")).status, 200);
  for (const socket of sockets) socket.resume();
  const open = () => sockets.filter((socket) => !socket.destroyed).length;
  await eventually(
    () => open() <= 128,
    "the first ones had to go",
    () => `${open()} are open`,
  );
  assert.ok(open() > 100, "and only they: the last ones may still ask");
  await eventually(() => openDescriptors() <= before + 2 * 128 + 2, "and cost no descriptor");
  const one = await visit(scene, stage);
  assert.ok(await one.echo());
  await one.end();
});

scenario(
  "scraped and listed under load: valid, never going back, agreeing with the log in the end",
  async (scene) => {
    const stage = await start(scene);
    let running = true;
    let visits = 0;
    const stream = async (): Promise<void> => {
      while (running) {
        const one = await visit(scene, stage);
        assert.equal(one.name, "a");
        await one.end();
        visits += 1;
      }
    };
    const load = Array.from({ length: 8 }, stream);
    let before = new Map<string, number>();
    for (let turn = 0; turn < 40; turn++) {
      const { body } = await get(stage, "/metrics");
      const after = new Exposition(body).monotone();
      for (const [series, value] of before) assert.ok((after.get(series) ?? -1) >= value, series);
      before = after;
      const rows = JSON.parse((await get(stage, "/connections")).body) as { id: string }[];
      assert.equal(new Set(rows.map(({ id }) => id)).size, rows.length);
      assert.equal((await get(stage, "/clusters")).status, 200);
    }
    running = false;
    await Promise.all(load);
    await eventually(() => stage.log.seen.length === visits, "every access line is there");
    const last = new Exposition((await get(stage, "/metrics")).body);
    assert.equal(last.value("millrace_connections_total", { listener: "in", reason: "ok" }), visits);
    assert.equal(last.sum("millrace_connections_total"), visits);
  },
);
