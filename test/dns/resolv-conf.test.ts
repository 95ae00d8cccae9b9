import assert from "node:assert/strict";
import { mkdtempSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { candidates, parseResolvConf, ResolvConfFile } from "../../lib/dns/resolv-conf.ts";

test("an ordinary resolv.conf", () => {
  const conf = parseResolvConf(
    "# by hand\nnameserver 10.0.0.53\nnameserver  fe80::1%eth0 \nnameserver 2001:db8::53\n" +
      "search Prod.Example.Test example.test.\noptions ndots:5 timeout:3 attempts:4 rotate use-vc edns0\n",
  );
  assert.deepEqual(conf, {
    nameservers: [
      { host: "10.0.0.53", port: 53 },
      { host: "fe80::1%eth0", port: 53 },
      { host: "2001:db8::53", port: 53 },
    ],
    search: ["prod.example.test", "example.test"],
    ndots: 5,
    timeout: 3000,
    attempts: 4,
    rotate: true,
    tcp: true,
  });
});

test("an empty file, and one of nonsense, mean a server on this machine and the defaults", () => {
  for (const text of [
    "",
    "nameserver\nnameserver not.an.ip\noptions ndots:x timeout:\n; nameserver 1.2.3.4\n\0\xff\n",
  ]) {
    const conf = parseResolvConf(text);
    assert.deepEqual(conf.nameservers, [{ host: "127.0.0.1", port: 53 }]);
    assert.deepEqual([conf.search, conf.ndots, conf.timeout, conf.attempts], [[], 1, null, null]);
  }
});

test("values are kept within what glibc allows; the last search or domain line wins", () => {
  const conf = parseResolvConf(
    "options ndots:99 timeout:999 attempts:0\nsearch a.test b.test\ndomain c.test d.test",
  );
  assert.deepEqual([conf.ndots, conf.timeout, conf.attempts], [15, 30_000, 1]);
  assert.deepEqual(conf.search, ["c.test"]);
});

test("search order follows ndots; a trailing dot is final", () => {
  const search = ["ns.svc.cluster.local", "cluster.local"];
  assert.deepEqual(candidates("web", search, 1), ["web.ns.svc.cluster.local", "web.cluster.local", "web"]);
  assert.deepEqual(candidates("web.other", search, 1), [
    "web.other",
    "web.other.ns.svc.cluster.local",
    "web.other.cluster.local",
  ]);
  assert.deepEqual(candidates("web.other", search, 5).at(-1), "web.other");
  assert.deepEqual(candidates("web.other.", search, 5), ["web.other"]);
  assert.deepEqual(candidates("WEB", [], 1), ["web"]);
});

test("impossible names have no candidates, and a search domain that makes a name too long is passed over", () => {
  for (const name of [
    "",
    "a..b",
    "a b",
    "a\0b",
    "é.test",
    `${"a".repeat(64)}.test`,
    `${"a.".repeat(127)}b`,
  ]) {
    assert.deepEqual(candidates(name, ["x.test"], 1), [], JSON.stringify(name));
  }
  const long = `${"a.".repeat(120)}b`;
  assert.deepEqual(candidates(long, ["much.too.long.for.this.test"], 1), [long]);
});

test("a changed file is seen at the next look, a missing one changes nothing", (t) => {
  const folder = mkdtempSync(join(tmpdir(), "resolv-"));
  t.after(() => rmSync(folder, { recursive: true }));
  const path = join(folder, "resolv.conf");
  let now = 0;
  const file = new ResolvConfFile(path, () => now);
  assert.equal(file.current().nameservers[0]?.host, "127.0.0.1");
  const write = (host: string): void => {
    writeFileSync(`${path}.new`, `nameserver ${host}\n`);
    renameSync(`${path}.new`, path);
  };
  write("10.0.0.1");
  assert.equal(file.current().nameservers[0]?.host, "127.0.0.1", "not looked at within the second");
  now += 1000;
  assert.equal(file.current().nameservers[0]?.host, "10.0.0.1");
  write("10.0.0.2");
  now += 1000;
  assert.equal(file.current().nameservers[0]?.host, "10.0.0.2");
  rmSync(path);
  now += 1000;
  assert.equal(file.current().nameservers[0]?.host, "10.0.0.2");
});
