/** Ensures that a reader who does not read standard output cannot keep the process from ending. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { test } from "node:test";

const LOG = new URL("../../lib/observe/log.js", import.meta.url);
// More than a pipe and a socket's buffers hold.
const PROGRAM = `
  import { openLog } from ${JSON.stringify(LOG.href)};
  const log = openLog({ level: "info", access: true, format: "json" });
  for (let i = 0; i < 64; i++) log.lines(Buffer.from("x".repeat(65_535) + "\\n"), () => {});
  log.events.info("before");
  await log.close(100);
  log.events.info("after the end is heard by nobody");
  process.exit(0);
`;

test("a blocked standard output is given up after the bound", { timeout: 20_000 }, async (t) => {
  const child = spawn(process.execPath, ["--input-type=module", "--eval", PROGRAM], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  t.after(() => child.kill("SIGKILL"));
  const [code, signal] = await once(child, "exit");
  assert.deepEqual([code, signal], [0, null]);
});

test("a standard output that was closed is not waited for", { timeout: 20_000 }, async (t) => {
  const program = `
    import { once } from "node:events";
    import { openLog } from ${JSON.stringify(LOG.href)};
    await once(process.stdin, "data");
    const log = openLog({ level: "info", access: true, format: "json" });
    log.events.info("nobody hears this");
    await log.close(100);
    await log.close(100);
    process.exit(0);
  `;
  const child = spawn(process.execPath, ["--input-type=module", "--eval", program], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  t.after(() => child.kill("SIGKILL"));
  child.stdout.destroy();
  await once(child.stdout, "close");
  child.stdin.write("go");
  const [code, signal] = await once(child, "exit");
  assert.deepEqual([code, signal], [0, null]);
});

test("what a reader takes arrives whole, the last event included", async (t) => {
  const child = spawn(process.execPath, ["--input-type=module", "--eval", PROGRAM.replace("100", "10_000")], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  t.after(() => child.kill("SIGKILL"));
  let lines = 0;
  let last = "";
  child.stdout.on("data", (chunk: Buffer) => {
    const text = chunk.toString();
    lines += text.split("\n").length - 1;
    last = (last + text).slice(-200);
  });
  await once(child, "close");
  assert.equal(lines, 65);
  assert.equal(JSON.parse(last.trim().split("\n").at(-1)!).msg, "before");
});
