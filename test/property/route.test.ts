/** The routing table beside a matcher that does it the slow and obvious way. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { ListenerConfig, RouteConfig } from "../../lib/config/config.ts";
import { explainRoute } from "../../lib/route/explain.ts";
import { compileRoutes, type RouteQuery } from "../../lib/route/table.ts";

const label = fc.constantFrom("a", "b", "c");
const name = fc.array(label, { minLength: 1, maxLength: 4 }).map((labels) => labels.join("."));
const pattern = fc.tuple(fc.constantFrom("", "", "*.", "**."), name).map((parts) => parts.join(""));
const protocol = fc.constantFrom("h2", "http/1.1", "postgresql");
const hosts = ["10.0.0.1", "10.1.0.1", "192.0.2.1", "fd00::1"];
const block = fc.constantFrom("10.0.0.0/8", "10.0.0.0/16", "192.0.2.1", "fd00::/8");
const target = fc.constantFrom("10.0.0.0/8:25", "10.0.0.0/16:1-100", "[fd00::/8]:443", "192.0.2.1:443");
const few = <T>(one: fc.Arbitrary<T>) =>
  fc.oneof({ weight: 2, arbitrary: fc.constant([]) }, fc.array(one, { maxLength: 3 }));
const tls = fc.constantFrom<RouteConfig["tls"]>("none", "passthrough", "terminate");

const shape = fc.record({
  sni: few(pattern),
  alpn: few(protocol),
  from: few(block),
  destination: few(target),
  tls,
});

type Shape = typeof shape extends fc.Arbitrary<infer T> ? T : never;

function route(index: number, { tls, ...match }: Shape): RouteConfig {
  const fixed = {
    identity: null,
    clientAuth: "none",
    allow: [],
    alpn: [],
    tlsMin: "1.2",
    cluster: "c",
  } as const;
  return { name: `r${index}`, match, tls, ...fixed };
}

const listener = fc
  .tuple(fc.array(shape, { maxLength: 8 }), fc.option(tls))
  .map(([shapes, last]): ListenerConfig => {
    const none = { sni: [], alpn: [], from: [], destination: [] };
    return {
      name: "edge",
      address: { kind: "ip", host: "::", port: 443 },
      proxyProtocol: { mode: "off", trusted: [], position: "outer" },
      transparent: "off",
      limits: { connections: null, perSource: null },
      timeouts: { hello: 0, handshake: 0, connect: 0, idle: 0, halfClose: 0, lifetime: 0, drain: 0 },
      routes: shapes.map((one, i) => route(i, one)),
      default: last === null ? null : route(99, { ...none, tls: last }),
    };
  });

const destination = fc.record({
  kind: fc.constant("ip" as const),
  host: fc.constantFrom(...hosts),
  port: fc.constantFrom(25, 443),
});
const query: fc.Arbitrary<RouteQuery> = fc.oneof(
  fc.record({
    serverName: fc.option(name),
    alpn: few(protocol),
    from: fc.option(fc.constantFrom(...hosts)),
    destination,
    tls: fc.constant(true),
  }),
  fc.record({
    serverName: fc.constant(null),
    alpn: fc.constant([]),
    from: fc.option(fc.constantFrom(...hosts)),
    destination,
    tls: fc.constant(false),
  }),
);

/** How specific a route's names are for a name: the larger, the more; 0: any name will do; null: not this one. */
function rank(names: readonly string[], serverName: string | null): number | null {
  if (names.length === 0) return 0;
  let best: number | null = null;
  for (const one of names) {
    const labels = serverName?.split(".") ?? [];
    const stars = one.startsWith("**.") ? 2 : one.startsWith("*.") ? 1 : 0;
    const suffix = one.split(".").slice(stars === 0 ? 0 : 1);
    const covered =
      suffix.length <= labels.length &&
      labels.slice(labels.length - suffix.length).join(".") === suffix.join(".");
    const before = labels.length - suffix.length;
    if (!covered || (stars === 0 ? before !== 0 : stars === 1 ? before !== 1 : before < 1)) continue;
    const value = stars === 0 ? 1000 : suffix.length * 10 + (stars === 1 ? 1 : 0);
    best = Math.max(best ?? 0, value);
  }
  return best;
}

// The four blocks and targets by hand: no parser shared with what is tested.
const INSIDE: Record<string, (host: string) => boolean> = {
  "10.0.0.0/8": (host) => host.startsWith("10."),
  "10.0.0.0/16": (host) => host.startsWith("10.0."),
  "192.0.2.1": (host) => host === "192.0.2.1",
  "fd00::/8": (host) => host.startsWith("fd"),
};
const AIMED: Record<string, (host: string, port: number) => boolean> = {
  "10.0.0.0/8:25": (host, port) => host.startsWith("10.") && port === 25,
  "10.0.0.0/16:1-100": (host, port) => host.startsWith("10.0.") && port <= 100,
  "[fd00::/8]:443": (host, port) => host.startsWith("fd") && port === 443,
  "192.0.2.1:443": (host, port) => host === "192.0.2.1" && port === 443,
};

function naive(listener: ListenerConfig, query: RouteQuery): RouteConfig | null {
  const holds = ({ match, tls }: RouteConfig): boolean => {
    const { host, port } = query.destination as { host: string; port: number };
    if (!query.tls && tls !== "none") return false;
    if (match.alpn.length > 0 && !match.alpn.some((one) => query.alpn.includes(one))) return false;
    if (match.from.length > 0 && !match.from.some((one) => query.from !== null && INSIDE[one]!(query.from)))
      return false;
    return match.destination.length === 0 || match.destination.some((one) => AIMED[one]!(host, port));
  };
  const able = listener.routes
    .filter(holds)
    .map((route, order) => ({ route, order, rank: rank(route.match.sni, query.serverName) }))
    .filter((one) => one.rank !== null);
  able.sort((a, b) => b.rank! - a.rank! || a.order - b.order);
  if (able[0] !== undefined) return able[0].route;
  return listener.default !== null && holds(listener.default) ? listener.default : null;
}

test("the table answers as the naive matcher does, and so does its explanation", () => {
  fc.assert(
    fc.property(listener, fc.array(query, { minLength: 1, maxLength: 20 }), (config, queries) => {
      const table = compileRoutes(config);
      for (const asked of queries) {
        const want = naive(config, asked);
        assert.equal(table.match(asked), want);
        const { hit, steps } = explainRoute(table, asked);
        assert.equal(hit, want);
        assert.deepEqual(new Set(steps.map((step) => step.route)), new Set(table.routes));
        assert.equal(steps.length, table.routes.length);
        assert.deepEqual(
          steps.filter((step) => step.verdict === "hit").map((step) => step.route),
          want === null ? [] : [want],
        );
      }
    }),
    { numRuns: 500 },
  );
});

test("an early answer is the answer to everything the client may say", () => {
  fc.assert(
    fc.property(listener, fc.array(query, { minLength: 5, maxLength: 20 }), (config, queries) => {
      const table = compileRoutes(config);
      const { from, destination } = queries[0]!;
      const early = table.matchEarly(from, destination);
      if (!table.needsHello) assert.equal(early, table.match({ ...queries[0]!, from, destination }));
      if (table.clientFirst) assert.equal(early, null);
      if (early === null) return;
      for (const asked of queries) assert.equal(table.match({ ...asked, from, destination }), early);
    }),
    { numRuns: 500 },
  );
});
