/** Ensures that the alert unrecognized_name really arrives, also with input behind the hello that nobody reads. */
import assert from "node:assert/strict";
import { edge, TERMINATE } from "../gear/edge.ts";
import { helloStream, sni } from "../gear/hellos.ts";
import { ended, fatalAlert, lastWords, reasons, tlsVerdict } from "../gear/peers.ts";
import { sClient } from "../gear/s-client.ts";
import { scenario } from "../gear/scene.ts";

scenario("no route for the name: alert 112 for every client", async (scene) => {
  const service = await scene.service((socket) => socket.end("never"));
  const stage = await edge(scene, service, [
    { name: "db", tls: "passthrough", match: { sni: ["*.db.example.test"] } },
    { ...TERMINATE, name: "web", match: { sni: ["web.example.test"], alpn: ["h2"] } },
  ]);
  const port = stage.port("in");
  const refused: (string | null)[] = [];

  const node = await tlsVerdict(port, { servername: "other.example.test" });
  assert.equal(node.alert, 112);
  refused.push("other.example.test");
  for (const version of ["-tls1_2", "-tls1_3"]) {
    const openssl = await sClient(port, ["-servername", "db.example.test", version]);
    assert.equal(openssl.alert, 112, "a wildcard never covers the bare domain");
    refused.push("db.example.test");
  }
  // The name is known, its protocol is not offered.
  assert.equal((await tlsVerdict(port, { servername: "web.example.test" })).alert, 112);
  refused.push("web.example.test");
  const nameless = await tlsVerdict(port, {});
  assert.equal(nameless.alert, 112);
  refused.push(null);

  // A reset because of unread input would destroy the alert on its way.
  for (const behind of [1, 20_000, 300_000]) {
    const client = await scene.client(port);
    const heard = lastWords(client);
    client.write(
      Buffer.concat([helloStream({ extensions: [sni("a.b.db.example.test")] }), Buffer.alloc(behind)]),
    );
    const { bytes, how } = await heard;
    client.end();
    assert.deepEqual(bytes, fatalAlert(112), `${behind} bytes behind the hello`);
    assert.equal(how, "end");
    refused.push("a.b.db.example.test");
  }

  const lines = await ended(stage, refused.length);
  assert.deepEqual(
    lines.map(({ sni: name }) => name ?? null),
    refused,
  );
  for (const { reason, route, bytes_up } of lines) {
    assert.equal(reason, "no_route");
    assert.equal(route, undefined);
    assert.equal(bytes_up, 0);
  }
  assert.equal(service.accepted, 0);
  assert.deepEqual(reasons(stage, "in"), { no_route: refused.length });
});
