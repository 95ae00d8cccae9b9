/**
 * Ensures that GnuTLS is served as OpenSSL is: handshakes with a client certificate, bytes, its half-close and a long answer behind
 * it, resumption seen at both ends, refusals that it can name, and one exported `link` at both ends.
 */
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { sumListener } from "../../lib/observe/counters.ts";
import { LINK_LABEL } from "../../lib/transport/transport.ts";
import { leaf } from "../gear/certificates.ts";
import { edge, MUTUAL } from "../gear/edge.ts";
import { gnutlsCli } from "../gear/gnutls-cli.ts";
import { ended, reasons } from "../gear/peers.ts";
import { needs } from "../gear/programs.ts";
import { readAll, scenario, TRANSPORTS } from "../gear/scene.ts";

const OPTIONS = { name: "localhost", label: LINK_LABEL } as const;
const VERSIONS = ["1.2", "1.3"] as const;

for (const version of VERSIONS) {
  scenario(
    `gnutls-cli with TLS ${version}: bytes, half-close, resumption`,
    async (scene) => {
      // Says nothing before the client has ended its direction.
      const service = await scene.service((socket) => {
        void readAll(socket).then(
          (bytes) => socket.end(bytes),
          () => {},
        );
      });
      const stage = await edge(scene, service, [{ ...MUTUAL, allow: [{ cn: "alice" }] }]);
      const port = stage.port("in");
      const options = { ...OPTIONS, version, pair: await leaf("alice") };
      const input = randomBytes(300_007);

      const once = await gnutlsCli(port, input, options);
      assert.equal(once.code, 0, once.log);
      assert(once.bytes.equals(input), `${once.bytes.length} bytes came back`);
      assert.equal(once.resumed, false);

      // A connection for the ticket, and one that uses it.
      const args = ["--resume", ...(version === "1.3" ? ["--waitresumption"] : [])];
      const twice = await gnutlsCli(port, input, { ...options, args });
      assert.equal(twice.code, 0, twice.log);
      assert(twice.bytes.equals(input), `${twice.bytes.length} bytes came back`);
      assert.equal(twice.resumed, true, twice.log);

      const lines = await ended(stage, 3);
      assert.deepEqual(
        lines.map(({ resumed, tls, peer }) => [resumed, tls, peer?.subject]),
        [false, false, true].map((resumed) => [resumed, `TLSv${version}`, "CN=alice,OU=ops"]),
      );
      assert.deepEqual(
        [lines[0]!.reason, lines[2]!.reason, lines[2]!.bytes_up, lines[2]!.bytes_down],
        ["ok", "ok", input.length, input.length],
      );
      assert.deepEqual(
        lines.map(({ link }) => link),
        [...once.exported, ...twice.exported],
      );
      const { handshakes } = sumListener(stage.proxy.listenerRows().get("in")!);
      const counted = handshakes
        .filter(({ total }) => total > 0)
        .map(({ resumed, total }) => [resumed, total]);
      assert.deepEqual(counted, [
        [false, 2],
        [true, 1],
      ]);
    },
    TRANSPORTS,
    needs("gnutls-cli"),
  );
}

scenario(
  "gnutls-cli is refused by alerts that it can name",
  async (scene) => {
    const service = await scene.service((socket) => socket.end("never"));
    const stage = await edge(scene, service, [{ ...MUTUAL, allow: [{ cn: "alice" }] }]);
    const refused = async (
      version: (typeof VERSIONS)[number],
      pair: Awaited<ReturnType<typeof leaf>> | null,
    ) => {
      const { alert, bytes } = await gnutlsCli(stage.port("in"), Buffer.from("x"), {
        ...OPTIONS,
        version,
        pair,
      });
      assert.equal(bytes.length, 0);
      return alert;
    };
    const mallory = await leaf("mallory");
    assert.equal(await refused("1.3", null), 116);
    assert.equal(await refused("1.2", null), 40);
    assert.equal(await refused("1.3", mallory), 46);
    // Node has no call that sends an alert of ours in TLS 1.2.
    assert.equal(await refused("1.2", mallory), scene.transport === "epoll" ? 46 : null);
    await ended(stage, 4);
    assert.deepEqual(reasons(stage, "in"), { denied: 4 });
    assert.equal(service.accepted, 0);
  },
  TRANSPORTS,
  needs("gnutls-cli"),
);
