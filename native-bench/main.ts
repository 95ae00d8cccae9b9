/**
 * `npm run bench`: what a hop through Millrace costs beside its peers on this machine. Progress goes to stderr, the
 * tables to stdout, JSON, Markdown and charts to native-bench/out (or native-bench/results with --save).
 */
import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { hideBin } from "yargs/helpers";
import { canTrace, measureCalls } from "./calls.ts";
import { makeCertificates } from "./certificates.ts";
import { charts } from "./chart.ts";
import { compare } from "./compare.ts";
import type { Contender, Missing } from "./contender.ts";
import { buildGenerator } from "./generator.ts";
import { measureIdle } from "./idle.ts";
import { measure, type Setting } from "./measure.ts";
import { type Options, readOptions } from "./options.ts";
import { choose, findAll } from "./peers/index.ts";
import { reenter, settle } from "./place.ts";
import { benchFolder, packageRoot } from "./program.ts";
import { createProgress } from "./progress.ts";
import { readmeTable, replaceTable } from "./readme.ts";
import type { CallsRow, IdleRow, Report, WorkResult } from "./result.ts";
import { markdown } from "./tables.ts";
import { SWEEPS, WORKS, type Work } from "./works.ts";

/** What is not a piece of work of the generator, but can be asked for by --only. */
const EXTRAS = {
  idle: "memory of idle plain connections",
  tidle: "memory of idle TLS connections",
  calls: "system calls per connection",
};
const QUICK = ["millrace-epoll", "haproxy", "haproxy+splice", "nginx+tuned", "floor"];
/** A sweep asks for a shape, not for a ratio: fewer and shorter runs, and the contenders that matter. */
const SWEEP_PEERS = ["millrace-epoll", "millrace-net", "haproxy", "nginx+tuned", "floor"];
const SWEEP_RUNS = 3;

function load(file: string): Report {
  const report = JSON.parse(readFileSync(file, "utf8")) as Report;
  if (report.format !== 1) throw new Error(`${file}: not a result of this version`);
  return report;
}

function chooseWorks(only: readonly string[], quick: boolean): Work[] {
  const all = [...WORKS, ...SWEEPS];
  if (only.length === 0) return quick ? WORKS.filter((w) => w.quick) : all;
  const known = new Set([...all.flatMap((w) => [w.name, w.sweep?.name]), ...Object.keys(EXTRAS)]);
  const unknown = only.filter((name) => !known.has(name));
  if (unknown.length > 0) {
    console.error(`unknown work: ${unknown.join(", ")} (--list shows what there is)`);
    process.exit(2);
  }
  return all.filter((w) => only.includes(w.name) || only.includes(w.sweep?.name ?? ""));
}

/** What needs no measuring. True when there was such a thing to do. */
function withoutMeasuring(options: Options): boolean {
  if (options.compare) {
    const { compared, differ } = compare(load(options.compare[0]), load(options.compare[1]));
    for (const line of differ) console.log(line);
    console.log(`${compared - differ.length} of ${compared} ratios agree within their intervals`);
    return true;
  }
  if (options.readme && options.from.length > 0) {
    const folder = join(options.readme, "..");
    const tables = options.from.map((file) => readmeTable(load(file), relative(folder, file)));
    writeFileSync(options.readme, replaceTable(readFileSync(options.readme, "utf8"), tables.join("\n\n")));
    return true;
  }
  return false;
}

/** A program that was named by its path, without the folders of the machine it was measured on. */
function withoutFolder(argument: string): string {
  return argument.startsWith("/") ? `…/${argument.split("/").slice(-3).join("/")}` : argument;
}

function list(contenders: readonly Contender[], missing: readonly Missing[]): void {
  for (const work of [...WORKS, ...SWEEPS]) console.log(`${work.name.padEnd(20)} ${work.title}`);
  for (const [name, title] of Object.entries(EXTRAS)) console.log(`${name.padEnd(20)} ${title}`);
  console.log("");
  for (const c of contenders) console.log(`${c.name.padEnd(20)} ${c.version}`);
  for (const m of missing) console.log(`${m.name.padEnd(20)} missing: ${m.reason}`);
}

