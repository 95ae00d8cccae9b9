/** Which rules let which peers in. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { PeerRule } from "../../lib/config/config.ts";
import { compileRules, provesName, type Subjects, validateRule } from "../../lib/tls/rules.ts";
import type { Peer } from "../../lib/transport/transport.ts";

function peer(parts: Partial<Peer>): Peer {
  return {
    subject: "CN=test",
    commonName: null,
    organizationalUnits: [],
    dns: [],
    uris: [],
    ips: [],
    fingerprint: "ab".repeat(32),
    serial: "01",
    notBefore: 0,
    notAfter: 1,
    ...parts,
  };
}

const lets = (rule: PeerRule, parts: Partial<Peer>, subjects?: Subjects) =>
  compileRules([rule], subjects)(peer(parts)) !== null;
const spiffe = (value: string, ...uris: string[]) => lets({ kind: "spiffe", value }, { uris });
const dns = (value: string, name: string, subjects?: Subjects) =>
  lets({ kind: "dns", value }, { dns: [name] }, subjects);

test("an empty list lets nobody in", () => {
  assert.equal(compileRules([])(peer({ commonName: "alice", dns: ["a.test"] })), null);
});

test("the first rule that fits is named", () => {
  const rules: PeerRule[] = [{ kind: "cn", value: "bob" }, { kind: "ou", value: "ops" }, { kind: "any" }];
  const match = compileRules(rules);
  assert.equal(match(peer({ commonName: "alice", organizationalUnits: ["x", "ops"] })), rules[1]);
  assert.equal(match(peer({})), rules[2]);
});

test("a SPIFFE star is exactly one segment", () => {
  const rule = "spiffe://example.test/ns/prod/*";
  assert.ok(spiffe(rule, "spiffe://example.test/ns/prod/web"));
  assert.ok(!spiffe(rule, "spiffe://example.test/ns/prod"));
  assert.ok(!spiffe(rule, "spiffe://example.test/ns/prod/"));
  assert.ok(!spiffe(rule, "spiffe://example.test/ns/prod/web/x"));
  assert.ok(!spiffe(rule, "spiffe://example.test/ns/dev/web"));
  assert.ok(!spiffe(rule, "spiffe://other.test/ns/prod/web"));
  assert.ok(!spiffe(rule, "spiffe://example.test:443/ns/prod/web"));
  assert.ok(!spiffe(rule, "spiffe://example.test/ns/prod/web?x=1"));
  assert.ok(!spiffe(rule, "spiffe://example.test/ns/prod/.."));
  assert.ok(!spiffe(rule, "spiffe://example.test/ns/prod/*"));
  assert.ok(!spiffe(rule, "https://example.test/ns/prod/web"));
  assert.ok(spiffe("spiffe://example.test/*/prod", "spiffe://example.test/a/prod"));
});

test("two SPIFFE stars at the end are one or more segments", () => {
  const rule = "spiffe://example.test/ns/**";
  assert.ok(spiffe(rule, "spiffe://example.test/ns/a"));
  assert.ok(spiffe(rule, "spiffe://example.test/ns/a/b/c"));
  assert.ok(!spiffe(rule, "spiffe://example.test/ns"));
  assert.ok(!spiffe(rule, "spiffe://example.test/other/a"));
});

test("a certificate with two URIs has no SPIFFE ID", () => {
  const id = "spiffe://example.test/a";
  assert.ok(spiffe(id, id));
  assert.ok(!spiffe(id, id, "https://example.test/"));
  assert.ok(!spiffe("spiffe://example.test/*", id, id));
});

test("a DNS star is exactly one label and never the bare domain", () => {
  const rule = "*.clients.example.test";
  assert.ok(dns(rule, "alice.clients.example.test"));
  assert.ok(!dns(rule, "clients.example.test"));
  assert.ok(!dns(rule, "a.b.clients.example.test"));
  assert.ok(!dns(rule, "alice.xclients.example.test"));
  assert.ok(!dns(rule, ".clients.example.test"));
  assert.ok(dns("Alice.Example.Test", "alice.example.test"), "names know no case");
});

