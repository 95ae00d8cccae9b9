/**
 * Ensures that the last 50 MiB of a sender that is gone still arrive: it ends, its process is killed as soon as its kernel has taken
 * everything, and whoever reads has begun late. Either side, plain and over TLS.
 */
import assert from "node:assert/strict";
import { authority, leaf } from "../gear/certificates.ts";
import { edge, MUTUAL } from "../gear/edge.ts";
import { FarPeer } from "../gear/far.ts";
import { stalled } from "../gear/flow.ts";
import { COMBINATIONS, NAME } from "../gear/legs.ts";
import { scenario } from "../gear/scene.ts";

// Envoy's test sends as much. More than the sockets on the way hold.
const SIZE = 50 * 1024 * 1024;

for (const [down, up] of [COMBINATIONS[0]!, COMBINATIONS[3]!]) {
  for (const sender of ["client", "service"] as const) {
    scenario(`the ${sender} is gone before its bytes have arrived: ${down} to ${up}`, async (scene) => {
      const { cert: ca } = await authority();
      const service = await FarPeer.start(scene);
      const client = await FarPeer.start(scene);
      const port = await service.listen(up === "tls" ? { ...(await leaf("server")), ca } : undefined);
      const stage = await edge(scene, { port }, [down === "tls" ? MUTUAL : { tls: "none" }], {
        identities: ["alice"],
        cluster: up === "tls" ? { tls: { identity: "alice", server_name: NAME } } : {},
      });
      const tls = down === "tls" ? { ...(await leaf("alice")), ca, servername: NAME } : undefined;
      const here = await client.connect(stage.port("in"), tls);
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
}
