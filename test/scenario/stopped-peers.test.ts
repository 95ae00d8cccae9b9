/**
 * Ensures that a client or an upstream whose process stands still in the middle of bulk stops the flow and not the proxy: memory
 * stays bounded meanwhile, and once it goes on every byte arrives, both ways.
 */
import assert from "node:assert/strict";
import { ALIKE, farLegs } from "../gear/far-legs.ts";
import { memoryOf, moved, stalled } from "../gear/flow.ts";
import { scenario } from "../gear/scene.ts";

const MIB = 1024 * 1024;
// What is on its way in one connection, and what Node's heap and pools grow by when a flow begins.
const CEILING = 24 * MIB;

for (const legs of ALIKE) {
  scenario(`each side stands still in the middle of bulk: ${legs} to ${legs}`, async (scene) => {
    const { client, service, stage, connect, accept } = await farLegs(scene, legs);
    const here = await connect();
    const there = await accept();
    await Promise.all([here.read(), there.read(), here.flood(), there.flood()]);
    let flow = await moved(stage, { up: 8 * MIB, down: 8 * MIB });

    const before = memoryOf();
    for (const peer of [service, client]) {
      await peer.stop();
      flow = await stalled(stage, () => {
        const more = memoryOf() - before;
        assert(more < CEILING, `${more / MIB} MiB more`);
      });
      assert.equal(stage.log.seen.length, 0, "it stands still and is not over");
      peer.go();
      flow = await moved(stage, { up: flow.up + MIB, down: flow.down + MIB });
    }

    const [sentUp, sentDown, gotDown, gotUp] = await Promise.all([
      here.finish(),
      there.finish(),
      here.ended(),
      there.ended(),
    ]);
    assert.deepEqual({ ...gotUp, how: "" }, sentUp);
    assert.deepEqual({ ...gotDown, how: "" }, sentDown);
    assert.deepEqual([gotUp.how, gotDown.how], ["end", "end"]);
    const access = await stage.access();
    assert.equal(access.reason, "ok");
    assert.deepEqual([access.bytes_up, access.bytes_down], [sentUp.bytes, sentDown.bytes]);
    assert.equal(stage.log.seen.length, 1);
  });
}
