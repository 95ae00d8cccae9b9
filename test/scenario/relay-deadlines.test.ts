/** Ensures that idle, half-close and lifetime end a connection with their own reason, each at its time and not before. */
import assert from "node:assert/strict";
import type { Socket } from "node:net";
import { setTimeout as pause } from "node:timers/promises";
import { get } from "../gear/admin.ts";
import { Exposition } from "../gear/exposition.ts";
import { legs } from "../gear/legs.ts";
import { RawClient } from "../gear/raw-client.ts";
import { ending, readAll, scenario } from "../gear/scene.ts";
import { Arrivals, outcome, sendForever } from "../gear/streams.ts";

// Small, and far apart: which one fired is told by the reason, the duration only shows that it was not early.
const SHORT = 250;
const PACE = 100;

scenario("idle: no byte at all, then one direction only", async (scene) => {
  const arrivals = new Arrivals();
  const { stage, connect } = await legs(scene, ["plain", "plain"], arrivals.talk, {
    timeouts: { idle: `${SHORT}ms`, half_close: "60s" },
  });
  const silent = await connect();
  assert.equal(await ending(silent), "end");
  const quiet = await stage.access();
  assert.equal(quiet.reason, "idle");
  assert(quiet.duration_ms >= SHORT, `${quiet.duration_ms} ms`);

  await arrivals.next();
  const listening = await connect();
  const service = await arrivals.next();
  listening.resume();
  await drip(service, 5);
  service.end();
  listening.end();
  const dripped = await stage.access();
  assert.equal(dripped.reason, "ok");
  assert.equal(dripped.bytes_down, 5);
  assert(dripped.duration_ms > SHORT);
});

scenario(
  "idle while a reader is stuck: what was not delivered is told by neither line nor metric, and the end is no orderly one",
  async (scene) => {
    const arrivals = new Arrivals();
    const { stage } = await legs(scene, ["plain", "plain"], arrivals.talk, {
      timeouts: { idle: `${SHORT}ms`, half_close: "60s" },
      admin: { listen: "127.0.0.1:0" },
    });
    const stuck = new RawClient({ kind: "ip", host: "127.0.0.1", port: stage.port("in") });
    scene.onClose(() => stuck.close());
    void sendForever(await arrivals.next());
    const access = await stage.access();
    assert.equal(access.reason, "idle");
    const { body } = await get(stage, "/metrics");
    const counted = new Exposition(body).value("millrace_bytes_total", { listener: "in", direction: "down" });
    assert.equal(access.bytes_down, counted);
    assert.equal(await stuck.ended(), "ECONNRESET");
  },
);

scenario("half-closed and vanished: each side in turn, and the clock restarts on progress", async (scene) => {
  const arrivals = new Arrivals();
  const { stage, connect } = await legs(scene, ["plain", "plain"], arrivals.talk, {
    timeouts: { idle: "60s", half_close: `${SHORT}ms` },
  });
  for (const ender of ["client", "service"] as const) {
    const client = await connect();
    const service = await arrivals.next();
    const [first, other] = ender === "client" ? [client, service] : [service, client];
    const seen = ending(first);
    first.end("the end");
    assert.equal((await readAll(other)).toString(), "the end");
    assert.equal(await seen, "ECONNRESET");
    const access = await stage.access();
    assert.equal(access.reason, "half_close_timeout");
    assert(access.duration_ms >= SHORT, `${access.duration_ms} ms`);
    other.destroy();
  }

  const client = await connect();
  const service = await arrivals.next();
  const all = readAll(client);
  client.end();
  await drip(service, 5);
  service.end();
  assert.equal((await all).length, 5);
  const access = await stage.access();
  assert.equal(access.reason, "ok");
  assert(access.duration_ms > SHORT);
});

scenario("lifetime ends a connection on which bytes flow", async (scene) => {
  const arrivals = new Arrivals();
  const { stage, connect } = await legs(scene, ["plain", "plain"], arrivals.talk, {
    timeouts: { lifetime: `${SHORT}ms` },
  });
  const client = await connect();
  void sendForever(await arrivals.next());
  await outcome(client);
  const access = await stage.access();
  assert.equal(access.reason, "lifetime");
  // Up to a tenth earlier, so that connections born together do not end together.
  assert(access.duration_ms >= SHORT * 0.9, `${access.duration_ms} ms`);
});

scenario("a TLS upstream that never answers the hello", async (scene) => {
  const silent = await scene.service((socket) => socket.resume());
  const stage = await scene.proxy({
    timeouts: { handshake: `${SHORT}ms` },
    listeners: [{ name: "in", address: "127.0.0.1:0", routes: [{ tls: "none", cluster: "out" }] }],
    clusters: { out: { endpoints: [silent.address], tls: { server_name: "localhost" } } },
  });
  assert.equal(await ending(await scene.client(stage.port("in"))), "ECONNRESET");
  const access = await stage.access();
  assert.equal(access.reason, "upstream_handshake_failed");
  assert.match(access.error!, /no complete TLS handshake within 250 ms/);
  assert(access.duration_ms >= SHORT, `${access.duration_ms} ms`);
});

/** One byte every PACE ms: each within the limit, all of them beyond it. */
async function drip(socket: Socket, bytes: number): Promise<void> {
  for (let i = 0; i < bytes; i += 1) {
    socket.write(".");
    await pause(PACE);
  }
}
