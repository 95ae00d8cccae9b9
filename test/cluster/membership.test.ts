/** The control half of a cluster: merging sources, keeping cells, draining, reloads; and checks with real endpoints. */
import assert from "node:assert/strict";
import { createServer, type Socket } from "node:net";
import { it } from "node:test";
import { createBalancer } from "../../lib/cluster/balancer.ts";
import { type Clock, systemClock } from "../../lib/cluster/clock.ts";
import {
  ACTIVE,
  type Endpoint,
  type EndpointSet,
  enter,
  FAILURES,
  HEALTH,
  HEALTH_DOWN,
  HEALTH_DRAINING,
  HEALTH_EJECTED,
  HEALTH_UP,
  leave,
  SHARE,
} from "../../lib/cluster/endpoint.ts";
import { Cluster, type ClusterEvent } from "../../lib/cluster/membership.ts";
import type { ResolvedTarget, SourceEvent, SourceQuery, TargetSource } from "../../lib/cluster/source.ts";
import type { ClusterConfig, HealthConfig } from "../../lib/config/config.ts";
import { DnsClient } from "../../lib/dns/client.ts";
import { createTargetSource } from "../../lib/dns/source.ts";
import { parseAddress } from "../../lib/wire/address.ts";
import { a, srv, startResponder, zone } from "../gear/dns.ts";
import { clusterConfig, HandClock, seeded, staticSource } from "./gear.ts";

/** A source that answers when the test says so. */
class ScriptedSource implements TargetSource {
  readonly query: SourceQuery;
  running = false;
  answer: (targets: readonly ResolvedTarget[]) => void = () => assert.fail("not started");
  event: (event: SourceEvent) => void = () => assert.fail("not started");

  constructor(query: SourceQuery) {
    this.query = query;
  }

  start(
    onTargets: (targets: readonly ResolvedTarget[]) => void,
    onEvent: (event: SourceEvent) => void,
  ): void {
    this.running = true;
    this.answer = onTargets;
    this.event = onEvent;
  }

  stop(): void {
    this.running = false;
  }

  describe(): unknown {
    return { query: this.query };
  }
}

function clusterOf(
  overrides: Partial<ClusterConfig>,
  { clock = new HandClock() as Clock, previous = null as Cluster | null, onSet = () => {} } = {},
) {
  const sources: ScriptedSource[] = [];
  const sets: EndpointSet[] = [];
  const events: ClusterEvent[] = [];
  const cluster = new Cluster(
    clusterConfig(overrides),
    {
      createSource: (query) => {
        const source = new ScriptedSource(query);
        sources.push(source);
        return source;
      },
      connectTls: null,
      preamble: null,
      clock,
      random: seeded(1),
      onSet: (set) => {
        sets.push(set);
        onSet();
      },
      onEvent: (event) => events.push(event),
    },
    previous,
  );
  return { cluster, sources, sets, events };
}

function target(address: string, overrides: Partial<ResolvedTarget> = {}): ResolvedTarget {
  return { address, port: 80, name: "a.example.test", weight: 1, priority: 0, ...overrides };
}

const keysOf = (set: EndpointSet | undefined) => set?.endpoints.map((endpoint) => endpoint.key);
const SRV = { kind: "srv", name: "_web._tcp.example.test" } as const;

it("publishes configured addresses at once, UNIX ones too, and asks nobody", () => {
  const source = staticSource(
    "10.0.0.1:80",
    { address: "[::1]:81", weight: 3, priority: 1 },
    "unix:/run/web.sock",
  );
  const { cluster, sources, sets } = clusterOf({ source });
  cluster.start();
  assert.equal(sources.length, 0);
  assert.equal(sets.length, 1);
  assert.equal(sets[0]!.resolved, true);
  assert.deepEqual(keysOf(sets[0]), ["10.0.0.1:80", "[::1]:81", "unix:/run/web.sock"]);
  assert.deepEqual(
    sets[0]!.endpoints.map(({ weight, priority, name }) => [weight, priority, name]),
    [
      [1, 0, null],
      [3, 1, null],
      [1, 0, null],
    ],
  );
  assert.equal(cluster.set, sets[0]);
});

