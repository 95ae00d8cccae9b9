/** Ensures that calls are made in order whether they enter the kernel together or one by one, and that each caller hears of its own. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { describe, it, type TestContext } from "node:test";
import { EAGAIN, EBADF, EINPROGRESS } from "../../../lib/ffi/errno.ts";
import { AF_INET, EPOLLET, EPOLLIN } from "../../../lib/ffi/layout.ts";
import { connect as begin, close as closeNow, epollCreate, setNonBlocking } from "../../../lib/ffi/libc.ts";
import { decodeSockaddr, encodeSockaddr } from "../../../lib/ffi/sockaddr.ts";
import { bindListener } from "../../../lib/listen/socket.ts";
import * as calls from "../../../lib/transport/epoll/batch.ts";
import { SLOTS, WorkerMemory } from "../../../lib/transport/epoll/memory.ts";
import { LOOPBACK, skip } from "./rig.ts";

// Two calls are made together, whatever that costs here.
process.env.MILLRACE_IO_URING = "on";

/** Connected to a peer of Node's; keeps what it hears. */
class Probe implements calls.Caller {
  descriptor = -1;
  generation = 7;
  interest = EPOLLIN | EPOLLET;
  readonly heard: [number, number][] = [];
  readonly faults: unknown[] = [];
  /** What a RECV or a PEEK showed. */
  text = "";
  act: (call: number, address: number, length: number) => void = () => {};
  readonly #memory: WorkerMemory;

  constructor(memory: WorkerMemory) {
    this.#memory = memory;
  }

  called(call: number, result: number, address: number, length: number): void {
    this.heard.push([call, result]);
    if (call === calls.SOCKET) this.descriptor = result;
    if (call <= calls.PEEK && result > 0) this.text += this.#memory.shown(address, result).toString();
    this.act(call, address, result > 0 && call === calls.RECV ? result : length);
  }

  onFault(thrown: unknown): void {
    this.faults.push(thrown);
  }
}

async function setUp(t: TestContext, ring: boolean) {
  const memory = new WorkerMemory();
  const epoll = epollCreate(0);
  const batch = new calls.Batch(memory, epoll, ring ? calls.openRing() : null, (caller, thrown) =>
    caller.onFault(thrown),
  );
  const sockets: Socket[] = [];
  const server = createServer((socket) => sockets.push(socket.on("error", () => {}))).listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => {
    batch.release();
    closeNow(epoll);
    server.close();
    for (const socket of sockets) socket.destroy();
  });
  const { port } = server.address() as AddressInfo;
  const sockaddr = encodeSockaddr({ kind: "ip", host: "127.0.0.1", port });
  /** A connected one, and its peer. */
  const pair = async (): Promise<[Probe, Socket]> => {
    const probe = new Probe(memory);
    batch.socket(probe, AF_INET);
    batch.flush();
    memory.addressBytes.set(sockaddr);
    assert.equal(begin(probe.descriptor, memory.address, sockaddr.length), -EINPROGRESS);
    assert.deepEqual(probe.heard.splice(0), [[calls.SOCKET, probe.descriptor]]);
    const count = sockets.length;
    while (sockets.length === count) await new Promise((resolve) => setImmediate(resolve));
    return [probe, sockets.at(-1)!];
  };
  return { memory, batch, pair, port };
}

