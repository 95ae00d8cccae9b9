/** Whole runs in the places that machines offer: nothing but Node, no namespace, and a link of its own. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, symlinkSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { freePorts } from "../../native-bench/place.ts";
import { which } from "../../native-bench/program.ts";
import type { Report } from "../../native-bench/result.ts";
import { packageRoot } from "../gear/root.ts";

const MAIN = join(packageRoot, "dist/native-bench/main.js");
const SHORT = ["--runs", "1", "--seconds", "0.1", "--warmup", "0.1"];
/** What is found although the PATH is empty: daemons live where programs look by themselves. */
const DAEMONS = ["haproxy", "nginx", "hitch", "ip"].flatMap((name) => which(name) ?? []);

interface Outcome {
  readonly report: Report;
  readonly said: string;
}

/** Runs the benchmark by `prefix` in `environment`; throws with what it said when it fails. */
function bench(
  t: TestContext,
  prefix: readonly string[],
  environment: object,
  ...options: string[]
): Outcome {
  const folder = mkdtempSync(join(tmpdir(), "millrace-test-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const save = join(folder, "result");
  const [program, ...rest] = [...prefix, process.execPath, MAIN, ...SHORT, "--save", save, ...options];
  const env = { ...process.env, ...environment };
  const done = spawnSync(program!, rest, { encoding: "utf8", env, timeout: 60_000 });
  assert.equal(done.status, 0, `${done.stderr}${done.error ?? ""}`);
  return { report: JSON.parse(readFileSync(`${save}.json`, "utf8")) as Report, said: done.stderr };
}

function isClean(report: Report): void {
  for (const work of report.works) {
    for (const row of work.rows) {
      assert.equal(row.failed, null, `${work.name}: ${row.contender}`);
      assert.ok(row.kind === "direct" || row.runs[0]!.cost! >= 0, row.contender);
    }
  }
}

/** A private view of the files in which these are no programs. */
const MASK = `for file in ${DAEMONS.join(" ")}; do mount --bind /dev/null $file || exit 1; done; exec "$@"`;
const NAMESPACE = process.getuid?.() === 0 ? ["--mount"] : ["--user", "--map-root-user", "--mount"];
const masked = ["unshare", ...NAMESPACE, "sh", "-c", MASK, "sh"];
const cannotMask = spawnSync(masked[0]!, [...masked.slice(1), "true"]).status !== 0;

test("with nothing but Node all of Millrace is measured, and the result says what is missing", {
  skip: cannotMask && "needs the right to make mount namespaces",
}, (t) => {
  const folder = mkdtempSync(join(tmpdir(), "millrace-test-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  symlinkSync(process.execPath, join(folder, "node"));
  const { report, said } = bench(t, [...masked, "env", `PATH=${folder}`], {}, "--only", "crr");
  isClean(report);
  const [work] = report.works;
  assert.deepEqual(
    work!.rows.map((row) => row.contender),
    ["direct", "millrace-epoll", "millrace-net", "node-pipe"],
  );
  assert.equal(report.generator, "node");
  assert.equal(report.place.namespace, false);
  const missing = report.missing.map((m) => m.name);
  for (const name of [
    "C load generator",
    "floor",
    "haproxy",
    "nginx",
    "stunnel",
    "hitch",
    "socat",
    "envoy",
  ]) {
    assert.ok(missing.includes(name), name);
    assert.match(said, new RegExp(`^missing: ${name} \\(`, "m"));
  }
  assert.match(said, /^no network namespace \(no unshare on the PATH\): on the loopback of the machine$/m);
});

const noVeth =
  spawnSync("unshare", [
    ...(process.getuid?.() === 0 ? ["--net"] : ["--user", "--map-root-user", "--net"]),
    ...["sh", "-c", "ip link add name bench type veth peer name other"],
  ]).status !== 0;

test("a veth link carries what loopback does, in frames of its own MTU", {
  skip: noVeth && "needs the right to make network namespaces",
}, (t) => {
  const only = ["--only", "bulk8,by-endpoints-3", "--peers", "floor"];
  const { report } = bench(t, [], {}, "--link", "veth", ...only);
  assert.equal(report.place.link, "veth");
  assert.ok(!report.missing.some((m) => m.name === "the link"), JSON.stringify(report.missing));
  for (const work of report.works) {
    // On a slow link a tenth of a second is short for eight streams of 256 KiB blocks: only errors count here.
    for (const row of work.rows) assert.doesNotMatch(row.failed ?? "", /errors|come up/, row.contender);
  }
  assert.equal(existsSync("/sys/class/net/bench"), false);
});

test("a link that cannot be is refused before anything is measured", () => {
  const args = [MAIN, ...SHORT, "--no-namespace", "--link", "veth", "--only", "crr"];
  const { status, stderr } = spawnSync(process.execPath, args, { encoding: "utf8" });
  assert.equal(status, 2);
  assert.match(stderr, /--link veth needs a network namespace/);
});

test("ports that somebody uses are left alone", async (t) => {
  const first = freePorts();
  const server = createServer().listen(first, "127.0.0.1");
  await new Promise((resolve) => server.once("listening", resolve));
  t.after(() => server.close());
  assert.ok(freePorts() > first);
});
