/**
 * Ensures that readers which do not read cost a stated amount of memory and no more, one and two hundred of them, in both directions at
 * once, with TLS and without; and that everything arrives once they read. The kernel's buffers are made small in a network
 * namespace of the test's own, so that little has to be sent until the proxy must hold back.
 */
import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import type { FarBytes } from "../gear/far.ts";
import { ALIKE, farLegs } from "../gear/far-legs.ts";
import { memoryOf, stalled } from "../gear/flow.ts";
import { enterNamespace, smallBuffers } from "../gear/namespace.ts";
import { ended } from "../gear/peers.ts";
import { scenario, TRANSPORTS } from "../gear/scene.ts";

const needs = enterNamespace(fileURLToPath(import.meta.url));
if (needs.skip === false) smallBuffers();

const KIB = 1024;
const MIB = 1024 * KIB;
// What README.md promises: so much for the process, and so much for each connection that is stuck both ways.
const ONCE = 24 * MIB;
const EACH = { plain: 256 * KIB, tls: 384 * KIB };
// A handshake costs more than all that is moved; each connection has two.
const CROWD = { plain: 200, tls: 60 };
// More than the proxy and four small sockets hold.
const SIZE = 500_003;

for (const legs of ALIKE) {
  scenario(
    `nobody reads, then everybody does: one, then ${CROWD[legs]}, ${legs} to ${legs}`,
    async (scene) => {
      const { stage, connect, accept } = await farLegs(scene, legs);
      const before = memoryOf();
      for (const crowd of [1, CROWD[legs]]) {
        const here = await Promise.all(Array.from({ length: crowd }, connect));
        const there = await Promise.all(here.map(accept));
        const all = [...here, ...there];
        const sent = Promise.all(all.map((socket) => socket.bulk(SIZE).then(() => socket.finish())));
        const ceiling = ONCE + crowd * EACH[legs];
        const flow = await stalled(stage, () => {
          const more = memoryOf() - before;
          assert(more < ceiling, `${more / MIB} MiB more for ${crowd}`);
        });
        assert(flow.up < crowd * SIZE && flow.down < crowd * SIZE, "all of it is held back");

        const got = await Promise.all(all.map((socket) => socket.ended()));
        const hashes = (some: readonly FarBytes[]): string[] => some.map(({ hash }) => hash).sort();
        assert.deepEqual(hashes(got), hashes(await sent));
        for (const { how } of got) assert.equal(how, "end");
        for (const { reason, bytes_up, bytes_down } of await ended(stage, crowd))
          assert.deepEqual([reason, bytes_up, bytes_down], ["ok", SIZE, SIZE]);
      }
    },
    TRANSPORTS,
    needs,
  );
}
