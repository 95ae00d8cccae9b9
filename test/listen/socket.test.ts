/** Ensures that listening sockets are what was asked for. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it, type TestContext } from "node:test";
import { ProxyError } from "../../lib/errors.ts";
import { probe } from "../../lib/ffi/libc.ts";
import { type Bound, bindListener } from "../../lib/listen/socket.ts";
import type { SocketAddress } from "../../lib/wire/address.ts";

const skip = probe() ?? false;

function folder(t: TestContext): string {
  const path = mkdtempSync(join(tmpdir(), "millrace-"));
  t.after(() => rmSync(path, { recursive: true }));
  return path;
}

function bound(t: TestContext, address: SocketAddress): Bound {
  const made = bindListener("web", address);
  t.after(() => made.close());
  return made;
}

async function reaches(address: SocketAddress): Promise<boolean> {
  const socket: Socket =
    address.kind === "unix" ? connect(address.path) : connect({ host: address.host, port: address.port });
  try {
    await once(socket, "connect");
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}

function refused(message: RegExp): (thrown: unknown) => boolean {
  return (thrown) => {
    assert.ok(thrown instanceof ProxyError);
    assert.equal(thrown.code, "LISTEN");
    assert.match(thrown.message, /^listener web: /);
    assert.match(thrown.message, message);
    return true;
  };
}

describe("bindListener", { skip }, () => {
  it("resolves port 0 and accepts", async (t) => {
    const { address } = bound(t, { kind: "ip", host: "127.0.0.1", port: 0 });
    assert.ok(address.kind === "ip" && address.port > 0);
    assert.ok(await reaches(address));
  });

  it("takes both families on ::", async (t) => {
    const { address } = bound(t, { kind: "ip", host: "::", port: 0 });
    const { port } = address as { port: number };
    assert.ok(await reaches({ kind: "ip", host: "127.0.0.1", port }));
    assert.ok(await reaches({ kind: "ip", host: "::1", port }));
  });

  it("says that a port is taken, that an address is not ours", (t) => {
    const { address } = bound(t, { kind: "ip", host: "127.0.0.1", port: 0 });
    assert.throws(() => bindListener("web", address), refused(/in use by another process; stop it/));
    assert.throws(
      () => bindListener("web", { kind: "ip", host: "192.0.2.1", port: 0 }),
      refused(/not an address of this/),
    );
  });

  it("binds again at once after it closed, connections or not", async (t) => {
    const first = bindListener("web", { kind: "ip", host: "127.0.0.1", port: 0 });
    assert.ok(await reaches(first.address));
    first.close();
    first.close();
    assert.deepEqual(bound(t, first.address).address, first.address);
  });

  it("removes its UNIX path at the end, but not one that others took since", async (t) => {
    const path = join(folder(t), "s");
    const first = bindListener("web", { kind: "unix", path });
    assert.ok(await reaches(first.address));
    first.close();
    assert.equal(existsSync(path), false);
    const second = bindListener("web", { kind: "unix", path });
    renameSync(path, `${path}.old`);
    const third = bound(t, { kind: "unix", path });
    second.close();
    assert.ok(await reaches(third.address));
  });

  it("closes where its path can no longer be looked at", async (t) => {
    const around = folder(t);
    const directory = join(around, "d");
    mkdirSync(directory);
    const made = bindListener("web", { kind: "unix", path: join(directory, "s") });
    renameSync(directory, join(around, "moved"));
    // ELOOP, also for root.
    symlinkSync("d", directory);
    made.close();
    assert.equal(await reaches({ kind: "unix", path: join(around, "moved", "s") }), false);
  });

  it("says when a path cannot be", (t) => {
    const missing = join(folder(t), "no", "s");
    assert.throws(
      () => bindListener("web", { kind: "unix", path: missing }),
      refused(/directory does not exist/),
    );
    const long = `/tmp/${"p".repeat(120)}`;
    assert.throws(
      () => bindListener("web", { kind: "unix", path: long }),
      refused(/125 bytes, the system allows 107/),
    );
  });

  it("takes a name in the abstract namespace", (t) => {
    const path = `@millrace-test-${process.pid}`;
    const made = bound(t, { kind: "unix", path });
    assert.deepEqual(made.address, { kind: "unix", path });
    assert.throws(() => bindListener("web", { kind: "unix", path }), refused(/in use/));
  });

  const noSetpriv = spawnSync("setpriv", ["--version"]).status !== 0 || process.getuid?.() !== 0;
  it("names the privilege that a low port needs", { skip: noSetpriv && "needs root and setpriv" }, () => {
    // Without the capability, in a process of its own; its network namespace may allow low ports to everybody.
    const script = `
      import { bindListener } from ${JSON.stringify(new URL("../../lib/listen/socket.js", import.meta.url).href)};
      import { readFileSync } from "node:fs";
      if (Number(readFileSync("/proc/sys/net/ipv4/ip_unprivileged_port_start", "utf8")) < 2) console.log("CAP_NET_BIND_SERVICE");
      else try { bindListener("web", { kind: "ip", host: "127.0.0.1", port: 1 }); } catch (error) { console.log(error.message); }`;
    const args = [
      "--bounding-set=-net_bind_service",
      "--inh-caps=-all",
      process.execPath,
      "--input-type=module",
      "-e",
      script,
    ];
    assert.match(spawnSync("setpriv", args).stdout.toString(), /CAP_NET_BIND_SERVICE/);
  });
});
