/** Ensures that forged DNS answers are passed over: their targets are never dialled, and they are counted. */
import assert from "node:assert/strict";
import { get } from "../gear/admin.ts";
import { discovering, honest, records } from "../gear/discovery.ts";
import { type Query, type Reply, startResponder } from "../gear/dns.ts";
import { greeters, roll } from "../gear/fleet.ts";
import { scenario } from "../gear/scene.ts";

for (const [what, counted, forge] of [
  [
    "a wrong id",
    "wrongId",
    (wire: Buffer, query: Query): Reply => {
      const wrong = Buffer.from(wire);
      wrong.writeUInt16BE((query.id + 1) & 0xffff, 0);
      return { wire: wrong };
    },
  ],
  [
    "another question",
    "wrongQuestion",
    (wire: Buffer): Reply => {
      const other = Buffer.from(wire);
      other.writeUInt8(other.readUInt8(14) === 0x78 ? 0x79 : 0x78, 14); // a letter of the name that was asked for
      return { wire: other };
    },
  ],
  ["another port", "wrongSource", (wire: Buffer): Reply => ({ wire, from: "other port" })],
  ["another address", "wrongSource", (wire: Buffer): Reply => ({ wire, from: "other address" })],
] as const) {
  scenario(`an answer from or with ${what} comes first: the honest one counts`, async (scene) => {
    const [good, evil] = await greeters(scene, 2);
    const dns = await startResponder(scene, (query) => [
      forge(honest(records([evil!]), query), query),
      honest(records([good!]), query),
    ]);
    const stage = await discovering(scene, [dns.key]);
    assert.equal(await roll(scene, stage, 4), "aaaa");
    assert.equal(evil!.accepted, 0, "the forged target is never dialled");
    const [{ ignored }] = JSON.parse((await get(stage, "/clusters")).body)[0].sources;
    assert.ok(ignored[counted] > 0, `and counted: ${JSON.stringify(ignored)}`);
  });
}

scenario("two answers to one question: the first counts", async (scene) => {
  const [good, evil] = await greeters(scene, 2);
  const dns = await startResponder(scene, (query) => [
    honest(records([good!]), query),
    honest(records([evil!]), query),
  ]);
  const stage = await discovering(scene, [dns.key]);
  assert.equal(await roll(scene, stage, 4), "aaaa");
  assert.equal(evil!.accepted, 0);
});
