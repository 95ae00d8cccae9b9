/** Ensures that the deadline for a hello is absolute: bytes that keep coming do not extend it, in a header or a hello. */
import assert from "node:assert/strict";
import { connect, type Socket } from "node:net";
import { connect as connectTls } from "node:tls";
import { edge, TERMINATE } from "../gear/edge.ts";
import { answerableHello, records } from "../gear/hellos.ts";
import { ended, lastWords, reasons, tlsVerdict } from "../gear/peers.ts";
import { type Scene, type Service, scenario } from "../gear/scene.ts";

const HELLO = records(answerableHello("web.example.test"));

/** One byte each 10 ms; the deadlines below are far less than the whole takes. */
function drip(scene: Scene, socket: Socket, bytes: Uint8Array): void {
  let at = 0;
  const timer = setInterval(() => {
    if (socket.destroyed || at === bytes.length) clearInterval(timer);
    else socket.write(bytes.subarray(at, ++at));
  }, 10);
  scene.onClose(() => clearInterval(timer));
}

scenario("a hello that drips, alone and behind a PROXY header", async (scene) => {
  const service = await scene.service((socket) => socket.end("welcome"));
  const stage = await edge(scene, service, [TERMINATE], {
    listener: { proxy_protocol: { mode: "accept", trusted: ["127.0.0.0/8"] } },
    timeouts: { hello: "150ms" },
  });
  for (const start of ["", "PROXY TCP4 192.0.2.1 192.0.2.2 5 443\r\n"]) {
    const client = await scene.client(stage.port("in"));
    const heard = lastWords(client);
    client.write(start);
    drip(scene, client, HELLO);
    const { bytes, how } = await heard;
    assert.equal(bytes.length, 0);
    assert(how === "ECONNRESET" || how === "EPIPE", how);
  }
  const client = await scene.client(stage.port("in"));
  const heard = lastWords(client);
  drip(scene, client, Buffer.from("PROXY TCP4 192.0.2.1 192.0.2.2 5 443\r\n"));
  await heard;
  // A header and a hello share the time: each alone would come within it.
  const late = await scene.client(stage.port("in"));
  const refused = lastWords(late);
  late.write("PROXY UNKNOWN\r");
  setTimeout(() => late.write("\n"), 90);
  setTimeout(() => late.write(HELLO), 180);
  assert.equal((await refused).bytes.length, 0);
  for (const { reason, duration_ms } of await ended(stage, 4)) {
    assert.equal(reason, "hello_timeout");
    assert(duration_ms >= 149, `not before its time: ${duration_ms}`);
  }
  assert.equal(service.accepted, 0);
  assert.deepEqual(reasons(stage, "in"), { hello_timeout: 4 });
});

scenario("a header inside TLS has the hello's time from the end of the handshake on", async (scene) => {
  const service = await scene.service((socket) => socket.end("welcome"));
  const stage = await edge(scene, service, [TERMINATE], {
    listener: { proxy_protocol: { mode: "require", trusted: ["127.0.0.0/8"], position: "inner" } },
    timeouts: { hello: "250ms", handshake: "5s" },
  });
  // The hello takes no time, the rest of the handshake longer than a hello may.
  const { port } = await stalling(scene, stage.port("in"), 400);
  const slow = connectTls({ port, rejectUnauthorized: false });
  const heard = lastWords(slow);
  slow.once("secureConnect", () => setTimeout(() => slow.write("PROXY UNKNOWN\r\nping"), 50));
  assert.equal((await heard).bytes.toString(), "welcome");
  const silent = await tlsVerdict(stage.port("in"), {}, "");
  assert.notEqual(silent.answer, "welcome");
  const [told, untold] = await ended(stage, 2);
  assert.equal(told!.reason, "ok");
  assert.equal(untold!.reason, "hello_timeout");
  assert.equal(untold!.tls, "TLSv1.3");
  assert.deepEqual(reasons(stage, "in"), { ok: 1, hello_timeout: 1 });
});

/** A way to the proxy on which the client's second segment, the end of its handshake, is held back. */
function stalling(scene: Scene, port: number, ms: number): Promise<Service> {
  return scene.service((client) => {
    const proxy = connect({ port, host: "127.0.0.1", allowHalfOpen: true });
    let segments = 0;
    client.on("data", (chunk: Buffer) => {
      segments += 1;
      if (segments !== 2) return void proxy.write(chunk);
      client.pause();
      setTimeout(() => {
        proxy.write(chunk);
        client.resume();
      }, ms);
    });
    client.on("end", () => proxy.end());
    proxy.on("error", () => client.resetAndDestroy());
    proxy.pipe(client);
  });
}