it("is unresolved until the first answer, and resolved by an empty one", () => {
  const { cluster, sources, sets } = clusterOf({ source: SRV });
  cluster.start();
  assert.deepEqual(
    sets.map((set) => set.resolved),
    [false],
  );
  sources[0]!.answer([]);
  assert.deepEqual(
    sets.map((set) => set.resolved),
    [false, true],
  );
  assert.deepEqual(cluster.set.endpoints, []);
});

it("asks for SRV, for names, and for each configured name with that entry's weight and priority", () => {
  assert.deepEqual(clusterOf({ source: SRV }).sources[0]!.query, SRV);
  const dns = { kind: "dns", host: "api.internal", port: 443 } as const;
  assert.deepEqual(clusterOf({ source: dns }).sources[0]!.query, { ...dns, kind: "name" });
  const { cluster, sources, sets } = clusterOf({
    source: staticSource(
      "10.0.0.1:80",
      { address: "a.example.test:80", weight: 5, priority: 2 },
      "b.example.test:80",
    ),
  });
  cluster.start();
  assert.equal(sets.at(-1)!.resolved, true);
  sources[0]!.answer([target("10.0.0.2"), target("10.0.0.3", { weight: 9, priority: 9 })]);
  sources[1]!.answer([target("::ffff:10.0.0.4", { name: "b.example.test" })]);
  assert.deepEqual(
    sets.at(-1)!.endpoints.map(({ key, weight, priority, name }) => [key, weight, priority, name]),
    [
      ["10.0.0.1:80", 1, 0, null],
      ["10.0.0.2:80", 5, 2, "a.example.test"],
      ["10.0.0.3:80", 5, 2, "a.example.test"],
      ["10.0.0.4:80", 1, 0, "b.example.test"],
    ],
  );
});

it("publishes an answer only when it differs, with a greater version", () => {
  const { cluster, sources, sets } = clusterOf({ source: SRV });
  cluster.start();
  const [source] = sources as [ScriptedSource];
  source.answer([target("10.0.0.1"), target("10.0.0.2")]);
  source.answer([target("10.0.0.2"), target("10.0.0.1")]);
  assert.equal(sets.length, 2);
  source.answer([target("10.0.0.1", { weight: 7 }), target("10.0.0.2")]);
  source.answer([target("10.0.0.1", { weight: 7 }), target("10.0.0.2", { priority: 1 })]);
  source.answer([
    target("10.0.0.1", { weight: 7 }),
    target("10.0.0.2", { priority: 1, name: "c.example.test" }),
  ]);
  assert.deepEqual(
    sets.map((set) => set.version),
    sets.map((_, index) => sets[0]!.version + index),
  );
  assert.equal(sets.length, 5);
  const cells = new Set(
    sets.slice(1).map((set) => set.endpoints.find(({ key }) => key === "10.0.0.1:80")!.cell),
  );
  assert.equal(cells.size, 1);
});

it("makes one endpoint of an address named twice: the better priority, else the sum of weights", () => {
  const { cluster, sources, sets } = clusterOf({ source: SRV });
  cluster.start();
  sources[0]!.answer([
    target("10.0.0.1", { weight: 2, priority: 5 }),
    target("10.0.0.1", { weight: 3, priority: 5 }),
    target("10.0.0.1", { weight: 90, priority: 6 }),
    target("10.0.0.1", { port: 81 }),
  ]);
  assert.deepEqual(
    sets.at(-1)!.endpoints.map(({ key, weight, priority }) => [key, weight, priority]),
    [
      ["10.0.0.1:80", 5, 5],
      ["10.0.0.1:81", 1, 0],
    ],
  );
});

