/**
 * Ensures that a hello is understood however it is cut into segments and records, that what is right behind it reaches the
 * service once and in order, and that a hello that never ends (FIN, RST) has one reason wherever it is cut.
 */
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import type { Socket } from "node:net";
import { edge } from "../gear/edge.ts";
import { answerableHello, browserHello, helloMessage, records, sni } from "../gear/hellos.ts";
import { ended, lastWords, reasons } from "../gear/peers.ts";
import { readAll, type Scene, scenario } from "../gear/scene.ts";

const NAME = "db.example.test";
const SMALL = helloMessage({ extensions: [sni(NAME)] });

/** Passthrough to a service that keeps what it gets and answers with its length. */
async function passthrough(scene: Scene) {
  const seen: Buffer[] = [];
  const service = await scene.service((socket) => {
    void readAll(socket).then((bytes) => {
      seen.push(bytes);
      socket.end(`${bytes.length} bytes`);
    });
  });
  const stage = await edge(scene, service, [{ tls: "passthrough", match: { sni: [NAME] } }]);
  return { stage, service, seen };
}

/** Writes each part in a segment of its own: Nagle's algorithm is off, and each write waits for the one before. */
async function writeEach(socket: Socket, parts: Iterable<Uint8Array>): Promise<void> {
  socket.setNoDelay(true);
  for (const part of parts) {
    await new Promise<void>((resolve) => socket.write(part, () => setImmediate(resolve)));
  }
}

function* single(bytes: Uint8Array): Generator<Uint8Array> {
  for (let at = 0; at < bytes.length; at++) yield bytes.subarray(at, at + 1);
}

scenario("hellos in one-byte segments, in many records, with a post-quantum share", async (scene) => {
  const { stage, seen } = await passthrough(scene);
  const streams: readonly (readonly [Buffer, Iterable<Uint8Array>])[] = [
    [records(SMALL), single(records(SMALL))],
    [records(SMALL, [1]), [records(SMALL, [1])]],
    [records(SMALL, [1]), single(records(SMALL, [1]))],
    [records(SMALL, [3, 0, 40, 7]), [records(SMALL, [3, 0, 40, 7])]],
    [records(browserHello(NAME)), [records(browserHello(NAME))]],
    [records(browserHello(NAME), [1000]), single(records(browserHello(NAME), [1000]))],
  ];
  for (const [whole, parts] of streams) {
    const client = await scene.client(stage.port("in"));
    const answer = readAll(client);
    await writeEach(client, parts);
    client.end();
    assert.equal((await answer).toString(), `${whole.length} bytes`);
    assert(seen.pop()!.equals(whole), "the service got the client's own bytes");
  }
  for (const access of await ended(stage, streams.length)) {
    assert.equal(access.reason, "ok");
    assert.equal(access.sni, NAME);
  }
  assert.deepEqual(reasons(stage, "in"), { ok: streams.length });
});

scenario("bytes right behind the hello arrive once and in order", async (scene) => {
  const { stage, seen } = await passthrough(scene);
  const hello = records(SMALL);
  // More than is peeked, less, and a split right behind the hello; the half-close comes at once.
  for (const size of [1, 100, 70_000, 1_000_000]) {
    const behind = randomBytes(size);
    for (const cut of [0, hello.length, hello.length + Math.min(size, 3)]) {
      const whole = Buffer.concat([hello, behind]);
      const client = await scene.client(stage.port("in"));
      const answer = readAll(client);
      await writeEach(client, [whole.subarray(0, cut), whole.subarray(cut)]);
      client.end();
      assert.equal((await answer).toString(), `${whole.length} bytes`);
      assert(seen.pop()!.equals(whole));
    }
  }
  const lines = await ended(stage, 12);
  assert.deepEqual(
    lines.map(({ bytes_up }) => bytes_up - hello.length),
    [1, 1, 1, 100, 100, 100, 70_000, 70_000, 70_000, 1_000_000, 1_000_000, 1_000_000],
  );
  assert.deepEqual(reasons(stage, "in"), { ok: 12 });
});

scenario("a hello cut off by FIN and by RST at many offsets", async (scene) => {
  const { stage, service } = await passthrough(scene);
  const hello = records(answerableHello(NAME), [20, 90]);
  const offsets = [1, 2, 4, 5, 6, 9, 10, 24, 25, 26, 30, 31, 60, 119, 120, 121, hello.length - 1];
  for (const offset of offsets) {
    const closing = await scene.client(stage.port("in"));
    const heard = lastWords(closing);
    closing.end(hello.subarray(0, offset));
    const last = await heard;
    assert.equal(last.how, "end", `FIN at ${offset}`);
    assert.equal(last.bytes.length, 0, `FIN at ${offset}`);
  }
  const cut = await ended(stage, offsets.length);
  assert.deepEqual(new Set(cut.map(({ reason }) => reason)), new Set(["bad_hello"]));
  for (const offset of offsets) {
    const resetting = await scene.client(stage.port("in"));
    await writeEach(resetting, [hello.subarray(0, offset)]);
    // A reset that comes with data in one turn of libuv is told as an end (uv__stream_io, POLLHUP behind a short read).
    await new Promise((resolve) => setImmediate(resolve));
    resetting.resetAndDestroy();
  }
  const reset = await ended(stage, offsets.length);
  assert.deepEqual(new Set(reset.map(({ reason }) => reason)), new Set(["client_reset"]));
  assert.equal(service.accepted, 0);
  assert.deepEqual(reasons(stage, "in"), { bad_hello: offsets.length, client_reset: offsets.length });
});
