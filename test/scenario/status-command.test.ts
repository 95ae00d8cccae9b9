/** Ensures that `millrace status` shows a running proxy in 80 columns, as JSON where asked, and says what is wrong where none is. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { formatAddress } from "../../lib/wire/address.ts";
import { doorOf } from "../gear/admin.ts";
import { millraceIn80 } from "../gear/command.ts";
import { deadServer } from "../gear/dns.ts";
import { greeter, nobody, plainConfig, plainProxy, visit } from "../gear/fleet.ts";
import { scenario } from "../gear/scene.ts";

scenario("status", async (scene) => {
  const folder = mkdtempSync(join(tmpdir(), "status-"));
  scene.onClose(() => rmSync(folder, { recursive: true, force: true }));
  const path = join(folder, "admin.sock");
  const service = await greeter(scene, "a");
  const dns = await deadServer(scene);
  const long =
    "a-cluster-with-a-name-that-is-longer-than-any-terminal-is-wide-which-somebody-generated/from-a-template";
  const stage = await scene.proxy({
    admin: { listen: `unix:${path}` },
    dns: { servers: [`${dns.host}:${dns.port}`] },
    listeners: [
      { name: "in", address: "127.0.0.1:0", routes: [{ name: "in", tls: "none", cluster: "out" }] },
      { name: "second", address: "127.0.0.1:0", routes: [{ name: "second", tls: "none", cluster: long }] },
    ],
    clusters: {
      out: { endpoints: [service.address] },
      [long]: { discover: { srv: "_db._tcp.example.test" } },
    },
  });
  const one = await visit(scene, stage);

  const shown = await millraceIn80(["status", "--admin", `unix:${path}`]);
  assert.deepEqual([shown.code, shown.stderr], [0, ""]);
  for (const line of shown.stdout.split("\n")) assert.ok(line.length <= 80, line);
  assert.match(shown.stdout, /^millrace \d\S* is running, started \d+ s ago, generation 1\n/);
  assert.match(
    shown.stdout,
    new RegExp(`\\ntransport {4}${scene.transport}, 1 worker${scene.ioUring ? ", io_uring" : ""}\\n`),
  );
  assert.match(shown.stdout, /\nconnections {2}1 of at most \d+\n/);
  assert.match(shown.stdout, new RegExp(`\\nin +127\\.0\\.0\\.1:${stage.port("in")} +1 +0 +0 B +\\d B\\n`));
  assert.match(shown.stdout, /\nout +resolved +1 +1 +0\n/);
  assert.match(shown.stdout, /\na-cluster-\S+…\S+template +waits for the first DNS answer +0 +0 +0\n/);

  const json = await millraceIn80(["status", "--admin", `unix:${path}`, "--json"]);
  assert.equal(JSON.parse(json.stdout).connections.active, 1);

  const file = join(folder, "m.yaml");
  writeFileSync(file, JSON.stringify(plainConfig({ endpoints: [] }, { admin: { listen: `unix:${path}` } })));
  const byFile = await millraceIn80(["status", "-c", file]);
  assert.deepEqual([byFile.stderr, byFile.code], ["", 0]);
  await one.end();
  await stage.proxy.close();

  const gone = await millraceIn80(["status", "--admin", `unix:${path}`]);
  assert.equal(gone.code, 1);
  assert.match(gone.stderr, /^millrace: no proxy answers at unix:.*: there is no such socket; .*\(ENOENT\)/);
});

// The command does not know which transport the proxy runs on.
scenario(
  "status where there is nothing to ask",
  async (scene) => {
    const refused = await millraceIn80(["status", "--admin", nobody()]);
    assert.equal(refused.code, 1);
    assert.match(
      refused.stderr,
      /no proxy answers at 127\.\d+\.\d+\.\d+:9: nothing listens there; .*\(ECONNREFUSED\)/,
    );
    const nowhere = await millraceIn80(["status"]);
    assert.equal(nowhere.code, 2);
    assert.match(nowhere.stderr, /say where: --admin ADDRESS, or -c FILE/);
    const wrong = await millraceIn80(["status", "--admin", "admin.example:9901"]);
    assert.equal(wrong.code, 2);
    assert.match(wrong.stderr, /must be unix:\/path or IP:PORT/);
    const banner = await scene.service((socket) => socket.end("220 mail.example.test ESMTP\r\n"));
    const page = await scene.service((socket) =>
      socket.once("data", () => socket.end("HTTP/1.0 200 OK\r\n\r\n<html>")),
    );
    const other = await scene.service((socket) =>
      socket.once("data", () => socket.end("HTTP/1.0 200 OK\r\n\r\n{}")),
    );
    for (const { address } of [banner, page, other]) {
      const { code, stderr } = await millraceIn80(["status", "--admin", address]);
      assert.equal(code, 1);
      assert.match(stderr, /^millrace: 127\.0\.0\.1:\d+ is the admin address of no Millrace: .*\n$/);
    }
    const cut = await scene.service((socket) =>
      socket.once("data", () => socket.end("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{")),
    );
    const broken = await millraceIn80(["status", "--admin", cut.address]);
    assert.equal(broken.code, 1);
    assert.match(broken.stderr, /^millrace: no proxy answers at .*: it broke off\n$/);
    const silent = await scene.service((socket) => socket.resume());
    const patient = await millraceIn80(["status", "--admin", silent.address]);
    assert.equal(patient.code, 1);
    assert.match(patient.stderr, /^millrace: no proxy answers at .*: no answer within 10 s\n$/);
    const stage = await plainProxy(scene, { endpoints: [] }, { admin: { listen: "127.0.0.1:0" } });
    const loopback = await millraceIn80(["status", "--admin", formatAddress(doorOf(stage))]);
    assert.equal(loopback.code, 0);
  },
  ["net"],
);
