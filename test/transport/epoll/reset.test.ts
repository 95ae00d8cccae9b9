/** Ensures that a reset travels as a reset, from either side and in every phase, behind the bytes that came before it. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import type { Socket } from "node:net";
import { describe, it } from "node:test";
import type { EpollStream } from "../../../lib/transport/epoll/stream.ts";
import { hashOf, pattern, Rig, skip, Tally, until } from "./rig.ts";

/** Met a reset: in a read, or in a write that came first. */
function failed(socket: Socket): boolean {
  const code = (socket.errored as NodeJS.ErrnoException | null)?.code;
  return code === "ECONNRESET" || code === "EPIPE";
}

/**
 * The kernel has let go of the connection, as it does at a reset only: after an end it would wait in CLOSE_WAIT. Node takes a
 * reset that comes together with the last bytes for an end.
 */
function gone(ports: string): boolean {
  return !readFileSync("/proc/net/tcp", "utf8").includes(ports);
}

/** How /proc/net/tcp writes both addresses of a socket. */
function portsOf(socket: Socket): string {
  const hex = (port: number | undefined): string =>
    `0100007F:${port!.toString(16).toUpperCase().padStart(4, "0")}`;
  return `${hex(socket.localPort)} ${hex(socket.remotePort)}`;
}

/** A proxy to a service that hands its sockets to the test. */
async function setUp(rig: Rig, serve: (socket: Socket) => void = () => {}) {
  const served: Socket[] = [];
  const target = await rig.serve((socket) => {
    served.push(socket);
    socket.resume();
    serve(socket);
  });
  const { address, relayed } = rig.proxy(target);
  const client = await rig.connect(address);
  client.resume();
  await until(() => served.length === 1 && relayed[0]?.upstream?.phase !== 1);
  return { client, service: served[0]!, relayed: relayed[0]! };
}

describe("reset", { skip }, () => {
  for (const phase of [
    "before data",
    "after data",
    "after a half-close of its own",
    "after one of the other",
  ]) {
    for (const side of ["client", "service"] as const) {
      it(`carries one by the ${side} ${phase}`, async (t) => {
        const rig = new Rig(t);
        const { client, service, relayed } = await setUp(rig);
        const [from, to] = side === "client" ? [client, service] : [service, client];
        if (phase !== "before data") {
          client.write("up");
          service.write("down");
          await until(() => client.bytesRead === 4 && service.bytesRead === 2);
        }
        if (phase.startsWith("after a half")) {
          from.end();
          await once(to, "end");
        } else if (phase.startsWith("after one")) {
          to.end();
          await once(from, "end");
        }
        from.resetAndDestroy();
        await until(() => relayed.end !== null);
        assert.equal(relayed.end!.how, "reset");
        assert.equal(relayed.end!.side, side === "client" ? "downstream" : "upstream");
        // Node reads no more after an end, so only a write tells.
        if (phase === "after a half-close of its own") to.write("x");
        await until(() => to.destroyed || failed(to));
        assert.ok(failed(to), `${to.errored}`);
      });
    }
  }

  for (const side of ["client", "service"] as const) {
    it(`carries one by the ${side} in the middle of bulk both ways`, async (t) => {
      const rig = new Rig(t);
      const { client, service, relayed } = await setUp(rig);
      const [from, to] = side === "client" ? [client, service] : [service, client];
      const ports = portsOf(to);
      assert.equal(gone(ports), false);
      from.write(pattern(32 << 20));
      to.write(pattern(32 << 20));
      await until(() => to.bytesRead > 8 << 20);
      from.resetAndDestroy();
      await until(() => relayed.end !== null);
      assert.equal(relayed.end!.side, side === "client" ? "downstream" : "upstream");
      await until(() => gone(ports));
    });
  }

  it("delivers what came before it, to a slow reader as well", async (t) => {
    const rig = new Rig(t);
    const bytes = pattern(200_000);
    const { client, service, relayed } = await setUp(rig);
    client.pause();
    const tally = new Tally(client);
    client.pause();
    service.write(bytes);
    await until(() => relayed.bytesDown === bytes.length);
    client.resume();
    await until(() => tally.bytes === bytes.length);
    service.resetAndDestroy();
    await until(() => failed(client));
    assert.equal(tally.hash, hashOf(bytes));
  });

  it("delivers an answer that came before a reset which only a write meets", async (t) => {
    const rig = new Rig(t);
    // No more than the service's kernel sends before anybody reads: the reset would drop the rest (64 KiB on Linux 6.1).
    const answer = pattern(50_000);
    // Closing with unread input resets; the answer lies before that.
    const target = await rig.serve((socket) => {
      socket.once("readable", () => {
        socket.end(answer);
        socket.once("finish", () => socket.resetAndDestroy());
      });
    });
    const { address, relayed } = rig.proxy(target);
    const client = await rig.connect(address);
    const tally = new Tally(client);
    client.write(pattern(64 << 20));
    await until(() => relayed[0]?.end !== undefined && relayed[0].end !== null);
    assert.deepEqual([relayed[0]!.end!.how, relayed[0]!.end!.side], ["reset", "upstream"]);
    assert.equal(relayed[0]!.bytesDown, answer.length);
    await until(() => client.destroyed || tally.bytes === answer.length);
  });

  it("carries one that came before the relay, behind what was queued", async (t) => {
    const rig = new Rig(t);
    const served: Socket[] = [];
    const target = await rig.serve((socket) => {
      served.push(socket.resume());
    });
    const accepted: EpollStream[] = [];
    const address = rig.listen((stream) => accepted.push(stream as EpollStream));
    const client = await rig.connect(address);
    client.resetAndDestroy();
    await until(() => accepted[0]?.ending === true);
    const record = rig.relay(accepted[0]!, target);
    record.upstream!.send(Buffer.from("PROXY header\r\n"));
    await until(() => record.end !== null);
    assert.deepEqual([record.end!.how, record.end!.side], ["reset", "downstream"]);
    await until(() => served[0]?.bytesRead === 14);
  });

  it("meets the reset of an upstream that accepts and resets at once", async (t) => {
    const rig = new Rig(t);
    const target = await rig.serve((socket) => socket.resetAndDestroy());
    const { address, relayed } = rig.proxy(target);
    const clients = await Promise.all(Array.from({ length: 20 }, () => rig.connect(address)));
    await until(() => relayed.length === 20 && relayed.every((each) => each.end !== null));
    for (const each of relayed) assert.deepEqual([each.end!.how, each.end!.side], ["reset", "upstream"]);
    await until(() => clients.every((client) => failed(client)));
  });

  it("ends only the connection whose event throws", async (t) => {
    const rig = new Rig(t);
    const { client, relayed } = await setUp(rig);
    const { client: other, relayed: spared } = await setUp(rig, (socket) => socket.pipe(socket));
    Object.defineProperty(relayed, "bytesUp", {
      set: () => {
        throw new Error("a fault of ours");
      },
    });
    client.write("x");
    await until(() => relayed.end !== null);
    assert.equal(relayed.end!.error?.code, "INTERNAL");
    assert.equal(relayed.end!.side, null);
    await until(() => failed(client));
    other.write("x");
    await until(() => other.bytesRead === 1);
    assert.equal(spared.end, null);
    assert.match(String(rig.faults.pop()), /a fault of ours/);
  });
});
