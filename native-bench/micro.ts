/**
 * `npm run bench:micro`: ns per operation of the pieces on a connection's way, beside the stored baseline, and by name what
 * got slower. --update stores the baseline, --check makes slower code exit with 1, --quick is for development.
 */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { parseArgs } from "node:util";
import { Bench } from "tinybench";
import { allCases } from "./micro-cases.ts";
import { changes, type MicroResult, slower } from "./micro-compare.ts";
import { benchFolder } from "./program.ts";
import { number } from "./table.ts";

interface Baseline {
  readonly node: string;
  readonly machine: string;
  readonly ns: MicroResult;
}

const { values: options } = parseArgs({
  options: {
    update: { type: "boolean", default: false },
    check: { type: "boolean", default: false },
    quick: { type: "boolean", default: false },
  },
});
const file = join(benchFolder(), "results", "micro.json");
const baseline = existsSync(file) ? (JSON.parse(readFileSync(file, "utf8")) as Baseline) : null;
const { cases, missing } = await allCases();
const bench = new Bench({ time: options.quick ? 30 : 300, warmupTime: options.quick ? 20 : 100 });
for (const one of cases) {
  bench.add(one.name, () => {
    one.run();
  });
}
await bench.run();

const ns: Record<string, number> = {};
for (const one of cases) {
  const result = bench.getTask(one.name)?.result;
  if (result?.state === "completed") ns[one.name] = (result.latency.p50 * 1e6) / one.batch;
  else console.error(`${one.name}: ${result?.state === "errored" ? result.error : "did not run"}`);
}
const changed = new Map(
  baseline ? changes(baseline.ns, ns).map((change) => [change.name, change.factor]) : [],
);
console.log("| case | ns | to the baseline |\n| --- | ---: | ---: |");
for (const [name, value] of Object.entries(ns)) {
  console.log(`| ${name} | ${number(value)} | ${changed.get(name)?.toFixed(2) ?? ""} |`);
}
if (missing) console.log(`\nleft out: FFI calls (${missing})`);
const worse = baseline ? slower(changes(baseline.ns, ns)) : [];
if (!baseline) console.log("\nno baseline is stored (--update stores this run)");
else if (worse.length === 0) console.log(`\nnothing is slower than the baseline (Node ${baseline.node})`);
else
  console.log(
    `\nslower than the baseline:\n${worse.map((c) => `- ${c.name}: ${c.factor.toFixed(2)} times`).join("\n")}`,
  );
if (options.update) {
  mkdirSync(dirname(file), { recursive: true });
  const stored: Baseline = { node: process.version, machine: `${process.platform} ${process.arch}`, ns };
  writeFileSync(file, `${JSON.stringify(stored, null, 2)}\n`);
}
process.exit(options.check && worse.length > 0 ? 1 : 0);
