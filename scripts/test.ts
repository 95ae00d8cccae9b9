/**
 * Runs the tests: every *.test.js below dist/test, or those whose path contains one of the arguments. `node --test` on Node 20
 * knows no globs, so the files are listed here. Under CI no test may skip: a program that is missing is a failure there.
 */
import { spawn } from "node:child_process";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../test", import.meta.url));
const wanted = process.argv.slice(2);
const files = readdirSync(root, { recursive: true, encoding: "utf8" })
  .filter((file) => file.endsWith(".test.js"))
  .filter((file) => wanted.length === 0 || wanted.some((part) => file.includes(part)))
  .map((file) => join(root, file))
  .sort();

// Two at a time: scenarios start processes of their own, and CI has two cores.
const args = ["--test", "--test-concurrency=2", "--test-reporter=spec", ...files];
const run = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "inherit"] });
let tail = "";
run.stdout.on("data", (chunk: Buffer) => {
  process.stdout.write(chunk);
  tail = (tail + chunk.toString()).slice(-10_000);
});
run.on("close", (code) => {
  const skipped = Number(/^ℹ skipped (\d+)$/m.exec(tail)?.[1] ?? 0);
  if (process.env["CI"] === "true" && skipped > 0) {
    console.error(`${skipped} tests skipped: under CI every program they need must be installed`);
    process.exit(1);
  }
  process.exit(code ?? 1);
});
