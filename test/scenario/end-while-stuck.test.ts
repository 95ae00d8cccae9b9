/**
 * Ensures that a side which ends while it is being sent to, and reads nothing yet, gets all of it unharmed: its end must not disturb
 * what is on its way to it. With small buffers, so that one write of the proxy takes the reader many reads.
 */
import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { ALIKE, farLegs } from "../gear/far-legs.ts";
import { stalled } from "../gear/flow.ts";
import { enterNamespace, smallBuffers } from "../gear/namespace.ts";
import { scenario, TRANSPORTS } from "../gear/scene.ts";

const needs = enterNamespace(fileURLToPath(import.meta.url));
if (needs.skip === false) smallBuffers();

for (const legs of ALIKE) {
  scenario(
    `each side ends while bytes for it are stuck: ${legs} to ${legs}`,
    async (scene) => {
      const { stage, connect, accept } = await farLegs(scene, legs);
      for (const ender of ["service", "client"] as const) {
        const here = await connect();
        const there = await accept();
        const [ends, sends] = ender === "client" ? [here, there] : [there, here];
        await sends.flood();
        await stalled(stage);
        const last = await ends.finish();
        assert.deepEqual(await sends.ended(), { ...last, how: "end" });
        const sent = sends.finish();
        assert.deepEqual(await ends.ended(), { ...(await sent), how: "end" }, ender);
        const access = await stage.access();
        assert.equal(access.reason, "ok");
      }
    },
    TRANSPORTS,
    needs,
  );
}
