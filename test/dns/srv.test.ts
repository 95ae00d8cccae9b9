import assert from "node:assert/strict";
import { test } from "node:test";
import type { AddressRecord, DnsRecord, SrvRecord } from "../../lib/dns/message.ts";
import { serviceDomain } from "../../lib/dns/name.ts";
import { absorb } from "../../lib/dns/removal.ts";
import {
  assemble,
  knownAddresses,
  MAX_TARGETS,
  readSrv,
  shares,
  type Target,
  tiersOf,
  unusable,
} from "../../lib/dns/srv.ts";

const OWNER = "_db._tcp.example.test";
function entry(target: string, priority = 0, weight = 0, port = 80): SrvRecord {
  return { type: "SRV", name: OWNER, ttl: 30, priority, weight, port, target };
}
function address(name: string, text: string): AddressRecord {
  return { type: text.includes(":") ? "AAAA" : "A", name, ttl: 30, address: text };
}

test("priorities are tiers, the lowest number first", () => {
  const set = readSrv([entry("c.test", 20), entry("a.test", 10, 1), entry("b.test", 10, 3)]);
  assert.deepEqual(
    tiersOf(set.entries).map(({ priority, members }) => [priority, members.map(({ target }) => target)]),
    [
      [10, ["b.test", "a.test"]],
      [20, ["c.test"]],
    ],
  );
});

test('a lone "." says that the service is not available; beside others it means nothing', () => {
  assert.deepEqual(readSrv([entry(".", 0, 0, 0)]), { available: false, entries: [], notes: [] });
  const set = readSrv([entry("."), entry("a.test")]);
  assert.equal(set.available, true);
  assert.equal(set.entries.length, 1);
  assert.equal(set.notes.length, 1);
});

test("port 0 is left out with a note", () => {
  const set = readSrv([entry("a.test", 0, 0, 0), entry("b.test")]);
  assert.deepEqual(
    set.entries.map(({ target }) => target),
    ["b.test"],
  );
  assert.match(set.notes[0] ?? "", /port 0/);
});

test("shares are those of the RFC 2782 selection, but for weight 0 beside small weights", () => {
  assert.deepEqual(shares([]), []);
  assert.deepEqual(shares([0]), [1]);
  assert.deepEqual(shares([0, 0]), [0.5, 0.5]);
  assert.deepEqual(shares([1, 3]), [0.25, 0.75]);
  assert.deepEqual(shares([0, 0, 199]), [0.0025, 0.0025, 0.995]);
  // The RFC's draw would give it a quarter, which is no "very small chance".
  assert.deepEqual(
    shares([0, 1, 2]).map((share) => share.toFixed(4)),
    ["0.0099", "0.3300", "0.6601"],
  );
});

test("additionals count only for targets within the owner's domain", () => {
  const entries = [entry("a.example.test"), entry("b.other.test")];
  const known = knownAddresses(OWNER, entries, [
    address("a.example.test", "192.0.2.1"),
    address("b.other.test", "192.0.2.66"), // another zone's name
    address("c.example.test", "192.0.2.67"), // nobody's target
  ]);
  assert.deepEqual(
    known.get("a.example.test")?.records.map((record) => record.address),
    ["192.0.2.1"],
  );
  assert.deepEqual(known.get("b.other.test"), { records: [], missing: ["A", "AAAA"] });
  assert.equal(known.size, 2);
});

test("a family is believed absent only where the additional section is complete", () => {
  const entries = [entry("a.example.test"), entry("b.example.test")];
  const a = address("a.example.test", "192.0.2.1");
  const b = address("b.example.test", "192.0.2.2");
  const b6 = address("b.example.test", "2001:db8::2");
  const missing = (records: DnsRecord[]) =>
    [...knownAddresses(OWNER, entries, records).values()].map((known) => known.missing);
  assert.deepEqual(missing([a, b]), [[], []]);
  assert.deepEqual(missing([a, b, b6]), [["AAAA"], []]);
  assert.deepEqual(missing([a]), [["AAAA"], ["A", "AAAA"]]);
  assert.deepEqual(missing([]), [
    ["A", "AAAA"],
    ["A", "AAAA"],
  ]);
});

test("the domain of a service name is what follows its underscore labels", () => {
  assert.equal(serviceDomain("_http._tcp.web.prod.svc.cluster.local"), "web.prod.svc.cluster.local");
  assert.equal(serviceDomain("web.service.consul"), "web.service.consul");
  assert.equal(serviceDomain("_a._tcp"), "_a._tcp");
});

test("a target with several addresses keeps the share of one target", () => {
  const where: Record<string, string[]> = { "a.test": ["192.0.2.1", "192.0.2.2"], "b.test": ["192.0.2.3"] };
  const weights = (list: SrvRecord[]) =>
    Object.fromEntries(
      assemble(list, (name) => where[name] ?? []).map((target) => [target.address, target.weight]),
    );
  assert.deepEqual(weights([entry("a.test", 0, 10), entry("b.test", 0, 10)]), {
    "192.0.2.1": 10,
    "192.0.2.2": 10,
    "192.0.2.3": 20,
  });
  assert.deepEqual(weights([entry("a.test"), entry("b.test")]), {
    "192.0.2.1": 1,
    "192.0.2.2": 1,
    "192.0.2.3": 2,
  });
  assert.deepEqual(weights([entry("a.test", 0, 65535), entry("gone.test", 0, 5)]), {
    "192.0.2.1": 65535,
    "192.0.2.2": 65535,
  });
});

