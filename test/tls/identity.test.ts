/** What makes an identity unusable, and what an operator is told. */
import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import type { IdentityConfig } from "../../lib/config/config.ts";
import { DAY } from "../../lib/tls/authority.ts";
import { describeIdentity, loadIdentity } from "../../lib/tls/identity.ts";
import {
  authority,
  directoryWith,
  encryptedKey,
  identityFiles,
  issue,
  leaf,
  strange,
  strangeAuthority,
} from "../gear/certificates.ts";

type Texts = Partial<Record<"cert" | "key" | "ca" | "crl", string>>;

async function load(t: TestContext, texts: Texts, now?: number) {
  const directory = directoryWith(texts as Record<string, string>);
  t.after(directory.remove);
  const file = (part: keyof Texts) => (texts[part] === undefined ? null : join(directory.path, part));
  const config: IdentityConfig = {
    name: "edge",
    cert: file("cert"),
    key: file("key"),
    ca: file("ca"),
    crl: file("crl"),
    watch: false,
  };
  return loadIdentity(config, now);
}

async function refused(t: TestContext, texts: Texts, expected: RegExp, now?: number): Promise<void> {
  await assert.rejects(load(t, texts, now), (error: Error & { code?: string }) => {
    assert.equal(error.code, "IDENTITY");
    assert.match(error.message, expected);
    assert.match(error.message, /^identity edge: /);
    const secret = /KEY-----\r?\n(.{20})/.exec(texts.key ?? "")?.[1];
    const shown = JSON.stringify([error.message, error.stack, String(error.cause ?? "")]);
    assert.ok(secret === undefined || !shown.includes(secret), "no key material is shown");
    return true;
  });
}

test("a sound identity tells who it is and never shows its key", async (t) => {
  const files = await identityFiles("server", { crl: true });
  t.after(files.remove);
  const identity = await loadIdentity(files.config);
  assert.equal(identity.subject, "CN=server");
  assert.ok(identity.names.includes("DNS:localhost"));
  assert.deepEqual([identity.chain, identity.authorities, identity.warnings.length], [1, 1, 0]);
  assert.ok(identity.notAfter! > Date.now());
  const shown = JSON.stringify(describeIdentity(identity));
  assert.ok(!shown.includes("PRIVATE") && !shown.includes(identity.key!.split("\n")[1]!));
});

test("a trust bundle alone is an identity", async (t) => {
  const identity = await load(t, { ca: (await authority()).cert });
  assert.deepEqual([identity.cert, identity.key, identity.notAfter], [null, null, null]);
  await refused(t, {}, /neither a certificate nor a trust bundle/);
});

test("certificate and key may share one file with comments and line ends of any kind", async (t) => {
  const { cert, key } = await leaf("server");
  const both = `Bag Attributes\n${key}subject=CN\n${cert}`.replaceAll("\n", "\r\n");
  const identity = await load(t, { cert: both, key: both });
  assert.equal(identity.subject, "CN=server");
  assert.ok(!identity.cert!.includes("PRIVATE KEY"));
});

test("files that are missing, empty or something else", async (t) => {
  const { cert, key } = await leaf("server");
  const config: IdentityConfig = {
    name: "edge",
    cert: "/nowhere/a.crt",
    key: "/nowhere/a.key",
    ca: null,
    crl: null,
    watch: false,
  };
  await assert.rejects(loadIdentity(config), /cert \/nowhere\/a\.crt: no such file/);
  await assert.rejects(loadIdentity({ ...config, cert: "/", key: "/" }), /is a directory/);
  await refused(t, { cert: "", key }, /cert .*: is empty/);
  await refused(t, { cert: "hello", key }, /cert .*: is not PEM/);
  await refused(t, { cert: key, key }, /has a PRIVATE KEY but no CERTIFICATE/);
  await refused(
    t,
    { cert: cert.replace(/\n[A-Za-z0-9+/]{20}/, "\n"), key },
    /certificate 1 of 1 cannot be parsed/,
  );
  await refused(t, { cert, key: "" }, /key .*: is empty/);
  await refused(t, { cert, key: cert }, /has no private key/);
  await refused(t, { cert, key: key.replace(/\n[A-Za-z0-9+/]{20}/, "\n") }, /key .*: cannot be parsed/);
  await refused(t, { cert }, /has a cert but no key/);
  await refused(t, { key }, /has a key but no cert/);
  await refused(t, { cert, key, ca: "\n" }, /ca .*: is empty/);
  await refused(t, { cert, key, ca: "junk" }, /ca .*: is not PEM/);
  await refused(t, { cert, key, crl: "" }, /crl .*: is empty/);
  await refused(t, { cert, key, crl: cert }, /crl .*: has no revocation list/);
  await refused(
    t,
    { cert, key, crl: cert.replaceAll("CERTIFICATE", "X509 CRL") },
    /list 1 of 1 cannot be parsed/,
  );
});

test("an encrypted key is refused with the command that decrypts it", async (t) => {
  const pair = await leaf("server");
  await refused(t, { cert: pair.cert, key: encryptedKey(pair) }, /is encrypted.*openssl pkey/);
});

test("a key of another certificate is refused; a chain in the wrong order is told so", async (t) => {
  const { cert, key } = await leaf("server");
  const other = await leaf("alice");
  const ca = (await authority()).cert;
  await refused(t, { cert, key: other.key }, /key .*: does not belong to the certificate in /);
  await refused(
    t,
    { cert: ca + cert, key },
    /the key belongs to certificate 2 of the file; put that one first/,
  );
  assert.deepEqual((await load(t, { cert: cert + ca, key })).warnings, []);
  const warnings = (await load(t, { cert: cert + other.cert, key })).warnings;
  assert.match(warnings.join(), /certificate 2 did not issue certificate 1/);
});

test("a certificate outside its dates is refused", async (t) => {
  await refused(t, { ...(await leaf("expired")) }, /cert .*: expired at 20.*renew it/);
  await refused(t, { ...(await leaf("future")) }, /is not valid before .*check the clock/);
});

test("a bundle or list that will refuse everybody is warned about", async (t) => {
  const ca = await authority();
  const strangers = (await strangeAuthority()).cert;
  const old = await ca.revoke([], { now: Date.now() - 3 * DAY, days: 1 });
  assert.match(
    (await load(t, { ca: ca.cert, crl: old })).warnings.join(),
    /crl .*: expired at .*peers are refused/,
  );
  const fresh = await ca.revoke([]);
  assert.match(
    (await load(t, { ca: ca.cert + strangers, crl: fresh })).warnings.join(),
    /no list from CN=strange CA/,
  );
  assert.match(
    (await load(t, { ca: (await strange()).cert })).warnings.join(),
    /is no certificate authority/,
  );
});

test("the version changes with every part", async (t) => {
  const first = await leaf("server");
  const ca = (await authority()).cert;
  const base = (await load(t, { ...first, ca })).version;
  assert.equal((await load(t, { ...first, ca: `# comment\n${ca}` })).version, base);
  const again = await issue({ commonName: "server" });
  assert.notEqual((await load(t, { ...again, ca })).version, base);
  assert.notEqual((await load(t, { ...first, ca: ca + (await strangeAuthority()).cert })).version, base);
  const files = await identityFiles("server");
  t.after(files.remove);
  await writeFile(files.config.ca!, ca);
  assert.equal((await loadIdentity(files.config)).version, base);
});
