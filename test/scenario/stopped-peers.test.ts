/**
 * Ensures that a client or an upstream whose process stands still in the middle of bulk stops the flow and not the proxy: memory
 * stays bounded meanwhile, and once it goes on every byte arrives, both ways.
 */
import assert from "node:assert/strict";
import { authority, leaf } from "../gear/certificates.ts";
import { edge, MUTUAL } from "../gear/edge.ts";
import { FarPeer } from "../gear/far.ts";
import { memoryOf, moved, stalled } from "../gear/flow.ts";
import { COMBINATIONS, NAME } from "../gear/legs.ts";
import { scenario } from "../gear/scene.ts";

const MIB = 1024 * 1024;
// What is on its way in one connection, and what Node's heap and pools grow by when a flow begins.
const CEILING = 24 * MIB;

// Both TLS legs at once meet what one of them meets.
for (const [down, up] of [COMBINATIONS[0]!, COMBINATIONS[3]!]) {
  scenario(`each side stands still in the middle of bulk: ${down} to ${up}`, async (scene) => {
    const { cert: ca } = await authority();
    const service = await FarPeer.start(scene);
    const client = await FarPeer.start(scene);
    const port = await service.listen(up === "tls" ? { ...(await leaf("server")), ca } : undefined);
    const stage = await edge(scene, { port }, [down === "tls" ? MUTUAL : { tls: "none" }], {
      identities: ["alice"],
      cluster: up === "tls" ? { tls: { identity: "alice", server_name: NAME } } : {},
    });
    const here = await client.connect(
      stage.port("in"),
      down === "tls" ? { ...(await leaf("alice")), ca, servername: NAME } : undefined,
    );
    const there = await service.accept(port);
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
