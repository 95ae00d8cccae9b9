import assert from "node:assert/strict";
import { test } from "node:test";
import { millraceIn80 } from "../gear/command.ts";
import { a, aaaa, respond, srv, startResponder, zone } from "../gear/dns.ts";

const NAME = "_db._tcp.example.test";
const RECORDS = [
  srv(NAME, [0, 1, 5432, "db1.example.test"]),
  srv(NAME, [0, 3, 5432, "db2.example.test"]),
  srv(NAME, [10, 1, 5433, "spare.example.test"]),
  a("db1.example.test", "192.0.2.1", 30),
  a("db2.example.test", "192.0.2.2"),
  aaaa("db2.example.test", "2001:db8::2"),
  a("spare.example.test", "192.0.2.9"),
];

test("discover: tiers, shares, addresses, TTLs and raw records in 80 columns, and as JSON", async (t) => {
  const dns = await startResponder(t, zone(RECORDS));
  const shown = await millraceIn80(["discover", NAME, "--server", dns.key]);
  assert.deepEqual([shown.code, shown.stderr], [0, ""]);
  for (const line of shown.stdout.split("\n")) assert.ok(line.length <= 80, line);
  assert.match(
    shown.stdout,
    /^_db\._tcp\.example\.test: 4 addresses, from 127\.0\.0\.1:\d+ over udp, for 5 s\n/,
  );
  assert.match(shown.stdout, /\npriority 0\n/);
  assert.match(shown.stdout, / 75 % {2}weight 3 {2}TTL 60 s {2}db2\.example\.test:5432\n/);
  assert.match(
    shown.stdout,
    / 25 % {2}weight 1 {2}TTL 60 s {2}db1\.example\.test:5432\n +192\.0\.2\.1 {2}TTL 30 s\n/,
  );
  assert.match(shown.stdout, /\npriority 10 \(only when all above are down\)\n/);
  assert.match(shown.stdout, /\n {2}db2\.example\.test\. 60 IN AAAA 2001:db8::2\n/);
  assert.ok(!shown.stdout.endsWith("\n\n"));

  const json = await millraceIn80(["discover", NAME, "--server", dns.key, "--json"]);
  assert.equal(json.code, 0);
  const found = JSON.parse(json.stdout);
  assert.deepEqual([found.kind, found.tiers.length, found.tiers[0].targets[0].share], ["ok", 2, 75]);
});

test("discover: a host with its port, and several servers of which the first refuses", async (t) => {
  const refusing = await startResponder(t, (query) => respond(query, [], { rcode: 5 }));
  const dns = await startResponder(t, zone(RECORDS));
  const args = ["discover", "db2.example.test:443", "--server", refusing.key, "--server", dns.key];
  const shown = await millraceIn80(args);
  assert.equal(shown.code, 0);
  assert.match(shown.stdout, /100 % .*db2\.example\.test:443\n +(192\.0\.2\.2|2001:db8::2)/);
  assert.match(shown.stdout, /REFUSED/);
});

test("discover: what is not there is said in words and exits 1; wrong usage exits 2", async (t) => {
  const dns = await startResponder(t, zone(RECORDS));
  const gone = await millraceIn80(["discover", "_no._tcp.example.test", "--server", dns.key]);
  assert.equal(gone.code, 1);
  assert.match(gone.stdout, /^_no\._tcp\.example\.test: no such name \(NXDOMAIN\)/);
  const bad = await millraceIn80(["discover", NAME, "--server", "dns.example"]);
  assert.equal(bad.code, 2);
  assert.match(bad.stderr, /--server dns\.example: must be an IP address, or IP:PORT/);
  assert.equal((await millraceIn80(["discover"])).code, 2);
});
