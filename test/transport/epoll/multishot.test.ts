/** Ensures that streams which the kernel reads by itself lose no byte, carry every kind of end, and go back when they should. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { readdirSync, readlinkSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { EPOLLIN, MSG_DONTWAIT } from "../../../lib/ffi/layout.ts";
import { epollWait, send, shutdown } from "../../../lib/ffi/libc.ts";
import { EVENTS, SCRATCH } from "../../../lib/transport/epoll/memory.ts";
import { MESSAGE, STEADY } from "../../../lib/transport/epoll/multishot.ts";
import { MSG_OOB } from "../../gear/raw-client.ts";
import { folder, hashOf, pattern, Rig, Tally, turns, until } from "./rig.ts";
import { converse, descriptorOf, opened, rawSteady, readsByItself, skip, steady } from "./steady.ts";

const OK = { how: "ok", side: null, error: null };
const MiB = 1 << 20;
/** More than all buffers together. */
const MANY = 100;

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

  it("ends a connection whose service has shut down its reading and talks on", async (t) => {
    const rig = new Rig(t);
    const [pair] = await steady(rig, 1, { kind: "unix", path: join(folder(t), "service") });
    const { client, service, relayed } = pair!;
    client.resume();
    // SHUT_RD, which Node has no way to say.
    shutdown(descriptorOf(service), 0);
    await until(() => {
      if (service.writableLength === 0) service.write("tick");
      if (client.writableLength === 0) client.write("hello");
      return relayed.end !== null;
    });
    assert.deepEqual([relayed.end!.how, relayed.end!.side], ["reset", "upstream"]);
  });

  it("bears a reset that comes with the end of the other side", async (t) => {
    const before = epolls();
    const rig = new Rig(t);
    const epoll = epolls().find((descriptor) => !before.includes(descriptor))!;
    const [pair] = await steady(rig);
    const { client, service, relayed } = pair!;
    client.end();
    await until(() => relayed.endedUp);
    const { loop, memory } = relayed.downstream.gear;
    const multishot = loop.multishot!;
    const wait = multishot.wait.bind(multishot);
    let done = false;
    multishot.wait = (blocks) => {
      const count = wait(blocks);
      if (done || !relayed.upstream!.watched) return count;
      done = true;
      // Both come between the two calls of a wait, while the last message has not been told.
      shutdown(descriptorOf(service), 1);
      client.resetAndDestroy();
      return epollWait(epoll, memory.events, EVENTS, 0);
    };
    service.write("the last words");
    await until(() => relayed.end !== null);
    assert.deepEqual(rig.faults, []);
  });

  it("says what was cut short before an orderly end", async (t) => {
    const rig = new Rig(t);
    const [pair] = await steady(rig);
    const { downstream, upstream } = pair!.relayed;
    let heard = "";
    let ended = false;
    pair!.service.pause();
    pair!.service.on("data", (chunk) => {
      heard = (heard + chunk.toString("latin1")).slice(-32);
    });
    pair!.service.on("end", () => {
      ended = true;
    });
    pair!.service.pause();
    const { relay, gear } = downstream;
    const arrived = relay!.arrived.bind(relay);
    relay!.arrived = (...args) => {
      while (send(upstream!.descriptor, gear.memory.scratch, SCRATCH, MSG_DONTWAIT) > 0);
      arrived(...args);
      downstream.finish();
      upstream!.finish();
    };
    pair!.client.write("the last words");
    await until(() => downstream.relay === null);
    pair!.service.resume();
    await until(() => ended);
    assert.equal(heard.slice(-"the last words".length), "the last words");
  });

  it("gives others their turn, however fast one side talks", async (t) => {
    const rig = new Rig(t);
    const { client, relayed } = await rawSteady(rig);
    const { downstream } = relayed;
    const multishot = downstream.gear.loop.multishot!;
    const arrived = downstream.relay!.arrived.bind(downstream.relay);
    let messages = 0;
    downstream.relay!.arrived = (...args) => {
      if (++messages < 1000) client.sendNow(Buffer.from("y"));
      arrived(...args);
    };
    let most = 0;
    const tell = multishot.tell.bind(multishot);
    multishot.tell = () => {
      const told = tell();
      most = Math.max(most, told);
      return told;
    };
    client.sendNow(Buffer.from("y"));
    multishot.flush();
    client.sendNow(Buffer.from("y"));
    await until(() => messages >= 1000);
    assert(most < 100, `${most} in one turn`);
    client.close();
  });

  it("lets go of a UNIX socket that is reset", async (t) => {
    const rig = new Rig(t);
    const [pair] = await steady(rig, 1, { kind: "unix", path: join(folder(t), "service") });
    const { downstream, upstream } = pair!.relayed;
    pair!.service.resume();
    let gone = false;
    for (const name of ["end", "error", "close"]) {
      pair!.service.on(name, () => {
        gone = true;
      });
    }
    downstream.reset();
    upstream!.reset();
    await turns(100);
    assert(gone);
  });

  it("has a stream that goes as it was before", async (t) => {
    const rig = new Rig(t);
    const [pair] = await steady(rig);
    const { downstream } = pair!.relayed;
    downstream.finish();
    assert.deepEqual([downstream.standing, downstream.underway, downstream.sending], [-1, false, false]);
    assert.notEqual(downstream.interest & EPOLLIN, 0);
    await turns(20);
  });

  it("is not told of by epoll while the kernel reads", async (t) => {
    const rig = new Rig(t);
    const [pair] = await steady(rig);
    let events = 0;
    for (const stream of [pair!.relayed.downstream, pair!.relayed.upstream!]) {
      stream.onEvents = () => {
        events++;
      };
    }
    for (let message = 0; message < 50; message++) {
      pair!.client.write("ping");
      await once(pair!.service, "data");
      pair!.service.write("pong");
      await once(pair!.client, "data");
    }
    assert.deepEqual([events, readsByItself(pair!)], [0, [true, true]]);
    // The events were thrown away, the end's too.
    pair!.relayed.downstream.reset();
    pair!.relayed.upstream!.reset();
  });

  it("begins only with short messages in a row", async (t) => {
    const rig = new Rig(t);
    const [pair] = await opened(rig);
    for (let message = 1; message <= 3 * STEADY; message++) {
      pair!.client.write(pattern(message % (STEADY - 1) === 0 ? 2000 : 10));
      await once(pair!.service, "data");
    }
    assert.deepEqual(readsByItself(pair!), [false, false]);
  });
});

function epolls(): number[] {
  return readdirSync("/proc/self/fd")
    .map(Number)
    .filter((descriptor) => {
      try {
        return readlinkSync(`/proc/self/fd/${descriptor}`).includes("eventpoll");
      } catch {
        return false; // the one that listed them is closed by now
      }
    });
}
