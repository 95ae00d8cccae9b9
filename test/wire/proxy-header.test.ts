/** PROXY protocol headers, right and wrong ones, both versions and both directions. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { SocketAddress } from "../../lib/wire/address.ts";
import { crc32c } from "../../lib/wire/crc32c.ts";
import {
  decodeProxyHeader,
  encodeProxyHeader,
  MAX_PROXY_HEADER,
  type ProxyHeader,
  type ProxyVerdict,
} from "../../lib/wire/proxy-header.ts";

const SIGNATURE = Buffer.from("0d0a0d0a000d0a515549540a", "hex");

function ip(host: string, port: number): SocketAddress {
  return { kind: "ip", host, port };
}

/** A version 2 header of the given version-and-command, family-and-transport, and body. */
function v2(command: number, family: number, body: Uint8Array = Buffer.alloc(0), lie = 0): Buffer {
  const fixed = Buffer.alloc(4);
  fixed[0] = command;
  fixed[1] = family;
  fixed.writeUInt16BE(body.length + lie, 2);
  return Buffer.concat([SIGNATURE, fixed, body]);
}

function tlv(type: number, value: string | Uint8Array, lie = 0): Buffer {
  const bytes = typeof value === "string" ? Buffer.from(value, "latin1") : Buffer.from(value);
  const length = bytes.length + lie;
  return Buffer.concat([Buffer.of(type, length >> 8, length & 255), bytes]);
}

const INET = Buffer.from("c0000201c63364021f9001bb", "hex"); // 192.0.2.1:8080 → 198.51.100.2:443

function decode(bytes: Uint8Array | string): ProxyVerdict {
  return decodeProxyHeader(typeof bytes === "string" ? Buffer.from(bytes, "latin1") : bytes);
}

function header(bytes: Uint8Array | string): ProxyHeader {
  const verdict = decode(bytes);
  assert.equal(verdict.kind, "header", JSON.stringify(verdict));
  return (verdict as Extract<ProxyVerdict, { kind: "header" }>).header;
}

function assertBad(bytes: Uint8Array | string, why: RegExp): void {
  const verdict = decode(bytes);
  assert.equal(verdict.kind, "bad", `${why}: ${JSON.stringify(verdict)}`);
  assert.match((verdict as { why: string }).why, why);
}

test("v1 lines of both families, with what follows left alone", () => {
  const line = "PROXY TCP4 192.0.2.1 198.51.100.2 8080 443\r\n";
  assert.deepEqual(decode(`${line}GET /`), {
    kind: "header",
    length: line.length,
    header: {
      version: 1,
      command: "proxy",
      source: ip("192.0.2.1", 8080),
      destination: ip("198.51.100.2", 443),
      tlvs: {},
    },
  });
  const six = header("PROXY TCP6 2001:DB8::1 ::ffff:192.0.2.1 0 65535\r\n");
  assert.deepEqual([six.source, six.destination], [ip("2001:db8::1", 0), ip("192.0.2.1", 65535)]);
});

test("v1 UNKNOWN names nobody, whatever follows it", () => {
  for (const line of [
    "PROXY UNKNOWN\r\n",
    "PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n",
    `PROXY UNKNOWN ${"x".repeat(91)}\r\n`,
  ]) {
    const got = header(line);
    assert.deepEqual([got.command, got.source, got.destination], ["proxy", null, null]);
  }
});

test("v1 of 107 bytes passes, a longer one is refused at byte 107", () => {
  const longest = `PROXY UNKNOWN ${"x".repeat(91)}\r\n`;
  assert.equal(longest.length, 107);
  assert.equal(decode(longest).kind, "header");
  assert.equal(decode(longest.slice(0, 105)).kind, "more");
  assert.deepEqual(decode(longest.slice(0, 106)), { kind: "more", need: 107 });
  assertBad(`PROXY UNKNOWN ${"x".repeat(92)}\r\n`, /107/);
  assertBad(`PROXY UNKNOWN ${"x".repeat(93)}`, /107/);
});

