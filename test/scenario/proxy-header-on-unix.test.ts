/** Ensures that a PROXY header is believed on a UNIX socket without a list: who may open it, the file system has decided. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { encodeProxyHeader } from "../../lib/wire/proxy-header.ts";
import { readAll, scenario } from "../gear/scene.ts";

scenario("a header on a UNIX listener names the client", async (scene) => {
  const directory = mkdtempSync(join(tmpdir(), "millrace-"));
  scene.onClose(() => rmSync(directory, { recursive: true }));
  const path = join(directory, "in");
  const service = await scene.service((socket) => socket.end("hi").resume());
  const stage = await scene.proxy({
    listeners: [
      {
        name: "in",
        address: `unix:${path}`,
        proxy_protocol: { mode: "require" },
        routes: [{ tls: "none", cluster: "out" }],
      },
    ],
    clusters: { out: { endpoints: [service.address] } },
  });
  const client = connect(path);
  const source = { kind: "ip", host: "192.0.2.7", port: 1000 } as const;
  client.end(encodeProxyHeader({ version: 2, command: "proxy", source, destination: source, tlvs: {} }));
  assert.equal((await readAll(client)).toString(), "hi");
  const access = await stage.access();
  assert.equal(access.reason, "ok");
  assert.equal(access.source, "192.0.2.7:1000");
});
