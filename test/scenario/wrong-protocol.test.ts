/** Ensures what becomes of plaintext on a TLS port and of TLS on a plain one, down to a first packet of one byte. */
import assert from "node:assert/strict";
import { edge, type RouteInput, TERMINATE } from "../gear/edge.ts";
import { helloStream, sni } from "../gear/hellos.ts";
import { ended, lastWords, reasons, tlsVerdict } from "../gear/peers.ts";
import { readAll, scenario } from "../gear/scene.ts";

const PLAINTEXTS: readonly Buffer[] = [
  Buffer.from("GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
  Buffer.from("SSH-2.0-OpenSSH_9.2\r\n"),
  Buffer.from("G"),
  Buffer.from([0]),
  Buffer.from([0x16, 0x05, 0x01]), // begins as a TLS record does
  Buffer.from([0x80, 0x2e, 0x07]), // begins as an SSLv2 hello does
];

const TLS_PORTS: Record<string, Partial<RouteInput>> = {
  terminate: TERMINATE,
  passthrough: { tls: "passthrough", match: { sni: ["a.test"] } },
};

for (const [name, route] of Object.entries(TLS_PORTS)) {
  scenario(`plaintext on a TLS port: ${name}`, async (scene) => {
    const service = await scene.service((socket) => socket.end("never"));
    const stage = await edge(scene, service, [route]);
    for (const plaintext of PLAINTEXTS) {
      const client = await scene.client(stage.port("in"));
      const heard = lastWords(client);
      client.write(plaintext);
      const { bytes, how } = await heard;
      client.end();
      assert.equal(how, "end", plaintext.toString("latin1"));
      assert.equal(bytes.length, 0);
    }
    for (const access of await ended(stage, PLAINTEXTS.length)) {
      assert.equal(access.reason, "bad_hello");
      assert.equal(access.sni, undefined);
    }
    assert.equal(service.accepted, 0);
    assert.deepEqual(reasons(stage, "in"), { bad_hello: PLAINTEXTS.length });
  });
}

scenario("TLS and any first byte on a plain port go through", async (scene) => {
  const service = await scene.service((socket) => {
    void readAll(socket).then((bytes) => socket.end(bytes));
  });
  const stage = await edge(scene, service, [{ tls: "none" }]);
  const messages = [helloStream({ extensions: [sni("a.test")] }), ...PLAINTEXTS];
  for (const message of messages) {
    const client = await scene.client(stage.port("in"));
    const answer = readAll(client);
    client.end(message);
    assert.deepEqual(await answer, message);
  }
  for (const access of await ended(stage, messages.length)) {
    assert.equal(access.reason, "ok");
    assert.equal(access.sni, undefined);
  }
  assert.deepEqual(reasons(stage, "in"), { ok: messages.length });
});

scenario("plain and TLS on one port: each kind of first bytes finds its route", async (scene) => {
  const service = await scene.service((socket) => {
    void readAll(socket).then((bytes) => socket.end(bytes));
  });
  const stage = await edge(scene, service, [
    { ...TERMINATE, name: "secure", match: { sni: ["web.example.test"] } },
    { name: "plain", tls: "none" },
  ]);
  // The last two may still become TLS: the client's end decides that they do not.
  for (const message of [...PLAINTEXTS]) {
    const client = await scene.client(stage.port("in"));
    const answer = readAll(client);
    client.end(message);
    assert.deepEqual(await answer, message, message.toString("latin1"));
  }
  const plain = await ended(stage, PLAINTEXTS.length);
  assert.deepEqual(new Set(plain.map(({ route }) => route)), new Set(["plain"]));
  assert.deepEqual(new Set(plain.map(({ reason }) => reason)), new Set(["ok"]));
  const secure = tlsVerdict(stage.port("in"), {
    servername: "web.example.test",
    allowHalfOpen: true,
  } as object);
  for (const socket of await settledSockets(service.sockets)) socket.end("seen");
  assert.equal((await secure).answer, "seen");
  const [line] = await ended(stage, 1);
  assert.equal(line!.route, "secure");
});

async function settledSockets<T>(sockets: Set<T>): Promise<Set<T>> {
  while (sockets.size === 0) await new Promise((resolve) => setImmediate(resolve));
  return sockets;
}
