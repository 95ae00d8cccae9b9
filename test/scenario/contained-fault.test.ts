/**
 * Ensures that a fault of ours in one connection's event ends that connection as `internal` with a reset, and nothing else. The
 * fault is put into the port that one connection calls, because no input is known to cause one. One thread, one transport: what
 * contains it is the story, which both transports share.
 */
import assert from "node:assert/strict";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { test } from "node:test";
import { directEndpoint } from "../../lib/cluster/endpoint.ts";
import { normalizeConfig } from "../../lib/config/parse.ts";
import { createSharedSources } from "../../lib/listen/sources.ts";
import { createClusterRow, createListenerRow, sumListener } from "../../lib/observe/counters.ts";
import { createSharedLines, linesIn } from "../../lib/observe/lines.ts";
import { createNetTransport } from "../../lib/transport/net/transport.ts";
import type { Stream, Transport } from "../../lib/transport/transport.ts";
import { BEATS, CONNECTION_LIMIT, CONNECTIONS, type Event, Worker } from "../../lib/worker.ts";
import { type Access, ending } from "../gear/scene.ts";

const FAULTS: Readonly<Record<string, Partial<Transport>>> = {
  "in the dial": {
    dial: () => {
      throw new Error("boom");
    },
  },
  "in a callback of the dial": {
    relay: () => {
      throw new Error("boom");
    },
  },
};

for (const [where, broken] of Object.entries(FAULTS)) {
  test(`a fault ${where} ends one connection`, async (t) => {
    const service = createServer((socket) => socket.on("error", () => {}).pipe(socket));
    await new Promise<void>((resolve) => service.listen(0, "127.0.0.1", resolve));
    const endpoint = directEndpoint({
      kind: "ip",
      host: "127.0.0.1",
      port: (service.address() as AddressInfo).port,
    });
    const config = normalizeConfig({
      listeners: [{ name: "in", address: "127.0.0.1:0", routes: [{ tls: "none", cluster: "a" }] }],
      clusters: { a: { endpoints: ["127.0.0.1:1"] } },
    });
    const net = createNetTransport();
    let faulty = false;
    const transport: Transport = {
      ...net,
      dial: (...args): Stream => (faulty ? (broken.dial ?? net.dial) : net.dial)(...args),
      relay: (...args): void => (faulty ? (broken.relay ?? net.relay) : net.relay)(...args),
    };
    const shared = {
      gauges: new Int32Array(new SharedArrayBuffer((BEATS + 1) * 4)),
      sources: createSharedSources(),
    };
    shared.gauges[CONNECTION_LIMIT] = 10;
    const row = createListenerRow();
    const shelf = createSharedLines();
    const lines: Access[] = [];
    let ready: (port: number) => void = () => {};
    const bound = new Promise<number>((resolve) => {
      ready = resolve;
    });
    const worker = new Worker(transport, 0, shared, shelf, (event: Event) => {
      if (event.type === "lines") {
        const text = linesIn(shelf, event.slot, event.length).toString();
        for (const line of text.trim().split("\n")) lines.push(JSON.parse(line) as Access);
      } else if (event.type === "prepared") {
        const address = event.addresses["in"];
        assert(address?.kind === "ip", JSON.stringify(event));
        ready(address.port);
      }
    });
    t.after(() => {
      worker.receive({ type: "stop" });
      service.close();
    });
    worker.receive({
      type: "prepare",
      plan: {
        generation: 1,
        config,
        identities: {},
        ticketKeys: new Uint8Array(48),
        sets: [{ cluster: "a", version: 1, resolved: true, endpoints: [endpoint] }],
        descriptors: {},
        listenerRows: { in: row },
        clusterRows: { a: createClusterRow() },
        listenerLive: { in: new Int32Array(new SharedArrayBuffer(4)) },
      } as never,
    });
    const port = await bound;
    worker.receive({ type: "commit", generation: 1 });

    const old = await dial(port);
    assert.equal(await echoed(old), "?");
    faulty = true;
    assert.equal(await ending(connect({ port, host: "127.0.0.1" })), "ECONNRESET");
    faulty = false;
    const late = await dial(port);
    assert.equal(await echoed(late), "?");
    assert.equal(await echoed(old), "?");
    worker.flush();
    assert.deepEqual(
      lines.map(({ reason, error, level }) => [reason, error, level]),
      [["internal", "boom", "warn"]],
    );
    assert.equal(shared.gauges[CONNECTIONS], 2);
    assert.equal(sumListener([row]).active, 2);
    assert.equal(endpoint.cell[0], 2, "the endpoint's load");
    old.destroy();
    late.destroy();
  });
}

function dial(port: number): Promise<Socket> {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1", () => resolve(socket));
    socket.on("error", () => {});
  });
}

function echoed(socket: Socket): Promise<string> {
  return new Promise((resolve) => {
    socket.once("data", (chunk) => resolve(chunk.toString()));
    socket.write("?");
  });
}