test("a wildcard certificate names no client, but serves as a server's", () => {
  const wildcard = "*.example.test";
  assert.ok(!dns("a.example.test", wildcard, "clients"));
  assert.ok(!dns("*.example.test", wildcard, "clients"));
  assert.ok(dns("a.example.test", wildcard, "servers"));
  assert.ok(dns("*.example.test", wildcard, "servers"));
  assert.ok(!dns("a.b.example.test", wildcard, "servers"));
});

test("each kind of proof counts only for itself", () => {
  assert.ok(!lets({ kind: "dns", value: "web.test" }, { commonName: "web.test" }, "servers"));
  assert.ok(!lets({ kind: "cn", value: "web.test" }, { dns: ["web.test"] }));
  assert.ok(!lets({ kind: "cn", value: "alice" }, { commonName: "Alice" }));
  assert.ok(!lets({ kind: "dns", value: "10.0.0.1" }, { dns: ["10.0.0.1"] }));
  assert.ok(lets({ kind: "dns", value: "10.0.0.1" }, { ips: ["10.0.0.1"] }));
  assert.ok(lets({ kind: "dns", value: "2001:DB8::0:1" }, { ips: ["2001:db8::1"] }));
  assert.ok(lets({ kind: "fingerprint", value: "ab".repeat(32) }, {}));
  assert.ok(!lets({ kind: "fingerprint", value: "cd".repeat(32) }, {}));
});

test("a name is proved as RFC 9525 has it", () => {
  const proves = (name: string, parts: Partial<Peer>) => provesName(peer(parts), name);
  assert.ok(proves("Web.Example.Test.", { dns: ["web.example.test"] }));
  assert.ok(proves("web.example.test", { dns: ["*.example.test"] }));
  assert.ok(!proves("example.test", { dns: ["*.example.test"] }));
  assert.ok(!proves("a.web.example.test", { dns: ["*.example.test"] }));
  assert.ok(!proves("example.test", { dns: ["*.test"] }), "a star above one label is too much");
  assert.ok(!proves("web.example.test", { commonName: "web.example.test" }));
  assert.ok(proves("10.0.0.1", { ips: ["10.0.0.1"] }));
  assert.ok(!proves("10.0.0.1", { dns: ["10.0.0.1", "*.0.0.1"] }));
  assert.ok(proves("localhost", { dns: ["localhost"] }));
});

test("an invalid pattern is told apart from a valid one, and lets nobody in", () => {
  const bad: PeerRule[] = [
    { kind: "dns", value: "*" },
    { kind: "dns", value: "a.*.test" },
    { kind: "dns", value: "w*.test" },
    { kind: "dns", value: "a b.test" },
    { kind: "dns", value: "" },
    { kind: "cn", value: "" },
    { kind: "cn", value: "ali*" },
    { kind: "ou", value: "*" },
    { kind: "fingerprint", value: "AB".repeat(32) },
    { kind: "fingerprint", value: "ab:cd" },
    { kind: "spiffe", value: "example.test/ns" },
    { kind: "spiffe", value: "spiffe://*/ns" },
    { kind: "spiffe", value: "spiffe://Example.test/ns" },
    { kind: "spiffe", value: "spiffe://example.test/ns/we*" },
    { kind: "spiffe", value: "spiffe://example.test/**/x" },
    { kind: "spiffe", value: "spiffe://example.test/ns/" },
    { kind: "spiffe", value: "spiffe://example.test//ns" },
    { kind: "spiffe", value: "spiffe:///ns" },
  ];
  for (const rule of bad) assert.ok(validateRule(rule), JSON.stringify(rule));
  assert.ok(!lets({ kind: "cn", value: "ali*" }, { commonName: "ali*" }));
  const good: PeerRule[] = [
    { kind: "any" },
    { kind: "dns", value: "*.example.test" },
    { kind: "dns", value: "_db.example.test" },
    { kind: "dns", value: "::1" },
    { kind: "cn", value: "alice of ops" },
    { kind: "spiffe", value: "spiffe://example.test" },
    { kind: "spiffe", value: "spiffe://example.test/ns/*/sa/*" },
    { kind: "spiffe", value: "spiffe://example.test/**" },
  ];
  for (const rule of good) assert.equal(validateRule(rule), null, JSON.stringify(rule));
});
