/**
 * Ensures that a worker which dies takes the process down with exit 1: also in a drain, and also when nobody reads the log. Only
 * `epoll` has threads that can die. Nothing is known to kill one, so the program's own copy of node:worker_threads says that it did.
 */
import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { connect } from "node:net";
import { type TestContext, test } from "node:test";
import { Running } from "../gear/running.ts";
import { readBytes, TRANSPORTS } from "../gear/scene.ts";
import { serve } from "../gear/services.ts";

const lib = (file: string): string => JSON.stringify(new URL(`../../lib/${file}`, import.meta.url).href);
const skip = TRANSPORTS.includes("epoll") ? false : "epoll does not load here";

/** Runs until a word comes in: `death` is one, `flood` fills the log. */
const program = (endpoint: string): string => `
  import { syncBuiltinESMExports } from "node:module";
  import threads from "node:worker_threads";
  let thread;
  threads.Worker = class extends threads.Worker {
    constructor(file, options) {
      // It would inherit the options of this process, which has no file.
      super(file, { ...options, execArgv: [] });
      thread = this;
    }
  };
  syncBuiltinESMExports();
  const { normalizeConfig } = await import(${lib("config/parse.js")});
  const { runUntilSignal } = await import(${lib("cli/run.js")});
  const proxy = await runUntilSignal(normalizeConfig({
    transport: "epoll",
    workers: 1,
    log: { format: "json" },
    listeners: [{ name: "in", address: "127.0.0.1:0", routes: [{ tls: "none", cluster: "a" }] }],
    clusters: { a: { endpoints: [${JSON.stringify(endpoint)}] } },
  }), null);
  process.stdin.on("data", (words) => {
    if (String(words).includes("flood"))
      for (let i = 0; i < 64; i++) proxy.log.lines(Buffer.from("x".repeat(65_535) + "\\n"), () => {});
    if (String(words).includes("death")) thread.emit("error", new Error("a test ends it"));
  });
`;

/** The program, running. */
async function started(t: TestContext): Promise<{ child: ChildProcess; running: Running; port: number }> {
  const echo = await serve(t, (socket) => socket.pipe(socket));
  const child = spawn(process.execPath, ["--input-type=module", "--eval", program(echo)], {
    stdio: ["pipe", "pipe", "pipe"],
  });
  const running = new Running(child);
  t.after(async () => {
    child.kill("SIGKILL");
    child.stdout.resume();
    await running.exited;
  });
  return { child, running, port: (await running.ports())["in"]! };
}

test("a worker dies: the log says so, exit 1", { skip, timeout: 30_000 }, async (t) => {
  const { child, running } = await started(t);
  child.stdin!.write("death");
  assert.equal((await running.line(({ level }) => level === "fatal"))["error"], "a test ends it");
  assert.equal(await running.exited, 1);
});

test("a worker dies in a drain: exit 1", { skip, timeout: 30_000 }, async (t) => {
  const { child, running, port } = await started(t);
  const client = connect(port, "127.0.0.1");
  t.after(() => {
    client.destroy();
  });
  client.on("error", () => {});
  client.write("hello");
  await readBytes(client, 5);
  child.kill("SIGTERM");
  await running.says("draining");
  child.stdin!.write("death");
  assert.equal(await running.exited, 1);
});

test("a worker dies and nobody reads the log: exit 1", { skip, timeout: 30_000 }, async (t) => {
  const { child } = await started(t);
  child.stdout!.removeAllListeners("data").pause();
  child.stdin!.write("flood death");
  assert.deepEqual(await once(child, "exit"), [1, null]);
});
