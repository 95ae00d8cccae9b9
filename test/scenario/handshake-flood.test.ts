/** Ensures that a flood of handshakes, most of which stop in the middle or break, stops nobody who means it. */
import assert from "node:assert/strict";
import { leaf } from "../gear/certificates.ts";
import { edge, MUTUAL } from "../gear/edge.ts";
import { answerableHello, records } from "../gear/hellos.ts";
import { ended, knock, reasons, tlsVerdict } from "../gear/peers.ts";
import { scenario } from "../gear/scene.ts";

scenario("a flood of unfinished handshakes, of every name", async (scene) => {
  const service = await scene.service((socket) => {
    socket.once("data", () => socket.end("welcome"));
  });
  const stage = await edge(scene, service, [MUTUAL], { timeouts: { handshake: "1s" } });
  const port = stage.port("in");
  const hello = (index: number) => records(answerableHello(`flood-${index}.example.test`));
  const flood: Promise<unknown>[] = [];
  for (let index = 0; index < 60; index++) {
    flood.push(
      knock(port, (socket) => {
        socket.write(hello(index));
        // A third stops there, a third sends what is no handshake, a third goes away.
        if (index % 3 === 1) socket.write(Buffer.alloc(64, 0xff));
        if (index % 3 === 2) socket.end();
      }),
    );
  }
  const honest = await Promise.all(
    Array.from({ length: 10 }, async () => tlsVerdict(port, await leaf("alice"))),
  );
  for (const { answer } of honest) assert.equal(answer, "welcome");
  await Promise.all(flood);
  await ended(stage, 70);
  assert.deepEqual(reasons(stage, "in"), {
    ok: 10,
    handshake_timeout: 20,
    handshake_failed: 20,
    client_reset: 20,
  });
  assert.equal(service.accepted, 10);
});
