/**
 * Ensures that a service that speaks first is heard at once where no hello can change the route, and what happens where one
 * can: the listener waits for the client, and says so at the deadline.
 */
import assert from "node:assert/strict";
import { edge, TERMINATE } from "../gear/edge.ts";
import { ended, lastWords, reasons, tlsVerdict } from "../gear/peers.ts";
import { readAll, readBytes, scenario } from "../gear/scene.ts";

const GREETING = "220 mail.example.test ESMTP\r\n";
// PostgreSQL's SSLRequest, and the answer of a server without TLS.
const SSL_REQUEST = Buffer.from([0, 0, 0, 8, 4, 210, 22, 47]);

scenario(
  "a greeting on a plain route, and on a mixed listener whose other routes are not for this client",
  async (scene) => {
    const service = await scene.service((socket) => {
      socket.write(GREETING);
      void readAll(socket).then(() => socket.end("bye"));
    });
    const plain = await edge(scene, service, [{ tls: "none" }]);
    const mixed = await edge(scene, service, [
      { ...TERMINATE, match: { sni: ["web.example.test"], from: ["192.0.2.0/24"] } },
      { name: "plain", tls: "none" },
    ]);
    for (const stage of [plain, mixed]) {
      const client = await scene.client(stage.port("in"));
      assert.equal((await readBytes(client, GREETING.length)).toString(), GREETING);
      const rest = readAll(client);
      client.end("QUIT\r\n");
      assert.equal((await rest).toString(), "bye");
      const [line] = await ended(stage, 1);
      assert.equal(line!.reason, "ok");
      assert.equal(line!.bytes_up, 6);
      assert.deepEqual(reasons(stage, "in"), { ok: 1 });
    }
  },
);

scenario("a mixed listener waits for the client: a hello, an SSLRequest, or the deadline", async (scene) => {
  const service = await scene.service((socket) => {
    socket.once("data", (chunk: Buffer) => socket.end(chunk.equals(SSL_REQUEST) ? "N" : "welcome"));
  });
  const stage = await edge(
    scene,
    service,
    [
      { ...TERMINATE, name: "secure", match: { sni: ["web.example.test"] } },
      { name: "plain", tls: "none" },
    ],
    { timeouts: { hello: "200ms" } },
  );
  const request = await scene.client(stage.port("in"));
  const answer = lastWords(request);
  request.end(SSL_REQUEST);
  assert.equal((await answer).bytes.toString(), "N");
  const secure = await tlsVerdict(stage.port("in"), { servername: "web.example.test" });
  assert.equal(secure.answer, "welcome");
  const silent = await lastWords(await scene.client(stage.port("in")));
  assert.equal(silent.how, "ECONNRESET");
  const lines = await ended(stage, 3);
  assert.deepEqual(
    lines.map(({ reason, route }) => [reason, route]),
    [
      ["ok", "plain"],
      ["ok", "secure"],
      ["hello_timeout", undefined],
    ],
  );
  assert.deepEqual(reasons(stage, "in"), { ok: 2, hello_timeout: 1 });
});
