/** Ensures that peers that say nothing, or leave at once, end in time with a reason, and that forty of them stop nobody. */
import assert from "node:assert/strict";
import type { Socket } from "node:net";
import { edge, type ListenerInput, MUTUAL, type RouteInput, TERMINATE } from "../gear/edge.ts";
import { answerableHello, records } from "../gear/hellos.ts";
import { ended, knock, lastWords, reasons, tlsVerdict } from "../gear/peers.ts";
import { scenario } from "../gear/scene.ts";

const HEADER: Partial<ListenerInput> = { proxy_protocol: { mode: "require", trusted: ["127.0.0.0/8"] } };

/** Each waits for something before the first useful byte: a hello, a hello that goes on, a PROXY header. */
const DOORS: readonly {
  name: string;
  route: Partial<RouteInput>;
  listener: Partial<ListenerInput>;
  closed: string;
}[] = [
  { name: "terminate", route: TERMINATE, listener: {}, closed: "bad_hello" },
  {
    name: "passthrough",
    route: { tls: "passthrough", match: { sni: ["a.test"] } },
    listener: {},
    closed: "bad_hello",
  },
  { name: "PROXY header", route: { tls: "none" }, listener: HEADER, closed: "bad_proxy_header" },
];

for (const door of DOORS) {
  scenario(`silence, a close and a reset before the first byte: ${door.name}`, async (scene) => {
    const service = await scene.service((socket) => socket.end("never"));
    const stage = await edge(scene, service, [door.route], {
      listener: door.listener,
      timeouts: { hello: "150ms" },
    });
    const silent = await lastWords(await scene.client(stage.port("in")));
    assert.equal(silent.how, "ECONNRESET");
    assert.equal(silent.bytes.length, 0);

    const closing = await scene.client(stage.port("in"));
    const heard = lastWords(closing);
    closing.end();
    assert.equal((await heard).bytes.length, 0);

    const resetting = await scene.client(stage.port("in"));
    resetting.resetAndDestroy();

    const [late, closed, reset] = await ended(stage, 3);
    assert.equal(late!.reason, "hello_timeout");
    assert(late!.duration_ms >= 149, `not before its time: ${late!.duration_ms}`);
    assert.equal(closed!.reason, door.closed);
    assert.equal(reset!.reason, "client_reset");
    assert.equal(service.accepted, 0);
    assert.deepEqual(reasons(stage, "in"), { hello_timeout: 1, [door.closed]: 1, client_reset: 1 });
  });
}

scenario("forty silent and twenty garbage peers, and one that means it", async (scene) => {
  const service = await scene.service((socket) => socket.end("welcome"));
  const stage = await edge(scene, service, [TERMINATE], { timeouts: { hello: "300ms" } });
  const port = stage.port("in");
  const silent: Socket[] = [];
  for (let i = 0; i < 40; i++) silent.push(await scene.client(port));
  const ends = silent.map(lastWords);
  const garbage = Array.from({ length: 20 }, () =>
    knock(port, (socket) => socket.write("GET / HTTP/1.1\r\n\r\n")),
  );
  const honest = await tlsVerdict(port);
  assert.equal(honest.answer, "welcome");
  for (const { how, bytes } of await Promise.all(garbage)) {
    assert.equal(how, "end");
    assert.equal(bytes.length, 0);
  }
  for (const { how } of await Promise.all(ends)) assert.equal(how, "ECONNRESET");
  const seen = await ended(stage, 61);
  assert.deepEqual(reasons(stage, "in"), { ok: 1, hello_timeout: 40, bad_hello: 20 });
  assert.equal(new Set(seen.map(({ id }) => id)).size, 61);
});

scenario("a handshake that stops behind the hello ends as handshake_timeout", async (scene) => {
  const service = await scene.service((socket) => socket.end("never"));
  const stage = await edge(scene, service, [MUTUAL], { timeouts: { handshake: "200ms" } });
  const client = await scene.client(stage.port("in"));
  const heard = lastWords(client);
  client.write(records(answerableHello("web.example.test")));
  const { bytes, how } = await heard;
  assert.equal(how, "ECONNRESET");
  assert.equal(bytes[0], 22, "its ServerHello came");
  const access = await stage.access();
  assert.equal(access.reason, "handshake_timeout");
  assert.equal(access.sni, "web.example.test");
  assert(access.duration_ms >= 199, `not before its time: ${access.duration_ms}`);
  assert.equal(service.accepted, 0);
  assert.deepEqual(reasons(stage, "in"), { handshake_timeout: 1 });
});
