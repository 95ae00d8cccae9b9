/** Ensures what a terminating route agrees on: protocols in its own order or no handshake, and nothing below its TLS minimum. */
import assert from "node:assert/strict";
import { edge, TERMINATE } from "../gear/edge.ts";
import { ended, reasons, tlsVerdict } from "../gear/peers.ts";
import { sClient } from "../gear/s-client.ts";
import { scenario } from "../gear/scene.ts";

scenario(
  "ALPN: the route's first that the client offers, none in common is refused with alert 120",
  async (scene) => {
    const service = await scene.service((socket) => {
      socket.once("data", () => socket.end("welcome"));
    });
    const stage = await edge(scene, service, [{ ...TERMINATE, alpn: ["h2", "http/1.1"] }]);
    const port = stage.port("in");
    for (const maxVersion of ["TLSv1.2", "TLSv1.3"] as const) {
      const both = await tlsVerdict(port, { maxVersion, ALPNProtocols: ["http/1.1", "h2"] });
      assert.equal(both.alpn, "h2");
      const one = await tlsVerdict(port, { maxVersion, ALPNProtocols: ["x", "http/1.1"] });
      assert.equal(one.alpn, "http/1.1");
      const none = await tlsVerdict(port, { maxVersion });
      assert.equal(none.alpn, false);
      assert.equal(none.answer, "welcome");
      const foreign = await tlsVerdict(port, { maxVersion, ALPNProtocols: ["postgresql"] });
      assert.equal(foreign.alert, 120);
      const lines = await ended(stage, 4);
      assert.deepEqual(
        lines.map(({ reason, alpn }) => [reason, alpn]),
        [
          ["ok", "h2"],
          ["ok", "http/1.1"],
          ["ok", undefined],
          ["handshake_failed", "postgresql"],
        ],
      );
    }
    assert.equal(service.accepted, 6);
    assert.deepEqual(reasons(stage, "in"), { ok: 6, handshake_failed: 2 });
  },
);

scenario("TLS 1.3 is the minimum: an older client gets protocol_version", async (scene) => {
  const service = await scene.service((socket) => {
    socket.once("data", () => socket.end("welcome"));
  });
  const stage = await edge(scene, service, [{ ...TERMINATE, tls_min: "1.3" }]);
  const port = stage.port("in");
  assert.equal((await tlsVerdict(port)).version, "TLSv1.3");
  assert.equal((await tlsVerdict(port, { maxVersion: "TLSv1.2" })).alert, 70);
  assert.equal((await sClient(port, ["-tls1_2"])).alert, 70);
  const lines = await ended(stage, 3);
  assert.deepEqual(
    lines.map(({ reason, tls }) => [reason, tls]),
    [
      ["ok", "TLSv1.3"],
      ["handshake_failed", undefined],
      ["handshake_failed", undefined],
    ],
  );
  assert.equal(service.accepted, 1);
  assert.deepEqual(reasons(stage, "in"), { ok: 1, handshake_failed: 2 });
});
