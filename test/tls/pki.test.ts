/** The files of the development authority: usable, private, never overwritten by accident. */
import assert from "node:assert/strict";
import { readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { loadIdentity } from "../../lib/tls/identity.ts";
import { initPki, issueLeaf, revokeLeaves } from "../../lib/tls/pki.ts";
import { directoryWith } from "../gear/certificates.ts";

test("init and issue make an identity that loads, with keys for the owner only", async (t) => {
  const { path, remove } = directoryWith({});
  t.after(remove);
  const directory = join(path, "pki");
  const ca = await initPki({ directory });
  const web = await issueLeaf("web", {
    directory,
    dns: ["web.example.test"],
    ips: ["::1"],
    uris: ["spiffe://example.test/web"],
  });
  for (const file of [ca.key, web.key]) assert.equal((await stat(file)).mode & 0o777, 0o600);
  const crl = await revokeLeaves([web.cert], directory);
  const identity = await loadIdentity({ name: "web", ...web, ca: ca.cert, crl, watch: false });
  assert.equal(identity.subject, "CN=web");
  assert.deepEqual(identity.names, ["URI:spiffe://example.test/web", "DNS:web.example.test", "IP:::1"]);
  assert.deepEqual(identity.warnings, []);
});

test("nothing is overwritten unless forced, and a forced key is narrowed", async (t) => {
  const { path: directory, remove } = directoryWith({});
  t.after(remove);
  const ca = await initPki({ directory });
  const before = await readFile(ca.key, "utf8");
  await assert.rejects(initPki({ directory }), /ca\.key: exists already; add --force/);
  assert.equal(await readFile(ca.key, "utf8"), before);
  await writeFile(join(directory, "web.crt"), "mine");
  await assert.rejects(issueLeaf("web", { directory }), /web\.crt: exists already/);
  await assert.rejects(stat(join(directory, "web.key")), /ENOENT/, "no key is left behind");
  await writeFile(join(directory, "web.key"), "", { mode: 0o644 });
  const web = await issueLeaf("web", { directory, force: true });
  assert.equal((await stat(web.key)).mode & 0o777, 0o600);
});

test("what cannot be issued says why", async (t) => {
  const { path: directory, remove } = directoryWith({});
  t.after(remove);
  await assert.rejects(issueLeaf("web", { directory }), /millrace pki init/);
  await initPki({ directory });
  await assert.rejects(issueLeaf("../web", { directory }), /file name/);
  await assert.rejects(issueLeaf("ca", { directory }), /file name/);
  await assert.rejects(issueLeaf("a", { directory, dns: ["a b"] }), /no DNS name/);
  await assert.rejects(issueLeaf("a", { directory, ips: ["300.1.1.1"] }), /no IP address/);
  await assert.rejects(issueLeaf("a", { directory, uris: ["spiffe://a/b", "spiffe://a/c"] }), /only URI/);
  await writeFile(join(directory, "ca.key"), "broken");
  await assert.rejects(issueLeaf("a", { directory }), /no development CA/);
});
