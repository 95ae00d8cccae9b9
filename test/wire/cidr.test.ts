/** CIDR blocks, lists of them and `CIDR:port` patterns. */
import assert from "node:assert/strict";
import { BlockList, isIP } from "node:net";
import { test } from "node:test";
import fc from "fast-check";
import { cidrSet, destinationSet, formatCidr, parseCidr, parseDestination } from "../../lib/wire/cidr.ts";
import { formatIp4, formatIp6, readIp } from "../../lib/wire/ip.ts";

function formatted(text: string): string | null {
  const words = new Uint32Array(4);
  const family = readIp(text, words);
  return family === 0 ? null : family === 4 ? formatIp4(words[0]!) : formatIp6(words);
}

test("a literal is read as inet_pton reads it and written as RFC 5952 has it", () => {
  const cases: [string, string | null][] = [
    ["127.0.0.1", "127.0.0.1"],
    ["255.255.255.255", "255.255.255.255"],
    ["0.0.0.0", "0.0.0.0"],
    ["::", "::"],
    ["::1", "::1"],
    ["1::", "1::"],
    ["fe80::1%eth0", "fe80::1"],
    ["2001:DB8::0:1", "2001:db8::1"],
    ["2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"],
    ["1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7:8"],
    ["1:0:3:4:5:6:7:8", "1:0:3:4:5:6:7:8"],
    ["::ffff:10.0.0.1", "10.0.0.1"],
    ["::ffff:a00:1", "10.0.0.1"],
    ["::10.0.0.1", "::a00:1"],
    ["64:ff9b::10.0.0.1", "64:ff9b::a00:1"],
    ["1:2:3:4:5:6:1.2.3.4", "1:2:3:4:5:6:102:304"],
  ];
  for (const [text, want] of cases) assert.equal(formatted(text), want, text);
  const wrong = [
    "",
    "1",
    "1.2.3",
    "1.2.3.4.5",
    "01.2.3.4",
    "256.1.1.1",
    "1.2.3.",
    ".1.2.3",
    "1.2.3.4 ",
    ":",
    ":::",
  ];
  wrong.push(
    "1:2:3:4:5:6:7",
    "1:2:3:4:5:6:7:8:9",
    "1::2::3",
    "12345::",
    "1:",
    ":1",
    "1:2:3:4:5:6:7:1.2.3.4",
    "g::",
  );
  wrong.push(
    "::1.2.3",
    "::1.2.3.4:5",
    "1:2:3:4::5:6:7:8",
    "::1%",
    "localhost",
    "1.2.3.4%eth0",
    "1::1::",
    "[::1]",
  );
  for (const text of wrong) assert.equal(formatted(text), null, text);
});

test("a block is its prefix, whatever its host bits", () => {
  const cases: [string, string | null][] = [
    ["10.1.2.3/8", "10.0.0.0/8"],
    ["0.0.0.0/0", "0.0.0.0/0"],
    ["10.0.0.1", "10.0.0.1/32"],
    ["fd77::1/64", "fd77::/64"],
    ["::/0", "::/0"],
    ["::1", "::1/128"],
    ["::ffff:10.0.0.0/104", "10.0.0.0/8"],
    ["::ffff:10.0.0.1", "10.0.0.1/32"],
  ];
  for (const [text, want] of cases) assert.equal(formatCidr(parseCidr(text)!), want, text);
  const wrong = [
    "",
    "10.0.0.0/33",
    "10.0.0.0/",
    "10.0.0.0/08",
    "10.0.0.0/-1",
    "::/129",
    "10.0.0/8",
    "/8",
    "name/8",
  ];
  wrong.push("::ffff:10.0.0.0/95", "10.0.0.0/8/8", " 10.0.0.0/8", "fe80::%eth0/64", "10.0.0.0/1e1");
  for (const text of wrong) assert.equal(parseCidr(text), null, text);
});

test("a set holds for addresses of its blocks, mapped ones included, and for no other family", () => {
  const set = cidrSet([
    "10.0.0.0/8",
    "192.168.1.0/24",
    "192.168.1.128/25",
    "192.168.2.0/24",
    "fd00::/8",
    "::1",
  ]);
  for (const yes of [
    "10.0.0.0",
    "10.255.255.255",
    "::ffff:10.1.1.1",
    "::ffff:a01:101",
    "192.168.2.255",
    "fdff::1",
    "::1",
  ])
    assert.equal(set.contains(yes), true, yes);
  for (const no of [
    "11.0.0.0",
    "9.255.255.255",
    "192.168.3.0",
    "192.168.0.255",
    "::2",
    "fe00::",
    "::",
    "",
    "x",
    "10.0.0",
  ])
    assert.equal(set.contains(no), false, no);
  assert.equal(cidrSet(["::/0"]).contains("10.0.0.1"), false);
  assert.equal(cidrSet(["0.0.0.0/0"]).contains("::1"), false);
  assert.equal(cidrSet([]).contains("10.0.0.1"), false);
  assert.equal(cidrSet(["fe80::/10"]).contains("fe80::1%eth0"), true);
  assert.throws(() => cidrSet(["10.0.0.0/8", "nonsense"]), RangeError);
});

