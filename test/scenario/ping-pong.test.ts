/** Ensures that single bytes, primes and bulk follow each other on one connection without loss, order or copying mode mattering. */
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { COMBINATIONS, legs } from "../gear/legs.ts";
import { readAll, readBytes, scenario } from "../gear/scene.ts";

const PRIMES = [2, 3, 5, 7, 127, 1021, 1447, 1449, 4093, 16_381, 16_411, 65_521, 65_537, 131_071];
const BULK = 1024 * 1024 + 1;

for (const combination of COMBINATIONS) {
  scenario(`single bytes, primes and bulk by turns: ${combination.join(" to ")}`, async (scene) => {
    const { stage, connect } = await legs(scene, combination, (socket) => socket.pipe(socket));

    const pings = await connect();
    for (let i = 0; i < 300; i += 1) {
      pings.write(Buffer.of(i & 255));
      assert.equal((await readBytes(pings, 1))[0], i & 255);
    }
    pings.end();
    const pinged = await stage.access();
    assert.deepEqual([pinged.reason, pinged.bytes_up, pinged.bytes_down], ["ok", 300, 300]);

    const odd = await connect();
    const sent = PRIMES.map((size) => randomBytes(size));
    const back = readAll(odd);
    for (const bytes of sent) odd.write(bytes);
    odd.end();
    assert(Buffer.concat(sent).equals(await back));
    assert.equal((await stage.access()).reason, "ok");

    const turns = await connect();
    const bulk = randomBytes(BULK);
    for (let round = 0; round < 2; round += 1) {
      const echoed = readExactly(turns, BULK);
      turns.write(bulk);
      assert(bulk.equals(await echoed));
      for (let i = 0; i < 50; i += 1) {
        turns.write(Buffer.of(i));
        assert.equal((await readBytes(turns, 1))[0], i);
      }
    }
    turns.end();
    const turned = await stage.access();
    const total = 2 * (BULK + 50);
    assert.deepEqual([turned.reason, turned.bytes_up, turned.bytes_down], ["ok", total, total]);
  });
}

/** `readBytes` waits for one buffer of that size, which a paused socket does not hold; this collects. */
async function readExactly(socket: Parameters<typeof readBytes>[0], count: number): Promise<Buffer> {
  const parts: Buffer[] = [];
  for (let left = count; left > 0; ) {
    const part = await readBytes(socket, Math.min(left, 8_192));
    parts.push(part);
    left -= part.length;
  }
  return Buffer.concat(parts);
}