test("v1 is strict about every character", () => {
  const wrong: [string, RegExp][] = [
    ["PROXY TCP5 192.0.2.1 198.51.100.2 1 2\r\n", /family/],
    ["PROXY tcp4 192.0.2.1 198.51.100.2 1 2\r\n", /family/],
    ["PROXY UNKNOWNX\r\n", /family/],
    ["PROXY  TCP4 192.0.2.1 198.51.100.2 1 2\r\n", /family/],
    ["PROXY TCP4 192.0.2.1 198.51.100.2 1\r\n", /two ports/],
    ["PROXY TCP4 192.0.2.1 198.51.100.2 1 2 \r\n", /two ports/],
    ["PROXY TCP4 192.0.2.1  198.51.100.2 1 2\r\n", /two ports/],
    ["PROXY TCP4 192.0.2.1 2001:db8::1 1 2\r\n", /none/],
    ["PROXY TCP6 192.0.2.1 2001:db8::1 1 2\r\n", /none/],
    ["PROXY TCP6 fe80::1%eth0 2001:db8::1 1 2\r\n", /none/],
    ["PROXY TCP4 192.0.2.01 198.51.100.2 1 2\r\n", /none/],
    ["PROXY TCP4 192.0.2.1 198.51.100.2 01 2\r\n", /none/],
    ["PROXY TCP4 192.0.2.1 198.51.100.2 1 65536\r\n", /none/],
    ["PROXY TCP4 192.0.2.1 198.51.100.2 -1 2\r\n", /none/],
    ["PROXY TCP4 192.0.2.1 198.51.100.2 1 2\rX", /line feed/],
    ["PROXY TCP4 192.0.2.1 198.51.100.2 1 2\n", /ASCII/],
    ["PROXY UNKNOWN a\nb\r\n", /ASCII/],
    ["PROXY UNKNOWN \xff\r\n", /ASCII/],
  ];
  for (const [line, why] of wrong) assertBad(line, why);
});

test("no header is told at the first byte that differs", () => {
  for (const text of [
    "GET / HTTP/1.1\r\n",
    "POST",
    "PROXZ",
    "PROXYX",
    "\x16\x03\x01",
    "\r\n\r\n\0\r\nQUIX",
    "\r\nx",
  ])
    assert.equal(decode(text).kind, "absent", text);
  assert.deepEqual(decode(""), { kind: "more", need: 1 });
  assert.deepEqual(decode("P"), { kind: "more", need: 2 });
  assert.deepEqual(decode("\r\n\r\n\0"), { kind: "more", need: 6 });
  assert.deepEqual(decode("PROXY "), { kind: "more", need: 15 });
  assert.deepEqual(decode(SIGNATURE), { kind: "more", need: 13 });
});

test("v2 addresses of every family", () => {
  const inet = decode(Buffer.concat([v2(0x21, 0x11, INET), Buffer.from("hello")]));
  assert.deepEqual(inet, {
    kind: "header",
    length: 28,
    header: {
      version: 2,
      command: "proxy",
      source: ip("192.0.2.1", 8080),
      destination: ip("198.51.100.2", 443),
      tlvs: {},
    },
  });
  const body = Buffer.from(`20010db8${"00".repeat(11)}01${"00".repeat(10)}ffff0a0000011f9001bb`, "hex");
  const inet6 = header(v2(0x21, 0x21, body));
  assert.deepEqual([inet6.source, inet6.destination], [ip("2001:db8::1", 8080), ip("10.0.0.1", 443)]);
  const paths = Buffer.alloc(216);
  paths.write("/run/client.sock", 0);
  paths.write("x".repeat(108), 108);
  const unix = header(v2(0x21, 0x31, paths));
  assert.deepEqual(unix.source, { kind: "unix", path: "/run/client.sock" });
  assert.deepEqual(unix.destination, { kind: "unix", path: "x".repeat(108) });
  assert.deepEqual(header(v2(0x21, 0x31, Buffer.alloc(216))).source, { kind: "unix", path: "" });
});

