/** Ensures that streams which the kernel reads by itself lose no byte, carry every kind of end, and go back when they should. */
import assert from "node:assert/strict";
import { once } from "node:events";
import type { Socket } from "node:net";
import { describe, it } from "node:test";
import { MESSAGE, STEADY } from "../../../lib/transport/epoll/multishot.ts";
import { MSG_OOB, RawClient } from "../../gear/raw-client.ts";
import { hashOf, pattern, type Relayed, Rig, skip as rigSkip, Tally, turns, until } from "./rig.ts";

process.env.MILLRACE_IO_URING = "on";
const { openRing } = await import("../../../lib/transport/epoll/batch.ts");
const { IORING_OP_ACCEPT_DONTWAIT } = await import("../../../lib/ffi/io-uring.ts");

function without(): string | false {
  if (rigSkip !== false) return rigSkip;
  const ring = openRing();
  const able = ring?.knows(IORING_OP_ACCEPT_DONTWAIT) === true;
  ring?.close();
  return able ? false : "no io_uring of Linux 6.10";
}

const skip = without();
const OK = { how: "ok", side: null, error: null };
const MiB = 1 << 20;
/** More than all buffers together. */
const MANY = 100;

interface Pair {
  readonly client: Socket;
  readonly service: Socket;
  readonly relayed: Relayed;
}

/** Connections over which so many short messages went that the kernel reads both sides of each by itself. */
async function steady(rig: Rig, count = 1): Promise<Pair[]> {
  const services: Socket[] = [];
  const target = await rig.serve((socket) => services.push(socket));
  const { address, relayed } = rig.proxy(target);
  const pairs: Pair[] = [];
  for (let index = 0; index < count; index++) {
    const client = await rig.connect(address);
    await until(() => services.length > index && relayed[index]?.upstream?.relay != null);
    // What decides whether it pays has its own tests.
    const { crowd } = relayed[index]!.downstream.gear.loop.multishot!;
    Object.defineProperties(crowd, {
      isCalm: { value: true, configurable: true },
      isCrowded: { value: false, configurable: true },
    });
    pairs.push({ client, service: services[index]!, relayed: relayed[index]! });
  }
  await Promise.all(pairs.map(converse));
  return pairs;
}

async function converse({ client, service, relayed }: Pair): Promise<void> {
  const stands = () => relayed.downstream.standing >= 0 && relayed.upstream!.standing >= 0;
  for (let message = 0; message < 2 * STEADY && !stands(); message++) {
    client.write("ping");
    await once(service, "data");
    service.write("pong");
    await once(client, "data");
  }
  assert(stands(), "the kernel reads by itself");
}

function readsByItself({ relayed }: Pair): [boolean, boolean] {
  return [relayed.downstream.standing >= 0, relayed.upstream!.standing >= 0];
}