for (const ring of calls.openRing() === null ? [false] : [false, true]) {
  describe(`batch, ${ring ? "together" : "one by one"}`, { skip }, () => {
    it("makes a round in its order, and what it leads to in the next one", async (t) => {
      const { batch, pair } = await setUp(t, ring);
      const [one, far] = await pair();
      const [two, other] = await pair();
      await new Promise((resolve) => other.write("over to you", resolve));
      let got = "";
      far.on("data", (chunk) => {
        got += chunk;
      });
      // What one receives the other one sends, out of the same slot, and closes behind it.
      two.act = (call, address, length) => {
        if (call !== calls.RECV) return;
        batch.send(one, address, length);
        batch.close(one.descriptor);
        batch.close(two.descriptor);
      };
      batch.watch(one);
      batch.peek(two, 4);
      batch.recv(two);
      batch.flush();
      assert.equal(batch.waiting, 0);
      assert.deepEqual(two.heard, [
        [calls.PEEK, 4],
        [calls.RECV, 11],
      ]);
      assert.equal(two.text, "overover to you");
      assert.deepEqual(one.heard, [
        [calls.WATCH, 0],
        [calls.SEND, 11],
      ]);
      await once(far, "end");
      assert.equal(got, "over to you");
    });

    it("resets, and closes in order", async (t) => {
      const { batch, pair } = await setUp(t, ring);
      const [gone, far] = await pair();
      const failed = once(far, "error");
      batch.reset(gone.descriptor);
      batch.flush();
      assert.equal(((await failed)[0] as NodeJS.ErrnoException).code, "ECONNRESET");
      const [closed, its] = await pair();
      batch.close(closed.descriptor);
      batch.flush();
      await once(its.resume(), "end");
    });

    it("tells every caller, whatever another one throws, and of many more calls than go together", async (t) => {
      const { batch, memory, pair } = await setUp(t, ring);
      const [one] = await pair();
      const fault = new Error("mine");
      const probes = Array.from({ length: 1000 }, () => new Probe(memory));
      probes.forEach((probe, index) => {
        probe.descriptor = 1_000_000;
        probe.act = () => {
          if (index % 100 === 0) throw fault;
        };
        batch.watch(probe);
      });
      batch.recv(one);
      batch.flush();
      for (const { heard } of probes) assert.deepEqual(heard, [[calls.WATCH, -EBADF]]);
      assert.equal(probes.filter(({ faults }) => faults[0] === fault).length, 10);
      assert.deepEqual(one.heard, [[calls.RECV, -EAGAIN]]);
      batch.close(one.descriptor);
    });

    it("has so many slots and no more in a round", async (t) => {
      const { batch, pair } = await setUp(t, ring);
      const [one, far] = await pair();
      await new Promise((resolve) => far.write("x".repeat(SLOTS), resolve));
      for (let count = 0; count < SLOTS; count++) assert.equal(batch.peek(one, count + 1), true);
      assert.equal(batch.recv(one), false);
      batch.flush();
      assert.deepEqual(
        one.heard.map(([, result]) => result),
        Array.from({ length: SLOTS }, (_, count) => count + 1),
      );
      assert.equal(batch.recv(one), true);
      batch.flush();
      batch.close(one.descriptor);
    });

    it("accepts, with the address of each, and does not wait for more", async (t) => {
      const { batch, memory } = await setUp(t, ring);
      // Before Linux 6.10 nobody asks for it where there is a ring.
      if (ring && !batch.accepts) return;
      const bound = bindListener("test", LOOPBACK);
      setNonBlocking(bound.descriptor);
      const { port } = bound.address as { port: number };
      const clients = [connect(port, "127.0.0.1"), connect(port, "127.0.0.1")];
      await Promise.all(clients.map((client) => once(client, "connect")));
      const listener = new Probe(memory);
      listener.descriptor = bound.descriptor;
      const ports: number[] = [];
      listener.act = (_, address, length) => {
        const [, result] = listener.heard.at(-1)!;
        if (result < 0) return;
        const client = decodeSockaddr(memory.blockBytes, address, length);
        if (client.kind === "ip") ports.push(client.port);
        batch.close(result);
      };
      for (let count = 0; count < 3; count++) batch.accept(listener);
      batch.flush();
      assert.deepEqual(
        ports,
        clients.map((client) => client.localPort),
      );
      assert.deepEqual(listener.heard[2], [calls.ACCEPT, -EAGAIN]);
      bound.close();
      for (const client of clients) client.destroy();
    });
  });
}
