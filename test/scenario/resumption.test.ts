/**
 * Ensures that resumed handshakes are counted and judged: a session that an earlier set of rules let in does not let its
 * client in under the rules of now. Also with openssl at the other end, as client and as server.
 */
import assert from "node:assert/strict";
import { join } from "node:path";
import { normalizeConfig } from "../../lib/config/parse.ts";
import { sumListener } from "../../lib/observe/counters.ts";
import { authority, directoryWith, leaf } from "../gear/certificates.ts";
import { edge, edgeConfig, MUTUAL } from "../gear/edge.ts";
import { ended, lastWords, reasons, sServer, tlsVerdict } from "../gear/peers.ts";
import { needs } from "../gear/programs.ts";
import { sClient } from "../gear/s-client.ts";
import { scenario, TRANSPORTS } from "../gear/scene.ts";

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

scenario(
  "a session of one worker is good on every other",
  async (scene) => {
    const service = await scene.service((socket) => {
      socket.once("data", () => socket.end("welcome"));
    });
    const config = await edgeConfig(scene, service, [{ ...MUTUAL, allow: [{ cn: "alice" }] }]);
    const stage = await scene.proxy({ ...config, workers: 4 });
    const port = stage.port("in");
    const alice = await leaf("alice");
    const { session } = await tlsVerdict(port, alice);
    // All at once, so that the workers share them.
    const many = Array.from({ length: 24 }, () => tlsVerdict(port, { ...alice, session: session! }));
    for (const { answer, resumed } of await Promise.all(many)) {
      assert.equal(answer, "welcome");
      assert.equal(resumed, true);
    }
    assert.equal((await ended(stage, 25)).filter(({ resumed }) => resumed).length, 24);
  },
  // `net` has one worker.
  TRANSPORTS.filter((name) => name === "epoll"),
);

for (const version of ["1.2", "1.3"] as const) {
  const only = `-tls${version.replace(".", "_")}`;

  scenario(
    `openssl s_client resumes with TLS ${version}`,
    async (scene) => {
      const service = await scene.service((socket) => {
        socket.once("data", () => socket.end("welcome"));
      });
      const stage = await edge(scene, service, [{ ...MUTUAL, allow: [{ cn: "alice" }] }]);
      const alice = await leaf("alice");
      const files = directoryWith({ crt: alice.cert, key: alice.key });
      scene.onClose(files.remove);
      const file = (name: string) => join(files.path, name);
      const args = [only, "-cert", file("crt"), "-key", file("key")];
      const full = await sClient(stage.port("in"), [...args, "-sess_out", file("session")], "hello\n");
      const again = await sClient(stage.port("in"), [only, "-sess_in", file("session")], "hello\n");
      for (const [{ reused, output }, expected] of [
        [full, false],
        [again, true],
      ] as const) {
        assert.equal(reused, expected, output);
        assert.match(output, /welcome/);
      }
      const lines = await ended(stage, 2);
      assert.deepEqual(
        lines.map(({ resumed, tls, peer }) => [resumed, tls, peer?.subject]),
        [false, true].map((resumed) => [resumed, `TLSv${version}`, "CN=alice,OU=ops"]),
      );
    },
    TRANSPORTS,
    needs("openssl"),
  );

  scenario(
    `openssl s_server sees us come back with TLS ${version}`,
    async (scene) => {
      const files = directoryWith({ ca: (await authority()).cert });
      scene.onClose(files.remove);
      const demands = ["-Verify", "1", "-verify_return_error", "-CAfile", join(files.path, "ca"), only];
      const upstream = await sServer(scene, await leaf("server"), demands, "-www");
      const stage = await edge(scene, upstream, [{ tls: "none" }], {
        identities: ["alice"],
        cluster: { tls: { identity: "alice", server_name: "localhost" } },
      });
      const seen: string[] = [];
      for (let round = 0; round < 3; round++) {
        const client = await scene.client(stage.port("in"));
        const last = lastWords(client);
        client.write("GET / HTTP/1.0\r\n\r\n");
        const page = (await last).bytes.toString();
        client.end();
        assert.match(page, /Subject:.*CN ?= ?alice/);
        seen.push(/^(?:New|Reused), TLSv[0-9.]+/m.exec(page)?.[0] ?? page);
      }
      assert.deepEqual(
        seen,
        ["New", "Reused", "Reused"].map((how) => `${how}, TLSv${version}`),
      );
      for (const { upstream_peer } of await ended(stage, 3))
        assert.equal(upstream_peer?.subject, "CN=server");
    },
    TRANSPORTS,
    needs("openssl"),
  );
}