test("v2 LOCAL discards its block, whatever is in it", () => {
  for (const bytes of [
    v2(0x20, 0),
    v2(0x20, 0x11, INET),
    v2(0x20, 0xff, Buffer.from("junk")),
    v2(0x20, 0x11, INET, 0),
  ]) {
    const got = header(bytes);
    assert.deepEqual([got.command, got.source, got.destination, got.tlvs], ["local", null, null, {}]);
    assert.equal((decode(bytes) as { length: number }).length, bytes.length);
  }
});

test("v2 UNSPEC and datagrams name nobody; their TLVs count where they are some", () => {
  for (const [family, body] of [
    [0x00, Buffer.alloc(0)],
    [0x00, Buffer.from("\x7f\0\0\x01\x7f\0\0\x01\0\x01\0\x02", "latin1")],
    [0x10, INET],
    [0x01, INET],
    [0x12, INET],
  ] as const) {
    const got = header(v2(0x21, family, body));
    assert.deepEqual([got.command, got.source, got.destination], ["proxy", null, null], `${family}`);
  }
  assert.equal(header(v2(0x21, 0, tlv(2, "a.test"))).tlvs.authority, "a.test");
});

test("v2 with unassigned values is refused as soon as they show", () => {
  assertBad(v2(0x11, 0x11, INET), /version 1/);
  assertBad(v2(0x31, 0x11, INET).subarray(0, 13), /version 3/);
  assertBad(v2(0x22, 0x11, INET), /command 2/);
  assertBad(v2(0x21, 0x41, INET), /family 4/);
  assertBad(v2(0x21, 0x13, INET).subarray(0, 14), /transport 3/);
  assertBad(v2(0x21, 0x11, INET.subarray(0, 11)), /less room/);
  assertBad(v2(0x21, 0x21, INET), /less room/);
  assertBad(v2(0x21, 0x31, INET).subarray(0, 16), /less room/);
  assertBad(v2(0x21, 0x11, INET, MAX_PROXY_HEADER - 28 + 1).subarray(0, 16), /limit/);
  assert.equal(decode(v2(0x21, 0x11, INET, MAX_PROXY_HEADER - 28)).kind, "more");
});

test("v2 TLVs say what they say", () => {
  const ssl = Buffer.concat([
    Buffer.of(7, 0, 0, 0, 0),
    tlv(0x21, "TLSv1.3"),
    tlv(0x22, "alice"),
    tlv(0x23, "TLS_AES_128_GCM_SHA256"),
    tlv(0x24, "RSA-SHA256"),
    tlv(0x25, "RSA2048"),
    tlv(0x2f, "future"),
  ]);
  const body = Buffer.concat([
    INET,
    tlv(1, "h2"),
    tlv(2, "db.example.test"),
    tlv(4, ""),
    tlv(4, "padding"),
    tlv(5, Buffer.from("00ff10", "hex")),
    tlv(0x20, ssl),
    tlv(0x30, "netns"),
    tlv(0xe1, "mine"),
    tlv(0xf0, "experiment"),
  ]);
  assert.deepEqual(header(v2(0x21, 0x11, body)).tlvs, {
    alpn: "h2",
    authority: "db.example.test",
    uniqueId: Uint8Array.from([0, 255, 16]),
    ssl: {
      tls: true,
      certificate: true,
      sessionCertificate: true,
      verified: true,
      version: "TLSv1.3",
      commonName: "alice",
      cipher: "TLS_AES_128_GCM_SHA256",
      signatureAlgorithm: "RSA-SHA256",
      keyAlgorithm: "RSA2048",
    },
    custom: new Map([[0xe1, Uint8Array.from(Buffer.from("mine"))]]),
  });
});

