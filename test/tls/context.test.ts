/** What contexts are made of, when they may share sessions, and how ticket keys age. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { ClusterConfig, RouteConfig } from "../../lib/config/config.ts";
import { clientSpec, serverSpec } from "../../lib/tls/context.ts";
import type { Identity } from "../../lib/tls/identity.ts";
import { TicketKeys } from "../../lib/tls/tickets.ts";

const route: RouteConfig = {
  name: "web",
  match: { sni: [], alpn: [], from: [], destination: [] },
  tls: "terminate",
  identity: "edge",
  clientAuth: "required",
  allow: [{ kind: "cn", value: "alice" }],
  alpn: ["h2"],
  tlsMin: "1.2",
  cluster: "web",
};
const identity: Identity = {
  name: "edge",
  cert: "CERT",
  key: "KEY",
  ca: "CA",
  crl: null,
  notBefore: 0,
  notAfter: 1,
  subject: "CN=edge",
  names: [],
  fingerprint: "00",
  chain: 1,
  authorities: 1,
  version: "1",
  warnings: [],
};
const cluster = {
  name: "db",
  tls: { identity: null, serverName: null, verify: [], alpn: [], tlsMin: "1.3" },
} as unknown as ClusterConfig;

test("every part of the policy has sessions of its own", () => {
  const of = (r: Partial<RouteConfig>, i: Partial<Identity> = {}) =>
    Buffer.from(serverSpec({ ...route, ...r }, { ...identity, ...i }, null).sessionContext).toString("hex");
  const base = of({});
  assert.equal(base.length, 64);
  assert.equal(
    of({ alpn: [] }, { cert: "RENEWED", key: "NEW", version: "2" }),
    base,
    "renewal keeps sessions",
  );
  const others = [
    of({ name: "api" }),
    of({ cluster: "api" }),
    of({ clientAuth: "optional" }),
    of({ allow: [{ kind: "any" }] }),
    of({ allow: [{ kind: "ou", value: "alice" }] }),
    of({}, { ca: "OTHER" }),
    of({}, { crl: "CRL" }),
  ];
  assert.equal(new Set([base, ...others]).size, others.length + 1);
});

test("a route without what it needs is refused", () => {
  assert.throws(
    () => serverSpec(route, { ...identity, cert: null, key: null }, null),
    /route web: identity edge has no certificate/,
  );
  assert.throws(() => serverSpec(route, { ...identity, ca: null }, null), /no ca to verify clients with/);
  assert.doesNotThrow(() =>
    serverSpec({ ...route, clientAuth: "none", allow: [] }, { ...identity, ca: null }, null),
  );
  assert.throws(() => clientSpec({ ...cluster, tls: null }, null), /cluster db/);
});

test("originating without an identity shows nothing and trusts the system", () => {
  const spec = clientSpec(cluster, null);
  assert.deepEqual([spec.cert, spec.key, spec.ca, spec.minVersion], [null, null, null, "1.3"]);
});

test("ticket keys are fresh, stay for a period and are replaced after it", () => {
  let now = 1000;
  const keys = new TicketKeys({ now: () => now, period: 500 });
  const first = keys.current();
  assert.equal(first.length, 48);
  now = 1499;
  assert.equal(keys.current(), first);
  assert.equal(keys.due(), 1);
  now = 1500;
  const second = keys.current();
  assert.notDeepEqual(second, first);
  assert.equal(keys.current(), second);
  keys.rotate();
  assert.notDeepEqual(keys.current(), second);
});