describe("multishot", { skip }, () => {
  it("passes messages on both ways, and counts them", async (t) => {
    const rig = new Rig(t);
    const [pair] = await steady(rig);
    const before = pair!.relayed.bytesUp;
    for (let length = 1; length < MESSAGE; length += 97) {
      const sent = pattern(length);
      pair!.client.write(sent);
      const [there] = await once(pair!.service, "data");
      pair!.service.write(there);
      const [back] = await once(pair!.client, "data");
      assert.deepEqual(back, sent);
    }
    assert.deepEqual(readsByItself(pair!), [true, true]);
    assert(pair!.relayed.bytesUp > before);
    assert.equal(pair!.relayed.bytesUp, pair!.relayed.bytesDown);
  });

  for (const side of ["client", "service"] as const) {
    const other = side === "client" ? "service" : "client";

    it(`carries a half-close of the ${side} behind data, then a long answer`, async (t) => {
      const rig = new Rig(t);
      const [pair] = await steady(rig);
      const there = new Tally(pair![other]);
      const back = new Tally(pair![side]);
      pair![side].end("the last words");
      await until(() => there.ended);
      assert.equal(there.bytes, "the last words".length);
      const answer = pattern(MiB + 5);
      pair![other].end(answer);
      await until(() => back.ended && pair!.relayed.end !== null);
      assert.equal(back.hash, hashOf(answer));
      assert.deepEqual(pair!.relayed.end, OK);
    });

    it(`carries a reset of the ${side}`, async (t) => {
      const rig = new Rig(t);
      const [pair] = await steady(rig);
      const reset = once(pair![other], "error");
      pair![side].resetAndDestroy();
      const [error] = await reset;
      assert.equal(error.code, "ECONNRESET");
      assert.equal(pair!.relayed.end!.how, "reset");
      assert.equal(pair!.relayed.end!.side, side === "client" ? "downstream" : "upstream");
    });

    it(`holds what the ${side} sends while nobody reads it, and delivers all of it`, async (t) => {
      const rig = new Rig(t);
      const [pair] = await steady(rig);
      const sink = side === "client" ? pair!.relayed.upstream! : pair!.relayed.downstream;
      pair![other].pause();
      const whole: Buffer[] = [];
      // Message after message, until the socket is full.
      while (!sink.blocked) {
        const message = pattern(MESSAGE - 24);
        whole.push(message);
        pair![side].write(message);
        await turns(1);
      }
      const rest = pattern(2 * MiB + 1);
      pair![side].end(rest);
      await turns(50);
      assert(rig.transport.state.chunks <= 1);
      const tally = new Tally(pair![other]);
      pair![other].resume();
      await until(() => tally.ended);
      assert.equal(tally.hash, hashOf(Buffer.concat([...whole, rest])));
    });
  }

  it("serves more messages at once than there are buffers, again and again", async (t) => {
    const rig = new Rig(t);
    const pairs = await steady(rig, MANY);
    for (const { service } of pairs) service.pipe(service);
    const tallies = pairs.map(({ client }) => new Tally(client));
    const message = pattern(700);
    for (let round = 1; round <= 5; round++) {
      for (const { client } of pairs) client.write(message);
      await until(() => tallies.every((tally) => tally.bytes === round * message.length));
    }
    const expected = hashOf(Buffer.concat(new Array<Buffer>(5).fill(message)));
    for (const tally of tallies) assert.equal(tally.hash, expected);
    for (const { client } of pairs) client.end();
    await until(() => pairs.every(({ relayed }) => relayed.end?.how === "ok"));
  });

  it("leaves longer messages and bulk to the ordinary way", async (t) => {
    const rig = new Rig(t);
    const [pair] = await steady(rig);
    const tally = new Tally(pair!.service);
    const bytes = pattern(16 * MiB + 3);
    pair!.client.write(bytes);
    await until(() => tally.bytes === bytes.length);
    assert.equal(tally.hash, hashOf(bytes));
    assert.deepEqual(readsByItself(pair!), [false, true]);
    assert.equal(pair!.relayed.downstream.bulk, true);
    pair!.service.write("pong");
    const [back] = await once(pair!.client, "data");
    assert.equal(String(back), "pong");
  });

  it("gives all of them back where much comes at a time", async (t) => {
    const rig = new Rig(t);
    const pairs = await steady(rig, 3);
    const { crowd } = pairs[0]!.relayed.downstream.gear.loop.multishot!;
    Object.defineProperties(crowd, { isCalm: { value: false }, isCrowded: { value: true } });
    pairs[0]!.client.write("one more");
    await once(pairs[0]!.service, "data");
    await until(() => !pairs.flatMap(readsByItself).includes(true));
    for (const { client, service } of pairs) {
      client.write("ping");
      await once(service, "data");
    }
  });

  it("gives silent streams back to epoll, which serves them on", async (t) => {
    const rig = new Rig(t);
    const [silent, busy] = await steady(rig, 2);
    await until(() => {
      if (busy!.client.writableLength === 0) busy!.client.write("x");
      return !readsByItself(silent!).includes(true);
    });
    assert.deepEqual(readsByItself(busy!)[0], true);
    await converse(silent!);
  });

  it("lets go of a socket at once although others are still read", async (t) => {
    const rig = new Rig(t);
    const [one, other] = await steady(rig, 2);
    const ended = Promise.all([once(one!.client, "end"), once(one!.service, "end")]);
    one!.client.resume();
    one!.service.resume();
    one!.relayed.downstream.finish();
    one!.relayed.upstream!.finish();
    await ended;
    assert.deepEqual(readsByItself(other!), [true, true]);
    await converse(other!);
  });

  it("sends what came before the connection is let go of", async (t) => {
    const rig = new Rig(t);
    const [pair] = await steady(rig);
    const { downstream, upstream } = pair!.relayed;
    const tally = new Tally(pair!.service);
    const { relay } = downstream;
    const arrived = relay!.arrived.bind(relay);
    relay!.arrived = (...args) => {
      arrived(...args);
      // As a deadline would that comes in the same turn.
      downstream.finish();
      upstream!.finish();
    };
    pair!.client.write("the last words");
    await until(() => tally.ended);
    assert.equal(tally.bytes, "the last words".length);
  });

  it("ends only the connection that a fault of ours belongs to", async (t) => {
    const rig = new Rig(t);
    const [one, other] = await steady(rig, 2);
    one!.relayed.downstream.relay!.arrived = () => {
      throw new Error("a fault of ours");
    };
    one!.client.write("ping");
    await until(() => one!.relayed.end !== null);
    assert.equal(one!.relayed.end!.error!.code, "INTERNAL");
    assert.equal(rig.faults.splice(0).length, 1);
    await converse(other!);
  });

  it("passes on what lies behind urgent data, and the end behind that", async (t) => {
    const rig = new Rig(t);
    const { client, tally, relayed } = await rawSteady(rig);
    const before = tally.bytes;
    const behind = pattern(500);
    client.sendNow(Buffer.from("a"));
    client.sendNow(Buffer.from("!"), MSG_OOB);
    client.sendNow(behind);
    await until(() => tally.bytes === before + 1 + behind.length);
    client.end();
    await until(() => tally.ended && relayed.endedUp);
    client.close();
  });
});

async function rawSteady(rig: Rig) {
  const tallies: Tally[] = [];
  const target = await rig.serve((socket) => tallies.push(new Tally(socket)));
  const { address, relayed } = rig.proxy(target);
  const client = new RawClient(address);
  await until(() => tallies.length === 1);
  for (let sent = 1; (relayed[0]?.downstream.standing ?? -1) < 0; sent++) {
    client.sendNow(Buffer.from("x"));
    await until(() => tallies[0]!.bytes === sent);
  }
  return { client, tally: tallies[0]!, relayed: relayed[0]! };
}