it("drains who leaves as soon as the set is out, and gives the cell back to who returns", async () => {
  const clock = new HandClock();
  const { cluster, sources, sets, events } = clusterOf({ source: SRV }, { clock });
  cluster.start();
  const [source] = sources as [ScriptedSource];
  source.answer([target("10.0.0.1"), target("10.0.0.2")]);
  const [, leaver] = sets.at(-1)!.endpoints;
  enter(leaver!);
  const balancer = createBalancer("round_robin", sets.at(-1)!, seeded(1));
  source.answer([target("10.0.0.1")]);
  assert.equal(leaver!.cell[HEALTH], HEALTH_DRAINING);
  for (let turn = 0; turn < 10; turn++) assert.equal(balancer.pick(null, null)!.key, "10.0.0.1:80");
  assert.deepEqual(
    cluster.describe().endpoints.map(({ key, health, active, reason }) => [key, health, active, reason]),
    [
      ["10.0.0.1:80", "up", 0, null],
      ["10.0.0.2:80", "draining", 1, "removed from the set"],
    ],
  );
  await clock.pass(3_600_000);
  source.answer([target("10.0.0.2"), target("10.0.0.1")]);
  assert.equal(cluster.set.endpoints[0]!.cell, leaver!.cell);
  assert.equal(leaver!.cell[HEALTH], HEALTH_UP);
  assert.deepEqual(
    events.map(({ event, endpoint }) => `${event} ${endpoint}`),
    ["added 10.0.0.1:80", "added 10.0.0.2:80", "removed 10.0.0.2:80", "added 10.0.0.2:80"],
  );
});

it("leaves somebody to dial until the set that replaces all is out", () => {
  const seen: (number | undefined)[] = [];
  let leaver: Endpoint | undefined;
  const onSet = (): void => {
    seen.push(leaver?.cell[HEALTH]);
  };
  const { cluster, sources } = clusterOf({ source: SRV }, { onSet });
  cluster.start();
  sources[0]!.answer([target("10.0.0.1")]);
  leaver = cluster.set.endpoints[0]!;
  sources[0]!.answer([target("10.0.0.2")]);
  assert.deepEqual(seen, [undefined, undefined, HEALTH_UP]);
  assert.equal(leaver.cell[HEALTH], HEALTH_DRAINING);
});

it("forgets an idle endpoint ten minutes after it left, not one that has connections", async () => {
  const clock = new HandClock();
  const { cluster, sources } = clusterOf({ source: SRV }, { clock });
  cluster.start();
  const [source] = sources as [ScriptedSource];
  source.answer([target("10.0.0.1"), target("10.0.0.2"), target("10.0.0.3")]);
  const [, idle, busy] = cluster.set.endpoints;
  enter(busy!);
  source.answer([target("10.0.0.1")]);
  await clock.pass(601_000);
  source.answer([]);
  source.answer([target("10.0.0.2"), target("10.0.0.3")]);
  assert.notEqual(cluster.set.endpoints[0]!.cell, idle!.cell);
  assert.equal(cluster.set.endpoints[1]!.cell, busy!.cell);
});

it("ejects on a worker's report and remembers it over a flapping answer", async () => {
  const clock = new HandClock();
  const eject = { failures: 3, for: 10_000, maxPercent: 50 };
  const { cluster, sources, events } = clusterOf({ source: SRV, eject }, { clock });
  cluster.start();
  const [source] = sources as [ScriptedSource];
  const both = [target("10.0.0.1"), target("10.0.0.2")];
  source.answer(both);
  cluster.report("10.0.0.9:80", 3);
  cluster.report("10.0.0.1:80", 3);
  const [first] = cluster.set.endpoints;
  assert.equal(first!.cell[HEALTH], HEALTH_EJECTED);
  source.answer([target("10.0.0.2")]);
  source.answer(both);
  assert.equal(first!.cell[HEALTH], HEALTH_EJECTED);
  await clock.pass(10_000);
  assert.equal(first!.cell[HEALTH], HEALTH_UP);
  const told = events.filter(({ event }) => event === "ejected" || event === "returned");
  assert.deepEqual(
    told.map(({ level, message }) => `${level} ${message}`),
    [
      "warn cluster web: 10.0.0.1:80 ejected for 10000 ms: 3 failures in a row",
      "info cluster web: 10.0.0.1:80 returned from ejection",
    ],
  );
});

