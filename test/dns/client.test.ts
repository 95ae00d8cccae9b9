import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import dnsPacket from "dns-packet";
import { DnsClient } from "../../lib/dns/client.ts";
import { discover } from "../../lib/dns/discover.ts";
import { parseResolvConf, ResolvConfFile } from "../../lib/dns/resolv-conf.ts";
import {
  a,
  aaaa,
  cname,
  deadServer,
  type Query,
  type Responder,
  respond,
  type Script,
  soa,
  srv,
  startResponder,
  truncated,
  zone,
} from "../gear/dns.ts";

const good: Script = (query) => respond(query, [a(query.name, "192.0.2.1", 30)]);
const SHORT = { timeout: 60, attempts: 1 };

function clientOf(...servers: Pick<Responder, "host" | "port">[]): DnsClient {
  return new DnsClient({ servers });
}

test("an answer carries its facts", async (t) => {
  const dns = await startResponder(t, (query) =>
    respond(query, [a("web.test", "192.0.2.1", 30)], { flags: dnsPacket.AUTHENTIC_DATA }),
  );
  const answer = await clientOf(dns).query("Web.Test.", "A");
  assert.equal(answer.kind, "ok");
  assert.equal(answer.name, "web.test");
  assert.equal(answer.ttl, 30);
  assert.equal(answer.server, dns.key);
  assert.equal(answer.transport, "udp");
  assert.equal(answer.authenticated, true);
  assert.deepEqual(answer.raw, ["web.test. 30 IN A 192.0.2.1"]);
  assert.equal(answer.attempts.length, 1);
});

test("over IPv6, whatever spelling the server's address has", async (t) => {
  const dns = await startResponder(t, good, { host: "::1" });
  const answer = await clientOf({ host: "0:0:0:0:0:0:0:1", port: dns.port }).query("web.test", "A");
  assert.equal(answer.kind, "ok");
});

test("every query has its own port, id and mixture of case", async (t) => {
  const dns = await startResponder(t, good);
  const client = clientOf(dns);
  await Promise.all(Array.from({ length: 20 }, () => client.query("a-rather-long-name.example.test", "A")));
  const distinct = (of: (query: Query) => unknown) => new Set(dns.queries.map(of)).size;
  assert.equal(dns.queries.length, 20);
  assert.equal(
    distinct((query) => query.fromPort),
    20,
  );
  assert.ok(distinct((query) => query.id) > 15, "ids are drawn at random");
  assert.ok(distinct((query) => query.name) > 15, "case is drawn at random");
});

test("NXDOMAIN, NODATA and the failures stay distinct", async (t) => {
  const rcodes: Record<string, number> = { formerr: 1, servfail: 2, notimp: 4, refused: 5, rcode: 9 };
  for (const [kind, rcode] of Object.entries(rcodes)) {
    const dns = await startResponder(t, (query) => respond(query, [], { rcode }));
    assert.equal((await clientOf(dns).query("web.test", "A")).kind, kind);
    const withoutEdns = kind === "formerr" || kind === "notimp" ? 1 : 0;
    assert.equal(dns.queries.length, 1 + withoutEdns, "a server that said no is not asked again");
  }
  const dns = await startResponder(t, zone([a("web.test", "192.0.2.1")], soa("test", 5)));
  const client = clientOf(dns);
  const nodata = await client.query("web.test", "AAAA");
  assert.deepEqual([nodata.kind, nodata.ttl], ["nodata", 5]);
  const nxdomain = await client.query("no.test", "AAAA");
  assert.deepEqual([nxdomain.kind, nxdomain.ttl], ["nxdomain", 5]);
});

test("the negative TTL is the lesser of the SOA's TTL and minimum, and only of an SOA above the name", async (t) => {
  const cases = [
    [soa("test", 300, 7), 7],
    [soa("test", 7, 300), 7],
    [soa("other", 7, 7), null],
    [null, null],
  ] as const;
  for (const [authority, ttl] of cases) {
    const dns = await startResponder(t, zone([], authority));
    const answer = await clientOf(dns).query("no.test", "A");
    assert.deepEqual([answer.kind, answer.ttl], ["nxdomain", ttl]);
  }
});

