/**
 * Ensures that a client or an upstream that goes away at any byte of its handshake, by a FIN or by a reset, ends as one record and
 * takes nobody with it: in the middle of its hello, its certificate, its proof, its last message.
 */
import assert from "node:assert/strict";
import { constants } from "node:crypto";
import { connect } from "node:net";
import { leaf } from "../gear/certificates.ts";
import { type CutHow, cutHandshake } from "../gear/cut.ts";
import { edge, MUTUAL } from "../gear/edge.ts";
import { tlsService } from "../gear/legs.ts";
import { ended, knock, reasons, tlsVerdict } from "../gear/peers.ts";
import { scenario } from "../gear/scene.ts";

// Every so many bytes; a prime, so that it falls together with no length.
const STEP = 19;
const AT_ONCE = 16;
// Behind the handshake the whole one has its end: header, nonce, alert and tag in TLS 1.2, less in TLS 1.3.
const CLOSE_NOTIFY = 31;
// By so much two signatures of P-256 may differ in length, and more.
const SIGNATURES = 8;

for (const version of ["TLSv1.2", "TLSv1.3"] as const) {
  scenario(`clients that go away in the middle of a handshake: ${version}`, async (scene) => {
    const service = await scene.service((socket) => {
      socket.once("data", () => socket.end("welcome"));
      socket.on("end", () => socket.end());
    });
    const stage = await edge(scene, service, [{ ...MUTUAL, allow: [{ cn: "alice" }] }]);
    const port = stage.port("in");
    const alice = await leaf("alice");
    const options = { ...alice, servername: "localhost", minVersion: version, maxVersion: version };
    const all = await cutHandshake(port, Number.POSITIVE_INFINITY, "end", options);
    assert.equal((await ended(stage, 1))[0]!.peer?.subject, "CN=alice,OU=ops");
    const whole = all - CLOSE_NOTIFY - SIGNATURES;
    const cuts: (readonly [number, CutHow])[] = [];
    for (let at = 0; at < whole; at += STEP) cuts.push([at, "end"], [at, "reset"]);

    for (let first = 0; first < cuts.length; first += AT_ONCE) {
      const some = cuts.slice(first, first + AT_ONCE);
      await Promise.all(some.map(([at, how]) => cutHandshake(port, at, how, options)));
    }
    const lines = await ended(stage, cuts.length);
    // A FIN in the hello is seen as one; behind it, and by a reset, the client is gone. What it did not know any more, no service saw.
    for (const { reason, error } of lines) assert.match(reason, /^(?:bad_hello|client_reset)$/, error);
    assert.equal(reasons(stage, "in")["internal"], undefined);
    assert(
      lines.some(({ reason }) => reason === "bad_hello") && lines.some(({ peer }) => peer !== undefined),
    );
    assert.equal((await tlsVerdict(port, options)).answer, "welcome");
    assert.equal(service.accepted, 2, "the whole one and the last one");
  });

  scenario(`upstreams that go away in the middle of a handshake: ${version}`, async (scene) => {
    const behind = await tlsService(scene, (socket) => socket.end("welcome"), {
      maxVersion: version,
      // Every handshake is a full one, and a socket that is cut in the middle of it closes.
      secureOptions: constants.SSL_OP_NO_TICKET,
      ...({ allowHalfOpen: false } as object),
    });
    let limit = Number.POSITIVE_INFINITY;
    let how: CutHow = "end";
    let sent = 0;
    // Passes on what the real one says, up to the limit.
    const upstream = await scene.service((socket) => {
      const [until, then] = [limit, how];
      let passed = 0;
      const real = connect({ port: behind.port, host: "127.0.0.1", allowHalfOpen: true });
      scene.onClose(() => {
        real.destroy();
      });
      const stop = (): void => {
        if (then === "reset") socket.resetAndDestroy();
        else socket.end();
        real.destroy();
      };
      real.on("error", () => {});
      socket.on("data", (chunk: Buffer) => real.write(chunk));
      socket.on("end", () => real.end());
      real.on("end", () => socket.end());
      real.on("data", (chunk: Buffer) => {
        const part = chunk.subarray(0, until - passed);
        passed += part.length;
        sent = passed;
        socket.write(part);
        if (passed >= until) stop();
      });
      if (until === 0) stop();
    });
    const stage = await edge(scene, upstream, [{ tls: "none" }], {
      identities: ["alice"],
      cluster: { tls: { identity: "alice", server_name: "localhost" }, connect: { retries: 0 } },
    });
    const ask = async (): Promise<string> => {
      const { bytes } = await knock(stage.port("in"), (client) => client.end("ping"));
      return bytes.toString();
    };
    assert.equal(await ask(), "welcome");
    const whole = sent;
    let count = 1;
    for (how of ["end", "reset"] as const) {
      for (limit = 0; limit < whole; limit += STEP) {
        await ask();
        count += 1;
      }
    }
    limit = Number.POSITIVE_INFINITY;
    assert.equal(await ask(), "welcome");
    const lines = await ended(stage, count + 1);
    assert.equal(lines.at(-1)!.reason, "ok");
    for (const { reason, error } of lines) {
      assert.match(reason, /^(?:ok|dial_failed|upstream_reset|upstream_handshake_failed)$/, error);
    }
    assert(lines.filter(({ reason }) => reason === "upstream_handshake_failed").length > whole / STEP);
  });
}
