import assert from "node:assert/strict";
import { test } from "node:test";
import * as names from "../../lib/config/names.ts";
import { canonicalIp, type Parsed, parseCidr, parseDestination } from "../../lib/config/networks.ts";

/** `[written, read]`; null where it is refused. */
type Table = readonly (readonly [string, string | null])[];

function check(parse: (text: string) => Parsed<string>, table: Table): void {
  for (const [written, wanted] of table) {
    const read = parse(written);
    assert.equal("value" in read ? read.value : null, wanted, JSON.stringify(written));
    if ("fault" in read) assert.match(read.fault, /^(must|may|has) /);
  }
}

test("server name patterns: exact, one label, any depth", () => {
  check(names.parseSniPattern, [
    ["db.example.test", "db.example.test"],
    ["DB.Example.Test.", "db.example.test"],
    ["*.Example.test", "*.example.test"],
    ["**.example.test.", "**.example.test"],
    ["*.test", "*.test"],
    ["localhost", "localhost"],
    ["_x.a_b.test", "_x.a_b.test"],
    ["*", null],
    ["**", null],
    ["*.", null],
    ["", null],
    [".", null],
    ["a..b", null],
    ["***.x", null],
    ["w*.x.test", null],
    ["a.*.test", null],
    ["-a.test", null],
    ["10.0.0.1", null],
    ["::1", null],
    ["bücher.test", null],
    ["a b", null],
    ["a\u0000.test", null],
    [`${"a".repeat(64)}.test`, null],
    [`${"a".repeat(63)}.test`, `${"a".repeat(63)}.test`],
    [`${"a.".repeat(127)}a`, null],
  ]);
});

test("SPIFFE patterns: whole segments, one trust domain", () => {
  const good = [
    "spiffe://example.test",
    "spiffe://example.test/ns/prod/*",
    "spiffe://a/b/**",
    "spiffe://a/*/c",
  ];
  check(names.parseSpiffe, [
    ...good.map((id) => [id, id] as const),
    ["https://example.test/a", null],
    ["spiffe://", null],
    ["spiffe:///a", null],
    ["spiffe://*/a", null],
    ["spiffe://Example.test/a", null],
    ["spiffe://a:80/b", null],
    ["spiffe://a/", null],
    ["spiffe://a//b", null],
    ["spiffe://a/..", null],
    ["spiffe://a/b*", null],
    ["spiffe://a/**/b", null],
    ["spiffe://a/b?c", null],
    [`spiffe://a/${"b".repeat(2048)}`, null],
  ]);
});

test("fingerprints: hex with or without colons", () => {
  check(names.parseFingerprint, [
    [`sha256:${"aB".repeat(32)}`, "ab".repeat(32)],
    [`SHA256:${Array(32).fill("0F").join(":")}`, "0f".repeat(32)],
    ["ab".repeat(32), null],
    [`sha256:${"a".repeat(63)}`, null],
    [`sha256:${"g".repeat(64)}`, null],
    [`sha1:${"ab".repeat(20)}`, null],
  ]);
});

test("names of peers and servers may be IP addresses", () => {
  check(names.parsePeerName, [
    ["*.Clients.example.test", "*.clients.example.test"],
    ["10.0.0.1", "10.0.0.1"],
    ["0:0::1", "::1"],
    ["**.x", null],
    ["*", null],
  ]);
  check(names.parseServerName, [
    ["db.example.test.", "db.example.test"],
    ["::FFFF:10.0.0.1", "10.0.0.1"],
    ["*.x", null],
  ]);
  check(names.parseHostName, [
    ["_db._tcp.Example.test", "_db._tcp.example.test"],
    ["_db._tcp.Example.test.", "_db._tcp.example.test."],
    ["example.test..", null],
    ["10.0.0.1", null],
  ]);
});

test("entry names are safe in logs, labels and paths", () => {
  check(names.parseEntryName, [
    ["edge", "edge"],
    ["constructor", "constructor"],
    ["a.b/c:d-1_", "a.b/c:d-1_"],
    ["__proto__", null],
    ["", null],
    ["a b", null],
    ['a"', null],
    ["é", null],
    ["a\n", null],
    ["x".repeat(129), null],
  ]);
});

test("networks have one spelling", () => {
  check(parseCidr, [
    ["10.0.0.0/8", "10.0.0.0/8"],
    ["10.1.2.3/8", "10.0.0.0/8"],
    ["10.1.2.3", "10.1.2.3/32"],
    ["FD77:0::/64", "fd77::/64"],
    ["::ffff:10.0.0.0/104", "10.0.0.0/8"],
    ["0.0.0.0/0", "0.0.0.0/0"],
    ["::/0", "::/0"],
    ["10.0.0.0/33", null],
    ["10.0.0/8", null],
    ["fe80::%eth0/64", null],
    ["10.0.0.0/", null],
    ["localhost", null],
    ["", null],
  ]);
  assert.equal(canonicalIp("0:0:0::1"), "::1");
  assert.equal(canonicalIp("fe80::1%eth0"), "fe80::1%eth0");
  assert.equal(canonicalIp("x"), null);
});

test("destinations are a network and ports", () => {
  check(parseDestination, [
    ["10.0.0.0/8:5432", "10.0.0.0/8:5432"],
    ["10.0.0.9/8:1-65535", "10.0.0.0/8:1-65535"],
    ["10.0.0.1:80-80", "10.0.0.1/32:80"],
    ["[fd77:0::/64]:5432", "[fd77::/64]:5432"],
    ["fd77::/64:5432", null],
    ["10.0.0.0/8", null],
    ["10.0.0.0/8:0", null],
    ["10.0.0.0/8:70000", null],
    ["10.0.0.0/8:2-1", null],
    ["10.0.0.0/40:1", null],
    [":80", null],
  ]);
});
