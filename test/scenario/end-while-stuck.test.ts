/**
 * Ensures that a side which ends while it is being sent to, and reads nothing yet, gets all of it unharmed: its end must not disturb
 * what is on its way to it. With small buffers, so that one write of the proxy takes the reader many reads.
 */
import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { authority, leaf } from "../gear/certificates.ts";
import { edge, MUTUAL } from "../gear/edge.ts";
import { FarPeer } from "../gear/far.ts";
import { stalled } from "../gear/flow.ts";
import { COMBINATIONS, NAME } from "../gear/legs.ts";
import { enterNamespace, smallBuffers } from "../gear/namespace.ts";
import { scenario, TRANSPORTS } from "../gear/scene.ts";

const needs = enterNamespace(fileURLToPath(import.meta.url));
if (needs.skip === false) smallBuffers();

for (const [down, up] of [COMBINATIONS[0]!, COMBINATIONS[3]!]) {
  scenario(
    `each side ends while bytes for it are stuck: ${down} to ${up}`,
    async (scene) => {
      const { cert: ca } = await authority();
      const service = await FarPeer.start(scene);
      const client = await FarPeer.start(scene);
      const port = await service.listen(up === "tls" ? { ...(await leaf("server")), ca } : undefined);
      const stage = await edge(scene, { port }, [down === "tls" ? MUTUAL : { tls: "none" }], {
        identities: ["alice"],
        cluster: up === "tls" ? { tls: { identity: "alice", server_name: NAME } } : {},
      });
      const tls = down === "tls" ? { ...(await leaf("alice")), ca, servername: NAME } : undefined;
      for (const ender of ["service", "client"] as const) {
        const here = await client.connect(stage.port("in"), tls);
        const there = await service.accept(port);
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
