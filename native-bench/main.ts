/**
 * `npm run bench`: what a hop through Millrace costs beside its peers on this machine. Progress goes to stderr, the
 * tables to stdout, JSON, Markdown and charts to native-bench/out (or where --save says).
 */
import { spawnSync } from "node:child_process";
import { accessSync, constants, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, relative } from "node:path";
import { hideBin } from "yargs/helpers";
import { canTrace, measureCalls } from "./calls.ts";
import { makeCertificates } from "./certificates.ts";
import { charts } from "./chart.ts";
import { compare } from "./compare.ts";
import type { Contender, Missing } from "./contender.ts";
import { buildGenerator } from "./generator.ts";
import type { Setting } from "./hop.ts";
import { measureIdle } from "./idle.ts";
import { oversize } from "./link.ts";
import { measure } from "./measure.ts";
import { type Options, readOptions } from "./options.ts";
import { findAll } from "./peers/index.ts";
import { descriptors, freePorts, isInside, reenter, settle } from "./place.ts";
import { ALL_WORKS, EXTRAS, plan, unknownWorks } from "./plan.ts";
import { benchFolder, packageRoot } from "./program.ts";
import { createProgress, duration } from "./progress.ts";
import { readmeTable, replaceTable } from "./readme.ts";
import { type CallsRow, type IdleRow, parseReport, type Report, type WorkResult } from "./result.ts";
import { markdown } from "./tables.ts";

/** What is wrong with the command line, or cannot be done here. */
function refuse(reason: string): never {
  console.error(reason);
  process.exit(2);
}

function load(file: string): Report {
  const report = parseReport(readFileSync(file, "utf8"));
  if (report.format !== 1) throw new Error(`${file}: not a result of this version`);
  return report;
}

function compareFiles(before: string, after: string): never {
  const found = compare(load(before), load(after));
  for (const line of found.conditions) console.log(`not the same: ${line}`);
  for (const line of found.vague) console.log(`too wide to tell: ${line}`);
  for (const line of found.differ) console.log(`differs: ${line}`);
  const agreeing = found.compared - found.differ.length - found.vague.length;
  console.log(
    `${agreeing} of ${found.compared} ratios agree, ${found.vague.length} are too wide to tell, ` +
      `${found.differ.length} differ, in ${found.apart} works of a contender (${found.expected.toFixed(1)} by chance): ` +
      (found.changed ? "the results differ" : "no difference beyond chance"),
  );
  process.exit(found.changed ? 1 : 0);
}

/** A program that was named by its path, without the folders of the machine it was measured on. */
function withoutFolder(argument: string): string {
  return argument.startsWith("/") ? `…/${argument.split("/").slice(-3).join("/")}` : argument;
}

function list(contenders: readonly Contender[], missing: readonly Missing[]): void {
  const line = (name: string, text: string): void => console.log(`${name.padEnd(20)} ${text}`);
  for (const work of ALL_WORKS.filter((w) => !w.more)) line(work.name, work.title);
  for (const [name, title] of Object.entries(EXTRAS)) line(name, title);
  console.log("\nonly when asked for, by name or as --only more:");
  for (const work of ALL_WORKS.filter((w) => w.more)) line(work.name, work.title);
  console.log("");
  for (const c of contenders) line(c.name, c.version);
  for (const m of missing) line(m.name, `missing: ${m.reason}`);
}