test("without a certificate nothing counts as verified", () => {
  const verified = (client: number, verify: number) =>
    header(v2(0x21, 0x11, Buffer.concat([INET, tlv(0x20, Buffer.of(client, 0, 0, 0, verify))]))).tlvs.ssl
      ?.verified;
  assert.deepEqual(
    [verified(1, 0), verified(3, 0), verified(3, 1), verified(5, 0)],
    [false, true, false, true],
  );
});

test("texts that are not UTF-8 come through byte by byte", () => {
  const tlvs = header(v2(0x21, 0x11, Buffer.concat([INET, tlv(2, "b\xfccher")]))).tlvs;
  assert.equal(tlvs.authority, "b\xfccher");
});

test("v2 TLVs that are cut, doubled or overlong are refused", () => {
  const wrong: [Buffer, RegExp][] = [
    [Buffer.of(1), /exactly/],
    [Buffer.of(1, 0), /exactly/],
    [tlv(1, "h2", 1), /past its end/],
    [tlv(1, "h2", -1), /exactly/],
    [Buffer.concat([tlv(1, "a"), tlv(1, "b")]), /two ALPN/],
    [Buffer.concat([tlv(2, "a"), tlv(2, "b")]), /two AUTHORITY/],
    [Buffer.concat([tlv(5, "a"), tlv(5, "b")]), /two UNIQUE_ID/],
    [Buffer.concat([tlv(0xe0, "a"), tlv(0xe0, "b")]), /two TLVs/],
    [tlv(5, "x".repeat(129)), /128/],
    [tlv(3, "abc"), /4 bytes/],
    [tlv(0x20, "abcd"), /5 bytes/],
    [tlv(0x20, Buffer.concat([Buffer.alloc(5), Buffer.of(0x21, 0)])), /exactly/],
    [tlv(0x20, Buffer.concat([Buffer.alloc(5), tlv(0x21, "TLS", 1)])), /past its end/],
    [tlv(0x20, Buffer.concat([Buffer.alloc(5), tlv(0x22, "a"), tlv(0x22, "b")])), /two parts/],
  ];
  for (const [bytes, why] of wrong) assertBad(v2(0x21, 0x11, Buffer.concat([INET, bytes])), why);
});

test("a CRC32C is checked where there is one", () => {
  assert.equal(crc32c(Buffer.from("123456789"), 0, 9), 0xe3069283); // the check value of CRC-32C
  const bytes = v2(0x21, 0x11, Buffer.concat([INET, tlv(3, Buffer.alloc(4)), tlv(1, "h2")]));
  bytes.writeUInt32BE(crc32c(bytes, 0, bytes.length), 31);
  assert.equal(header(bytes).tlvs.alpn, "h2");
  for (const at of [13 - 13 + 16, 27, 31, bytes.length - 1]) {
    const flipped = Buffer.from(bytes);
    flipped[at]! ^= 1;
    assertBad(flipped, /CRC32C/);
  }
});

test("v1 out: families meet in IPv6, and what has no word is UNKNOWN", () => {
  const line = (
    source: SocketAddress | null,
    destination: SocketAddress | null,
    command: "proxy" | "local" = "proxy",
  ) => encodeProxyHeader({ version: 1, command, source, destination, tlvs: {} }).toString("latin1");
  assert.equal(line(ip("192.0.2.1", 1), ip("10.0.0.1", 2)), "PROXY TCP4 192.0.2.1 10.0.0.1 1 2\r\n");
  assert.equal(line(ip("fe80::1%eth0", 1), ip("::1", 2)), "PROXY TCP6 fe80::1 ::1 1 2\r\n");
  assert.equal(line(ip("192.0.2.1", 1), ip("::1", 2)), "PROXY TCP6 ::ffff:192.0.2.1 ::1 1 2\r\n");
  assert.equal(line({ kind: "unix", path: "" }, ip("::1", 2)), "PROXY UNKNOWN\r\n");
  assert.equal(line(null, null), "PROXY UNKNOWN\r\n");
  assert.equal(line(ip("192.0.2.1", 1), ip("10.0.0.1", 2), "local"), "PROXY UNKNOWN\r\n");
});