it("has nothing to say about an ejected endpoint that was forgotten meanwhile", async () => {
  const clock = new HandClock();
  const eject = { failures: 3, for: 3_600_000, maxPercent: 100 };
  const { cluster, sources, events } = clusterOf({ source: SRV, eject }, { clock });
  cluster.start();
  const [source] = sources as [ScriptedSource];
  source.answer([target("10.0.0.1")]);
  cluster.report("10.0.0.1:80", 3);
  source.answer([]);
  await clock.pass(601_000);
  source.answer([target("10.0.0.2")]);
  await clock.pass(3_600_000);
  assert.equal(clock.pending, 0);
  assert.equal(
    events.some(({ event }) => event === "returned"),
    false,
  );
});

it("passes on what a source has to tell, and hears nothing after stop", () => {
  const { cluster, sources, sets, events } = clusterOf({ source: SRV });
  cluster.start();
  const [source] = sources as [ScriptedSource];
  source.event({ level: "warn", message: "SERVFAIL" });
  assert.deepEqual(events, [
    { cluster: "web", endpoint: null, event: "resolver", level: "warn", message: "SERVFAIL" },
  ]);
  cluster.stop();
  assert.equal(source.running, false);
  source.answer([target("10.0.0.1")]);
  source.event({ level: "warn", message: "late" });
  assert.equal(sets.length, 1);
  assert.equal(events.length, 1);
});

it("has an empty, resolved set where the client names the address", () => {
  const { cluster, sets } = clusterOf({ source: { kind: "original", port: null } });
  cluster.start();
  assert.equal(sets.at(-1)!.resolved, true);
  assert.deepEqual(sets.at(-1)!.endpoints, []);
  assert.equal(cluster.describe().panic, false);
});

it("carries answers, load and versions over a reload, and drains whom the new configuration lacks", () => {
  const before = clusterOf({ source: SRV });
  before.cluster.start();
  before.sources[0]!.answer([target("10.0.0.1"), target("10.0.0.2")]);
  for (const endpoint of before.cluster.set.endpoints) enter(endpoint);
  const cells = before.cluster.set.endpoints.map((endpoint) => endpoint.cell);

  const after = clusterOf({ source: SRV, slowStart: 5000 }, { previous: before.cluster });
  assert.equal(before.sources[0]!.running, true);
  // Workers get this set with the new configuration: nobody waits for an answer that is known.
  assert.equal(after.cluster.set, before.cluster.set);
  after.cluster.start();
  assert.equal(before.sources[0]!.running, false);
  assert.equal(after.cluster.set.resolved, true);
  assert.ok(after.cluster.set.version > before.cluster.set.version);
  assert.deepEqual(
    after.cluster.set.endpoints.map((endpoint) => cells.indexOf(endpoint.cell)),
    [0, 1],
  );
  // Who was up all the time does not start slowly.
  assert.deepEqual(
    after.cluster.describe().endpoints.map(({ health, share }) => [health, share]),
    [
      ["up", 1],
      ["up", 1],
    ],
  );

  const last = clusterOf({ source: staticSource("10.0.0.2:80") }, { previous: after.cluster });
  assert.equal(last.cluster.set.resolved, false);
  last.cluster.start();
  assert.equal(last.cluster.set.endpoints[0]!.cell, cells[1]);
  assert.equal(cells[0]![HEALTH], HEALTH_DRAINING);
  assert.equal(cells[1]![ACTIVE], 1);
  leave(last.cluster.set.endpoints[0]!);
});

