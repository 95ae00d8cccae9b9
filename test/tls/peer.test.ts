/** Who a certificate names, and above all whom it does not. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { X509Certificate } from "node:crypto";
import { test } from "node:test";
import { isUnreadable, PeerCache, peerFromDer } from "../../lib/tls/peer.ts";
import { pemBytes } from "../../lib/tls/pem.ts";
import { directoryWith, issue, leaf } from "../gear/certificates.ts";
import { certificate, extension, name, sequence, text } from "../gear/der.ts";

const ALT_NAME = [0x55, 0x1d, 0x11];
const dns = (value: string) => text(0x82, value);
const uri = (value: string) => text(0x86, value);

test("a leaf is read as OpenSSL reads it", async () => {
  const pair = await leaf("alice");
  const der = pemBytes(pair.cert);
  const peer = peerFromDer(der);
  const reference = new X509Certificate(der);
  assert.equal(peer.subject, "CN=alice,OU=ops");
  assert.equal(peer.commonName, "alice");
  assert.deepEqual(peer.organizationalUnits, ["ops"]);
  assert.deepEqual(peer.dns, ["alice.clients.example.test"]);
  assert.deepEqual(peer.uris, ["spiffe://example.test/ns/prod/alice"]);
  assert.equal(peer.serial, reference.serialNumber.toLowerCase());
  assert.equal(peer.fingerprint, reference.fingerprint256.replaceAll(":", "").toLowerCase());
  assert.equal(peer.notBefore, Date.parse(reference.validFrom));
  assert.equal(peer.notAfter, Date.parse(reference.validTo));
});

test("addresses are written in their shortest form", async () => {
  const { cert } = await issue({ ips: ["10.0.0.1", "2001:DB8:0:0:0:0:0:1", "::1"] });
  assert.deepEqual(peerFromDer(pemBytes(cert)).ips, ["10.0.0.1", "2001:db8::1", "::1"]);
});

test("a certificate made by the openssl program is read too", (t) => {
  const directory = directoryWith({});
  t.after(directory.remove);
  const made = spawnSync(
    "openssl",
    "req -x509 -newkey rsa:2048 -nodes -days 20000 -keyout k.pem -out c.pem -multivalue-rdn -utf8"
      .split(" ")
      .concat([
        "-subj",
        '/C=DE/O=A, B "C"/OU=one+OU=two/CN=Zoë/emailAddress=z@example.test',
        "-addext",
        "subjectAltName=DNS:A.Example.Test,email:z@example.test,IP:10.1.2.3,URI:https://example.test/x",
      ]),
    { cwd: directory.path, encoding: "utf8" },
  );
  if (made.error !== undefined) return t.skip("openssl is missing");
  assert.equal(made.status, 0, made.stderr);
  const pem = spawnSync("cat", ["c.pem"], { cwd: directory.path, encoding: "utf8" }).stdout;
  const peer = peerFromDer(pemBytes(pem));
  assert.equal(peer.subject, 'emailAddress=z@example.test,CN=Zoë,OU=one+OU=two,O=A\\, B \\"C\\",C=DE');
  assert.deepEqual(peer.organizationalUnits, ["one", "two"]);
  assert.deepEqual(peer.dns, ["a.example.test"]);
  assert.deepEqual(peer.ips, ["10.1.2.3"]);
  assert.deepEqual(peer.uris, ["https://example.test/x"]);
  assert.equal(new Date(peer.notAfter).getUTCFullYear(), 2081, "a date after 2049 is a GeneralizedTime");
});

test("a name cannot be smuggled inside another", () => {
  const peer = peerFromDer(
    certificate({
      extensions: [
        extension(
          ALT_NAME,
          sequence(
            dns("bad.test, DNS:good.test"),
            dns("good.test\0.bad.test"),
            dns('"good.test"'),
            dns("ünicode.test"),
            dns(""),
            dns("fine.test"),
          ),
        ),
      ],
    }),
  );
  assert.deepEqual(peer.dns, ["fine.test"]);
});

test("one odd URI hides them all, since a SPIFFE ID must be the only one", () => {
  const good = uri("spiffe://example.test/a");
  const odd = uri("spiffe://example.test/a\0b");
  const alone = peerFromDer(certificate({ extensions: [extension(ALT_NAME, sequence(good))] }));
  assert.deepEqual(alone.uris, ["spiffe://example.test/a"]);
  const both = peerFromDer(certificate({ extensions: [extension(ALT_NAME, sequence(good, odd))] }));
  assert.deepEqual(both.uris, []);
});

test("a subject in an odd encoding is printed as bytes and names nobody", () => {
  const cases: [number, string][] = [
    [0x0c, "ali\0ce"], // NUL
    [0x0c, "\xff\xfe"], // not UTF-8
    [0x0c, "\xe2\x80\xaealice"], // right-to-left override
    [0x14, "alice"], // T61String
    [0x1e, "\0a\0l\0i"], // BMPString
    [0x13, "al\xefce"], // beyond PrintableString
  ];
  for (const [tag, value] of cases) {
    const peer = peerFromDer(certificate({ subject: name([0x55, 4, 3], text(tag, value)) }));
    assert.equal(peer.commonName, null, JSON.stringify(value));
    assert.equal(peer.subject, `CN=#${Buffer.from(value, "latin1").toString("hex")}`);
  }
});

test("of several common names the last counts, and an odd last one counts as none", () => {
  const cn = (tag: number, value: string) => name([0x55, 4, 3], text(tag, value));
  const join = (...names: Buffer[]) => Buffer.concat(names);
  assert.equal(peerFromDer(certificate({ subject: join(cn(12, "one"), cn(12, "two")) })).commonName, "two");
  assert.equal(peerFromDer(certificate({ subject: join(cn(12, "one"), cn(0x14, "two")) })).commonName, null);
});

test("what is no certificate becomes a peer without names or dates", async () => {
  const der = pemBytes((await leaf("alice")).cert);
  const twice = extension(ALT_NAME, sequence(dns("a.test")));
  const cases: [string, Uint8Array][] = [
    ["nothing", new Uint8Array()],
    ["cut short", der.subarray(0, der.length - 1)],
    ["something behind it", Buffer.concat([der, Buffer.from([0])])],
    ["indefinite length", Buffer.concat([Buffer.from([0x30, 0x80]), der, Buffer.from([0, 0])])],
    ["two lists of names", certificate({ extensions: [twice, twice] })],
    ["names that are no list", certificate({ extensions: [extension(ALT_NAME, dns("a.test"))] })],
  ];
  for (const [what, bytes] of cases) {
    const peer = peerFromDer(bytes);
    assert.ok(isUnreadable(peer), what);
    assert.deepEqual(
      [peer.dns, peer.uris, peer.ips, peer.commonName, peer.subject],
      [[], [], [], null, ""],
      what,
    );
  }
});

test("no flipped byte makes the reader throw", async () => {
  const der = pemBytes((await leaf("server")).cert);
  for (let index = 0; index < der.length; index++) {
    for (const value of [0x00, 0x30, 0x7f, 0x80, 0xff]) {
      const bytes = Buffer.from(der);
      bytes[index] = value;
      assert.match(peerFromDer(bytes).fingerprint, /^[0-9a-f]{64}$/);
    }
  }
});

test("the cache returns the same peer and stays within its bound", async () => {
  const ders = [];
  for (const who of ["alice", "server", "mallory"] as const) ders.push(pemBytes((await leaf(who)).cert));
  const cache = new PeerCache(2);
  const first = cache.get(ders[0]!);
  assert.equal(cache.get(ders[0]!), first);
  cache.get(ders[1]!);
  cache.get(ders[2]!);
  assert.equal(cache.size, 2);
  assert.notEqual(cache.get(ders[0]!), first, "the oldest went first");
});
