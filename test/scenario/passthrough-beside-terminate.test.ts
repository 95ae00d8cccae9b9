/** Ensures that passthrough hands the client's own handshake to the service, beside a terminated route on the same port. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { authority, directoryWith, issue, leaf } from "../gear/certificates.ts";
import { edgeConfig, TERMINATE } from "../gear/edge.ts";
import { ended, reasons, sServer, tlsVerdict } from "../gear/peers.ts";
import { sClient } from "../gear/s-client.ts";
import { scenario } from "../gear/scene.ts";

scenario("a real TLS service behind passthrough demands and sees the client's certificate", async (scene) => {
  const own = await issue({ commonName: "the service itself", dns: ["db.example.test"] });
  const files = directoryWith({ "ca.crt": (await authority()).cert });
  scene.onClose(files.remove);
  const behind = await sServer(scene, own, [
    ...["-Verify", "3", "-verify_return_error", "-CAfile", join(files.path, "ca.crt"), "-alpn", "postgresql"],
  ]);
  const plain = await scene.service((socket) => {
    socket.once("data", () => socket.end("terminated"));
  });
  const config = await edgeConfig(scene, plain, [
    { name: "db", tls: "passthrough", match: { sni: ["db.example.test"] }, cluster: "db" },
    { ...TERMINATE, name: "web", match: { sni: ["web.example.test"] } },
  ]);
  const clusters = { ...config.clusters, db: { endpoints: [`127.0.0.1:${behind.port}`] } };
  const stage = await scene.proxy({ ...config, clusters });
  const port = stage.port("in");
  const alice = await leaf("alice");
  const ca = (await authority()).cert;

  for (const maxVersion of ["TLSv1.2", "TLSv1.3"] as const) {
    const through = await tlsVerdict(
      port,
      { servername: "db.example.test", ...alice, ca, maxVersion, ALPNProtocols: ["postgresql"] },
      "hello\nCLOSE\n",
    );
    assert.equal(through.shown, "the service itself");
    assert.equal(through.version, maxVersion);
    assert.equal(through.alpn, "postgresql");
    assert.match(through.answer, /^olleh\n/);
  }
  // Its refusal is its own, too.
  const anonymous = await tlsVerdict(port, { servername: "db.example.test" }, "hello\n");
  assert.equal(anonymous.alert, 116);

  const terminated = await tlsVerdict(port, { servername: "web.example.test" });
  assert.equal(terminated.shown, "server");
  assert.equal(terminated.answer, "terminated");
  const openssl = await sClient(port, ["-servername", "web.example.test"], "x\n");
  assert.match(openssl.output, /subject=CN = server/);

  const lines = await ended(stage, 5);
  assert.deepEqual(
    // Sorted, because which connection ends first is not the subject.
    lines.map(({ route, tls, sni, alpn }) => [route, tls, sni, alpn]).sort(),
    [
      ["db", undefined, "db.example.test", undefined],
      ["db", undefined, "db.example.test", "postgresql"],
      ["db", undefined, "db.example.test", "postgresql"],
      ["web", "TLSv1.3", "web.example.test", undefined],
      ["web", "TLSv1.3", "web.example.test", undefined],
    ],
  );
  // What a TLS service does to a client is between the two of them.
  const total = Object.values(reasons(stage, "in")).reduce((sum, count) => sum + count);
  assert.equal(total, 5);
});
