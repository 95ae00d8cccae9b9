/** Which route takes a connection, and how that is explained. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { ListenerConfig, RouteConfig, RouteMatch } from "../../lib/config/config.ts";
import { explainRoute } from "../../lib/route/explain.ts";
import { compileRoutes, type RouteQuery } from "../../lib/route/table.ts";

type RouteShape = Partial<RouteMatch> & { tls?: RouteConfig["tls"] };

function route(name: string, { tls = "passthrough", ...match }: RouteShape = {}): RouteConfig {
  return {
    name,
    match: { sni: [], alpn: [], from: [], destination: [], ...match },
    tls,
    identity: null,
    clientAuth: "none",
    allow: [],
    alpn: [],
    tlsMin: "1.2",
    cluster: name,
  };
}

function listener(routes: RouteConfig[], fallback: RouteConfig | null = null): ListenerConfig {
  return {
    name: "edge",
    address: { kind: "ip", host: "::", port: 443 },
    proxyProtocol: { mode: "off", trusted: [], position: "outer" },
    transparent: "off",
    limits: { connections: null, perSource: null },
    timeouts: { hello: 0, handshake: 0, connect: 0, idle: 0, halfClose: 0, lifetime: 0, drain: 0 },
    routes,
    default: fallback,
  };
}

function query(parts: Partial<RouteQuery> = {}): RouteQuery {
  return {
    serverName: null,
    alpn: [],
    from: "192.0.2.1",
    destination: { kind: "ip", host: "10.0.0.1", port: 443 },
    tls: true,
    ...parts,
  };
}

function named(routes: RouteConfig[], fallback: RouteConfig | null = null) {
  const table = compileRoutes(listener(routes, fallback));
  return (parts: Partial<RouteQuery> | string) => {
    const asked = query(typeof parts === "string" ? { serverName: parts } : parts);
    const hit = table.match(asked);
    assert.equal(explainRoute(table, asked).hit, hit);
    return hit?.name ?? null;
  };
}

test("an exact name beats a wildcard, whatever the file order", () => {
  const match = named([
    route("wild", { sni: ["*.example.test"] }),
    route("exact", { sni: ["db.example.test"] }),
  ]);
  assert.deepEqual([match("db.example.test"), match("web.example.test")], ["exact", "wild"]);
});

test("* is exactly one label, ** one or more, and neither is the bare domain", () => {
  const one = named([route("one", { sni: ["*.example.test"] })]);
  assert.deepEqual(["a.example.test", "a.b.example.test", "example.test", "aexample.test"].map(one), [
    "one",
    null,
    null,
    null,
  ]);
  const many = named([route("many", { sni: ["**.example.test"] })]);
  assert.deepEqual(["a.example.test", "a.b.example.test", "example.test", "aexample.test"].map(many), [
    "many",
    "many",
    null,
    null,
  ]);
});

test("the longest suffix wins, then one label over many, then file order", () => {
  const match = named([
    route("top", { sni: ["**.test"] }),
    route("many", { sni: ["**.example.test"] }),
    route("one", { sni: ["*.example.test"] }),
    route("second", { sni: ["*.example.test"] }),
    route("deep", { sni: ["**.b.example.test"] }),
  ]);
  assert.deepEqual(
    ["a.example.test", "x.y.example.test", "x.b.example.test", "b.example.test", "x.test", "test"].map(match),
    ["one", "many", "deep", "one", "top", null],
  );
});

test("a candidate whose other predicates fail passes the connection on", () => {
  const match = named([
    route("h2", { sni: ["a.test"], alpn: ["h2"] }),
    route("inside", { sni: ["a.test"], from: ["10.0.0.0/8"] }),
    route("wild", { sni: ["*.test"], destination: ["10.0.0.1:8443"] }),
    route("postgres", { alpn: ["postgresql"] }),
    route("rest"),
  ]);
  const name = { serverName: "a.test" };
  assert.equal(match({ ...name, alpn: ["http/1.1", "h2"] }), "h2");
  assert.equal(match({ ...name, from: "10.1.1.1" }), "inside");
  assert.equal(match({ ...name, destination: { kind: "ip", host: "10.0.0.1", port: 8443 } }), "wild");
  assert.equal(match({ ...name, alpn: ["postgresql"] }), "postgres");
  assert.equal(match(name), "rest");
  assert.equal(match({ ...name, from: null }), "rest");
});

test("no name, no match and no default end in nothing; a default takes the rest", () => {
  assert.equal(named([route("a", { sni: ["a.test"] })])({}), null);
  assert.equal(named([route("a", { sni: ["a.test"] })])("b.test"), null);
  assert.equal(named([route("a", { sni: ["a.test"] })], route("last"))("b.test"), "last");
  assert.equal(named([])({}), null);
});

test("a stream without TLS reaches only routes that take bytes, also the default", () => {
  const plain = { tls: false };
  const match = named([route("tls"), route("bytes", { tls: "none" })]);
  assert.deepEqual([match(plain), match({})], ["bytes", "tls"]);
  assert.equal(named([route("bytes", { tls: "none" }), route("tls")])({}), "bytes");
  assert.equal(named([], route("last"))(plain), null);
  assert.equal(named([], route("last", { tls: "none" }))(plain), "last");
  assert.equal(named([route("n", { tls: "none", sni: ["a.test"] })])("a.test"), "n");
});

test("a table says what has to be read before it can answer", () => {
  const facts = (routes: RouteConfig[], fallback: RouteConfig | null = null) => {
    const { needsHello, clientFirst, needsTls } = compileRoutes(listener(routes, fallback));
    return { needsHello, clientFirst, needsTls };
  };
  const bytes = route("bytes", { tls: "none" });
  const tls = route("tls");
  assert.deepEqual(facts([], bytes), { needsHello: false, clientFirst: false, needsTls: false });
  assert.deepEqual(facts([tls]), { needsHello: true, clientFirst: true, needsTls: true });
  assert.deepEqual(facts([tls], bytes), { needsHello: true, clientFirst: false, needsTls: false });
  assert.deepEqual(facts([bytes], tls), { needsHello: true, clientFirst: false, needsTls: false });
  const both = facts([route("n", { tls: "none", sni: ["a"] })]);
  assert.deepEqual(both, { needsHello: true, clientFirst: true, needsTls: false });
  assert.deepEqual(facts([]), { needsHello: false, clientFirst: false, needsTls: true });
});

test("a server-first destination beside TLS routes need not wait for a hello", () => {
  const smtp = route("smtp", { tls: "none", destination: ["10.0.0.0/8:25"] });
  const tls = route("tls", { destination: ["10.0.0.0/8:443"] });
  const name = route("name", { sni: ["a.test"], from: ["172.16.0.0/12"] });
  const table = compileRoutes(listener([tls, smtp, name]));
  const at = (port: number) => ({ kind: "ip", host: "10.0.0.1", port }) as const;
  assert.equal(table.matchEarly("192.0.2.1", at(25)), smtp);
  assert.equal(table.matchEarly("192.0.2.1", at(443)), null);
  assert.equal(table.matchEarly("172.16.0.1", at(25)), null);
  assert.equal(table.matchEarly("192.0.2.1", at(80)), null);
  const last = route("last", { tls: "none" });
  assert.equal(compileRoutes(listener([tls], last)).matchEarly(null, at(80)), last);
  assert.equal(compileRoutes(listener([tls], route("last"))).matchEarly(null, at(80)), null);
});

test("an explanation names every route once, with what made it hit or miss", () => {
  const table = compileRoutes(
    listener(
      [
        route("web", { sni: ["web.test"] }),
        route("wild", { sni: ["**.test", "*.test"] }),
        route("h2", { sni: ["db.test", "*.test"], alpn: ["h2", "h3"] }),
        route("inside", { from: ["10.0.0.0/8"] }),
        route("port", { destination: ["10.0.0.0/8:25"] }),
      ],
      route("last", { tls: "none" }),
    ),
  );
  const say = (parts: Partial<RouteQuery>) =>
    explainRoute(table, query(parts)).steps.map(
      ({ route, verdict, why }) => `${route.name} ${verdict}: ${why}`,
    );
  assert.deepEqual(say({ serverName: "db.test", alpn: ["x"] }), [
    "h2 missed: alpn x has none of h2, h3",
    "wild hit: sni *.test",
    "web missed: sni db.test is not in web.test",
    "inside missed: not asked: wild comes first",
    "port missed: not asked: wild comes first",
    "last missed: not asked: wild comes first",
  ]);
  assert.deepEqual(say({}), [
    "inside missed: from 192.0.2.1 is not in 10.0.0.0/8",
    "port missed: destination 10.0.0.1:443 is not in 10.0.0.0/8:25",
    "last hit: takes what no other route takes",
    "web missed: no server name, wanted web.test",
    "wild missed: no server name, wanted **.test, *.test",
    "h2 missed: no server name, wanted db.test, *.test",
  ]);
  assert.equal(
    say({ tls: false, from: "10.0.0.1" })[0],
    "inside missed: tls passthrough needs a ClientHello, the stream has none",
  );
  assert.equal(say({ serverName: "db.test", alpn: ["h3"] })[0], "h2 hit: sni db.test, alpn h3");
  assert.equal(
    say({ from: null })[0],
    "inside missed: no client address was given (--from), wanted 10.0.0.0/8",
  );
  assert.equal(
    say({ from: null, destination: { kind: "unix", path: "/run/in.sock" } })[0],
    "inside missed: from a UNIX socket is not in 10.0.0.0/8",
  );
});

test("addresses that are none are refused when the table is made", () => {
  assert.throws(() => compileRoutes(listener([route("x", { from: ["10.0.0.0/99"] })])), RangeError);
  assert.throws(() => compileRoutes(listener([route("x", { destination: ["10.0.0.0/8"] })])), RangeError);
});