async function run(options: Options): Promise<Report> {
  const progress = createProgress(process.stderr);
  const { generator, reason } = buildGenerator();
  const found = findAll(options, generator.floor);
  const missing: Missing[] = [...(reason ? [{ name: "C load generator", reason }] : []), ...found.missing];
  if (options.list) {
    list(found.contenders, missing);
    process.exit(0);
  }
  const asked = choose(found.contenders, options.peers);
  const brief = options.quick && options.peers.length === 0;
  const contenders = brief ? asked.filter((c) => QUICK.includes(c.name)) : asked;
  const works = chooseWorks(options.only, options.quick).filter(
    (work) => generator.tls || work.shape === "plain",
  );
  const extra = (name: keyof typeof EXTRAS): boolean =>
    options.only.length === 0 ? !options.quick : options.only.includes(name);
  const directory = mkdtempSync(join(tmpdir(), "millrace-bench-"));
  process.once("exit", () => rmSync(directory, { recursive: true, force: true }));
  const certificates = await makeCertificates(directory);
  const { seconds, runs, warmup } = options;
  const setting: Setting = {
    generator,
    place: settle(),
    certificates,
    directory,
    accessLog: options.log,
    seconds,
    runs,
    warmup,
    progress,
  };
  const sweeping: Setting = { ...setting, runs: Math.min(SWEEP_RUNS, runs), warmup: warmup / 2 };
  const sweepers = contenders.filter(
    (c) => options.peers.length > 0 || options.only.length > 0 || SWEEP_PEERS.includes(c.name),
  );

  const results: WorkResult[] = [];
  const steps = works.map((w) =>
    w.sweep ? sweepers.length * (sweeping.runs + 1) : contenders.length * (runs + 1),
  );
  progress.begin(steps.reduce((sum, n) => sum + n, 0));
  for (const work of works) {
    const [how, who] = work.sweep ? [sweeping, sweepers] : [setting, contenders];
    results.push(await measure(how, work, who, WORKS, results));
  }
  const programs = contenders.filter((c) => c.many && c.kind !== "direct");
  const idle: IdleRow[] = [];
  for (const [name, shape] of [
    ["idle", "plain"],
    ["tidle", "terminate"],
  ] as const) {
    if (!extra(name) || process.platform !== "linux" || (shape !== "plain" && !generator.tls)) continue;
    for (const [i, contender] of programs.filter((c) => c.shapes.includes(shape)).entries()) {
      progress.step(name, contender.name, "filling");
      idle.push(await measureIdle(setting, contender, shape, i, options.quick));
    }
  }
  const calls: CallsRow[] = [];
  if (extra("calls") && !canTrace())
    missing.push({ name: "strace", reason: "no strace on the PATH: system calls are not counted" });
  for (const [i, contender] of extra("calls") && canTrace() ? programs.entries() : []) {
    progress.step("calls", contender.name, "tracing");
    if (contender.shapes.includes("plain")) calls.push(await measureCalls(setting, contender, i));
  }
  progress.end();
  return {
    format: 1,
    date: new Date().toISOString().slice(0, 16).replace("T", " "),
    command: [
      "npm run bench",
      ...(process.argv.length > 2 ? ["--", ...hideBin(process.argv).map(withoutFolder)] : []),
    ].join(" "),
    quick: options.quick,
    revision:
      spawnSync("git", ["describe", "--always", "--dirty"], {
        cwd: packageRoot(),
        encoding: "utf8",
      }).stdout?.trim() || "unknown",
    place: setting.place,
    generator: generator.kind,
    accessLog: setting.accessLog,
    seconds,
    runs,
    warmup,
    contenders: contenders.map(({ name, kind, version, note }) => ({
      name,
      kind,
      version,
      note: note ?? null,
    })),
    missing,
    works: results,
    idle,
    calls,
  };
}

/** Writes NAME.json, NAME.md and NAME-….svg. */
function store(report: Report, save: string | null): string {
  const base = save ? join(benchFolder(), "results", save) : join(benchFolder(), "out", "latest");
  mkdirSync(join(base, ".."), { recursive: true });
  const text = markdown(report);
  writeFileSync(`${base}.json`, `${JSON.stringify(report)}\n`);
  writeFileSync(`${base}.md`, text);
  for (const [name, svg] of charts(report)) writeFileSync(`${base}-${name}.svg`, svg);
  process.stdout.write(text);
  return base;
}

const options = await readOptions(process.argv);
if (withoutMeasuring(options)) process.exit(0);
if (options.namespace && !options.list) {
  const code = await reenter();
  if (code !== null) process.exit(code);
}
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.once(signal, () => process.exit(130));
const base = store(await run(options), options.save);
process.stderr.write(`stored as ${relative(process.cwd(), base)}.json, .md and .svg\n`);
process.exit(0);
