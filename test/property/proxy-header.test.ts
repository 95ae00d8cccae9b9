/** Whatever is encoded is decoded as it was; whatever is cut or broken is "more" or "bad", and nothing ever throws. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { SocketAddress } from "../../lib/wire/address.ts";
import { formatIp6, readIp } from "../../lib/wire/ip.ts";
import { decodeProxyHeader, encodeProxyHeader, type ProxyHeader } from "../../lib/wire/proxy-header.ts";

const plainObjects = { noNullPrototype: true };
const host = fc.oneof(
  fc.ipV4(),
  // In the canonical form, in which it comes back.
  fc.uint32Array({ minLength: 4, maxLength: 4 }).map(formatIp6),
);
const address: fc.Arbitrary<SocketAddress> = fc.record(
  {
    kind: fc.constant("ip" as const),
    host,
    port: fc.integer({ min: 0, max: 65535 }),
  },
  plainObjects,
);
const path: fc.Arbitrary<SocketAddress> = fc.record(
  {
    kind: fc.constant("unix" as const),
    // An abstract name of no bytes cannot be told from no name.
    path: fc
      .string({ unit: fc.constantFrom("/", "a", "\u00fc", ".", "@"), maxLength: 50 })
      .filter((name) => name !== "@"),
  },
  plainObjects,
);
const ends = fc.oneof(fc.tuple(address, address), fc.tuple(path, path), fc.constant([null, null] as const));
const bytes = (max: number) => fc.uint8Array({ minLength: 1, maxLength: max });
const text = fc
  .string({ unit: "binary", maxLength: 40 })
  .filter((value) => Buffer.from(value).toString() === value);
const ssl = fc
  .record(
    {
      tls: fc.boolean(),
      certificate: fc.boolean(),
      sessionCertificate: fc.boolean(),
      verified: fc.boolean(),
      version: text,
      commonName: text,
      cipher: text,
      signatureAlgorithm: text,
      keyAlgorithm: text,
    },
    { ...plainObjects, requiredKeys: ["tls", "certificate", "sessionCertificate", "verified"] },
  )
  .map((facts) => ({
    ...facts,
    verified: facts.verified && (facts.certificate || facts.sessionCertificate),
  }));
const tlvs = fc.record(
  {
    alpn: bytes(255).map((raw) => Buffer.from(raw).toString("latin1")),
    authority: text.filter((value) => value.length > 0),
    uniqueId: bytes(128),
    ssl,
    custom: fc
      .array(fc.tuple(fc.integer({ min: 0xe0, max: 0xef }), fc.uint8Array({ maxLength: 40 })), {
        minLength: 1,
      })
      .map((entries) => new Map(entries)),
  },
  { ...plainObjects, requiredKeys: [] },
);
const v2: fc.Arbitrary<ProxyHeader> = fc.tuple(ends, tlvs).map(([[source, destination], told]) => ({
  version: 2,
  command: "proxy",
  source,
  destination,
  tlvs: told,
}));
const v1: fc.Arbitrary<ProxyHeader> = fc
  .tuple(address, address)
  .map(([source, destination]) => ({ version: 1, command: "proxy", source, destination, tlvs: {} }));
const any = fc.oneof(v1, v2);

function plain(bytes: Uint8Array): Uint8Array {
  return Uint8Array.from(bytes);
}

test("a header comes back as it went, whatever follows it", () => {
  fc.assert(
    fc.property(any, fc.uint8Array(), (header, rest) => {
      const encoded = encodeProxyHeader(header);
      const bytes = Buffer.concat([encoded, rest]);
      const verdict = decodeProxyHeader(bytes);
      bytes.fill("x"); // nothing of it may be kept: a peek shows a buffer that is used again
      assert.deepEqual(verdict, { kind: "header", header, length: encoded.length });
    }),
    { numRuns: 500 },
  );
});

test("every part of a header needs more, and never more than the header has", () => {
  fc.assert(
    fc.property(any, (header) => {
      const encoded = encodeProxyHeader(header);
      let need = 0;
      for (let cut = 0; cut < encoded.length; cut++) {
        const verdict = decodeProxyHeader(encoded.subarray(0, cut));
        assert.equal(verdict.kind, "more", `${cut}: ${JSON.stringify(verdict)}`);
        if (verdict.kind !== "more") return;
        assert.ok(verdict.need > cut && verdict.need <= encoded.length && verdict.need >= need);
        need = verdict.need;
      }
    }),
    { numRuns: 60 },
  );
});

/** Whether the TLVs of a PROXY v2 header, as their lengths have them, include the CRC32C (type 3). */
function hasChecksum(bytes: Uint8Array): boolean {
  const addresses = [0, 12, 36, 216][bytes[13]! >> 4]!;
  for (let at = 16 + addresses; at + 3 <= bytes.length; at += 3 + bytes[at + 1]! * 256 + bytes[at + 2]!)
    if (bytes[at] === 3) return true;
  return false;
}

test("a flipped byte in a header with TLVs is noticed or in the addresses' way, and never throws", () => {
  fc.assert(
    fc.property(any, fc.nat(), fc.integer({ min: 1, max: 255 }), (header, at, mask) => {
      const encoded = plain(encodeProxyHeader(header));
      const index = at % encoded.length;
      encoded[index]! ^= mask;
      const verdict = decodeProxyHeader(encoded);
      const summed = header.version === 2 && Object.keys(header.tlvs).length > 0 && header.source !== null;
      // Past the fixed part the checksum covers everything, if it is still there: a length may have grown right over it.
      if (summed && index >= 16 && hasChecksum(encoded)) assert.notEqual(verdict.kind, "header");
    }),
    { numRuns: 2000 },
  );
});

test("random bytes behind a beginning never throw, and the verdict does not depend on cuts", () => {
  const starts = [Buffer.from("PROXY "), Buffer.from("PROXY TCP4 1.2.3.4 "), Buffer.from("PROXY UNKNOWN ")];
  const signature = Buffer.from("0d0a0d0a000d0a515549540a", "hex");
  for (const fixed of ["", "20", "21", "2111", "21110010", "21000020", "21210030", "20110004"])
    starts.push(Buffer.concat([signature, Buffer.from(fixed, "hex")]));
  const noise = fc.oneof(
    fc.uint8Array({ maxLength: 120 }),
    fc
      .string({ unit: fc.constantFrom(..."0123456789.: TCP46\r\n"), maxLength: 120 })
      .map((s) => Buffer.from(s)),
  );
  fc.assert(
    fc.property(fc.constantFrom(...starts), noise, (start, rest) => {
      const whole = Buffer.concat([start, rest]);
      let first = decodeProxyHeader(whole.subarray(0, 0));
      for (let cut = 1; cut <= whole.length && first.kind === "more"; cut++)
        first = decodeProxyHeader(whole.subarray(0, cut));
      assert.equal(decodeProxyHeader(whole).kind, first.kind);
      if (first.kind === "header") assert.deepEqual(decodeProxyHeader(whole), first);
    }),
    { numRuns: 3000 },
  );
});

test("what is decoded can be read as an address", () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 36, maxLength: 36 }), (body) => {
      const fixed = Buffer.from("0d0a0d0a000d0a515549540a21210024", "hex");
      const verdict = decodeProxyHeader(Buffer.concat([fixed, body]));
      assert.ok(verdict.kind === "header" && verdict.header.source?.kind === "ip");
      assert.notEqual(readIp(verdict.header.source.host, new Uint32Array(4)), 0);
    }),
  );
});
