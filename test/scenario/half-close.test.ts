/** Ensures that a half-close is carried both ways, on plain and TLS legs alike, and that the late answer arrives whole. */
import assert from "node:assert/strict";
import { COMBINATIONS, legs } from "../gear/legs.ts";
import { readAll, scenario } from "../gear/scene.ts";

for (const combination of COMBINATIONS) {
  const [down, up] = combination;

  scenario(`client ends first, the answer comes late: ${down} to ${up}`, async (scene) => {
    const { stage, connect } = await legs(scene, combination, (socket) => {
      void readAll(socket).then((request) =>
        socket.end(`${request.length} bytes seen, ${"x".repeat(100_000)}`),
      );
    });
    const client = await connect();
    client.end("a".repeat(70_000));
    const answer = (await readAll(client)).toString();
    assert(answer.startsWith("70000 bytes seen, "));
    assert.equal(answer.length, 18 + 100_000);
    const access = await stage.access();
    assert.equal(access.reason, "ok");
    assert.equal(access.bytes_up, 70_000);
    assert.equal(access.bytes_down, answer.length);
  });

  scenario(`service ends first, the request goes on: ${down} to ${up}`, async (scene) => {
    let seen: Promise<Buffer> | null = null;
    const { stage, connect } = await legs(scene, combination, (socket) => {
      socket.end("goodbye");
      seen = readAll(socket);
    });
    const client = await connect();
    const farewell = await readAll(client);
    assert.equal(farewell.toString(), "goodbye");
    client.end("b".repeat(90_000));
    const access = await stage.access();
    assert.equal((await seen!).length, 90_000);
    assert.equal(access.reason, "ok");
  });
}
