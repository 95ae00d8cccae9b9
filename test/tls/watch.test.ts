/** Renewals are noticed however they are done, and a bad one changes nothing. */
import assert from "node:assert/strict";
import { mkdir, rename, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import type { IdentityConfig } from "../../lib/config/config.ts";
import type { ProxyError } from "../../lib/errors.ts";
import { type Identity, loadIdentity } from "../../lib/tls/identity.ts";
import { IdentityWatch } from "../../lib/tls/watch.ts";
import { authority, directoryWith, identityFiles, issue } from "../gear/certificates.ts";

async function watching(t: TestContext, config: IdentityConfig, poll = 3_600_000) {
  const reports: (Identity | ProxyError)[] = [];
  let wake: (() => void) | null = null;
  const report = (what: Identity | ProxyError) => {
    reports.push(what);
    wake?.();
  };
  const current = await loadIdentity(config);
  const watch = new IdentityWatch({ config, current, changed: report, failed: report, settle: 20, poll });
  // The watch keeps no process alive by itself; the test does while it waits.
  const alive = setInterval(() => {}, 1000);
  t.after(() => {
    clearInterval(alive);
    watch.close();
  });
  const next = () =>
    new Promise<Identity | ProxyError>((resolve) => {
      const take = () => {
        const first = reports.shift();
        wake = first === undefined ? take : null;
        if (first !== undefined) resolve(first);
      };
      take();
    });
  return { watch, reports, next };
}

test("files replaced by rename, as renewals do", async (t) => {
  const files = await identityFiles("server");
  t.after(files.remove);
  const { next } = await watching(t, files.config);
  const { cert, key } = await issue({ commonName: "renewed" });
  for (const [path, text] of [
    [files.config.cert!, cert],
    [files.config.key!, key],
  ] as const) {
    await writeFile(`${path}.new`, text);
    await rename(`${path}.new`, path);
  }
  let report = await next();
  // Should certificate and key be seen apart, the mismatch is reported first.
  if (report instanceof Error) report = await next();
  assert.equal((report as Identity).subject, "CN=renewed");
});

test("the directory link swapped, as Kubernetes does", async (t) => {
  const first = await issue({ commonName: "first" });
  const second = await issue({ commonName: "second" });
  const directory = directoryWith({});
  t.after(directory.remove);
  const at = (...parts: string[]) => join(directory.path, ...parts);
  for (const [name, pair] of [
    ["..1", first],
    ["..2", second],
  ] as const) {
    await mkdir(at(name));
    await writeFile(at(name, "tls.crt"), pair.cert);
    await writeFile(at(name, "tls.key"), pair.key);
  }
  await symlink("..1", at("..data"));
  await symlink("..data/tls.crt", at("tls.crt"));
  await symlink("..data/tls.key", at("tls.key"));
  const config: IdentityConfig = {
    name: "k",
    cert: at("tls.crt"),
    key: at("tls.key"),
    ca: null,
    crl: null,
    watch: true,
  };
  const { next } = await watching(t, config);
  await symlink("..2", at("..data_tmp"));
  await rename(at("..data_tmp"), at("..data"));
  assert.equal(((await next()) as Identity).subject, "CN=second");
});

test("a broken file is reported once, and its repair afterwards", async (t) => {
  const files = await identityFiles("server");
  t.after(files.remove);
  const { watch, reports, next } = await watching(t, files.config);
  await writeFile(files.config.cert!, "broken");
  const error = (await next()) as ProxyError;
  assert.equal(error.code, "IDENTITY");
  assert.match(error.message, /is not PEM/);
  await watch.look();
  await watch.look();
  assert.deepEqual(reports, []);
  const { cert, key } = await issue({ commonName: "repaired" });
  await writeFile(files.config.key!, key);
  await writeFile(files.config.cert!, cert);
  let report = await next();
  while (report instanceof Error) report = await next();
  assert.equal(report.subject, "CN=repaired");
});

test("without events the poll notices", async (t) => {
  const files = await identityFiles("server");
  t.after(files.remove);
  const { next, reports, watch } = await watching(t, files.config);
  await writeFile(files.config.ca!, (await authority()).cert + (await authority()).cert);
  await watch.look();
  assert.equal(((await next()) as Identity).authorities, 2);
  await watch.look();
  assert.deepEqual(reports, [], "told once");
});

test("files touched but not changed are no news, and after close there is silence", async (t) => {
  const files = await identityFiles("server");
  t.after(files.remove);
  const { watch, reports } = await watching(t, files.config);
  await writeFile(files.config.ca!, (await authority()).cert);
  await watch.look();
  assert.deepEqual(reports, []);
  watch.close();
  await writeFile(files.config.ca!, "broken");
  await watch.look();
  assert.deepEqual(reports, []);
});
