import assert from "node:assert/strict";
import { test } from "node:test";
import type { ConfigInput } from "../../lib/config/parse.ts";
import { millraceIn80 } from "../gear/command.ts";
import { a, aaaa, deadServer, respond, srv, startResponder, zone } from "../gear/dns.ts";
import { configured } from "../gear/running.ts";

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
  dns.say(zone(RECORDS.slice(0, 3)));
  const hollow = await millraceIn80(["discover", NAME, "--server", dns.key]);
  assert.equal(hollow.code, 1, "records whose targets have no address are nothing to dial");
  assert.match(hollow.stdout, /no address: gets no connections/);
  const bad = await millraceIn80(["discover", NAME, "--server", "dns.example"]);
  assert.equal(bad.code, 2);
  assert.match(bad.stderr, /--server dns\.example: must be an IP address, or IP:PORT/);
  assert.equal((await millraceIn80(["discover"])).code, 2);
});

const LISTENERS: ConfigInput["listeners"] = [
  { name: "in", address: "127.0.0.1:0", routes: [{ tls: "none", cluster: "db" }] },
];

test("discover -c: the endpoints of a file's clusters, by its servers and within its limits", async (t) => {
  const dns = await startResponder(t, zone([...RECORDS, a("api.test", "192.0.2.77", 7)]));
  const { file } = configured(t, {
    dns: { servers: [dns.key] },
    listeners: LISTENERS,
    clusters: {
      db: { discover: { srv: NAME, min_ttl: "20s" }, balance: "least_connections" },
      mixed: {
        endpoints: [
          "192.0.2.70:80",
          { address: "api.test:80", weight: 3 },
          { address: "no.test:80", priority: 1 },
        ],
      },
    },
  });
  const both = await millraceIn80(["discover", "-c", file]);
  assert.deepEqual([both.code, both.stderr], [0, ""]);
  for (const line of both.stdout.split("\n")) assert.ok(line.length <= 80, line);
  const [db, mixed] = both.stdout.split("\ncluster mixed: ") as [string, string];
  assert.match(
    db,
    /^cluster db: 4 endpoints, least_connections\n\npriority +share +weight +endpoint +name\n/,
  );
  // Both addresses of db2 share what it weighs.
  assert.match(db, /\n +0 +25 % +2 +192\.0\.2\.1:5432 +db1\.example\.test\n/);
  assert.match(db, /\n +0 +37\.5 % +3 +\[2001:db8::2\]:5432 +db2\.example\.test\n/);
  assert.match(db, /\n +10 +100 % +1 +192\.0\.2\.9:5433 +spare\.example\.test\n/);
  assert.match(
    db,
    /\n_db\._tcp\.example\.test: fresh, asked again in 20 s; answers are kept 20s to 5m\n/,
    "the TTL is 5 s, and min_ttl is longer",
  );
  assert.match(db, /\nrecords\n {2}_db\._tcp\.example\.test\. 60 IN SRV /);
  assert.match(mixed, /^2 endpoints, round_robin\n/);
  assert.match(mixed, /\n +0 +25 % +1 +192\.0\.2\.70:80\n +0 +75 % +3 +192\.0\.2\.77:80 +api\.test\n/);
  assert.match(mixed, /\nno\.test: fresh.*\n {2}no\.test has no address\n/);

  const one = await millraceIn80(["discover", "--config", file, "db", "--json"]);
  const found = JSON.parse(one.stdout);
  assert.deepEqual(
    found.map(({ cluster, endpoints, min_ttl_ms }: Record<string, unknown[]>) => [
      cluster,
      endpoints!.length,
      min_ttl_ms,
    ]),
    [["db", 4, 20_000]],
  );
});

test("discover -c: no answer is exit 1 and says why, --server asks others, an unknown cluster is exit 2", async (t) => {
  const dead = await deadServer(t);
  const { file } = configured(t, {
    dns: { servers: [`${dead.host}:${dead.port}`], timeout: "50ms", attempts: 1 },
    listeners: LISTENERS,
    clusters: { db: { discover: { srv: NAME } } },
  });
  const silent = await millraceIn80(["discover", "-c", file]);
  assert.equal(silent.code, 1);
  assert.match(silent.stdout, /^cluster db: 0 endpoints, round_robin\n/);
  assert.match(
    silent.stdout,
    /test: unresolved, asked again in [01] s.*\n {2}127\.0\.0\.1:\d+: no answer in 50 ms\n/,
  );
  for (const line of silent.stdout.split("\n")) assert.ok(line.length <= 80, line);

  const dns = await startResponder(t, zone(RECORDS));
  const other = await millraceIn80(["discover", "-c", file, "--server", dns.key]);
  assert.match(other.stdout, /^cluster db: 4 endpoints/);
  const unknown = await millraceIn80(["discover", "-c", file, "web"]);
  assert.deepEqual([unknown.code, unknown.stdout], [2, ""]);
  assert.match(unknown.stderr, /has no cluster web; there are db/);
});
