/**
 * Ensures that a reload loses no byte under load, that live connections finish in the generation they were born in, that
 * listeners, routes and clusters come and go, and that whatever is wrong with the new configuration leaves the old one.
 */
import assert from "node:assert/strict";
import { existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { type AddressInfo, connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type ConfigInput, normalizeConfig } from "../../lib/config/parse.ts";
import { ProxyError } from "../../lib/index.ts";
import { identityFiles } from "../gear/certificates.ts";
import { paths } from "../gear/legs.ts";
import {
  ending,
  openDescriptors,
  readAll,
  readBytes,
  type Scene,
  type Stage,
  scenario,
} from "../gear/scene.ts";
import { hashAll, sendBulk } from "../gear/streams.ts";

scenario("under load: bytes arrive whole, and old connections finish in their generation", async (scene) => {
  const size = 8 * 1024 * 1024;
  const hashes: Promise<string>[] = [];
  const service = await scene.service((socket) => {
    hashes.push(hashAll(socket));
    void sendBulk(socket, size).then(() => socket.end());
  });
  const input = plain("one", service.address);
  const stage = await scene.proxy(input);
  const port = stage.port("in");
  const transfer = async (): Promise<void> => {
    const client = await scene.client(port);
    const down = hashAll(client);
    const up = await sendBulk(client, size);
    client.end();
    // The service sends the same bytes.
    assert.equal(await down, up);
  };
  const running = [transfer(), transfer()];
  for (let i = 0; i < 5; i += 1) {
    await reload(stage, scene, plain(i % 2 === 0 ? "two" : "one", service.address));
    running.push(transfer());
  }
  await Promise.all(running);
  const all = new Set(await Promise.all(hashes));
  assert.equal(all.size, 1);
  const generations: number[] = [];
  for (const _ of running) {
    const access = await stage.access();
    assert.equal(access.reason, "ok");
    assert.equal(access.bytes_up, size);
    assert.equal(access.bytes_down, size);
    generations.push(access.generation);
  }
  assert.equal(stage.proxy.generation, 6);
  assert.equal(stage.port("in"), port, "the listener keeps its socket");
  assert(Math.max(...generations) === 6);
});

scenario("listeners, routes and clusters come and go; addresses stay", async (scene) => {
  const first = await scene.service((socket) => socket.end("first"));
  const second = await scene.service((socket) => socket.end("second"));
  const directory = mkdtempSync(join(tmpdir(), "millrace-"));
  scene.onClose(() => rmSync(directory, { recursive: true }));
  const path = join(directory, "in.sock");
  const stage = await scene.proxy({
    listeners: [{ name: "in", address: `unix:${path}`, routes: [{ tls: "none", cluster: "a" }] }],
    clusters: { a: { endpoints: [first.address] } },
  });
  assert.equal(await ask(path), "first");
  const { ino } = statSync(path);

  // Another name and cluster behind the same address, and a second listener.
  await reload(stage, scene, {
    listeners: [
      { name: "renamed", address: `unix:${path}`, routes: [{ tls: "none", cluster: "b" }] },
      { name: "more", address: "127.0.0.1:0", routes: [{ tls: "none", cluster: "a" }] },
    ],
    clusters: { a: { endpoints: [first.address] }, b: { endpoints: [second.address] } },
  });
  assert.equal(await ask(path), "second");
  assert.equal(statSync(path).ino, ino, "the socket stays");
  const more = stage.port("more");
  assert.equal(await ask(more), "first");

  // A client-first table becomes a server-first one on the same socket.
  await reload(stage, scene, {
    listeners: [
      {
        name: "more",
        address: "127.0.0.1:0",
        routes: [{ name: "x", match: { sni: ["x.test"] }, tls: "passthrough", cluster: "a" }],
      },
    ],
    clusters: { a: { endpoints: [first.address] } },
  });
  assert.equal(stage.port("more"), more);
  assert(!existsSync(path), "the socket of a listener that is gone");
  await reload(stage, scene, {
    listeners: [{ name: "more", address: "127.0.0.1:0", routes: [{ tls: "none", cluster: "b" }] }],
    clusters: { b: { endpoints: [second.address] } },
  });
  assert.equal(await ask(more), "second");
});

scenario("an endpoint that is gone from the configuration finishes what it has", async (scene) => {
  const old = await scene.service((socket) => socket.pipe(socket));
  const other = await scene.service((socket) => socket.end("other"));
  const stage = await scene.proxy(plain("a", old.address));
  const client = await scene.client(stage.port("in"));
  client.write("1");
  assert.equal((await readBytes(client, 1)).toString(), "1");
  await reload(stage, scene, plain("a", other.address));
  assert.equal(await ask(stage.port("in")), "other");
  assert.equal((await stage.access()).generation, 2);
  client.write("2");
  assert.equal((await readBytes(client, 1)).toString(), "2");
  client.end();
  const access = await stage.access();
  assert.equal(access.reason, "ok");
  assert.equal(access.generation, 1);
});

scenario("whatever is wrong, the old generation stays, and nothing is left open", async (scene) => {
  const server = await identityFiles("server");
  scene.onClose(server.remove);
  const service = await scene.service((socket) => socket.end("well"));
  const good = plain("a", service.address);
  const stage = await scene.proxy(good);
  const port = stage.port("in");
  const taken = createServer();
  await new Promise<void>((resolve) => taken.listen(0, "127.0.0.1", resolve));
  scene.onClose(() => new Promise<void>((resolve) => taken.close(() => resolve())));
  const terminating = (identity: ConfigInput["identities"]): ConfigInput => ({
    ...good,
    ...(identity === undefined ? {} : { identities: identity }),
    listeners: [
      ...good.listeners!,
      {
        name: "tls",
        address: "127.0.0.1:0",
        routes: [{ tls: "terminate", identity: "edge", client_auth: "none", cluster: "a" }],
      },
    ],
  });
  const files = paths(server.config);
  const wrong: [string, ConfigInput][] = [
    ["IDENTITY", terminating({ edge: { ...files, cert: `${files.cert}.not-there` } })],
    [
      "LISTEN",
      {
        ...good,
        listeners: [
          ...good.listeners!,
          { name: "new", address: "127.0.0.1:0", routes: [{ tls: "none", cluster: "a" }] },
          {
            name: "taken",
            address: `127.0.0.1:${(taken.address() as AddressInfo).port}`,
            routes: [{ tls: "none", cluster: "a" }],
          },
        ],
      },
    ],
  ];
  writeFileSync(files.key, "-----BEGIN PRIVATE KEY-----\nbm90IGEga2V5\n-----END PRIVATE KEY-----\n");
  wrong.push(["IDENTITY", terminating({ edge: files })]);
  const before = openDescriptors();
  for (const [code, input] of wrong) {
    await assert.rejects(reload(stage, scene, input), (error: unknown) => {
      assert(error instanceof ProxyError, String(error));
      assert.equal(error.code, code, error.message);
      assert(!error.message.includes("bm90IGEga2V5"), "no key material");
      return true;
    });
    assert.equal(stage.proxy.generation, 1);
    assert.equal(await ask(port), "well");
    assert.equal((await stage.access()).generation, 1);
  }
  assert.deepEqual(stage.proxy.reloads, { ok: 0, failed: wrong.length });
  assert(openDescriptors() <= before, `${openDescriptors()} open, ${before} before`);
});

scenario(
  "100 reloads, two at a time, some identical: the baseline, and metrics that never go back",
  async (scene) => {
    const service = await scene.service((socket) => socket.end("well"));
    const stage = await scene.proxy(plain("a", service.address));
    const port = stage.port("in");
    await ask(port);
    const before = openDescriptors();
    for (let i = 0; i < 50; i += 1) {
      await Promise.all([
        reload(stage, scene, plain("a", service.address)),
        reload(stage, scene, plain(i % 2 === 0 ? "a" : "b", service.address)),
      ]);
    }
    assert.equal(stage.proxy.generation, 101);
    assert.deepEqual(stage.proxy.reloads, { ok: 100, failed: 0 });
    assert.equal(await ask(port), "well");
    assert(openDescriptors() <= before + 1, `${openDescriptors()} open, ${before} before`);
    const rows = [...stage.proxy.listenerRows().keys()];
    assert.deepEqual(rows, ["in"]);
    assert.equal((await stage.access()).generation, 1);
    assert.equal((await stage.access()).generation, 101);
  },
);

function plain(cluster: string, endpoint: string): ConfigInput {
  return {
    listeners: [{ name: "in", address: "127.0.0.1:0", routes: [{ tls: "none", cluster }] }],
    clusters: { [cluster]: { endpoints: [endpoint] } },
  };
}

function reload(stage: Stage, scene: Scene, input: ConfigInput): Promise<void> {
  return stage.proxy.reload(normalizeConfig({ transport: scene.transport, workers: 1, ...input }));
}

async function ask(where: number | string): Promise<string> {
  const socket = typeof where === "string" ? connect(where) : connect(where, "127.0.0.1");
  const answer = (await readAll(socket)).toString();
  if (answer === "") assert.equal(await ending(socket), "end");
  return answer;
}