test("records that do not hang together with the question are ignored", async (t) => {
  const dns = await startResponder(t, (query) =>
    respond(query, [a("other.test", "192.0.2.66")], {
      authorities: [
        a("web.test", "192.0.2.67"),
        { type: "NS", name: "web.test", ttl: 5, data: "ns.test" },
        soa("test", 5),
      ],
      additionals: [a("web.test", "192.0.2.68")],
    }),
  );
  const answer = await clientOf(dns).query("web.test", "A");
  assert.deepEqual([answer.kind, answer.records], ["nodata", []]);
});

test("aliases are followed within the answer; a circle of them is a failure", async (t) => {
  const records = [
    cname("www.test", "web.test", 9),
    a("web.test", "192.0.2.1", 30),
    cname("x.test", "y.test"),
    cname("y.test", "x.test"),
    cname("me.test", "me.test"),
  ];
  const dns = await startResponder(t, zone(records));
  const client = clientOf(dns);
  const answer = await client.query("www.test", "A");
  assert.deepEqual(
    [answer.kind, answer.canonical, answer.ttl, answer.records.length],
    ["ok", "web.test", 9, 1],
  );
  for (const name of ["x.test", "me.test"]) assert.equal((await client.query(name, "A")).kind, "loop");
});

test("a referral is no answer: the next server is asked", async (t) => {
  const lame = await startResponder(t, (query) =>
    respond(query, [], { authorities: [{ type: "NS", name: "test", ttl: 5, data: "ns.test" }] }),
  );
  const dns = await startResponder(t, good);
  const answer = await clientOf(lame, dns).query("web.test", "A");
  assert.deepEqual([answer.kind, answer.server], ["ok", dns.key]);
  assert.equal((await clientOf(lame).query("web.test", "A")).kind, "lame");
});

test("forged answers are waited past and counted", async (t) => {
  const forged = (query: Query, more: object = {}) => respond(query, [a(query.name, "192.0.2.66")], more);
  const dns = await startResponder(t, (query) => [
    { wire: forged(query), from: "other port" },
    { wire: forged(query), from: "other address" },
    forged(query, { id: query.id ^ 1 }),
    forged(query, { name: "evil.test" }),
    forged(query, { type: "AAAA" }),
    Buffer.from([1]),
    respond(query, [a(query.name, "192.0.2.1")]),
    forged(query), // a second answer to the same question comes too late
  ]);
  const client = clientOf(dns);
  const answer = await client.query("web.test", "A");
  assert.deepEqual(
    answer.records.map((record) => "address" in record && record.address),
    ["192.0.2.1"],
  );
  assert.deepEqual(client.ignored, { wrongSource: 2, wrongId: 2, wrongQuestion: 2, wrongCase: 0, late: 0 });
});

test("a server that answers from another port only is a timeout that says so", async (t) => {
  const dns = await startResponder(t, (query) => [{ wire: respond(query, []), from: "other port" }]);
  const answer = await new DnsClient({ servers: [dns], ...SHORT }).query("web.test", "A");
  assert.equal(answer.kind, "timeout");
  assert.match(answer.detail, /one came from 127\.0\.0\.1 port \d+/);
});

test("late answers are counted and never taken: to an earlier try, and to a query that is over", async (t) => {
  const releases: (() => void)[] = [];
  const wait = (query: Query, address: string): Promise<Buffer> =>
    new Promise((resolve) => {
      releases.push(() => resolve(respond(query, [a(query.name, address)])));
    });
  const dns = await startResponder(t, (query) => {
    if (query.turn === 0) return wait(query, "192.0.2.66");
    for (const release of releases.splice(0)) release();
    return respond(query, [a(query.name, "192.0.2.1")]);
  });
  const client = new DnsClient({ servers: [dns], timeout: 60, attempts: 6 });
  const answer = await client.query("web.test", "A");
  assert.equal(dns.queries.length, 2);
  assert.deepEqual(
    answer.raw.map((line) => line.split(" ").at(-1)),
    ["192.0.2.1"],
  );
  while (client.ignored.late === 0) await new Promise(setImmediate);

  dns.say((query) => wait(query, "192.0.2.67"));
  const hasty = new DnsClient({ servers: [dns], timeout: 60, attempts: 1 });
  assert.equal((await hasty.query("web.test", "A")).kind, "timeout");
  for (const release of releases.splice(0)) release();
  while (hasty.ignored.late === 0) await new Promise(setImmediate);
  assert.deepEqual(hasty.ignored, { ...hasty.ignored, late: 1, wrongId: 0, wrongSource: 0 });
});

