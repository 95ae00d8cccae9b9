/** Ensures that the relay loses no byte, carries every kind of end, and never waits for an edge that came already. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import type { Socket } from "node:net";
import { join } from "node:path";
import { describe, it } from "node:test";
import { EPOLLOUT } from "../../../lib/ffi/layout.ts";
import { RELAYING } from "../../../lib/transport/epoll/phase.ts";
import type { SocketAddress } from "../../../lib/wire/address.ts";
import { MSG_OOB, RawClient } from "../../gear/raw-client.ts";
import { folder, hashOf, pattern, Rig, skip, Tally, turns, until } from "./rig.ts";

const MiB = 1 << 20;
/** What the kernel takes for a reader that does not read, on both ends of one connection: the last numbers, tcp(7). */
const KERNEL_BYTES = ["tcp_wmem", "tcp_rmem"]
  .map((name) => Number(readFileSync(`/proc/sys/net/ipv4/${name}`, "utf8").trim().split(/\s+/)[2]))
  .reduce((sum, bytes) => sum + bytes);
const OK = { how: "ok", side: null, error: null };

function echo(socket: Socket): void {
  socket.pipe(socket);
}

describe("relay", { skip }, () => {
  for (const pipes of [64, 0]) {
    const how = pipes > 0 ? "by splice" : "by copying";
    it(`moves 64 MiB both ways at once ${how}, and both ends`, async (t) => {
      const rig = new Rig(t, { pipes });
      const bytes = pattern(64 * MiB);
      const arrived: Tally[] = [];
      const target = await rig.serve((socket) => {
        arrived.push(new Tally(socket));
        socket.end(bytes);
      });
      const { address, relayed } = rig.proxy(target);
      const client = await rig.connect(address);
      const tally = new Tally(client);
      client.end(bytes);
      await until(() => relayed[0]?.end !== undefined && relayed[0].end !== null);
      await until(() => tally.ended && arrived[0]!.ended);
      assert.deepEqual(relayed[0]!.end, OK);
      assert.equal(tally.hash, hashOf(bytes));
      assert.equal(arrived[0]!.hash, hashOf(bytes));
      assert.equal(relayed[0]!.bytesUp, bytes.length);
      assert.equal(relayed[0]!.bytesDown, bytes.length);
      assert.equal(rig.transport.state.pipes > 0, pipes > 0);
    });
  }

  it("carries a half-close from the client, then a long answer", async (t) => {
    const rig = new Rig(t);
    const answer = pattern(8 * MiB + 3);
    const target = await rig.serve((socket) => {
      socket.resume().on("end", () => socket.end(answer));
    });
    const { address, relayed } = rig.proxy(target);
    const client = await rig.connect(address);
    const tally = new Tally(client);
    client.end("question");
    await until(() => tally.ended);
    assert.equal(tally.hash, hashOf(answer));
    await until(() => relayed[0]!.end !== null);
    assert.deepEqual(relayed[0]!.end, OK);
    assert.deepEqual([relayed[0]!.endedUp, relayed[0]!.endedDown], [true, true]);
  });

  it("carries a half-close from the upstream, then a long request", async (t) => {
    const rig = new Rig(t);
    const request = pattern(8 * MiB + 1);
    const arrived: Tally[] = [];
    const target = await rig.serve((socket) => {
      arrived.push(new Tally(socket));
      socket.end("goodbye");
    });
    const { address, relayed } = rig.proxy(target);
    const client = await rig.connect(address);
    const tally = new Tally(client);
    await until(() => tally.ended);
    assert.equal(relayed[0]!.end, null);
    client.end(request);
    await until(() => relayed[0]!.end !== null && arrived[0]!.ended);
    assert.equal(arrived[0]!.hash, hashOf(request));
    assert.deepEqual(relayed[0]!.end, OK);
  });

  // A lost edge shows as a hang; each of these sends what the edge-triggered loop is most likely to lose.

  it("serves forty clients that send and half-close at once", async (t) => {
    const rig = new Rig(t);
    const target = await rig.serve(echo);
    const { address, relayed } = rig.proxy(target);
    const tallies = await Promise.all(
      Array.from({ length: 40 }, async (_, index) => {
        const client = await rig.connect(address);
        client.end(pattern(index * 1000 + 1));
        return new Tally(client);
      }),
    );
    await until(() => tallies.every((tally) => tally.ended));
    tallies.forEach((tally, index) => {
      assert.equal(tally.hash, hashOf(pattern(index * 1000 + 1)));
    });
    await until(() => relayed.every((each) => each.end?.how === "ok"));
  });

  it("serves forty clients of a service that speaks first, and at once", async (t) => {
    const rig = new Rig(t);
    const greeting = pattern(300);
    const target = await rig.serve((socket) => {
      socket.write(greeting);
      echo(socket);
    });
    const { address } = rig.proxy(target);
    const clients = await Promise.all(Array.from({ length: 40 }, () => rig.connect(address)));
    const tallies = clients.map((client) => new Tally(client));
    await until(() => tallies.every((tally) => tally.bytes === 300));
    for (const client of clients) client.end();
    await until(() => tallies.every((tally) => tally.ended));
    for (const tally of tallies) assert.equal(tally.hash, hashOf(greeting));
  });

  for (const size of [64 * 1024, 128 * 1024, MiB, 3 * MiB + 17, 17 * MiB]) {
    it(`delivers ${size} bytes whole although silence follows them`, async (t) => {
      const rig = new Rig(t);
      const bytes = pattern(size);
      const arrived: Tally[] = [];
      const target = await rig.serve((socket) => arrived.push(new Tally(socket)));
      const { address } = rig.proxy(target);
      const client = await rig.connect(address);
      client.write(bytes);
      await until(() => arrived[0]?.bytes === size);
      assert.equal(arrived[0]!.hash, hashOf(bytes));
    });
  }

  it("turns from bulk to ping-pong and back without loss or reordering", async (t) => {
    const rig = new Rig(t);
    const target = await rig.serve(echo);
    const { address, relayed } = rig.proxy(target);
    const client = await rig.connect(address);
    const tally = new Tally(client);
    const sent: Buffer[] = [];
    let total = 0;
    for (let round = 0; round < 3; round++) {
      for (const size of [5 * MiB, ...Array.from({ length: 40 }, (_, index) => index * 7 + 1)]) {
        const bytes = pattern(size + round);
        sent.push(bytes);
        total += bytes.length;
        client.write(bytes);
        await until(() => tally.bytes === total);
      }
    }
    assert.equal(tally.hash, hashOf(Buffer.concat(sent)));
    assert.equal(relayed[0]!.upstream!.bulk, false);
  });

  it("knows bulk that comes in a buffer and a half each time", async (t) => {
    const rig = new Rig(t);
    const { address, relayed } = rig.proxy(await rig.serve((socket) => void socket.resume()));
    const client = await rig.connect(address);
    const bytes = pattern(95_232);
    for (let sent = bytes.length; sent <= 40 * bytes.length && relayed[0]?.downstream.bulk !== true; ) {
      client.write(bytes);
      await until(() => relayed[0]?.bytesUp === sent);
      sent += bytes.length;
    }
    assert.equal(relayed[0]!.downstream.bulk, true);
  });

  it("plays ping-pong with single bytes", async (t) => {
    const rig = new Rig(t);
    const target = await rig.serve(echo);
    const { address } = rig.proxy(target);
    const client = await rig.connect(address, { noDelay: true });
    const tally = new Tally(client);
    for (let count = 1; count <= 500; count++) {
      client.write("x");
      await until(() => tally.bytes === count);
    }
  });

  it("keeps memory bounded with a reader that does not read, and delivers when it does", async (t) => {
    const rig = new Rig(t);
    const bytes = pattern(2 * KERNEL_BYTES + 32 * MiB);
    let source: Socket | null = null;
    const target = await rig.serve((socket) => {
      source = socket;
      socket.end(bytes);
    });
    const { address, relayed } = rig.proxy(target);
    const client = await rig.connect(address);
    client.pause();
    let before = -1;
    let still = 0;
    // Blocked: nothing has moved in two hundred turns.
    await until(() => {
      const moved = relayed[0]?.bytesDown ?? 0;
      still = moved > 0 && moved === before ? still + 1 : 0;
      before = moved;
      return still > 200;
    });
    const { pipes, chunks } = rig.transport.state;
    assert.ok(pipes <= 1 && chunks <= 1, `${pipes} pipes, ${chunks} chunks`);
    // The rest is in the kernel's own buffers.
    assert.ok(relayed[0]!.bytesDown < KERNEL_BYTES + 8 * MiB, `${relayed[0]!.bytesDown} read`);
    assert.ok(source!.writableLength > 0);
    const tally = new Tally(client);
    client.resume();
    await until(() => tally.ended);
    assert.equal(tally.hash, hashOf(bytes));
    client.end();
    await until(() => relayed[0]!.end !== null);
  });

  it("does not wake again and again for input that it cannot pass on", async (t) => {
    const rig = new Rig(t);
    const target = await rig.serve((socket) => socket.resume());
    const { address, relayed } = rig.proxy(target);
    const client = await rig.connect(address, { noDelay: true });
    client.write("x");
    await until(() => relayed[0]?.bytesUp === 1);
    // As after a write that was cut short; no buffer of this machine need be filled.
    relayed[0]!.upstream!.blocked = true;
    const { downstream } = relayed[0]!;
    let wakes = 0;
    const { onEvents } = downstream;
    downstream.onEvents = (mask) => {
      wakes++;
      onEvents.call(downstream, mask);
    };
    for (let count = 0; count < 200; count++) {
      client.write("x");
      await new Promise((resolve) => setImmediate(resolve));
    }
    assert.ok(wakes > 0 && wakes <= 8, `${wakes} wake-ups`);
    // And hears again when it can pass on.
    relayed[0]!.upstream!.onEvents(EPOLLOUT);
    await until(() => relayed[0]!.bytesUp === 201);
    await turns(5);
    client.write("y");
    await until(() => relayed[0]!.bytesUp === 202);
  });

  it("relays between UNIX sockets, and into IPv6", async (t) => {
    const rig = new Rig(t);
    const path = folder(t);
    const bytes = pattern(5 * MiB);
    const ends: [SocketAddress, SocketAddress][] = [
      [
        { kind: "unix", path: join(path, "service") },
        { kind: "unix", path: join(path, "proxy") },
      ],
      [
        { kind: "ip", host: "::1", port: 0 },
        { kind: "ip", host: "::1", port: 0 },
      ],
      [
        { kind: "ip", host: "127.0.0.1", port: 0 },
        { kind: "unix", path: join(path, "mixed") },
      ],
    ];
    for (const [service, proxy] of ends) {
      const target = await rig.serve(echo, service);
      const { address, relayed } = rig.proxy(target, proxy);
      const client = await rig.connect(address);
      const tally = new Tally(client);
      client.end(bytes);
      await until(() => tally.ended);
      assert.equal(tally.hash, hashOf(bytes));
      await until(() => relayed[0]!.end !== null);
      assert.deepEqual(relayed[0]!.end, OK);
    }
  });

  it("sends what was queued ahead of everything else, together with the first bytes", async (t) => {
    const rig = new Rig(t);
    const chunks: string[] = [];
    const target = await rig.serve((socket) => {
      socket.on("data", (chunk) => chunks.push(chunk.toString()));
    });
    const address = rig.listen((downstream) => {
      const record = rig.relay(downstream, target);
      record.upstream!.send(Buffer.from("PROXY header\r\n"));
    });
    const client = await rig.connect(address);
    client.write("first bytes");
    await until(() => chunks.join("") === "PROXY header\r\nfirst bytes");
    const silent = await rig.connect(address);
    await until(() => chunks.join("").endsWith("first bytesPROXY header\r\n"));
    silent.destroy();
  });

  for (const pipes of [0, 64]) {
    const how = pipes > 0 ? "by splice" : "by copying";
    it(`passes on what lies behind urgent data ${how}, and the end behind that`, async (t) => {
      const rig = new Rig(t, { pipes });
      const arrived: Tally[] = [];
      const target = await rig.serve((socket) => {
        arrived.push(new Tally(socket));
      });
      const { address, relayed } = rig.proxy(target);
      const client = new RawClient(address);
      // Enough to be bulk, and more than is under way at once.
      const before = pattern(pipes > 0 ? 4 * MiB : 3);
      const behind = pattern(1000);
      await client.send(before);
      await until(() => arrived[0]?.bytes === before.length);
      assert.equal(relayed[0]!.downstream.bulk, pipes > 0);
      // All of it comes between two turns of the loop.
      client.sendNow(Buffer.from("a"));
      client.sendNow(Buffer.from("!"), MSG_OOB);
      client.sendNow(behind);
      await until(() => arrived[0]!.bytes === before.length + 1 + behind.length);
      client.sendNow(Buffer.from("b"), MSG_OOB);
      client.sendNow(behind);
      client.end();
      await until(() => arrived[0]!.ended);
      assert.equal(arrived[0]!.hash, hashOf(Buffer.concat([before, Buffer.from("a"), behind, behind])));
      client.close();
    });
  }

  it("notes when bytes moved last also in a turn that ends at a full sink", async (t) => {
    const rig = new Rig(t, { pipes: 0 });
    const target = await rig.serve((socket) => {
      socket.write(pattern(32 * MiB));
    });
    const { address, relayed } = rig.proxy(target);
    const client = await rig.connect(address);
    client.pause();
    await until(() => relayed[0]?.upstream?.phase === RELAYING);
    const [one] = relayed;
    while (!one!.downstream.blocked) {
      one!.lastActive = 0;
      await turns(1);
    }
    assert(one!.lastActive > 0);
  });

  it("returns to the baseline after two thousand connections", async (t) => {
    const rig = new Rig(t);
    const target = await rig.serve(echo);
    const { address, relayed } = rig.proxy(target);
    const one = async (index: number): Promise<void> => {
      const client = await rig.connect(address);
      const tally = new Tally(client);
      client.write("x");
      await until(() => tally.bytes === 1);
      if (index % 3 === 0) client.resetAndDestroy();
      else client.end();
      await until(() => client.destroyed || tally.ended);
    };
    for (let round = 0; round < 50; round++)
      await Promise.all(Array.from({ length: 40 }, (_, index) => one(index)));
    await until(() => relayed.length === 2000 && relayed.every((each) => each.end !== null));
    assert.equal(rig.transport.state.chunks, 0);
  });
});
