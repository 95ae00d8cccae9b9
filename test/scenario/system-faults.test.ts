/**
 * Ensures that a machine that is out of descriptors, memory or ports costs what needs them and no more: the listener outlives every
 * error of accept(2), a dial that fails here is not held against the endpoint, bulk without pipes is copied, old connections go
 * on, and everything works again as soon as the system does.
 */
import assert from "node:assert/strict";
import { CONNECTIONS } from "../../lib/worker.ts";
import { FarPeer, type FarSocket } from "../gear/far.ts";
import { endpointOf, plainProxy } from "../gear/fleet.ts";
import { eventually, type Scene, type Stage, scenario, TRANSPORTS } from "../gear/scene.ts";
import { openTcpSockets } from "../gear/sockets.ts";
import { failing, tracing } from "../gear/system-faults.ts";

const needs = tracing();

// Enough to become bulk.
const BULK = 3_000_017;

interface Play {
  readonly stage: Stage;
  readonly client: FarPeer;
  /** As `/clusters` names it. */
  readonly endpoint: string;
  /** A connection that stood before. */
  readonly old: FarSocket;
}

/** An echo behind a proxy that ejects an endpoint at its first failure. */
async function play(scene: Scene): Promise<Play> {
  const client = await FarPeer.start(scene);
  const endpoint = `127.0.0.1:${await client.echo()}`;
  const stage = await plainProxy(scene, {
    endpoints: [endpoint],
    eject: { failures: 1, for: "60s", max_percent: 100 },
  });
  const old = await client.connect(stage.port("in"));
  await echoed(old, 1);
  return { stage, client, endpoint, old };
}

/** Sends a byte, the `count`th, and hears it back. */
async function echoed(socket: FarSocket, count: number): Promise<void> {
  await socket.write("x");
  assert.equal((await socket.heard(count)).bytes, count);
}

/** How a client ends that is not served. The reset may be faster than the news that it is connected. */
async function refusal(client: FarPeer, stage: Stage): Promise<string> {
  try {
    return (await (await client.connect(stage.port("in"))).ended()).how;
  } catch (error) {
    return (error as Error).message;
  }
}

scenario(
  "accept(2) fails: old connections go on, and who waits is served in the end",
  async (scene) => {
    const { stage, client, old } = await play(scene);
    let count = 1;
    for (const error of ["EMFILE", "ENFILE", "ENOBUFS", "ENOMEM", "ECONNABORTED", "EPROTO", "EPERM"]) {
      let waiting: FarSocket | null = null;
      const failed = await failing("accept4", error, async () => {
        waiting = await client.connect(stage.port("in"));
        count += 1;
        await echoed(old, count);
        assert.equal(stage.proxy.gauges[CONNECTIONS], 1, "only the old one is in");
      });
      assert(failed > 0, error);
      await echoed(waiting!, 1);
      await waiting!.finish();
      assert.equal((await stage.access()).reason, "ok", error);
    }
    await old.finish();
    assert.equal((await stage.access()).reason, "ok");
  },
  TRANSPORTS,
  needs,
);

scenario(
  "a dial fails here: the line says why, and the endpoint is not to blame",
  async (scene) => {
    const { stage, client, endpoint, old } = await play(scene);
    const before = openTcpSockets();
    for (const [call, error, says] of [
      ["socket", "EMFILE", /no descriptor is left \(EMFILE\); raise LimitNOFILE/],
      ["socket", "ENFILE", /no descriptor is left on this machine \(ENFILE\)/],
      ["socket", "ENOBUFS", /no memory for sockets \(ENOBUFS\)/],
      ["connect", "EADDRNOTAVAIL", /no local port is free \(EADDRNOTAVAIL\)/],
    ] as const) {
      const failed = await failing(call, error, async () => {
        assert.match(await refusal(client, stage), /ECONNRESET/, error);
        const access = await stage.access();
        assert.equal(access.reason, "dial_failed", error);
        assert.match(access.error!, says);
      });
      assert.equal(failed, 1, error);
      await eventually(() => openTcpSockets() === before, `no socket is left after ${error}`);
      assert.equal(endpointOf(stage, endpoint)?.health, "up", error);
      const served = await client.connect(stage.port("in"));
      await echoed(served, 1);
      await served.finish();
      assert.equal((await stage.access()).reason, "ok", error);
    }
    await echoed(old, 2);
    await old.finish();
    assert.equal((await stage.access()).reason, "ok");
  },
  TRANSPORTS,
  needs,
);

scenario(
  "bulk without pipes, or without splice(2), is copied, and arrives",
  async (scene) => {
    const upstream = await FarPeer.start(scene);
    const client = await FarPeer.start(scene);
    const port = await upstream.listen();
    for (const [call, error] of [
      ["pipe2", "ENFILE"],
      ["fcntl", "EPERM"],
      ["splice", "EINVAL"],
    ] as const) {
      const stage = await plainProxy(scene, { endpoints: [`127.0.0.1:${port}`] });
      const here = await client.connect(stage.port("in"));
      const there = await upstream.accept(port);
      const failed = await failing(call, error, async () => {
        await Promise.all([here.read(), there.read(), here.bulk(BULK), there.bulk(BULK)]);
        const [up, down] = await Promise.all([here.finish(), there.finish()]);
        assert.deepEqual(await there.ended(), { ...up, how: "end" }, call);
        assert.deepEqual(await here.ended(), { ...down, how: "end" }, call);
      });
      assert.equal(failed > 0, scene.transport === "epoll", `${failed} calls of ${call} failed`);
      const access = await stage.access();
      assert.deepEqual([access.reason, access.bytes_up, access.bytes_down], ["ok", BULK, BULK], call);
    }
  },
  TRANSPORTS,
  needs,
);

// The portable transport stands on libuv, which gives up the process where it cannot watch a socket.
scenario(
  "a socket that cannot be watched is turned away, and the line says why",
  async (scene) => {
    const { stage, client, endpoint, old } = await play(scene);
    const before = openTcpSockets();
    const failed = await failing("epoll_ctl", "ENOSPC", async () => {
      assert.match(await refusal(client, stage), /ECONNRESET/);
      const access = await stage.access();
      assert.equal(access.reason, "internal");
      assert.match(access.error!, /epoll_ctl\(\): ENOSPC/);
      await echoed(old, 2);
    });
    assert(failed > 0);
    assert.equal(endpointOf(stage, endpoint)?.health, "up");
    await eventually(() => openTcpSockets() === before, "no socket is left");
    const served = await client.connect(stage.port("in"));
    await echoed(served, 1);
    for (const socket of [served, old]) {
      await socket.finish();
      assert.equal((await stage.access()).reason, "ok");
    }
  },
  ["epoll"],
  needs,
);