test("an answer to an earlier query that reaches the port of a later one is passed over and counted", async (t) => {
  let earlier: Query | null = null;
  const dns = await startResponder(t, (query) => {
    if (earlier === null) {
      earlier = query;
      return null;
    }
    const old = respond(earlier, [a(earlier.name, "192.0.2.66")]);
    return [old, respond(query, [a(query.name, "192.0.2.1")])];
  });
  const client = new DnsClient({ servers: [dns], timeout: 60, attempts: 6 });
  const answer = await client.query("web.test", "A");
  assert.match(answer.raw[0]!, /192\.0\.2\.1$/);
  assert.equal(client.ignored.wrongId, 1);
});

test("duplicated answers, and answers to others in flight with one's own id, mix nothing up", async (t) => {
  const held: Query[] = [];
  const waiting: (() => void)[] = [];
  const dns = await startResponder(t, async (query) => {
    held.push(query);
    await new Promise<void>((resolve) => {
      waiting.push(resolve);
      if (waiting.length === 4) for (const go of waiting) go();
    });
    const honest = (of: Query) => respond(of, [a(of.name, `192.0.2.${of.name.slice(1, 2)}`)]);
    // First what the others asked, under this one's id; then the right one, twice.
    const others = held.filter((one) => one !== query).map((one) => honest({ ...one, id: query.id }));
    return [...others, honest(query), honest(query)];
  });
  const client = clientOf(dns);
  const names = ["n1.test", "n2.test", "n3.test", "n4.test"];
  const answers = await Promise.all(names.map((name) => client.query(name, "A")));
  assert.deepEqual(
    answers.map((answer) => answer.raw[0]?.split(" ").at(-1)),
    ["192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4"],
  );
  assert.equal(client.ignored.wrongQuestion, 12);
});

test("answers that come in another order reach their own questions", async (t) => {
  const waiting: (() => void)[] = [];
  const dns = await startResponder(t, async (query) => {
    await new Promise<void>((resolve) => {
      waiting.push(resolve);
      if (waiting.length === 3) for (const go of waiting.reverse()) go();
    });
    return respond(query, [a(query.name, `192.0.2.${query.name.slice(1, 2)}`)]);
  });
  const client = clientOf(dns);
  const answers = await Promise.all(["n1.test", "n2.test", "n3.test"].map((name) => client.query(name, "A")));
  assert.deepEqual(
    answers.map((answer) => answer.raw[0]?.split(" ").at(-1)),
    ["192.0.2.1", "192.0.2.2", "192.0.2.3"],
  );
});

test("truncation leads to TCP, also when the answer comes byte by byte", async (t) => {
  const dns = await startResponder(t, (query) =>
    query.transport === "udp"
      ? truncated(query)
      : { wire: respond(query, [a(query.name, "192.0.2.1")]), chunk: 1 },
  );
  const answer = await clientOf(dns).query("web.test", "A");
  assert.deepEqual([answer.kind, answer.transport, answer.records.length], ["ok", "tcp", 1]);
  assert.deepEqual(
    answer.attempts.map(({ transport }) => transport),
    ["udp", "tcp"],
  );
});

test("truncation and then TCP refused: the next server is asked, and what was cut is never used", async (t) => {
  const cut: Script = (query) =>
    respond(query, [a(query.name, "192.0.2.66")], { flags: dnsPacket.TRUNCATED_RESPONSE });
  const noTcp = await startResponder(t, cut, { tcp: false });
  const alone = await clientOf(noTcp).query("web.test", "A");
  assert.equal(alone.kind, "unreachable");
  assert.match(alone.detail, /ECONNREFUSED/);
  assert.deepEqual(alone.records, []);
  const dns = await startResponder(t, good);
  assert.equal((await clientOf(noTcp, dns).query("web.test", "A")).server, dns.key);
});

test("TCP that closes, lies about its id or answers another question is a failure at once", async (t) => {
  const lies: [Script, string][] = [
    [() => null, "unreachable"],
    [(query) => respond(query, [], { id: query.id ^ 1 }), "malformed"],
    [(query) => respond(query, [], { name: "evil.test" }), "malformed"],
    [truncated, "malformed"],
  ];
  for (const [script, kind] of lies) {
    const dns = await startResponder(t, script);
    const answer = await new DnsClient({ servers: [dns], tcp: true }).query("web.test", "A");
    assert.equal(answer.kind, kind);
    assert.deepEqual(new Set(dns.queries.map(({ transport }) => transport)), new Set(["tcp"]));
  }
});

