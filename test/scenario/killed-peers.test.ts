/**
 * Ensures that a peer that goes away in any state of the story leaves nothing behind but its one line: clients and upstreams in every
 * state at once close, or reset, or are killed as a process, and whoever is left hears of it.
 */
import assert from "node:assert/strict";
import { setTimeout as pause } from "node:timers/promises";
import { authority, leaf } from "../gear/certificates.ts";
import { deadServer } from "../gear/dns.ts";
import { type ClusterInput, edgeConfig, type ListenerInput, MUTUAL, type RouteInput } from "../gear/edge.ts";
import { FarPeer, type FarSocket, type FarTls } from "../gear/far.ts";
import { mute } from "../gear/fleet.ts";
import { moved, stalled } from "../gear/flow.ts";
import { answerableHello, records } from "../gear/hellos.ts";
import { type Leg, NAME } from "../gear/legs.ts";
import { reasons } from "../gear/peers.ts";
import { eventually, type Scene, type Stage, scenario } from "../gear/scene.ts";
import { openTcpSockets } from "../gear/sockets.ts";

type Way = "close" | "reset" | "kill";

/** A connection between the two peers in a state; each state has a listener and a cluster of its own. */
interface State {
  readonly name: string;
  readonly phase: string;
  readonly listener?: Partial<ListenerInput>;
  readonly route?: Partial<RouteInput>;
  readonly cluster?: ClusterInput;
  /** What the upstream is to do with TLS; default: it has none. */
  readonly upstream?: FarTls;
  /** Brings it there. `door` is the proxy's port, `port` the upstream's. Resolves with what the survivor does then. */
  readonly enter: (door: number, port: number) => Promise<Survive>;
  /** The reason when the peer closes or is killed, and when it resets. */
  readonly closed: string;
  readonly reset: string;
  /** It takes all of the CPU: entered when the others stand. */
  readonly busy?: boolean;
}

type Survive = () => Promise<unknown>;

/** What the states are made of in one round. */
interface Cast {
  readonly scene: Scene;
  readonly client: FarPeer;
  readonly upstream: FarPeer;
  readonly way: Way;
  readonly alice: FarTls;
  readonly server: FarTls;
}

const ORIGINATE = { tls: { identity: "alice", server_name: NAME } } as const;
const HELLO = records(answerableHello(NAME));
const MIB = 1024 * 1024;

/** States that only a client can be in, or in which the upstream is not there yet. */
async function clientStates({ scene, client, upstream, way, alice }: Cast): Promise<State[]> {
  // A client's end is no reason to stop looking for an upstream for it: it may have sent all of its request. So deadlines end those.
  const patience = way === "reset" ? "30s" : "300ms";
  const waiting = { timeouts: { connect: patience, handshake: patience } };
  const nothing: Survive = async () => {};
  const says = (bytes: Uint8Array | string, tls?: FarTls) => async (door: number) => {
    const socket = await client.connect(door, tls);
    if (bytes.length > 0) await socket.write(bytes);
    return nothing;
  };
  const state = (name: string, phase: string, closed: string, more: Partial<State>): State => ({
    name,
    phase,
    closed,
    reset: "client_reset",
    enter: says(""),
    ...more,
  });
  const header: Partial<State> = {
    listener: { proxy_protocol: { mode: "require", trusted: ["127.0.0.0/8"] } },
  };
  return [
    state("accepted", "sniff", "bad_hello", { route: MUTUAL }),
    state("header-awaited", "sniff", "bad_proxy_header", header),
    state("header-begun", "sniff", "bad_proxy_header", { ...header, enter: says("PROXY TCP4 192.0.") }),
    state("hello-begun", "sniff", "bad_hello", { route: MUTUAL, enter: says(HELLO.subarray(0, 40)) }),
    state("hello-answered", "handshake", "client_reset", {
      route: MUTUAL,
      enter: says("", { ...alice, flights: 1 }),
    }),
    state("last-flight-begun", "handshake", "client_reset", {
      route: MUTUAL,
      enter: says("", { ...alice, flights: 1.5 }),
    }),
    state("pick", "pick", "no_endpoint", {
      listener: waiting,
      cluster: { discover: { srv: "_db._tcp.example.test" } },
    }),
    state("dial", "dial", "dial_timeout", {
      listener: waiting,
      cluster: { endpoints: [await mute(scene)] },
    }),
    state("originate", "originate", "upstream_handshake_failed", {
      listener: waiting,
      cluster: ORIGINATE,
      enter: async (door, port) => {
        await client.connect(door);
        const silent = await upstream.accept(port);
        return () => over(silent);
      },
    }),
  ];
}

/** States that only an upstream can be in. */
function upstreamStates({ scene, client, upstream, server }: Cast): State[] {
  const enter = (flights: number | null) => async (door: number, port: number) => {
    const socket = await client.connect(door);
    if (flights !== null) await upstream.accept(port);
    return () => over(socket);
  };
  const state = (name: string, flights: number | null, more: Partial<State> = {}): State => ({
    name,
    phase: "originate",
    cluster: ORIGINATE,
    ...(flights === null ? {} : { upstream: { ...server, flights } }),
    enter: enter(flights),
    closed: "upstream_handshake_failed",
    reset: "upstream_handshake_failed",
    ...more,
  });
  return [
    state("hello-unread", null),
    state("hello-read", 0),
    state("first-flight-begun", 0.5),
    state("first-flight-sent", 1, {
      phase: "relay",
      closed: afterTls(scene, "upstream"),
      reset: "upstream_reset",
    }),
  ];
}

