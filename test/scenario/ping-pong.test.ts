/** Ensures that single bytes, primes and bulk follow each other on one connection without loss, order or copying mode mattering. */
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { COMBINATIONS, legs } from "../gear/legs.ts";
import { readAll, readBytes, scenario } from "../gear/scene.ts";

const PRIMES = [2, 3, 5, 7, 127, 1021, 1447, 1449, 4093, 16_381, 16_411, 65_521, 65_537, 131_071];
const BULK = 3 * 1024 * 1024 + 1;

for (const combination of COMBINATIONS) {
  const name = combination.join(" to ");

  scenario(`one byte there and back, 300 times: ${name}`, async (scene) => {
    const { stage, connect } = await legs(scene, combination, (socket) => socket.pipe(socket));
    const client = await connect();
    for (let i = 0; i < 300; i += 1) {
      client.write(Buffer.of(i & 255));
      assert.equal((await readBytes(client, 1))[0], i & 255);
    }
    client.end();
    const access = await stage.access();
    assert.equal(access.bytes_up, 300);
    assert.equal(access.bytes_down, 300);
    assert.equal(access.reason, "ok");
  });

  scenario(`writes of prime sizes: ${name}`, async (scene) => {
    const { stage, connect } = await legs(scene, combination, (socket) => socket.pipe(socket));
    const client = await connect();
    const sent = PRIMES.map((size) => randomBytes(size));
    const back = readAll(client);
    for (const bytes of sent) client.write(bytes);
    client.end();
    assert(Buffer.concat(sent).equals(await back));
    assert.equal((await stage.access()).reason, "ok");
  });

  scenario(`bulk, then single bytes, then bulk, then single bytes: ${name}`, async (scene) => {
    const { stage, connect } = await legs(scene, combination, (socket) => socket.pipe(socket));
    const client = await connect();
    const bulk = randomBytes(BULK);
    for (let round = 0; round < 2; round += 1) {
      const back = readExactly(client, BULK);
      client.write(bulk);
      assert(bulk.equals(await back));
      for (let i = 0; i < 50; i += 1) {
        client.write(Buffer.of(i));
        assert.equal((await readBytes(client, 1))[0], i);
      }
    }
    client.end();
    const access = await stage.access();
    assert.equal(access.bytes_up, 2 * (BULK + 50));
    assert.equal(access.bytes_down, 2 * (BULK + 50));
    assert.equal(access.reason, "ok");
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