test("a server that does not know EDNS is asked without, and from then on", async (t) => {
  for (const rcode of [1, 4]) {
    const dns = await startResponder(t, (query) => {
      // An old server's FORMERR is a bare header.
      const bare = Buffer.from(respond(query, [], { rcode }).subarray(0, 12));
      bare.writeUInt16BE(0, 4);
      return query.edns ? bare : respond(query, [a(query.name, "192.0.2.1")]);
    });
    const client = clientOf(dns);
    assert.equal((await client.query("web.test", "A")).kind, "ok");
    assert.equal((await client.query("web.test", "A")).kind, "ok");
    assert.deepEqual(
      dns.queries.map(({ edns }) => edns),
      [true, false, false],
    );
  }
});

test("a server that loses the letters' case is asked again plainly, and from then on", async (t) => {
  const dns = await startResponder(t, (query) =>
    respond(query, [a("web.example.test", "192.0.2.1")], { name: query.name.toLowerCase() }),
  );
  const client = new DnsClient({ servers: [dns], random: () => 0.9 });
  assert.equal((await client.query("web.example.test", "A")).kind, "ok");
  assert.equal((await client.query("web.example.test", "A")).kind, "ok");
  assert.deepEqual(
    dns.queries.map(({ name }) => name),
    ["WEB.EXAMPLE.TEST", "web.example.test", "web.example.test"],
  );
});

test("once a server was seen keeping case, an answer without is a forgery to be waited past", async (t) => {
  const dns = await startResponder(t, (query) => {
    const genuine = respond(query, [a("web.test", "192.0.2.1")]);
    if (query.turn === 0) return genuine;
    return [respond(query, [a("web.test", "192.0.2.66")], { name: query.name.toLowerCase() }), genuine];
  });
  const client = new DnsClient({ servers: [dns], random: () => 0.9 });
  await client.query("web.test", "A");
  const answer = await client.query("web.test", "A");
  assert.equal(answer.raw[0], "web.test. 60 IN A 192.0.2.1");
  assert.equal(client.ignored.wrongCase, 1);
});

test("a server that stops keeping case is believed again after one silent try", async (t) => {
  const dns = await startResponder(t, good);
  const client = new DnsClient({ servers: [dns], timeout: 60, attempts: 6, random: () => 0.9 });
  await client.query("web.test", "A");
  dns.say((query) => respond(query, [a("web.test", "192.0.2.1")], { name: query.name.toLowerCase() }));
  assert.equal((await client.query("web.test", "A")).kind, "ok");
});

test("malformed answers send the question on", async (t) => {
  const broken = await startResponder(t, (query) =>
    respond(query, [a(query.name, "192.0.2.1")]).subarray(0, -3),
  );
  const dns = await startResponder(t, good);
  assert.equal((await clientOf(broken).query("web.test", "A")).kind, "malformed");
  assert.equal((await clientOf(broken, dns).query("web.test", "A")).server, dns.key);
});

test("a lost question is asked again, first at the next server; one that failed is asked last for a while", async (t) => {
  const dead = await deadServer(t);
  const dns = await startResponder(t, good);
  const client = new DnsClient({ servers: [dead, dns], timeout: 250 });
  const first = await client.query("web.test", "A");
  assert.deepEqual(
    first.attempts.map(({ server }) => server),
    [`127.0.0.1:${dead.port}`, dns.key],
  );
  const second = await client.query("web.test", "A");
  assert.deepEqual(
    second.attempts.map(({ server }) => server),
    [dns.key],
  );
  const lossy = await startResponder(t, (query) => (query.turn < 2 ? null : good(query)));
  const third = await new DnsClient({ servers: [lossy], timeout: 30, attempts: 7 }).query("web.test", "A");
  assert.deepEqual([third.kind, lossy.queries.length >= 3], ["ok", true]);
});

test("a server's own word about its failure outlives another's silence", async (t) => {
  const dead = await deadServer(t);
  const sick = await startResponder(t, (query) => respond(query, [], { rcode: 2 }));
  const answer = await new DnsClient({ servers: [dead, sick, dead], ...SHORT }).query("web.test", "A");
  assert.equal(answer.kind, "servfail");
  assert.equal(answer.attempts.length, 3);
});