it("drains an idle endpoint that a reload takes away, and knows it when it returns", async () => {
  const clock = new HandClock();
  const before = clusterOf({ source: staticSource("10.0.0.1:80", "10.0.0.2:80") }, { clock });
  before.cluster.start();
  const [, leaver] = before.cluster.set.endpoints;
  const after = clusterOf({ source: staticSource("10.0.0.1:80") }, { clock, previous: before.cluster });
  after.cluster.start();
  assert.equal(leaver!.cell[HEALTH], HEALTH_DRAINING);
  const again = clusterOf(
    { source: staticSource("10.0.0.2:80", "10.0.0.1:80") },
    { clock, previous: after.cluster },
  );
  again.cluster.start();
  assert.equal(again.cluster.set.endpoints[0]!.cell, leaver!.cell);
  assert.equal(leaver!.cell[HEALTH], HEALTH_UP);
});

it("keeps the floor under removals over a reload: an answer after it counts from the set before it", async (t) => {
  const zoneOf = (octets: readonly number[]) =>
    zone(
      octets.flatMap((octet) => {
        const name = `n${octet}.example.test`;
        return [srv(SRV.name, [0, 1, 80, name]), a(name, `10.0.0.${octet}`)];
      }),
    );
  const all = Array.from({ length: 10 }, (_, index) => index + 1);
  const dns = await startResponder(t, zoneOf(all));
  const client = new DnsClient({ servers: [dns] });
  /** The cluster of one more generation, once DNS has answered it. */
  const reload = async (previous: Cluster | null, overrides: Partial<ClusterConfig>): Promise<Cluster> => {
    const answers: string[] = [];
    const cluster = new Cluster(
      clusterConfig({ source: SRV, ...overrides }),
      {
        createSource: (query, config) =>
          createTargetSource(query, config, client, (_name, result) => answers.push(result)),
        connectTls: null,
        preamble: null,
        clock: systemClock,
        random: Math.random,
        onSet: () => {},
        onEvent: () => {},
      },
      previous,
    );
    t.after(() => cluster.stop());
    cluster.start();
    while (answers.length === 0) await new Promise(setImmediate);
    return cluster;
  };
  const first = await reload(null, {});
  assert.equal(first.set.endpoints.length, 10);
  dns.say(zone([]));
  const second = await reload(first, { balance: "random" });
  assert.equal(second.set.endpoints.length, 10, "NXDOMAIN after a full answer");
  dns.say(zoneOf([1]));
  const third = await reload(second, { balance: "least_connections" });
  assert.equal(third.set.endpoints.length, 10, "one of ten: nine are to be confirmed");
});

it("goes on with a slow start that a reload comes into, in the new configuration's time", async () => {
  const clock = new HandClock();
  const before = clusterOf({ source: SRV, slowStart: 60_000 }, { clock });
  before.cluster.start();
  before.sources[0]!.answer([target("10.0.0.1")]);
  before.sources[0]!.answer([]);
  before.sources[0]!.answer([target("10.0.0.1")]);
  await clock.pass(30_000);
  const { cell } = before.cluster.set.endpoints[0]!;
  assert.equal(cell[SHARE], 550);
  const after = clusterOf({ source: SRV, slowStart: 20_000 }, { clock, previous: before.cluster });
  after.cluster.start();
  assert.equal(cell[SHARE], 550);
  await clock.pass(5000);
  assert.equal(cell[SHARE], 775);
  const last = clusterOf({ source: SRV, slowStart: 0 }, { clock, previous: after.cluster });
  last.cluster.start();
  assert.equal(cell[SHARE], 1000);
  assert.equal(clock.pending, 0);
});

it("ends an ejection with a reload, and forgets the failures that led to it", () => {
  const eject = { failures: 3, for: 10_000, maxPercent: 50 };
  const before = clusterOf({ source: SRV, eject });
  before.cluster.start();
  before.sources[0]!.answer([target("10.0.0.1"), target("10.0.0.2")]);
  const [{ cell }] = before.cluster.set.endpoints as [Endpoint];
  cell[FAILURES] = 3;
  before.cluster.report("10.0.0.1:80", 3);
  assert.equal(cell[HEALTH], HEALTH_EJECTED);
  const after = clusterOf({ source: SRV, eject, slowStart: 5000 }, { previous: before.cluster });
  after.cluster.start();
  assert.deepEqual([cell[HEALTH], cell[FAILURES]], [HEALTH_UP, 0]);
});

