/**
 * Ensures that 600 connections that end in every way at once leave nothing behind: not a descriptor, not a count, not a pipe;
 * and that the sum over reasons is the number of connections accepted.
 */
import assert from "node:assert/strict";
import { connect, type Socket } from "node:net";
import { sumListener } from "../../lib/observe/counters.ts";
import { eventually, scenario } from "../gear/scene.ts";
import { abort, outcome, sendBulk } from "../gear/streams.ts";

const CONNECTIONS = 600;
// Enough to become bulk on the way.
const BULK = 400_009;

type Way = (socket: Socket) => Promise<unknown> | unknown;

/** What a client does once it is connected; the service answers everything with bulk and an end. */
const WAYS: readonly Way[] = [
  (socket) => socket.destroy(),
  (socket) => abort(socket),
  (socket) => {
    socket.end();
    return outcome(socket);
  },
  async (socket) => {
    await sendBulk(socket, BULK);
    socket.end();
    return outcome(socket);
  },
  async (socket) => {
    await sendBulk(socket, BULK);
    abort(socket);
  },
  // Reads a little, then breaks off.
  (socket) => {
    socket.once("data", () => abort(socket));
    socket.write("?");
    return outcome(socket);
  },
  // Asks, and never reads the answer: left to the idle deadline.
  (socket) => {
    socket.pause();
    socket.write("?");
  },
];

scenario("600 connections that end in every way", async (scene) => {
  let served = 0;
  const service = await scene.service((socket) => {
    served += 1;
    if (served % 11 === 0) return abort(socket);
    socket.resume();
    void sendBulk(socket, BULK).then(() => socket.end());
  });
  const stage = await scene.proxy({
    timeouts: { idle: "700ms", half_close: "700ms" },
    listeners: [{ name: "in", address: "127.0.0.1:0", routes: [{ tls: "none", cluster: "out" }] }],
    clusters: { out: { endpoints: [service.address] } },
  });
  let killed = 0;
  for (let made = 0; made < CONNECTIONS; ) {
    const batch: Promise<unknown>[] = [];
    for (let i = 0; i < 50 && made < CONNECTIONS; i += 1, made += 1) {
      const way = WAYS[made % WAYS.length]!;
      const socket = connect({ port: stage.port("in"), host: "127.0.0.1", allowHalfOpen: true });
      scene.onClose(() => {
        socket.destroy();
      });
      batch.push(
        new Promise<void>((resolve) => {
          socket.on("error", () => resolve());
          socket.on("connect", () => void Promise.resolve(way(socket)).then(() => resolve()));
          socket.on("close", () => resolve());
        }),
      );
    }
    const [row] = await stage.proxy.connections();
    if (row !== undefined && (await stage.proxy.kill(row["id"] as string))) killed += 1;
    await Promise.all(batch);
  }
  await eventually(
    () => stage.log.seen.length === CONNECTIONS,
    "one line per connection",
    () => `${stage.log.seen.length} lines`,
  );
  const totals = sumListener(stage.proxy.listenerRows().get("in")!);
  assert.equal(totals.active, 0);
  assert.equal(
    totals.reasons.reduce((sum, { total }) => sum + total, 0),
    CONNECTIONS,
  );
  for (const { reason, total } of totals.reasons) {
    assert.equal(total, stage.log.seen.filter((access) => access.reason === reason).length, reason);
  }
  const bytes = stage.log.seen.reduce((sum, access) => sum + access.bytes_up + access.bytes_down, 0);
  assert.equal(totals.bytesUp + totals.bytesDown, bytes);
  assert.equal(new Set(stage.log.seen.map(({ id }) => id)).size, CONNECTIONS);
  assert.equal(stage.log.seen.filter(({ reason }) => reason === "killed").length, killed);
  const odd = stage.log.seen.filter(({ reason }) => !EXPECTED.has(reason));
  assert.deepEqual(odd, []);
});

const EXPECTED = new Set(["ok", "client_reset", "upstream_reset", "idle", "half_close_timeout", "killed"]);