test("all servers silent is a timeout within the deadline; none reachable over TCP is unreachable", async (t) => {
  const dead = await deadServer(t);
  const slow = new DnsClient({ servers: [dead], timeout: 50, attempts: 100, deadline: 120 });
  assert.equal((await slow.query("web.test", "A")).kind, "timeout");
  const refused = new DnsClient({ servers: [dead], tcp: true });
  assert.equal((await refused.query("web.test", "A")).kind, "unreachable");
});

test("each round is twice as patient as the one before", async (t) => {
  const client = new DnsClient({ servers: [await deadServer(t)], timeout: 10, attempts: 3 });
  const { attempts } = await client.query("web.test", "A");
  assert.deepEqual(
    attempts.map(({ result }) => result),
    ["no answer in 10 ms", "no answer in 20 ms", "no answer in 40 ms"],
  );
});

test("SERVFAIL for one name does not put the server last for others", async (t) => {
  const one = await startResponder(t, (query) =>
    query.name.toLowerCase() === "sick.test" ? respond(query, [], { rcode: 2 }) : good(query),
  );
  const two = await startResponder(t, good);
  const client = clientOf(one, two);
  assert.equal((await client.query("sick.test", "A")).server, two.key);
  assert.equal((await client.query("web.test", "A")).server, one.key);
});

test("the server to avoid is asked last", async (t) => {
  const one = await startResponder(t, good);
  const two = await startResponder(t, good);
  const answer = await clientOf(one, two).query("web.test", "A", { avoid: one.key });
  assert.equal(answer.server, two.key);
});

test("an abort ends the query, before and while it waits", async (t) => {
  const controller = new AbortController();
  const dns = await startResponder(t, () => {
    controller.abort();
    return null;
  });
  for (const tcp of [false, true]) {
    const client = new DnsClient({ servers: [dns], tcp });
    assert.equal((await client.query("web.test", "A", { signal: controller.signal })).kind, "aborted");
  }
});

test("names that cannot be asked for never reach a server", async (t) => {
  const dns = await startResponder(t, good);
  const client = clientOf(dns);
  for (const name of [
    "",
    "a..b",
    "a b",
    "a\0b",
    "x".repeat(64),
    "a.".repeat(200),
    "x".repeat(65536),
    "a\nb",
    '"',
  ]) {
    const [answer] = await client.search(name, ["A"]);
    assert.deepEqual([answer!.kind, dns.queries.length], ["malformed", 0], JSON.stringify(name.slice(0, 20)));
  }
});

/** A client of resolv.conf with these lines and one server. */
function searching(dns: Responder, lines: string): DnsClient {
  const resolvConf = new ResolvConfFile("/nonexistent/resolv.conf");
  const conf = parseResolvConf(lines);
  resolvConf.current = () => ({ ...conf, nameservers: [dns] });
  return new DnsClient({ resolvConf });
}

test("resolv.conf's search list: absence leads on, failure does not", async (t) => {
  const dns = await startResponder(t, zone([a("web.b.test", "192.0.2.1")]));
  const client = searching(dns, "search a.test b.test\n");
  const search = async (name: string) => (await client.search(name, ["A"]))[0]!;
  assert.equal((await search("web")).name, "web.b.test");
  assert.equal((await search("web.")).kind, "nxdomain");
  dns.say((query) => respond(query, [], { rcode: query.name.toLowerCase() === "web.a.test" ? 2 : 3 }));
  const failed = await search("web");
  assert.deepEqual([failed.kind, failed.name], ["servfail", "web.a.test"]);
});

test("both families are those of one name: what one of them lacks is not looked for further down the list", async (t) => {
  const stranger = aaaa("www.foo.test.corp.test", "2001:db8::66");
  const dns = await startResponder(t, zone([a("www.foo.test", "192.0.2.1"), stranger]));
  const client = searching(dns, "search corp.test\n");
  const kinds = async () => {
    const answers = await client.search("www.foo.test", ["A", "AAAA"]);
    return answers.map(({ kind, name }) => `${kind} ${name}`);
  };
  assert.deepEqual(await kinds(), ["ok www.foo.test", "nodata www.foo.test"]);
  const found = await discover("www.foo.test:443", { client });
  assert.deepEqual(
    found.tiers[0]?.targets[0]?.addresses.map(({ address }) => address),
    ["192.0.2.1"],
  );

  // A failure of one family proves no absence, and an alias whose end is yet to be asked for is no absence either.
  const honest = zone([stranger]);
  const here = (query: Query) => query.name.toLowerCase() === "www.foo.test";
  dns.say((query) =>
    here(query) ? respond(query, [], { rcode: query.type === "A" ? 2 : 3 }) : honest(query),
  );
  assert.deepEqual(await kinds(), ["servfail www.foo.test", "nxdomain www.foo.test"]);
  dns.say((query) => (here(query) ? respond(query, [cname("www.foo.test", "real.test")]) : honest(query)));
  assert.deepEqual(await kinds(), ["nodata www.foo.test", "nodata www.foo.test"]);

  dns.say(honest);
  assert.deepEqual(await kinds(), ["nodata www.foo.test.corp.test", "ok www.foo.test.corp.test"]);
});

