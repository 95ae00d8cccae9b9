/**
 * `npm run bench`: what a hop through Millrace costs beside its peers on this machine. Progress goes to stderr, the
 * tables to stdout, JSON and charts to native-bench/out (or native-bench/results with --save).
 */
import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import yargs from "yargs";
import { hideBin } from "yargs/helpers";
import { makeCertificates } from "./certificates.ts";
import type { Contender, Missing } from "./contender.ts";
import { buildGenerator } from "./generator.ts";
import { measure, type Setting } from "./measure.ts";
import { choose, findAll } from "./peers/index.ts";
import { reenter, settle } from "./place.ts";
import { benchFolder, packageRoot } from "./program.ts";
import { createProgress } from "./progress.ts";
import type { Report, WorkResult } from "./result.ts";
import { markdown } from "./tables.ts";
import { SWEEPS, WORKS, type Work } from "./works.ts";

const options = await yargs(hideBin(process.argv))
  .scriptName("npm run bench --")
  .usage(
    "$0 [options]\n\nMeasures what a hop costs: CPU per unit of work, rate, latency, memory, system calls.",
  )
  .option("quick", {
    type: "boolean",
    default: false,
    describe: "under a minute: few works, short runs; a guide, not a result",
  })
  .option("only", {
    type: "string",
    array: true,
    default: [] as string[],
    describe: "works or sweeps by name (comma-separated)",
  })
  .option("peers", {
    type: "string",
    array: true,
    default: [] as string[],
    describe: "contenders beside Millrace by name (comma-separated)",
  })
  .option("node", {
    type: "string",
    array: true,
    default: [] as string[],
    describe: "further Node binaries to run Millrace on",
  })
  .option("haproxy", {
    type: "string",
    array: true,
    default: [] as string[],
    describe: "further HAProxy binaries, PATH or NAME=PATH",
  })
  .option("envoy", { type: "string", describe: "an Envoy binary" })
  .option("ghostunnel", { type: "string", describe: "a ghostunnel binary" })
  .option("seconds", { type: "number", describe: "length of a run" })
  .option("runs", { type: "number", describe: "runs of each contender" })
  .option("warmup", { type: "number", describe: "seconds before the first run" })
  .option("log", { type: "boolean", default: true, describe: "access log of all contenders (--no-log: off)" })
  .option("namespace", { type: "boolean", default: true, describe: "use a network namespace where possible" })
  .option("save", { type: "string", describe: "store the result as native-bench/results/NAME" })
  .option("list", {
    type: "boolean",
    default: false,
    describe: "print works and contenders, measure nothing",
  })
  .strict()
  .parse();

const words = (list: readonly string[]): string[] =>
  list.flatMap((entry) => entry.split(",")).filter((word) => word !== "");

function chooseWorks(): Work[] {
  const only = words(options.only);
  if (only.length > 0) {
    const chosen = [...WORKS, ...SWEEPS].filter(
      (w) => only.includes(w.name) || only.includes(w.sweep?.name ?? ""),
    );
    const known = new Set([...WORKS, ...SWEEPS].flatMap((w) => [w.name, w.sweep?.name]));
    const unknown = only.filter((name) => !known.has(name));
    if (unknown.length > 0) {
      console.error(`unknown work: ${unknown.join(", ")} (--list shows what there is)`);
      process.exit(2);
    }
    return chosen;
  }
  return options.quick ? WORKS.filter((w) => w.quick) : [...WORKS, ...SWEEPS];
}

if (options.namespace && !options.list) {
  const code = reenter();
  if (code !== null) process.exit(code);
}

const progress = createProgress(process.stderr);
const { generator, reason } = buildGenerator();
const programs = {
  haproxy: options.haproxy,
  node: options.node,
  envoy: options.envoy ?? null,
  ghostunnel: options.ghostunnel ?? null,
};
const found = findAll(programs, generator.floor);
const missing: Missing[] = [...(reason ? [{ name: "C load generator", reason }] : []), ...found.missing];
const quickPeers = ["haproxy", "nginx", "floor"];
const wanted = words(options.peers);
const contenders: Contender[] = choose(
  found.contenders,
  wanted.length === 0 && options.quick ? quickPeers : wanted,
);
const works = chooseWorks().filter((work) => generator.tls || work.shape === "plain");

if (options.list) {
  for (const work of [...WORKS, ...SWEEPS]) console.log(`${work.name.padEnd(18)} ${work.title}`);
  console.log("");
  for (const c of found.contenders) console.log(`${c.name.padEnd(18)} ${c.version}`);
  for (const m of missing) console.log(`${m.name.padEnd(18)} missing: ${m.reason}`);
  process.exit(0);
}

const directory = mkdtempSync(join(tmpdir(), "millrace-bench-"));
process.once("exit", () => rmSync(directory, { recursive: true, force: true }));
for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => process.exit(130));

const setting: Setting = {
  generator,
  place: settle(),
  certificates: await makeCertificates(directory),
  directory,
  accessLog: options.log,
  seconds: options.seconds ?? (options.quick ? 0.4 : 1.5),
  runs: options.runs ?? (options.quick ? 3 : 5),
  warmup: options.warmup ?? (options.quick ? 0.4 : 1.5),
  progress,
};

const results: WorkResult[] = [];
progress.begin(works.length * contenders.length * (setting.runs + 1));
for (const work of works) results.push(await measure(setting, work, contenders, WORKS, results));
progress.end();

const report: Report = {
  format: 1,
  date: new Date().toISOString().slice(0, 16).replace("T", " "),
  command: `npm run bench -- ${hideBin(process.argv).join(" ")}`.replace(/ --\s*$/, ""),
  quick: options.quick,
  revision:
    spawnSync("git", ["describe", "--always", "--dirty"], {
      cwd: packageRoot(),
      encoding: "utf8",
    }).stdout?.trim() ?? "",
  place: setting.place,
  generator: generator.kind,
  accessLog: setting.accessLog,
  seconds: setting.seconds,
  runs: setting.runs,
  warmup: setting.warmup,
  contenders: contenders.map(({ name, kind, version, note }) => ({
    name,
    kind,
    version,
    note: note ?? null,
  })),
  missing,
  works: results,
  idle: [],
  calls: [],
};

const base = options.save
  ? join(benchFolder(), "results", options.save)
  : join(benchFolder(), "out", "latest");
mkdirSync(join(base, ".."), { recursive: true });
const text = markdown(report);
writeFileSync(`${base}.json`, `${JSON.stringify(report)}\n`);
writeFileSync(`${base}.md`, text);
process.stdout.write(text);
process.stderr.write(`stored as ${base}.json and .md\n`);
process.exit(0);
