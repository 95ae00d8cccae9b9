/**
 * Ensures that what `pki` makes carries a tunnel of `server` and `client`, with curl and openssl as a user has them, and that who
 * is not let in is told so.
 */
import assert from "node:assert/strict";
import { existsSync, readFileSync, statSync } from "node:fs";
import { createServer } from "node:http";
import { type AddressInfo, connect } from "node:net";
import { join } from "node:path";
import { test } from "node:test";
import { millraceIn80, ran } from "../gear/command.ts";
import { folder, start } from "../gear/running.ts";
import { sClient } from "../gear/s-client.ts";
import { readAll, TRANSPORTS } from "../gear/scene.ts";

for (const transport of TRANSPORTS) {
  test(`pki, server, client, curl, openssl (${transport})`, { timeout: 30_000 }, async (t) => {
    const directory = folder(t);
    const pki = join(directory, "pki");
    const make = (...args: string[]) => millraceIn80(["pki", ...args, "--dir", pki]);
    assert.equal((await make("init")).code, 0);
    const again = await make("init");
    assert.equal(again.code, 2, "a CA is not overwritten by accident");
    assert.match(again.stderr, /--force/);
    const issued = await Promise.all([
      make("issue", "db", "--dns", "db.internal"),
      make("issue", "app", "--dns", "app.internal"),
      make("issue", "eve", "--dns", "eve.elsewhere"),
    ]);
    for (const { code, stderr } of issued) assert.equal(code, 0, stderr);
    const file = (name: string) => join(pki, name);
    assert.equal(statSync(file("db.key")).mode & 0o077, 0, "keys are for their owner only");
    assert(existsSync(file("ca.crt")));

    const service = createServer((request, response) => response.end(`you asked ${request.url}\n`));
    await new Promise<void>((resolve) => service.listen(0, "127.0.0.1", resolve));
    t.after(() => {
      service.close();
      service.closeAllConnections();
    });
    const common = ["--transport", transport, "--ca", file("ca.crt")];
    const server = start(t, [
      ...["server", "--listen", "127.0.0.1:0"],
      ...["--target", `127.0.0.1:${(service.address() as AddressInfo).port}`],
      ...["--cert", file("db.crt"), "--key", file("db.key"), "--allow-dns", "app.internal", ...common],
    ]);
    const tls = (await server.ports())["tunnel"]!;
    const client = start(t, [
      ...["client", "--listen", "127.0.0.1:0", "--target", `127.0.0.1:${tls}`],
      ...["--cert", file("app.crt"), "--key", file("app.key"), "--verify-dns", "db.internal", ...common],
    ]);
    const plain = (await client.ports())["tunnel"]!;

    const through = await ran("curl", ["-sS", `http://127.0.0.1:${plain}/a`]);
    assert.deepEqual([through.code, through.stdout], [0, "you asked /a\n"], through.stderr);
    const here = await client.line(({ msg }) => msg === "connection");
    const there = await server.line(({ msg }) => msg === "connection");
    assert.deepEqual([here["reason"], there["reason"]], ["ok", "ok"]);
    assert.equal(here["link"], there["link"], "the two logs join");
    assert.equal((there["peer"] as { subject: string }).subject, "CN=app");

    const direct = await ran("curl", [
      ...["-sS", "--resolve", `db.internal:${tls}:127.0.0.1`, "--cacert", file("ca.crt")],
      ...["--cert", file("app.crt"), "--key", file("app.key"), `https://db.internal:${tls}/b`],
    ]);
    assert.deepEqual([direct.code, direct.stdout], [0, "you asked /b\n"], direct.stderr);
    await server.line(({ msg }) => msg === "connection");

    const eve = await sClient(tls, [
      ...["-servername", "db.internal", "-CAfile", file("ca.crt")],
      ...["-cert", file("eve.crt"), "-key", file("eve.key")],
    ]);
    assert.equal(eve.alert, 46, "certificate_unknown");
    assert.equal((await server.line(({ msg }) => msg === "connection"))["reason"], "denied");
    const nobody = await sClient(tls, ["-servername", "db.internal", "-CAfile", file("ca.crt")]);
    assert.equal(nobody.alert, 116, "certificate_required");
    assert.equal((await server.line(({ msg }) => msg === "connection"))["reason"], "denied");

    // The other end proves a name that was not asked for.
    const strict = start(t, [
      ...["client", "--listen", "127.0.0.1:0", "--target", `127.0.0.1:${tls}`],
      ...["--cert", file("app.crt"), "--key", file("app.key"), "--verify-dns", "other.internal", ...common],
    ]);
    const port = (await strict.ports())["tunnel"]!;
    await assert.rejects(readAll(connect({ port, host: "127.0.0.1" })), /ECONNRESET/);
    assert.equal((await strict.line(({ msg }) => msg === "connection"))["reason"], "upstream_denied");

    for (const one of [server, client, strict]) {
      one.child.kill("SIGTERM");
      assert.equal(await one.exited, 0);
      for (const name of ["db.key", "app.key", "eve.key", "ca.key"]) {
        const secret = readFileSync(file(name), "utf8").split("\n")[1]!;
        assert(!one.text.includes(secret), `${name} is in no log`);
      }
      assert(!one.text.includes("PRIVATE KEY"));
    }
  });

  test(`quickstart --once shows it all (${transport})`, { timeout: 30_000 }, async () => {
    const { code, stdout, stderr } = await millraceIn80(["quickstart", "--once", "--transport", transport]);
    assert.deepEqual([code, stderr], [0, ""]);
    assert(!stdout.includes("✗"), stdout);
    assert.equal(stdout.match(/✓/g)?.length, 6, stdout);
    assert(stdout.includes(`transport ${transport}`));
    for (const line of stdout.split("\n")) assert([...line].length <= 80, line);
  });
}

test("a tunnel that lets nobody in, or trusts nobody, is refused in words", async () => {
  const ends = ["--listen", "127.0.0.1:0", "--target", "127.0.0.1:1"];
  for (const [args, message] of [
    [["server", ...ends, "--cert", "a", "--key", "b", "--ca", "c"], /lets nobody in by default/],
    [["server", ...ends], /--cert and --key/],
    [["server", ...ends, "--cert", "a", "--key", "b", "--allow-any"], /needs --ca/],
    [["client", ...ends, "--cert", "a"], /--cert and --key go together/],
    [["client", "--listen", "nonsense", "--target", "127.0.0.1:1"], /^--listen: must be an address/],
    [["client", ...ends, "--cert", "a.crt", "--key", "a.key"], /a\.crt: no such file/],
  ] as const) {
    const { code, stderr } = await millraceIn80(args);
    assert.equal(code, 2, stderr);
    assert.match(stderr, message);
    assert(!stderr.includes("    at "), stderr);
  }
});
