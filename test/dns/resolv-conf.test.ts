import assert from "node:assert/strict";
import { mkdtempSync, renameSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
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

/** A resolv.conf in a folder of its own, and ways to change it. */
function confFile(t: TestContext): {
  path: string;
  name: string;
  rename(host: string): void;
  write(host: string): void;
} {
  const folder = mkdtempSync(join(tmpdir(), "resolv-"));
  t.after(() => rmSync(folder, { recursive: true }));
  const name = "resolv.conf";
  const path = join(folder, name);
  const write = (host: string, to = path): void => writeFileSync(to, `nameserver ${host}\n`);
  return {
    path,
    name,
    write,
    rename(host) {
      write(host, `${path}.new`);
      renameSync(`${path}.new`, path);
    },
  };
}

const first = (file: ResolvConfFile): string | undefined => file.current().nameservers[0]?.host;

test("every look sees the file as it is, replaced or written in place; a missing one changes nothing", (t) => {
  const { path, rename, write } = confFile(t);
  const file = new ResolvConfFile(path);
  assert.equal(first(file), "127.0.0.1");
  for (const [change, host] of [
    [rename, "10.0.0.1"],
    [rename, "10.0.0.2"],
    [write, "10.0.0.3"], // of the same size, and within the same tick of the file system's clock
    [write, "10.0.0.4"],
  ] as const) {
    change(host);
    assert.equal(first(file), host);
  }
  rmSync(path);
  assert.equal(first(file), "10.0.0.4");
  write("10.0.0.5");
  assert.equal(first(file), "10.0.0.5");
});

test("who watches hears of every way in which a resolv.conf changes, until told not to", async (t) => {
  const real = confFile(t);
  const link = confFile(t);
  real.write("10.0.0.1");
  // As under systemd-resolved: a symbolic link to a file that is replaced in its own folder.
  symlinkSync(real.path, link.path);
  const file = new ResolvConfFile(link.path, 10);
  const alive = setInterval(() => {}, 1000); // the watching itself lets the process end
  t.after(() => clearInterval(alive));
  let heard = 0;
  let again = (): void => {};
  const stop = [file.watch(() => heard++), file.watch(() => again())];
  const change = async (how: () => void): Promise<void> => {
    const told = new Promise<void>((resolve) => {
      again = resolve;
    });
    how();
    // What changes before the watching has had its first look is no change to it: it is made again until it is heard of.
    const insist = setInterval(how, 50);
    await told;
    clearInterval(insist);
  };
  await change(() => real.rename("10.0.0.2"));
  assert.equal(first(file), "10.0.0.2");
  await change(() => real.write("10.0.0.33"));
  assert.equal(first(file), "10.0.0.33");
  await change(() => link.rename("10.0.0.4")); // the link itself becomes a file, as dhclient does it
  assert.equal(first(file), "10.0.0.4");
  await change(() => rmSync(link.path, { force: true }));
  await change(() => link.write("10.0.0.5"));
  assert.equal(first(file), "10.0.0.5");
  assert.ok(heard >= 5);

  stop[0]!();
  const before = heard;
  await change(() => link.write("10.0.0.66"));
  assert.equal(heard, before, "who stopped hears no more, the other one does");
  for (const end of [...stop, ...stop]) end();
});
