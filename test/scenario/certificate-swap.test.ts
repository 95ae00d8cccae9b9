/**
 * Ensures that a certificate replaced on disk is shown to new clients while live connections go on, that a broken replacement
 * keeps the old one, and that nobody is refused in between.
 */
import assert from "node:assert/strict";
import { renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { authority, directoryWith, issue, leaf } from "../gear/certificates.ts";
import { edgeConfig, TERMINATE } from "../gear/edge.ts";
import { tlsClient } from "../gear/legs.ts";
import { reasons, tlsVerdict } from "../gear/peers.ts";
import { eventually, readAll, readBytes, scenario } from "../gear/scene.ts";

scenario("a certificate is swapped under load, and a broken one is not taken", async (scene) => {
  const service = await scene.service((socket) => {
    socket.on("data", (chunk: Buffer) => socket.write(chunk));
    socket.on("end", () => socket.end());
  });
  const first = await leaf("server");
  const second = await issue({ commonName: "second", dns: ["localhost"] });
  const files = directoryWith({ crt: first.cert, key: first.key, ca: (await authority()).cert });
  scene.onClose(files.remove);
  const path = (name: string) => join(files.path, name);
  const config = await edgeConfig(scene, service, [TERMINATE]);
  const stage = await scene.proxy({
    ...config,
    identities: { server: { cert: path("crt"), key: path("key"), ca: path("ca") } },
  });
  const port = stage.port("in");
  const swap = (name: string, text: string): void => {
    writeFileSync(path(`${name}.new`), text, { mode: 0o600 });
    renameSync(path(`${name}.new`), path(name));
  };
  const said = (message: RegExp) => stage.log.messages.some(({ msg }) => message.test(String(msg)));

  const live = await tlsClient(scene, port, "localhost");
  live.write("before");
  assert.equal((await readBytes(live, 6)).toString(), "before");

  // Load: one client after the other, each with a handshake of its own.
  const shown: string[] = [];
  let loading = true;
  const load = (async () => {
    while (loading) {
      const { shown: name, answer, how } = await tlsVerdict(port, {}, "");
      assert.equal(how, "end", answer);
      shown.push(name!);
    }
  })();
  service.server.on("connection", (socket: import("node:net").Socket) => socket.end());

  // A certificate that its key does not fit is half of a renewal, or a mistake: the old one stays.
  swap("crt", second.cert);
  await eventually(() => said(/cannot be renewed, the last good one stays/), "the broken pair is told");
  assert.equal(stage.proxy.generation, 1);
  swap("crt", "no certificate at all");
  swap("key", second.key);
  swap("crt", second.cert);
  await eventually(() => said(/identity renewed/), "the new pair is taken");
  const before = shown.length;
  await eventually(() => shown.length > before + 2, "clients after the renewal");
  loading = false;
  await load;
  assert.equal(shown[0], "server");
  assert.equal(shown.at(-1), "second");
  const turned = shown.indexOf("second");
  assert(
    shown.slice(turned).every((name) => name === "second"),
    "never back to the old one",
  );

  live.write("after");
  assert.equal((await readBytes(live, 5)).toString(), "after");
  const rest = readAll(live);
  live.end();
  assert.equal((await rest).length, 0);
  await stage.settled();
  assert.deepEqual(reasons(stage, "in"), { ok: shown.length + 1 });
});