it("does not take an endpoint that was checked for a new one after a reload: one failure says little", async (t) => {
  let well = true;
  let probes = 0;
  const upstream = createServer((socket) => {
    probes++;
    socket.on("error", () => {});
    if (well) socket.end("ready");
    else socket.resetAndDestroy();
  });
  await new Promise<void>((resolve) => upstream.listen(0, "127.0.0.1", resolve));
  t.after(() => upstream.close());
  const { port } = upstream.address() as { port: number };
  const health: HealthConfig = {
    ...{ interval: 10, timeout: 500, rise: 2, fall: 6 },
    ...{ check: "tcp", send: null, expect: "ready" },
  };
  const source = staticSource(`127.0.0.1:${port}`);
  const before = clusterOf({ source, health }, { clock: systemClock });
  t.after(() => before.cluster.stop());
  before.cluster.start();
  while (probes < 2) await new Promise(setImmediate); // the first one has ended
  well = false;
  probes = 0;
  const after = clusterOf(
    { source, health, slowStart: 1000 },
    { clock: systemClock, previous: before.cluster },
  );
  t.after(() => after.cluster.stop());
  after.cluster.start();
  while (after.events.length === 0) await new Promise(setImmediate);
  assert.equal(after.events[0]!.event, "down");
  assert.ok(probes >= health.fall, `down after ${probes} probes`);
});

it("takes an endpoint out while it does not accept, and back in when it does", async (t) => {
  const sockets = new Set<Socket>();
  let mode: "serve" | "reset" = "serve";
  const upstream = createServer((socket) => {
    sockets.add(socket);
    socket.on("error", () => {}).on("close", () => sockets.delete(socket));
    if (mode === "reset") socket.resetAndDestroy();
    else socket.write("ready");
  });
  await new Promise<void>((resolve) => upstream.listen(0, "127.0.0.1", resolve));
  const { port } = upstream.address() as { port: number };
  const events: string[] = [];
  let heard: (() => void) | null = null;
  const cluster = new Cluster(
    clusterConfig({
      source: {
        kind: "static",
        endpoints: [{ address: parseAddress(`127.0.0.1:${port}`) as never, weight: 1, priority: 0 }],
      },
      health: { interval: 10, timeout: 500, rise: 2, fall: 2, check: "tcp", send: null, expect: "ready" },
    }),
    {
      createSource: () => assert.fail("nothing to resolve"),
      connectTls: null,
      preamble: null,
      clock: systemClock,
      random: Math.random,
      onSet: () => {},
      onEvent: ({ event }) => {
        events.push(event);
        heard?.();
      },
    },
  );
  t.after(() => {
    cluster.stop();
    upstream.close();
    for (const socket of sockets) socket.destroy();
  });
  // Real timers of the cluster keep no process alive, so the test must.
  const alive = setInterval(() => {}, 1000);
  t.after(() => clearInterval(alive));
  const next = () =>
    new Promise<void>((resolve) => {
      heard = resolve;
    });
  const down = next();
  mode = "reset";
  cluster.start();
  await down;
  assert.equal(cluster.set.endpoints[0]!.cell[HEALTH], HEALTH_DOWN);
  assert.equal(cluster.describe().panic, true);
  const up = next();
  mode = "serve";
  await up;
  assert.equal(cluster.set.endpoints[0]!.cell[HEALTH], HEALTH_UP);
  const gone = next();
  await new Promise<void>((resolve) => {
    upstream.close(() => resolve());
    for (const socket of sockets) socket.destroy();
  });
  await gone;
  assert.deepEqual(events, ["down", "up", "down"]);
});
