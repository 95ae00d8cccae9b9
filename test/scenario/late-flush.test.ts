/**
 * Ensures that the last 50 MiB of a sender that is gone still arrive: it ends, its process is killed as soon as its kernel has taken
 * everything, and whoever reads has begun late. Either side, plain and over TLS.
 */
import assert from "node:assert/strict";
import { ALIKE, farLegs } from "../gear/far-legs.ts";
import { stalled } from "../gear/flow.ts";
import { scenario } from "../gear/scene.ts";

// Envoy's test sends as much. More than the sockets on the way hold.
const SIZE = 50 * 1024 * 1024;

for (const legs of ALIKE) {
  for (const sender of ["client", "service"] as const) {
    scenario(`the ${sender} is gone before its bytes have arrived: ${legs} to ${legs}`, async (scene) => {
      const { client, service, stage, connect, accept } = await farLegs(scene, legs);
      const here = await connect();
      const there = await accept();
      const [from, to] = sender === "client" ? [here, there] : [there, here];
      const finished = from.bulk(SIZE).then(() => from.finish());
      const flow = await stalled(stage);
      assert(flow.up + flow.down < SIZE, "the reader has not begun");
      const got = to.ended();
      const sent = await finished;
      await (sender === "client" ? client : service).kill();
      assert.deepEqual(await got, { ...sent, how: "end" });
      await to.finish();
      const access = await stage.access();
      assert.equal(access.reason, "ok");
      assert.equal(access.bytes_up + access.bytes_down, SIZE);
    });
  }
}