/** States in which both are there; `victim` is the one that goes. */
function relayStates(
  { scene, client, upstream, alice, server }: Cast,
  victim: "client" | "upstream",
): State[] {
  const gone = `${victim}_reset`;
  const states: State[] = [];
  const add = (
    leg: Leg,
    name: string,
    closed: string,
    enter: (victim: FarSocket, witness: FarSocket) => Promise<Survive>,
    busy = false,
  ): void => {
    states.push({
      name: `${leg}:${name}`,
      phase: "relay",
      ...(leg === "plain" ? {} : { route: MUTUAL, cluster: ORIGINATE, upstream: server }),
      enter: async (door, port) => {
        const here = await client.connect(door, leg === "plain" ? undefined : alice);
        const there = await upstream.accept(port);
        return victim === "client" ? enter(here, there) : enter(there, here);
      },
      closed,
      reset: gone,
      busy,
    });
  };
  for (const leg of ["plain", "tls"] as const) {
    const end = leg === "plain" ? "ok" : afterTls(scene, victim);
    add(leg, "idle", end, async (_, witness) => () => over(witness));
    add(leg, "its-data-in-flight", end, async (one, witness) => {
      await one.flood();
      return () => over(witness);
    });
    add(leg, "data-for-it-in-flight", gone, async (_, witness) => {
      await witness.flood();
      return () => witness.ended();
    });
    add(leg, "half-closed-by-itself", gone, async (one, witness) => {
      await one.finish();
      await witness.ended();
      // It is quite gone already as far as the other side can tell, until that says something.
      return () => witness.flood();
    });
    add(leg, "half-closed-by-the-other", end, async (one, witness) => {
      await witness.finish();
      await one.ended();
      return () => witness.ended();
    });
    add(
      leg,
      "bulk-both-ways",
      gone,
      async (one, witness) => {
        await Promise.all([one.read(), witness.read(), one.flood(), witness.flood()]);
        return () => witness.ended();
      },
      true,
    );
  }
  return states;
}

/** TLS that ends without close_notify is cut off; on net it cannot be told from an end (README). */
function afterTls({ transport }: Scene, victim: "client" | "upstream"): string {
  return transport === "net" ? "ok" : `${victim}_reset`;
}

/** Hears the other side out, and ends as well. */
async function over(socket: FarSocket): Promise<void> {
  await socket.ended();
  await socket.finish();
}

for (const victim of ["client", "upstream"] as const) {
  scenario(`the ${victim} is gone, in every state: closed, reset, killed`, async (scene) => {
    const { cert: ca } = await authority();
    const peers = {
      scene,
      client: await FarPeer.start(scene),
      upstream: await FarPeer.start(scene),
      alice: { ...(await leaf("alice")), ca, servername: NAME },
      server: { ...(await leaf("server")), ca },
    };
    for (const way of ["close", "reset", "kill"] as const) await round({ ...peers, way }, victim);
  });
}

async function round(cast: Cast, victim: "client" | "upstream"): Promise<void> {
  const { scene, upstream, way } = cast;
  const own = victim === "client" ? await clientStates(cast) : upstreamStates(cast);
  const states = [...relayStates(cast, victim), ...own];
  const ports = await Promise.all(states.map((state) => upstream.listen(state.upstream)));
  const { identities } = await edgeConfig(scene, { port: 1 }, [], { identities: ["alice"] });
  const silent = await deadServer(scene);
  const stage = await scene.proxy({
    dns: { servers: [`${silent.host}:${silent.port}`] },
    identities: identities!,
    listeners: states.map(({ name, listener, route }) => ({
      name,
      address: "127.0.0.1:0",
      ...listener,
      routes: [{ tls: "none", cluster: name, ...route }],
    })),
    clusters: Object.fromEntries(
      states.map(({ name, cluster }, index) => [
        name,
        cluster?.discover === undefined && cluster?.endpoints === undefined
          ? { endpoints: [`127.0.0.1:${ports[index]}`], ...cluster }
          : cluster,
      ]),
    ),
  });
  const before = openTcpSockets();
  const survivals: Survive[] = [];
  const enter = async (state: State): Promise<void> => {
    survivals.push(await state.enter(stage.port(state.name), ports[states.indexOf(state)]!));
    await reached(stage, state);
  };
  for (const state of states) if (state.busy !== true && state.phase === "relay") await enter(state);
  const flow = await stalled(stage);
  for (const state of states) if (state.phase !== "relay") await enter(state);
  for (const state of states) if (state.busy === true) await enter(state);
  await moved(stage, { up: flow.up + 2 * MIB, down: flow.down + 2 * MIB });

  if (way === "kill") await cast[victim].kill();
  else await cast[victim].leave(way);
  await Promise.all(survivals.map((survive) => survive()));
  const seen = stage.log.seen;
  await eventually(
    () => seen.length === states.length,
    `one line each, ${way}`,
    () =>
      `none of ${states.filter(({ name }) => !seen.some(({ listener }) => listener === name)).map(({ name }) => name)}`,
  );
  const expected = states.map((state) => [state.name, way === "reset" ? state.reset : state.closed] as const);
  assert.deepEqual(
    Object.fromEntries(seen.map(({ listener, reason }) => [listener, reason])),
    Object.fromEntries(expected),
    way,
  );
  for (const [name, reason] of expected) assert.deepEqual(reasons(stage, name), { [reason]: 1 }, name);
  await stage.settled();
  await eventually(
    () => openTcpSockets() === before,
    `sockets at the baseline, ${way}`,
    () => `${openTcpSockets()} open, ${before} before`,
  );
}

/** Resolves when the connection is where it is to be killed, or was too slow to be met there. */
async function reached(stage: Stage, { name, phase }: State): Promise<void> {
  for (;;) {
    const rows = await stage.proxy.connections();
    if (rows.some((row) => row["listener"] === name && row["phase"] === phase)) return;
    if (stage.log.seen.some(({ listener }) => listener === name)) return;
    await pause(5);
  }
}
