/**
 * Ensures that a network which loses, delays, reorders and duplicates costs time and nothing else: on both legs at once every byte
 * arrives, and each end of a direction, with TLS ended here and without.
 */
import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { badLink, linkNeeds } from "../gear/bad-link.ts";
import { authority, leaf } from "../gear/certificates.ts";
import { edge, MUTUAL } from "../gear/edge.ts";
import { type FarBytes, FarPeer, type FarSocket } from "../gear/far.ts";
import { NAME } from "../gear/legs.ts";
import { enterNamespace, unshare } from "../gear/namespace.ts";
import { ended } from "../gear/peers.ts";
import { scenario, TRANSPORTS } from "../gear/scene.ts";

const needs = enterNamespace(fileURLToPath(import.meta.url), linkNeeds());

const WEATHER = { loss: 0.02, duplicate: 0.02, reorder: 0.05, delay: 2, seed: 7 };
const SIZE = 400_009;

const TALKS: readonly {
  readonly what: string;
  /** Resolves with what was sent up and down. */
  readonly talk: (client: FarSocket, service: FarSocket) => Promise<readonly [FarBytes, FarBytes]>;
}[] = [
  {
    what: "both at once",
    talk: async (client, service) => {
      await Promise.all([client.read(), service.read(), client.bulk(SIZE), service.bulk(SIZE)]);
      return Promise.all([client.finish(), service.finish()]);
    },
  },
  {
    what: "the client ends, the answer comes late",
    talk: async (client, service) => {
      await client.bulk(SIZE);
      const sent = await client.finish();
      assert.equal((await service.ended()).bytes, SIZE);
      await service.bulk(SIZE);
      return [sent, await service.finish()];
    },
  },
  {
    what: "the service ends, the request goes on",
    talk: async (client, service) => {
      await service.bulk(SIZE);
      const sent = await service.finish();
      assert.equal((await client.ended()).bytes, SIZE);
      await client.bulk(SIZE);
      return [await client.finish(), sent];
    },
  },
];

for (const leg of ["plain", "tls"] as const) {
  scenario(
    `everything arrives over a bad network: ${leg} to plain`,
    async (scene) => {
      const far = await FarPeer.start(scene, { through: unshare });
      const link = await badLink(scene, far.pid, WEATHER);
      const port = await far.listen(undefined, link.far);
      const stage = await edge(scene, { port }, [leg === "tls" ? MUTUAL : { tls: "none" }], {
        listener: { address: `${link.near}:0` },
        cluster: { endpoints: [`${link.far}:${port}`] },
      });
      const { cert: ca } = await authority();
      const tls = leg === "tls" ? { ...(await leaf("alice")), ca, servername: NAME } : undefined;
      const pairs: (readonly [FarSocket, FarSocket])[] = [];
      for (const _ of TALKS) {
        const client = await far.connect(stage.port("in"), tls, link.near);
        pairs.push([client, await far.accept(port)]);
      }
      await Promise.all(
        TALKS.map(async ({ what, talk }, index) => {
          const [client, service] = pairs[index]!;
          const [sentUp, sentDown] = await talk(client, service);
          const [gotUp, gotDown] = [await service.ended(), await client.ended()];
          assert.deepEqual(gotUp, { ...sentUp, how: "end" }, what);
          assert.deepEqual(gotDown, { ...sentDown, how: "end" }, what);
        }),
      );
      for (const access of await ended(stage, TALKS.length)) {
        assert.equal(access.reason, "ok");
        assert.deepEqual([access.bytes_up, access.bytes_down], [SIZE, SIZE]);
      }
      const { lost, duplicated, reordered } = await link.tally();
      assert(lost > 0 && duplicated > 0 && reordered > 0, "the network was bad");
    },
    TRANSPORTS,
    needs,
  );
}
