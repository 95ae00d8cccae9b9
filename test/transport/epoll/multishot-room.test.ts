/** Ensures that multishot receives keep to their buffers, places and times, and that sends which are cut short lose nothing. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { describe, it } from "node:test";
import * as layout from "../../../lib/ffi/layout.ts";
import * as libc from "../../../lib/ffi/libc.ts";
import { allocate } from "../../../lib/ffi/memory.ts";
import { encodeSockaddr } from "../../../lib/ffi/sockaddr.ts";
import { RawClient } from "../../gear/raw-client.ts";
import { hashOf, pattern, Rig, Tally, turns, until } from "./rig.ts";
import { beCalm, converse, descriptorOf, opened, readsByItself, skip, steady } from "./steady.ts";

/** As many as stand at once at most. */
const PLACES = 256;
// linux/tcp.h, asm-generic/socket.h
const TCP_MAXSEG = 2;
const SO_SNDBUF = 7;
const SO_RCVBUF = 8;

describe("the room of multishot receives", { skip }, () => {
  it("gives each its own bytes, however many come at once", async (t) => {
    const rig = new Rig(t);
    const pairs = await steady(rig, 40);
    const tallies = pairs.map(({ service }) => new Tally(service));
    const sent = pairs.map((): Buffer[] => []);
    for (let round = 0; round < 6; round++) {
      pairs.forEach(({ client }, index) => {
        const message = Buffer.alloc(300 + index, round * 41 + index);
        sent[index]!.push(message);
        client.write(message);
      });
      await until(() => tallies.every(({ bytes }, index) => bytes === Buffer.concat(sent[index]!).length));
    }
    tallies.forEach(({ hash }, index) => {
      assert.equal(hash, hashOf(Buffer.concat(sent[index]!)));
    });
  });

  it("has its buffers back from who took nothing", async (t) => {
    const rig = new Rig(t);
    const [pair] = await steady(rig);
    const relay = pair!.relayed.downstream.relay!;
    let told = 0;
    relay.arrived = () => {
      told++;
    };
    // More than there are.
    for (let message = 1; message <= 100; message++) {
      pair!.client.write("x");
      await until(() => told === message);
    }
    Reflect.deleteProperty(relay, "arrived");
    pair!.client.write("last");
    const [last] = await once(pair!.service, "data");
    assert.equal(String(last), "last");
    assert.deepEqual(readsByItself(pair!), [true, true]);
  });

  it("has its places back from who ends and who is reset", async (t) => {
    const rig = new Rig(t);
    for (const [index, pair] of (await opened(rig, PLACES)).entries()) {
      await converse(pair);
      if (index % 2 === 0) {
        pair.relayed.downstream.reset();
        pair.relayed.upstream!.reset();
      } else {
        pair.client.end();
        pair.service.end();
        await until(() => pair.relayed.end !== null);
      }
      pair.client.destroy();
      pair.service.destroy();
    }
  });

  it("leaves those to epoll for whom there is no place", async (t) => {
    const rig = new Rig(t);
    const pairs = await steady(rig, PLACES / 2);
    const [late] = await steady(rig, 1).catch(() => [undefined]);
    assert.equal(late, undefined, "nobody else stands");
    assert(pairs.every((pair) => !readsByItself(pair).includes(false)));
  });

  it("waits for its timers, for messages and for clients, and no longer", async (t) => {
    const rig = new Rig(t);
    const [pair] = await steady(rig);
    const { gear } = pair!.relayed.downstream;
    const multishot = gear.loop.multishot!;
    const took = (run: () => void): number => {
      const began = performance.now();
      run();
      return performance.now() - began;
    };
    await turns(5);
    assert(took(() => rig.transport.turn(60)) >= 50);
    let fired = 0;
    rig.transport.timer({ expired: () => fired++ }).start(1200);
    const waited = took(() => {
      for (let turn = 0; fired === 0 && turn < 10; turn++) rig.transport.turn(60_000);
    });
    assert(fired === 1 && waited >= 1190, `${waited}`);
    // What was reaped by another call than the wait is told by the next, which does not block.
    const { address } = allocate(64);
    libc.send(descriptorOf(pair!.client), address, 5, 0);
    multishot.flush();
    let told = 0;
    const { relay } = pair!.relayed.downstream;
    const arrived = relay!.arrived.bind(relay);
    relay!.arrived = (...args) => {
      told++;
      arrived(...args);
    };
    rig.transport.timer({ expired: () => assert.fail("waited for the timer") }).start(30_000);
    rig.transport.turn(-1);
    assert.equal(told, 1);
    await once(pair!.service, "data");
  });

  it("tells messages from what else epoll has to say", async (t) => {
    const rig = new Rig(t);
    const [pair] = await opened(rig);
    await turns(5);
    const others: boolean[] = [];
    const { downstream } = pair!.relayed;
    downstream.gear.loop.multishot!.crowd.note = (_count, other) => others.push(other);
    // The ordinary way first, then by the kernel.
    await converse(pair!);
    await converse(pair!);
    pair!.client.write("ping");
    await once(pair!.service, "data");
    assert(others.length > 0 && !others.includes(true));
    // The time that it tells of is nothing that came.
    others.length = 0;
    let fired = 0;
    rig.transport.timer({ expired: () => fired++ }).start(20);
    while (fired === 0) rig.transport.turn(-1);
    assert.equal(others.length, 0);
    await rig.connect(downstream.local);
    await until(() => others.includes(true));
  });

  it("loses nothing of what is cut short, to a peer with small segments and little room", async (t) => {
    const rig = new Rig(t);
    const memory = allocate(65_536);
    const set = (descriptor: number, level: number, option: number, value: number): void => {
      memory.bytes.writeInt32LE(value);
      assert.equal(libc.setsockopt(descriptor, level, option, memory.address, 4), 0);
    };
    const listening = libc.socket(layout.AF_INET, layout.SOCK_STREAM, 0);
    set(listening, layout.IPPROTO_TCP, TCP_MAXSEG, 200);
    set(listening, layout.SOL_SOCKET, SO_RCVBUF, 1);
    const any = encodeSockaddr({ kind: "ip", host: "127.0.0.1", port: 0 });
    memory.bytes.set(any);
    assert.equal(libc.bindTo(listening, memory.address, any.length), 0);
    assert.equal(libc.listen(listening, 8), 0);
    memory.bytes.writeInt32LE(128, 128);
    libc.getsockname(listening, memory.address, memory.address + 128);
    const { address, relayed } = rig.proxy({
      kind: "ip",
      host: "127.0.0.1",
      port: memory.bytes.readUInt16BE(2),
    });
    let cut = 0;
    for (const size of [333, 700, 1000, 1023]) {
      relayed.length = 0;
      const client = new RawClient(address);
      await until(() => relayed[0]?.upstream?.relay != null);
      const { downstream, upstream } = relayed[0]!;
      const service = libc.accept4(listening, 0, 0, layout.SOCK_NONBLOCK);
      beCalm(relayed[0]!);
      set(upstream!.descriptor, layout.SOL_SOCKET, SO_SNDBUF, 4608);
      const unsent = upstream!.unsent.bind(upstream);
      upstream!.unsent = (at, length, result) => {
        if (result > 0) cut++;
        unsent(at, length, result);
      };
      const hash = createHash("sha1");
      let heard = 0;
      const hear = (): number => {
        for (;;) {
          const count = libc.recv(service, memory.address, 65_536, layout.MSG_DONTWAIT);
          if (count <= 0) return count;
          heard += count;
          hash.update(memory.bytes.subarray(0, count));
        }
      };
      const said: Buffer[] = [];
      let length = 0;
      const say = (message: Buffer): void => {
        said.push(message);
        length += message.length;
        client.sendNow(message);
      };
      const isHeard = (): boolean => {
        hear();
        return heard === length;
      };
      while (downstream.standing < 0) {
        say(Buffer.from("ping"));
        await until(isHeard);
      }
      for (let message = 0; message < 400 && !upstream!.blocked; message++) {
        say(pattern(size));
        await turns(4);
      }
      assert(upstream!.blocked, "the room is used up");
      await until(isHeard);
      client.end();
      await until(() => hear() === 0);
      assert.equal(hash.digest("hex"), hashOf(Buffer.concat(said)));
      client.close();
      libc.close(service);
    }
    assert(cut > 0, "no send was cut short");
    libc.close(listening);
  });
});