test("targets with numbers of addresses that have no common multiple to speak of keep their shares", () => {
  const sieve = Array.from({ length: 900 }, (_, index) => index + 2);
  const primes = sieve.filter((n) => !sieve.some((m) => m < n && n % m === 0));
  const where = (name: string) => {
    const count = Number(name.slice(1, -5));
    return Array.from({ length: count }, (_, index) => `10.${count >> 8}.${count & 255}.${index}`);
  };
  // 154 primes: their product is beyond all numbers. The first 40 are below the bound on targets.
  for (const some of [primes.slice(0, 40), primes]) {
    const targets = assemble(
      some.map((count) => entry(`n${count}.test`)),
      where,
    );
    const weights = new Map<string, number>();
    for (const { name, weight } of targets) weights.set(name!, (weights.get(name!) ?? 0) + weight);
    const [first, second] = [...weights.values()] as [number, number];
    assert.ok(Math.abs(first / second - 1) < 0.01, `${first} and ${second}`);
  }
});

test("no more targets than a proxy could want, the preferred ones first", () => {
  const many = Array.from({ length: 4000 }, (_, index) => `10.0.${index >> 8}.${index & 255}`);
  const ports = Array.from({ length: 3000 }, (_, index) => entry("a.test", 1, 1, index + 1));
  const targets = assemble([...ports, entry("b.test", 0)], (name) =>
    name === "b.test" ? ["192.0.2.1"] : many,
  );
  assert.equal(targets.length, MAX_TARGETS);
  assert.equal(targets[0]?.name, "b.test");
});

test("one address and port is one target: weights add up, the better priority wins", () => {
  const list = [entry("a.test", 1, 10), entry("b.test", 1, 5), entry("c.test", 2, 7)];
  assert.deepEqual(
    assemble(list, () => ["192.0.2.1"]),
    [{ address: "192.0.2.1", port: 80, name: "a.test", weight: 15, priority: 1 }],
  );
});

test("addresses that can never be endpoints are told apart", () => {
  for (const bad of [
    "0.0.0.0",
    "0.1.2.3",
    "224.0.0.1",
    "255.255.255.255",
    "::",
    "ff02::1",
    "fe80::1",
    "::ffff:1.2.3.4",
  ]) {
    assert.notEqual(unusable(bad), null, bad);
  }
  for (const good of ["127.0.0.1", "10.0.0.1", "223.255.255.255", "::1", "2001:db8::1", "fd00::1"]) {
    assert.equal(unusable(good), null, good);
  }
});

const targets = (...names: string[]): Target[] =>
  names.map((name) => ({ address: `192.0.2.${name}`, port: 80, name: null, weight: 1, priority: 0 }));
const addresses = (list: readonly Target[]) => list.map((target) => target.address.split(".")[3]).join("");

test("removals up to the floor pass at once", () => {
  const result = absorb(targets("1", "2", "3", "4"), new Set(), targets("1", "2"), 0.5);
  assert.equal(addresses(result.targets), "12");
  assert.equal(addresses(result.removed), "34");
  assert.equal(result.held.size, 0);
});

test("removals beyond it are held, additions are not", () => {
  const result = absorb(targets("1", "2", "3", "4"), new Set(), targets("1", "5"), 0.5);
  assert.equal(addresses(result.targets), "12345");
  assert.equal(addresses(result.added), "5");
  assert.deepEqual(result.removed, []);
  assert.deepEqual([...result.held], ["192.0.2.2:80", "192.0.2.3:80", "192.0.2.4:80"]);
});

test("what two answers in a row lack goes; what returned was never gone", () => {
  const first = absorb(targets("1", "2", "3", "4"), new Set(), targets("1"), 0.5);
  const second = absorb(first.targets, first.held, targets("1", "2"), 0.5);
  assert.equal(addresses(second.targets), "12");
  const back = absorb(first.targets, first.held, targets("1", "2", "3", "4"), 0.5);
  assert.equal(addresses(back.targets), "1234");
  assert.equal(back.held.size, 0);
});

test("answers that contradict each other remove nothing that only one of them lacks", () => {
  const first = absorb(targets("1", "2", "3", "4"), new Set(), targets("1"), 0);
  const second = absorb(first.targets, first.held, targets("2"), 0);
  assert.equal(addresses(second.targets), "12");
  assert.equal(addresses(second.removed), "34");
});

test("a changed weight counts as a change", () => {
  const heavier = targets("1").map((target) => ({ ...target, weight: 9 }));
  assert.equal(absorb(targets("1"), new Set(), heavier, 0.5).altered, true);
  assert.equal(absorb(targets("1"), new Set(), targets("1"), 0.5).altered, false);
});