test("a trailing dot switches the search list off, and is no part of what the target is called", async (t) => {
  const dns = await startResponder(
    t,
    zone([
      a("api.test", "192.0.2.1"),
      a("api.test.corp.test", "192.0.2.66"),
      srv("_db._tcp.api.test", [0, 1, 5432, "api.test"]),
      srv("_db._tcp.api.test.corp.test", [0, 1, 5432, "api.test.corp.test"]),
    ]),
  );
  const client = searching(dns, "search corp.test\noptions ndots:5\n");
  const targets = async (name: string) => {
    const { tiers } = await discover(name, { client });
    return tiers.flatMap((tier) => tier.targets.map((one) => [one.name, one.addresses[0]?.address]));
  };
  assert.deepEqual(await targets("API.test:80"), [["api.test", "192.0.2.66"]]);
  assert.deepEqual(await targets("API.test.:80"), [["api.test", "192.0.2.1"]]);
  assert.deepEqual(await targets("_db._tcp.api.test"), [["api.test.corp.test", "192.0.2.66"]]);
  assert.deepEqual(await targets("_db._tcp.api.test."), [["api.test", "192.0.2.1"]]);
});

test("resolv.conf is read for every query, and nothing of it counts beside configured servers", async (t) => {
  const one = await startResponder(t, good);
  const two = await startResponder(t, good);
  const folder = mkdtempSync(join(tmpdir(), "resolv-"));
  t.after(() => rmSync(folder, { recursive: true }));
  const path = join(folder, "resolv.conf");
  const resolvConf = new ResolvConfFile(path);
  const current = resolvConf.current.bind(resolvConf);
  // The file cannot name a port: its addresses stand for the responders.
  const behind: Record<string, Responder> = { "192.0.2.1": one, "192.0.2.2": two };
  resolvConf.current = () => {
    const conf = current();
    return { ...conf, nameservers: conf.nameservers.map(({ host }) => behind[host]!) };
  };
  const client = new DnsClient({ resolvConf });
  writeFileSync(path, "nameserver 192.0.2.1\nsearch a.test\n");
  const search = async (client: DnsClient) => (await client.search("web", ["A"]))[0]!;
  assert.equal((await search(client)).server, one.key);
  writeFileSync(path, "nameserver 192.0.2.2\nsearch b.test\noptions use-vc\n");
  const answer = await search(client);
  assert.deepEqual([answer.server, answer.name, answer.transport], [two.key, "web.b.test", "tcp"]);
  const configured = await search(new DnsClient({ resolvConf, servers: [one] }));
  assert.deepEqual([configured.server, configured.name, configured.transport], [one.key, "web", "udp"]);
});

test("only clients of resolv.conf can be watched for other servers", (t) => {
  const resolvConf = new ResolvConfFile("/nonexistent/resolv.conf");
  let watched = 0;
  let ended = 0;
  t.mock.method(resolvConf, "watch", () => {
    watched++;
    return () => ended++;
  });
  new DnsClient({ resolvConf, servers: [{ host: "192.0.2.1", port: 53 }] }).watch(() => {})();
  assert.deepEqual([watched, ended], [0, 0]);
  new DnsClient({ resolvConf }).watch(() => {})();
  assert.deepEqual([watched, ended], [1, 1]);
});

test("a big answer over TCP", async (t) => {
  const name = "_db._tcp.example.test";
  const dns = await startResponder(
    t,
    zone(Array.from({ length: 500 }, (_, index) => srv(name, [0, 1, 443, `db${index}.example.test`]))),
  );
  const answer = await clientOf(dns).query(name, "SRV");
  assert.deepEqual([answer.kind, answer.transport, answer.records.length], ["ok", "tcp", 500]);
});
