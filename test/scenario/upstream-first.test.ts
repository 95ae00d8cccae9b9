/** Ensures that a service which speaks first is heard before the client has said a word. */
import assert from "node:assert/strict";
import { COMBINATIONS, legs } from "../gear/legs.ts";
import { readAll, readBytes, scenario } from "../gear/scene.ts";

for (const combination of COMBINATIONS) {
  scenario(`the service greets a silent client: ${combination.join(" to ")}`, async (scene) => {
    const { stage, connect } = await legs(scene, combination, (socket) => {
      socket.write("220 ready\r\n");
      socket.on("data", () => socket.end("221 bye\r\n"));
    });
    const client = await connect();
    assert.equal((await readBytes(client, 11)).toString(), "220 ready\r\n");
    const rest = readAll(client);
    client.end("QUIT\r\n");
    assert.equal((await rest).toString(), "221 bye\r\n");
    assert.equal((await stage.access()).reason, "ok");
  });
}
