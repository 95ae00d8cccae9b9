import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import type { Answer } from "dns-packet";
import { DnsClient } from "../../lib/dns/client.ts";
import { discover, formatDiscovery } from "../../lib/dns/discover.ts";
import {
  a,
  aaaa,
  cname,
  deadServer,
  respond,
  type Script,
  soa,
  srv,
  startResponder,
  zone,
} from "../gear/dns.ts";

const NAME = "_db._tcp.example.test";
const RECORDS: Answer[] = [
  srv(NAME, [10, 60, 5432, "db1.example.test"], 30),
  srv(NAME, [10, 20, 5433, "db2.example.test"], 30),
  srv(NAME, [10, 70, 5432, "gone.example.test"], 30),
  srv(NAME, [20, 0, 5432, "spare.example.test"], 30),
  a("db1.example.test", "192.0.2.1", 20),
  aaaa("db1.example.test", "2001:db8::1", 25),
  a("db2.example.test", "192.0.2.2", 40),
  cname("spare.example.test", "real.example.test"),
  a("real.example.test", "192.0.2.3"),
  srv("_off._tcp.example.test", [0, 0, 0, "."]),
];

async function ask(t: TestContext, name: string, script: Script = zone(RECORDS, soa("test", 300))) {
  const dns = await startResponder(t, script);
  return discover(name, { client: new DnsClient({ servers: [dns] }) });
}

test("a service: tiers, shares of those that can be reached, addresses, TTL, facts", async (t) => {
  const found = await ask(t, NAME);
  assert.deepEqual(
    found.tiers.map(({ priority, targets }) => [
      priority,
      targets.map(({ name, share, addresses }) => [
        name,
        share,
        addresses.map(({ address }) => address).sort(),
      ]),
    ]),
    [
      [
        10,
        [
          ["gone.example.test", 0, []],
          ["db1.example.test", 75, ["192.0.2.1", "2001:db8::1"]],
          ["db2.example.test", 25, ["192.0.2.2"]],
        ],
      ],
      [20, [["spare.example.test", 100, ["192.0.2.3"]]]],
    ],
  );
  assert.deepEqual([found.kind, found.ttl, found.transport, found.source], ["ok", 20, "udp", "srv"]);
  assert.ok(found.notes.some((note) => note === "gone.example.test: no such name"));
  assert.deepEqual(JSON.parse(JSON.stringify(found)), found, "plain data");
});

test("as text it fits 80 columns and names what matters", async (t) => {
  const text = formatDiscovery(await ask(t, NAME));
  const [head, records] = text.split("\nrecords\n");
  for (const line of head?.split("\n") ?? []) assert.ok(line.length <= 80, line);
  assert.match(text, /^_db\._tcp\.example\.test: 4 addresses, from 127\.0\.0\.1:\d+ over udp/);
  assert.match(
    text,
    /\n {5}75 % {2}weight 60 {2}TTL 30 s {2}db1\.example\.test:5432\n {11}192\.0\.2\.1 {2}TTL 20 s/,
  );
  assert.match(text, /priority 20 \(only when all above are down\)/);
  assert.match(text, /no address: gets no connections/);
  assert.match(records ?? "", /_db\._tcp\.example\.test\. 30 IN SRV 10 60 5432 db1\.example\.test\./);
});

test("a host, with and without a port", async (t) => {
  const found = await ask(t, "db1.example.test:80");
  assert.deepEqual(found.tiers[0]?.targets[0]?.addresses.map(({ address }) => address).sort(), [
    "192.0.2.1",
    "2001:db8::1",
  ]);
  assert.equal(found.tiers[0]?.targets[0]?.port, 80);
  assert.equal((await ask(t, "db1.example.test")).tiers[0]?.targets[0]?.port, null);
  assert.equal((await ask(t, "192.0.2.9")).tiers[0]?.targets[0]?.addresses[0]?.address, "192.0.2.9");
});

test("a refusal comes with its reason", async (t) => {
  const cases: [string, Script | undefined, string, RegExp][] = [
    ["_off._tcp.example.test", undefined, "unavailable", /declared not available/],
    ["_no._tcp.example.test", undefined, "nxdomain", /NXDOMAIN/],
    ["_off._tcp.example.test:1", undefined, "malformed", /is no name to ask for/],
    ["example.test", undefined, "nodata", /example\.test has no address/],
    [NAME, (query) => respond(query, [], { rcode: 2 }), "servfail", /SERVFAIL/],
    [NAME, (query) => respond(query, [], { rcode: 5 }), "refused", /REFUSED/],
    [NAME, (query) => respond(query, []).subarray(0, 14), "malformed", /malformed answer/],
  ];
  for (const [name, script, kind, reason] of cases) {
    const found = await ask(t, name, script);
    assert.equal(found.kind, kind, name);
    assert.match(formatDiscovery(found), reason);
    assert.deepEqual(
      found.tiers.flatMap((tier) => tier.targets),
      [],
    );
  }
});

test("no server: what was tried is listed", async (t) => {
  const client = new DnsClient({ servers: [await deadServer(t)], timeout: 20, attempts: 2 });
  const found = await discover(NAME, { client });
  assert.equal(found.kind, "timeout");
  assert.equal(found.attempts.length, 2);
  assert.match(formatDiscovery(found), /asked\n {2}127\.0\.0\.1:\d+ udp \d+ ms: no answer in 20 ms/);
});

test("a name with control characters is shown escaped", async (t) => {
  const text = formatDiscovery(await ask(t, "a\u001b[31m\n.test"));
  assert.match(
    text,
    /^a\\u001b\[31m\\u000a\.test: no usable answer\n {2}"a\\u001b\[31m\\u000a\.test" is no name/,
  );
  assert.doesNotMatch(text, /\u001b/);
});

test("many lookups at once, all under one signal: no leak and no warning of one", async (t) => {
  const warnings: string[] = [];
  const hear = (warning: Error): void => {
    warnings.push(warning.message);
  };
  process.on("warning", hear);
  t.after(() => process.off("warning", hear));
  const nodes = Array.from({ length: 40 }, (_, node) => `n${node}.example.test`);
  const records = nodes.flatMap((node, index) => [srv(NAME, [0, 1, 80, node]), a(node, `192.0.2.${index}`)]);
  const dns = await startResponder(t, zone(records));
  const found = await discover(NAME, {
    client: new DnsClient({ servers: [dns] }),
    signal: new AbortController().signal,
  });
  assert.equal(found.tiers[0]?.targets.filter(({ addresses }) => addresses.length === 1).length, 40);
  const mute: Script = (query) => (query.type === "SRV" ? zone(records)(query) : null);
  const servers = [
    await startResponder(t, mute),
    await startResponder(t, mute),
    await startResponder(t, mute),
  ];
  await discover(NAME, {
    client: new DnsClient({ servers, timeout: 5, attempts: 3 }),
    signal: new AbortController().signal,
  });
  await new Promise(setImmediate);
  assert.deepEqual(warnings, []);
});
