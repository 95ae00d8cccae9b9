/**
 * Ensures that an nginx that demands certificates is a fine upstream: it sees our identity and the name, its answers come whole, and
 * every connection but the first resumes the session, by its count and by ours.
 */
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { edge } from "../gear/edge.ts";
import { nginx } from "../gear/nginx.ts";
import { ended, lastWords, reasons } from "../gear/peers.ts";
import { needs } from "../gear/programs.ts";
import { eventually, type Scene, type Stage, scenario, TRANSPORTS } from "../gear/scene.ts";

const FILE = randomBytes(900_001);

/** Asks in plain HTTP, which the proxy turns into https. */
async function ask(scene: Scene, stage: Stage): Promise<Buffer> {
  const client = await scene.client(stage.port("in"));
  const last = lastWords(client);
  client.write("GET /file HTTP/1.0\r\nHost: localhost\r\n\r\n");
  const { bytes } = await last;
  client.end();
  return bytes.subarray(bytes.indexOf("\r\n\r\n") + 4);
}

for (const version of ["TLSv1.2", "TLSv1.3"] as const) {
  scenario(
    `nginx as upstream with ${version}`,
    async (scene) => {
      const upstream = await nginx(scene, { versions: [version], file: FILE });
      const stage = await edge(scene, upstream, [{ tls: "none" }], {
        identities: ["alice"],
        cluster: { tls: { identity: "alice", server_name: "localhost", verify: [{ cn: "server" }] } },
      });
      for (let round = 0; round < 4; round++) assert((await ask(scene, stage)).equals(FILE));
      await eventually(() => upstream.log().length === 4, "four lines of nginx", upstream.said);
      const seen = (reused: string) => `${version} ${reused} CN=alice,OU=ops localhost 200`;
      assert.deepEqual(upstream.log(), [seen("."), seen("r"), seen("r"), seen("r")]);
      const lines = await ended(stage, 4);
      for (const line of lines) assert.equal(line.upstream_peer?.subject, "CN=server");
      assert.deepEqual(
        lines.map(({ upstream_tls, upstream_resumed }) => [upstream_tls, upstream_resumed]),
        [false, true, true, true].map((resumed) => [version, resumed]),
      );
      assert.deepEqual(reasons(stage, "in"), { ok: 4 });
    },
    TRANSPORTS,
    needs("nginx"),
  );

  scenario(
    `nginx asks for a certificate, and gets none, with ${version}`,
    async (scene) => {
      const upstream = await nginx(scene, { versions: [version], file: FILE });
      const stage = await edge(scene, upstream, [{ tls: "none" }], {
        cluster: { tls: { identity: "trust", server_name: "localhost" } },
      });
      // It shakes hands all the same and says so in HTTP.
      assert.match(String(await ask(scene, stage)), /No required SSL certificate was sent/);
      await eventually(() => upstream.log().length === 1, "a line of nginx", upstream.said);
      assert.deepEqual(upstream.log(), [`${version} . - localhost 400`]);
      await ended(stage, 1);
      assert.deepEqual(reasons(stage, "in"), { ok: 1 });
    },
    TRANSPORTS,
    needs("nginx"),
  );
}