async function run(options: Options): Promise<Report> {
  const progress = createProgress(process.stderr);
  const { generator, reason } = buildGenerator();
  const found = findAll(options.programs, generator.floor);
  const missing: Missing[] = [...(reason ? [{ name: "C load generator", reason }] : []), ...found.missing];
  if (options.list) {
    list(found.contenders, missing);
    process.exit(0);
  }
  const { place, link } = await settle(options.link).catch((error) => refuse((error as Error).message));
  const directory = mkdtempSync(join(tmpdir(), "millrace-bench-"));
  process.once("exit", () => rmSync(directory, { recursive: true, force: true }));
  const machine = {
    descriptors: descriptors(generator.pinned(null, [])),
    tls: generator.tls,
    linux: process.platform === "linux",
    strace: canTrace(),
  };
  const { only, quick, peers, pace } = options;
  const planned = plan({ only, quick, peers, pace }, found.contenders, machine);
  const ecdsa = await makeCertificates(join(directory, "ecdsa"));
  const usesRsa = planned.works.some((step) => step.work.keys === "rsa");
  const setting: Setting = {
    generator,
    place,
    link,
    port: freePorts(),
    descriptors: machine.descriptors,
    // Making RSA keys takes a while.
    certificates: { ecdsa, rsa: usesRsa ? await makeCertificates(join(directory, "rsa"), "rsa") : ecdsa },
    directory,
    accessLog: options.log,
    ...pace,
    progress,
  };
  missing.push(...planned.missing);
  for (const { name, reason: why } of missing) progress.say(`missing: ${name} (${why})`);
  progress.say(`about ${duration(planned.seconds)}: ${pace.runs} runs of ${pace.seconds} s each`);

  progress.begin(planned.seconds);
  const works: WorkResult[] = [];
  for (const { work, contenders, pace: own } of planned.works) {
    works.push(await measure({ ...setting, ...own }, work, contenders, works));
  }
  const idle: IdleRow[] = [];
  for (const [i, { shape, contender, seconds }] of planned.idle.entries()) {
    progress.step(shape === "plain" ? "idle" : "tidle", contender.name, "filling", seconds);
    idle.push(await measureIdle(setting, contender, shape, i, quick));
  }
  const calls: CallsRow[] = [];
  for (const [i, { contender, seconds }] of planned.calls.entries()) {
    progress.step("calls", contender.name, "tracing", seconds);
    calls.push(await measureCalls(setting, contender, i));
  }
  progress.end();
  const frames = oversize();
  if (frames) missing.push({ name: "the link", reason: frames });
  const took = new Set([...works.flatMap((w) => w.rows), ...idle, ...calls].map((r) => r.contender));
  const contenders = found.contenders.filter((c) => took.has(c.name));
  return {
    format: 1,
    date: new Date().toISOString().slice(0, 16).replace("T", " "),
    command: ["npm run bench", ...(process.argv.length > 2 ? ["--"] : []), ...hideBin(process.argv)]
      .map(withoutFolder)
      .join(" "),
    quick,
    revision:
      spawnSync("git", ["describe", "--always", "--dirty"], {
        cwd: packageRoot(),
        encoding: "utf8",
      }).stdout?.trim() || "unknown",
    place,
    generator: generator.kind,
    accessLog: setting.accessLog,
    ...pace,
    contenders: contenders.map(({ name, kind, version, note }) => ({
      name,
      kind,
      version,
      note: note ?? null,
    })),
    missing,
    works,
    idle,
    calls,
  };
}

/** The path without extension under which a result is stored; refused before anything is measured. */
function destination(save: string | null): string {
  const base = save?.includes("/") ? save : join(benchFolder(), save ? `results/${save}` : "out/latest");
  try {
    mkdirSync(dirname(base), { recursive: true });
    accessSync(dirname(base), constants.W_OK);
    return base;
  } catch (error) {
    return refuse(`cannot store the result (--save PATH stores it elsewhere): ${(error as Error).message}`);
  }
}

/** Writes BASE.json, BASE.md and BASE-….svg. */
function store(report: Report, base: string): void {
  const text = markdown(report);
  writeFileSync(`${base}.json`, `${JSON.stringify(report)}\n`);
  writeFileSync(`${base}.md`, text);
  for (const [name, svg] of charts(report)) writeFileSync(`${base}-${name}.svg`, svg);
  process.stdout.write(text);
  process.stderr.write(`stored as ${relative(process.cwd(), base)}.json, .md and .svg\n`);
}

const options = await readOptions(process.argv);
const unknown = unknownWorks(options.only);
if (unknown.length > 0) refuse(`unknown work: ${unknown.join(", ")} (--list shows what there is)`);
if (options.compare) compareFiles(...options.compare);
if (options.readme && options.from.length > 0) {
  const folder = dirname(options.readme);
  const shown = new Set<string>();
  const tables = options.from.map((file) => readmeTable(load(file), relative(folder, file), shown));
  const told = tables.filter((table) => table !== "").join("\n\n");
  writeFileSync(options.readme, replaceTable(readFileSync(options.readme, "utf8"), told));
  process.exit(0);
}
const base = options.list ? "" : destination(options.save);
if (options.namespace && !options.list && !isInside()) {
  const again = await reenter();
  if ("code" in again) process.exit(again.code);
  process.stderr.write(`no network namespace (${again.refused}): on the loopback of the machine\n`);
}
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.once(signal, () => process.exit(130));
store(await run(options), base);
process.exit(0);
