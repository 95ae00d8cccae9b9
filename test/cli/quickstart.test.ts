/** Ensures that `quickstart --once` exits 1 when it had to report something that is not as it should be, and never waits for ever. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { ran } from "../gear/command.ts";

const QUICKSTART = JSON.stringify(new URL("../../lib/cli/quickstart.js", import.meta.url).href);

/** Runs it after something else in the process was broken. */
function broken(how: string) {
  const program = `
    import http from "node:http";
    import { syncBuiltinESMExports } from "node:module";
    ${how}
    syncBuiltinESMExports();
    const { quickstart } = await import(${QUICKSTART});
    process.exit(await quickstart({ once: true, transport: "net" }).catch(({ message }) => {
      console.error(message);
      return 7;
    }));
  `;
  return ran(process.execPath, ["--input-type=module", "--eval", program]);
}

test("all as it should be: exit 0", async () => {
  const { code, stdout } = await broken("");
  assert.equal(code, 0);
  assert.equal(stdout.split("✓").length, 7, stdout);
  assert(!stdout.includes("✗"), stdout);
});

test("something is not: it is told, exit 1", async () => {
  const { code, stdout } = await broken(`
    const { createServer } = http;
    http.createServer = () => createServer((_, response) => response.end("something else"));
  `);
  assert.equal(code, 1, stdout);
  assert.match(stdout, /✗ plain HTTP → tunnel → service: "something else"/);
});

test("no access line comes: it says so", { timeout: 60_000 }, async () => {
  const { code, stderr } = await broken(`
    const { parse } = JSON;
    JSON.parse = (text) => {
      const value = parse(text);
      return value?.listener === "edge" ? { ...value, listener: "nowhere" } : value;
    };
  `);
  assert.equal(code, 7);
  assert.match(stderr, /no access line of listener edge within 5000 ms/);
});
