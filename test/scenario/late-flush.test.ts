/**
 * Ensures that the last 50 MiB of a sender that is gone still arrive: it ends, its process is killed as soon as its kernel has taken
 * everything, and whoever reads has begun late. Either side.
 */
import assert from "node:assert/strict";
import { FarPeer } from "../gear/far.ts";
import { plainProxy } from "../gear/fleet.ts";
import { stalled } from "../gear/flow.ts";
import { scenario } from "../gear/scene.ts";

// Envoy's test sends as much. More than the sockets on the way hold.
const SIZE = 50 * 1024 * 1024;

for (const sender of ["client", "service"] as const) {
  scenario(`the ${sender} is gone before its bytes have arrived`, async (scene) => {
    const service = await FarPeer.start(scene);
    const client = await FarPeer.start(scene);
    const port = await service.listen();
    const stage = await plainProxy(scene, { endpoints: [`127.0.0.1:${port}`] });
    const here = await client.connect(stage.port("in"));
    const there = await service.accept(port);
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