test("v2 out: the very bytes", () => {
  const out = (parts: Partial<ProxyHeader>) =>
    encodeProxyHeader({
      version: 2,
      command: "proxy",
      source: ip("192.0.2.1", 8080),
      destination: ip("198.51.100.2", 443),
      tlvs: {},
      ...parts,
    });
  assert.deepEqual(out({}), v2(0x21, 0x11, INET));
  assert.deepEqual(out({ command: "local", tlvs: { alpn: "h2" } }), v2(0x20, 0));
  assert.deepEqual(out({ source: null, destination: null }), v2(0x21, 0));
  assert.deepEqual(out({ source: { kind: "unix", path: "/x" } }), v2(0x21, 0));
  const mixed = Buffer.from(`${"00".repeat(10)}ffffc0000201${"00".repeat(15)}011f900002`, "hex");
  assert.deepEqual(out({ destination: ip("::1", 2) }), v2(0x21, 0x21, mixed));
  const named = out({ tlvs: { authority: "a.test" } });
  assert.deepEqual(named.subarray(0, -7), v2(0x21, 0x11, Buffer.concat([INET, tlv(2, "a.test")]), 7));
  assert.equal(header(named).tlvs.authority, "a.test");
  const unspec = out({ source: null, tlvs: { uniqueId: Buffer.from("id") } });
  assert.deepEqual(header(unspec).tlvs.uniqueId, Uint8Array.from(Buffer.from("id")));
});

test("v2 paths: an abstract name keeps its NUL, and one that has no room is not told", () => {
  const out = (path: string) => {
    const source = { kind: "unix", path } as const;
    return encodeProxyHeader({ version: 2, command: "proxy", source, destination: source, tlvs: {} });
  };
  const block = Buffer.alloc(216);
  for (const at of [0, 108]) block.write("\0millrace", at);
  assert.deepEqual(out("@millrace"), v2(0x21, 0x31, block));
  assert.deepEqual(header(out("@millrace")).source, { kind: "unix", path: "@millrace" });
  assert.equal(header(out("x".repeat(108))).source?.kind, "unix");
  assert.deepEqual(out("x".repeat(109)), v2(0x21, 0));
  // Read as text each of these bytes becomes three.
  const { source } = header(v2(0x21, 0x31, Buffer.alloc(216, 0xff)));
  assert.deepEqual(out(source!.kind === "unix" ? source!.path : ""), v2(0x21, 0));
});

test("what cannot be encoded throws", () => {
  const encode = (tlvs: object, source: SocketAddress = ip("192.0.2.1", 1), destination = source) =>
    encodeProxyHeader({ version: 2, command: "proxy", source, destination, tlvs });
  const ssl = { tls: true, certificate: false, sessionCertificate: false, verified: false };
  const wrong: (() => Buffer)[] = [
    () => encode({ alpn: "" }),
    () => encode({ alpn: "x".repeat(256) }),
    () => encode({ alpn: "\u20ac" }),
    () => encode({ authority: "x".repeat(65536) }),
    () => encode({ authority: "\ud800" }),
    () => encode({ uniqueId: new Uint8Array(129) }),
    () => encode({ uniqueId: new Uint8Array(0) }),
    () => encode({ ssl: { ...ssl, verified: true } }),
    () => encode({ ssl: { ...ssl, commonName: "x".repeat(65530) } }),
    () => encode({ authority: "x".repeat(40_000), custom: new Map([[0xe0, new Uint8Array(30_000)]]) }),
    () => encode({ custom: new Map([[0xdf, new Uint8Array(1)]]) }),
    () => encode({}, ip("nonsense", 1)),
  ];
  for (const [i, run] of wrong.entries())
    assert.throws(run, { name: "ProxyError", code: "INTERNAL" }, `${i}`);
});
