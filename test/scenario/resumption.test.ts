/**
 * Ensures that resumed handshakes are counted and judged: a session that an earlier set of rules let in does not let its
 * client in under the rules of now.
 */
import assert from "node:assert/strict";
import { normalizeConfig } from "../../lib/config/parse.ts";
import { sumListener } from "../../lib/observe/counters.ts";
import { leaf } from "../gear/certificates.ts";
import { edgeConfig, MUTUAL } from "../gear/edge.ts";
import { ended, reasons, tlsVerdict } from "../gear/peers.ts";
import { scenario } from "../gear/scene.ts";

for (const version of ["TLSv1.2", "TLSv1.3"] as const) {
  scenario(`resumption is counted, and refused under new rules: ${version}`, async (scene) => {
    const service = await scene.service((socket) => {
      socket.once("data", () => socket.end("welcome"));
    });
    const config = await edgeConfig(scene, service, [{ ...MUTUAL, name: "web", allow: [{ cn: "alice" }] }]);
    const stage = await scene.proxy(config);
    const port = stage.port("in");
    const options = { ...(await leaf("alice")), minVersion: version, maxVersion: version };

    const full = await tlsVerdict(port, options);
    assert.equal(full.answer, "welcome");
    assert.equal(full.resumed, false);
    const again = await tlsVerdict(port, { ...options, session: full.session! });
    assert.equal(again.answer, "welcome");
    assert.equal(again.resumed, true);

    const stricter = structuredClone(config);
    stricter.listeners![0]!.routes![0]!.allow = [{ cn: "somebody else" }];
    await stage.proxy.reload(normalizeConfig({ transport: scene.transport, workers: 1, ...stricter }));
    const refused = await tlsVerdict(port, { ...options, session: again.session ?? full.session! });
    assert.equal(refused.answer, "");

    const lines = await ended(stage, 3);
    assert.deepEqual(
      lines.map(({ reason, resumed, generation }) => [reason, resumed, generation]),
      [
        ["ok", false, 1],
        ["ok", true, 1],
        ["denied", false, 2],
      ],
    );
    for (const { peer } of lines) assert.equal(peer?.subject, "CN=alice,OU=ops");
    const { handshakes } = sumListener(stage.proxy.listenerRows().get("in")!);
    const counted = handshakes.filter(({ total }) => total > 0);
    assert.deepEqual(counted, [
      { version, resumed: false, ok: true, total: 1 },
      { version, resumed: false, ok: false, total: 1 },
      { version, resumed: true, ok: true, total: 1 },
    ]);
    assert.deepEqual(reasons(stage, "in"), { ok: 2, denied: 1 });
  });
}