test("a destination pattern is a block and a range of ports", () => {
  const set = destinationSet([
    "10.0.0.0/8:5432",
    "[fd77::/64]:5432",
    "127.0.0.0/8:1-65535",
    "192.0.2.1:80-90",
  ]);
  const yes: [string, number][] = [
    ["10.9.9.9", 5432],
    ["fd77::9", 5432],
    ["127.0.0.1", 1],
    ["127.9.0.1", 65535],
    ["192.0.2.1", 80],
    ["::ffff:192.0.2.1", 90],
  ];
  for (const [host, port] of yes)
    assert.equal(set.contains({ kind: "ip", host, port }), true, `${host} ${port}`);
  const no: [string, number][] = [
    ["10.9.9.9", 5433],
    ["fd77:0:0:1::9", 5432],
    ["128.0.0.1", 1],
    ["192.0.2.1", 91],
    ["192.0.2.1", 79],
    ["192.0.2.2", 80],
  ];
  for (const [host, port] of no)
    assert.equal(set.contains({ kind: "ip", host, port }), false, `${host} ${port}`);
  assert.equal(set.contains({ kind: "unix", path: "/run/x" }), false);
  const wrong = [
    "",
    "10.0.0.0/8",
    "10.0.0.0/8:",
    "10.0.0.0/8:0",
    "10.0.0.0/8:65536",
    "10.0.0.0/8:9-8",
    "fd77::/64:80",
  ];
  wrong.push("10.0.0.0/8:1-2-3", ":80", "[]:80", "name:80", "[fd77::/64]", "[10.0.0.0/8]:80x");
  for (const text of wrong) assert.equal(parseDestination(text), null, text);
  assert.deepEqual(parseDestination("[10.0.0.0/8]:80"), parseDestination("10.0.0.0/8:80"));
  assert.throws(() => destinationSet(["10.0.0.0/8"]), RangeError);
});

const ip4 = fc.ipV4();
// Mapped addresses are IPv4 here and IPv6 in Node: the tests by example have them.
const ip6 = fc.ipV6().filter((text) => readIp(text, new Uint32Array(4)) === 6);

test("any IP literal is read as Node reads it", () => {
  const noisy = fc.string({ unit: fc.constantFrom(..."0123456789abcf:.%"), maxLength: 40 });
  fc.assert(
    fc.property(fc.oneof(ip4, ip6, noisy), (text) => {
      const family = readIp(text, new Uint32Array(4));
      assert.equal(family === 0, isIP(text) === 0, text);
    }),
    { numRuns: 2000, examples: [["fe80::1%a%b"], ["::%%a"], ["::%"]] },
  );
});

test("written and read again, an address is the same", () => {
  fc.assert(
    fc.property(fc.uint32Array({ minLength: 4, maxLength: 4 }), (words) => {
      const again = new Uint32Array(4);
      const family = readIp(formatIp6(words), again);
      if (family === 6) assert.deepEqual(again, words);
      else assert.equal(again[0], words[3]);
    }),
  );
});

test("a set of any blocks answers as net.BlockList does", () => {
  const block4 = fc.tuple(ip4, fc.integer({ min: 0, max: 32 }));
  const block6 = fc.tuple(ip6, fc.integer({ min: 0, max: 128 }));
  fc.assert(
    fc.property(fc.array(block4), fc.array(block6), ip4, ip6, (blocks4, blocks6, host4, host6) => {
      const list4 = new BlockList();
      const list6 = new BlockList();
      for (const [base, prefix] of blocks4) list4.addSubnet(base, prefix, "ipv4");
      for (const [base, prefix] of blocks6) list6.addSubnet(base, prefix, "ipv6");
      const set = cidrSet([...blocks4, ...blocks6].map(([base, prefix]) => `${base}/${prefix}`));
      for (const host of [host4, ...blocks4.map(([base]) => base)])
        assert.equal(set.contains(host), list4.check(host, "ipv4"), host);
      for (const host of [host6, ...blocks6.map(([base]) => base)])
        assert.equal(set.contains(host), list6.check(host, "ipv6"), host);
    }),
  );
});
