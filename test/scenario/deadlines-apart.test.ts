/** Ensures that deadlines do not depend on each other: half-close without idle, a header inside TLS after a slow handshake. */
import assert from "node:assert/strict";
import type { Socket } from "node:net";
import { Duplex } from "node:stream";
import { connect as connectTls } from "node:tls";
import { encodeProxyHeader } from "../../lib/wire/proxy-header.ts";
import { edge, TERMINATE } from "../gear/edge.ts";
import { ending, readAll, scenario } from "../gear/scene.ts";

scenario("half_close holds with idle: 0s", async (scene) => {
  const service = await scene.service((socket) => socket.resume());
  const stage = await edge(scene, service, [{ tls: "none" }], {
    timeouts: { idle: "0s", half_close: "100ms" },
  });
  const client = await scene.client(stage.port("in"));
  const heard = ending(client);
  client.end("the service will never answer");
  assert.equal(await heard, "ECONNRESET");
  const access = await stage.access();
  assert.equal(access.reason, "half_close_timeout");
  assert(access.duration_ms >= 100);
});

scenario("a header inside TLS has the hello deadline for itself", async (scene) => {
  const service = await scene.service((socket) => {
    void readAll(socket).then((bytes) => socket.end(bytes));
  });
  const stage = await edge(scene, service, [TERMINATE], {
    listener: { proxy_protocol: { mode: "require", position: "inner", trusted: ["127.0.0.0/8"] } },
    timeouts: { hello: "400ms" },
  });
  const started = performance.now();
  const client = connectTls({
    socket: late(await scene.client(stage.port("in"))),
    rejectUnauthorized: false,
  });
  await new Promise<void>((resolve) => client.once("secureConnect", resolve));
  const source = { kind: "ip", host: "192.0.2.7", port: 1000 } as const;
  client.write(encodeProxyHeader({ version: 2, command: "proxy", source, destination: source, tlvs: {} }));
  client.end("inside");
  assert.equal((await readAll(client)).toString(), "inside");
  assert(performance.now() - started > 400);
  const access = await stage.access();
  assert.equal(access.reason, "ok");
  assert.equal(access.source, "192.0.2.7:1000");
});

/** A stream whose second write is on its way for longer than the hello may be: the handshake's last flight. */
function late(raw: Socket): Duplex {
  let writes = 0;
  const stream = new Duplex({
    read: () => {},
    write: (chunk, _, done) => {
      writes += 1;
      setTimeout(() => raw.write(chunk, done), writes === 2 ? 450 : 0);
    },
    final: (done) => {
      raw.end(done);
    },
  });
  raw.on("data", (chunk) => stream.push(chunk)).on("end", () => stream.push(null));
  return stream;
}
