/** Ensures that a service which accepts and resets at once shows as an upstream's reset, and that it is used again when it recovers. */
import assert from "node:assert/strict";
import { COMBINATIONS, legs } from "../gear/legs.ts";
import { ending, readAll, scenario } from "../gear/scene.ts";
import { abort } from "../gear/streams.ts";

for (const combination of COMBINATIONS) {
  scenario(`accepted, then reset at once, then well: ${combination.join(" to ")}`, async (scene) => {
    let sick = true;
    const { stage, connect } = await legs(scene, combination, (socket) => {
      if (sick) abort(socket);
      else socket.pipe(socket);
    });
    for (let i = 0; i < 5; i += 1) {
      // The reset may come back before the client has heard that it is connected.
      const seen = connect().then(ending, (error: NodeJS.ErrnoException) => error.code);
      assert.equal(await seen, "ECONNRESET");
      assert.equal((await stage.access()).reason, "upstream_reset");
    }
    sick = false;
    const client = await connect();
    client.end("well again");
    assert.equal((await readAll(client)).toString(), "well again");
    assert.equal((await stage.access()).reason, "ok");
  });
}
