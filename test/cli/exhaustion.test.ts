/**
 * Ensures that a process at its limits goes on: out of descriptors it turns clients away, keeps old connections, and recovers
 * without spinning; a log that nobody reads costs no connection; memory stays bounded whatever
 * peers do not read.
 */
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import type { ConfigInput } from "../../lib/config/parse.ts";
import { ran } from "../gear/command.ts";
import { configured, type Running, start } from "../gear/running.ts";
import { eventually, readAll, readBytes, TRANSPORTS } from "../gear/scene.ts";
import { serve } from "../gear/services.ts";
import { hashAll, sendBulk, sendForever } from "../gear/streams.ts";

const MIB = 1024 * 1024;

for (const transport of TRANSPORTS) {
  test(`out of descriptors (${transport})`, { timeout: 30_000 }, async (t) => {
    const echo = await serve(t, (socket) => socket.pipe(socket));
    const { running, port } = await run(t, transport, echo, {
      // More than fit, so that the system says no and not we.
      limits: { connections: 1_000 },
    });
    const old = await dial(t, port);
    await ping(old);
    // From now on; to start, Node itself needs more.
    const { code } = await ran("prlimit", [`--pid=${running.child.pid}`, "--nofile=64:64"]);
    assert.equal(code, 0);
    const crowd = await Promise.all(Array.from({ length: 100 }, () => dial(t, port)));
    // Those that the process has no descriptor for are turned away, not left waiting.
    await eventually(
      () => crowd.some((socket) => socket.destroyed || socket.readableEnded),
      "somebody is turned away",
    );
    await ping(old);
    const spent = cpuMs(running);
    for (let i = 0; i < 20; i += 1) {
      await ping(old);
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    // A loop that spins takes all of a CPU: 200 ms and more.
    const used = cpuMs(running) - spent;
    assert(used < 150, `${used} ms of CPU for 20 bytes`);
    for (const socket of crowd) socket.destroy();
    await eventually(
      () => openIn(running) < 60,
      "descriptors come back",
      () => `${openIn(running)} open`,
    );
    const late = await dial(t, port);
    await ping(late);
    await ping(old);
    assert.equal(running.child.exitCode, null);
  });

  test(`nobody reads the log (${transport})`, { timeout: 30_000 }, async (t) => {
    const echo = await serve(t, (socket) => socket.pipe(socket));
    const { file, directory, write } = configured(t, "");
    const path = join(directory, "in.sock");
    write({ ...config(transport, echo, {}), listeners: listeners("a", `unix:${path}`) });
    const running = start(t, ["run", "-c", file], { unread: true });
    // The path is there before anybody listens on it.
    while (!(await accepts(path))) await new Promise(setImmediate);
    // Some 400 bytes a line: the pipe holds 64 KiB of them.
    for (let i = 0; i < 10; i += 1) {
      await Promise.all(
        Array.from({ length: 50 }, async () => {
          const socket = connect({ path, allowHalfOpen: true });
          socket.end("x");
          assert.equal((await readAll(socket)).toString(), "x");
        }),
      );
    }
    running.child.kill("SIGTERM");
    // It does not wait for a reader for ever.
    await new Promise((resolve) => running.child.once("exit", resolve));
    assert.equal(running.child.exitCode, 0);
  });

  test(`nobody reads the bytes: one connection, then 200 (${transport})`, { timeout: 60_000 }, async (t) => {
    let sends = true;
    const silent = await serve(t, (socket) => {
      socket.pause();
      if (sends) void sendForever(socket);
    });
    const { running, port } = await run(t, transport, silent, { timeouts: { idle: "500ms" } });
    await visit(t, port);
    await running.line(({ msg }) => msg === "connection");
    const before = memory(running);

    const one = await dial(t, port);
    one.pause();
    void sendForever(one);
    // Idle ends it: no byte moves any more, in neither direction, though both sides have more to send.
    const stuck = await running.line(({ msg }) => msg === "connection");
    assert.equal(stuck["reason"], "idle");
    // What the kernel's buffers of four sockets hold, and not what a sender has.
    assert((stuck["bytes_up"] as number) < 64 * MIB, `${stuck["bytes_up"]} bytes up`);
    assert(memory(running) - before < 24 * MIB, `${(memory(running) - before) / MIB} MiB more for one`);
    one.destroy();

    sends = false;
    const many = await Promise.all(Array.from({ length: 200 }, () => dial(t, port)));
    // More than the sockets on the way hold on loopback, so that the proxy must hold the rest back.
    for (const socket of many) void sendBulk(socket, 12 * MIB).catch(() => {});
    let most = 0;
    for (let ended = 0; ended < 200; ended += 1) {
      await running.line(({ msg }) => msg === "connection");
      most = Math.max(most, memory(running));
    }
    for (const socket of many) socket.destroy();
    // 256 KiB each: a chunk in flight and its bookkeeping.
    assert(most - before < 24 * MIB + 200 * 256 * 1024, `${(most - before) / MIB} MiB more for 200`);
  });

  test(`a slow reader gets everything of a fast writer (${transport})`, { timeout: 30_000 }, async (t) => {
    const size = 200 * MIB;
    let sent: Promise<string> | null = null;
    const fast = await serve(t, (socket) => {
      sent = sendBulk(socket, size);
      void sent.then(() => socket.end());
    });
    const { running, port } = await run(t, transport, fast);
    const before = memory(running);
    const client = await dial(t, port);
    let most = 0;
    client.on("data", () => {
      client.pause();
      most = Math.max(most, memory(running));
      setImmediate(() => client.resume());
    });
    assert.equal(await hashAll(client), await sent!);
    // On `net` V8 lets 32 MiB of buffers wait until it collects them; on `epoll` there are none.
    const bound = transport === "net" ? 48 : 4;
    assert(most - before < bound * MIB, `${(most - before) / MIB} MiB more`);
  });
}

test("the port is taken at start: exit 1 and a word", { timeout: 30_000 }, async (t) => {
  const taken = await serve(t, (socket) => socket.end());
  await Promise.all(
    TRANSPORTS.map(async (transport) => {
      const { file } = configured(t, { ...config(transport, taken, {}), listeners: listeners("a", taken) });
      const running = start(t, ["run", "-c", file]);
      assert.equal(await running.exited, 1);
      assert.match(
        running.text,
        /millrace: listener in: 127\.0\.0\.1:\d+ is in use by another process; stop it/,
      );
    }),
  );
});

async function run(
  t: TestContext,
  transport: "net" | "epoll",
  endpoint: string,
  extra: Partial<ConfigInput> = {},
): Promise<{ running: Running; port: number }> {
  const { file } = configured(t, config(transport, endpoint, extra));
  const running = start(t, ["run", "-c", file]);
  return { running, port: (await running.ports())["in"]! };
}

function config(transport: "net" | "epoll", endpoint: string, extra: Partial<ConfigInput>): ConfigInput {
  return {
    transport,
    workers: 1,
    log: { format: "json" },
    listeners: listeners("a", "127.0.0.1:0"),
    clusters: { a: { endpoints: [endpoint] } },
    ...extra,
  };
}

function listeners(cluster: string, address: string): ConfigInput["listeners"] {
  return [{ name: "in", address, routes: [{ name: "r", tls: "none", cluster }] }];
}

function dial(t: TestContext, port: number): Promise<Socket> {
  return new Promise((resolve) => {
    const socket = connect({ port, host: "127.0.0.1", allowHalfOpen: true });
    t.after(() => {
      socket.destroy();
    });
    // Being turned away is told by the socket's state.
    socket.on("error", () => resolve(socket));
    socket.once("connect", () => resolve(socket));
  });
}

async function ping(socket: Socket): Promise<void> {
  socket.write("?");
  assert.equal((await readBytes(socket, 1)).toString(), "?");
}

/** One short visit, so that everything that is made once is made. */
async function visit(t: TestContext, port: number): Promise<void> {
  const socket = await dial(t, port);
  await new Promise((resolve) => socket.once("data", resolve));
  socket.destroy();
}

function openIn({ child }: Running): number {
  return readdirSync(`/proc/${child.pid}/fd`).length;
}

/** What the process holds for itself; buffers of the kernel are not in it. */
function memory({ child }: Running): number {
  const status = readFileSync(`/proc/${child.pid}/status`, "utf8");
  return Number(/^RssAnon:\s+(\d+) kB$/m.exec(status)![1]) * 1024;
}

/** CPU time so far, proc_pid_stat(5): fields 14 and 15 in ticks of 10 ms. */
function cpuMs({ child }: Running): number {
  const fields = readFileSync(`/proc/${child.pid}/stat`, "utf8").split(") ")[1]!.split(" ");
  return (Number(fields[11]) + Number(fields[12])) * 10;
}

function accepts(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ path });
    socket.once("error", () => resolve(false));
    socket.once("connect", () => {
      socket.destroy();
      resolve(true);
    });
  });
}
