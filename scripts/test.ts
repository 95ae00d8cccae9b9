/**
 * Runs the tests: every *.test.js below dist/test, or those whose path contains one of the arguments; each file in a process of its
 * own, two at a time, because scenarios start processes themselves and CI has two cores. Under CI no test may skip: a program
 * that is missing is a failure there.
 *
 * Scenarios play on real sockets between processes, and a machine that stalls can upset one of a thousand. A file that fails
 * therefore runs once more, alone; if it passes then, it is named as unsteady at the end, and if not, it has failed.
 */
import { spawn } from "node:child_process";
import { readdirSync } from "node:fs";
import { join, relative } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../test", import.meta.url));
const wanted = process.argv.slice(2);
const files = readdirSync(root, { recursive: true, encoding: "utf8" })
  .filter((file) => file.endsWith(".test.js"))
  .filter((file) => wanted.length === 0 || wanted.some((part) => file.includes(part)))
  .map((file) => join(root, file))
  .sort();

const AT_A_TIME = 2;
// No file takes a tenth of it; a hang must not use up the time of the whole run.
const FILE_MS = 180_000;

interface Outcome {
  readonly file: string;
  readonly ok: boolean;
  readonly output: string;
  readonly passed: number;
  readonly failed: number;
  readonly skipped: number;
}

const outcomes = new Map<string, Outcome>();
const queue = [...files];
await Promise.all(
  Array.from({ length: AT_A_TIME }, async () => {
    for (let file = queue.shift(); file !== undefined; file = queue.shift()) {
      const outcome = await run(file);
      outcomes.set(file, outcome);
      process.stdout.write(`${relative(root, file)}\n${outcome.output}\n`);
    }
  }),
);
const unsteady: string[] = [];
for (const { file, ok } of [...outcomes.values()]) {
  if (ok) continue;
  const again = await run(file);
  process.stdout.write(`once more, alone: ${relative(root, file)}\n${again.output}\n`);
  outcomes.set(file, again);
  if (again.ok) unsteady.push(relative(root, file));
}

const all = [...outcomes.values()];
const sum = (count: (outcome: Outcome) => number): number =>
  all.reduce((total, one) => total + count(one), 0);
const skipped = sum((one) => one.skipped);
const broken = all.filter((one) => !one.ok);
for (const { file } of broken) console.log(`failed: ${relative(root, file)}`);
for (const file of unsteady) console.log(`unsteady, passed the second time: ${file}`);
console.log(`${sum((one) => one.passed)} passed, ${sum((one) => one.failed)} failed, ${skipped} skipped`);
const missing = process.env["CI"] === "true" && skipped > 0;
if (missing) console.error("tests skipped: under CI every program they need must be installed");
process.exit(broken.length > 0 || missing || files.length === 0 ? 1 : 0);

function run(file: string): Promise<Outcome> {
  return new Promise((resolve) => {
    const child = spawn(process.execPath, ["--test-reporter=spec", file], {
      stdio: ["ignore", "pipe", "pipe"],
    });
    let output = "";
    const collect = (chunk: Buffer): void => {
      output += chunk.toString();
    };
    child.stdout.on("data", collect);
    child.stderr.on("data", collect);
    const hung = setTimeout(() => child.kill("SIGKILL"), FILE_MS);
    child.on("close", (code) => {
      clearTimeout(hung);
      const count = (what: string): number =>
        Number(new RegExp(`^ℹ ${what} (\\d+)$`, "m").exec(output)?.[1] ?? 0);
      // A file that could not even load reports nothing: that is one failure.
      const failed = count("fail") + count("cancelled") || (code === 0 ? 0 : 1);
      resolve({
        file,
        ok: code === 0 && failed === 0,
        output,
        passed: count("pass"),
        failed,
        skipped: count("skipped"),
      });
    });
  });
}
