/**
 * Building and running the load generator: the C one where there is a compiler, else the portable one in
 * load-node.ts, which speaks the same options and gives the same result but is slower itself.
 */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { existsSync, statSync } from "node:fs";
import { join } from "node:path";
import { benchFolder, script, which } from "./program.ts";
import type { Histogram } from "./statistics.ts";

/** What one run of the generator reports; times in ns. */
export interface LoadResult {
  readonly mode: string;
  readonly seconds: number;
  readonly operations: number;
  /** Those of the warm-up included. */
  readonly operations_all: number;
  readonly bytes_up: number;
  readonly bytes_down: number;
  readonly handshakes: number;
  readonly resumed: number;
  readonly tickets: number;
  readonly stalled: number;
  readonly late_max: number;
  readonly errors: {
    readonly connect: number;
    readonly io: number;
    readonly tls: number;
    readonly data: number;
  };
  /** CPU time in the window: of the proxy's process tree, the generator, all other processes, and the whole machine. */
  readonly cpu: {
    readonly proxy: number;
    readonly proxy_user: number;
    readonly proxy_system: number;
    readonly generator: number;
    readonly others: number;
    readonly machine: number;
    readonly steal: number;
    readonly available: number;
  };
  /** Time in which threads were ready to run and had no CPU. */
  readonly waited: { readonly proxy: number; readonly generator: number };
  readonly processes: number;
  readonly latency: {
    readonly count: number;
    readonly min: number;
    readonly mean: number;
    readonly p50: number;
    readonly p90: number;
    readonly p99: number;
    readonly p999: number;
    readonly max: number;
  };
  readonly histogram: Histogram;
}

export interface Generator {
  readonly kind: "c" | "node";
  /** The command without options. */
  readonly command: readonly string[];
  readonly tls: boolean;
  /** Path of the built relay of floor.c. */
  readonly floor: string | null;
  /** Puts a command on a CPU (null: any) and lifts its descriptor limit, where that can be done. */
  pinned(cpu: number | null, command: readonly string[]): readonly string[];
}

function portable(): Generator {
  const taskset = which("taskset");
  return {
    kind: "node",
    command: [process.execPath, script("load-node.js")],
    tls: true,
    floor: null,
    pinned: (cpu, command) => (taskset && cpu !== null ? [taskset, "-c", String(cpu), ...command] : command),
  };
}

/** Builds what is missing or older than its source. `reason` says why the C generator is not used. */
export function buildGenerator(): { readonly generator: Generator; readonly reason: string | null } {
  const folder = benchFolder();
  const make = which("make");
  const compiler = which("cc") ?? which("gcc");
  const load = join(folder, "bin/load");
  const floor = join(folder, "bin/floor");
  if (!existsSync(join(folder, "load.c"))) return { generator: portable(), reason: "load.c is not here" };
  if (process.platform !== "linux") return { generator: portable(), reason: "load.c needs Linux" };
  if (!compiler) return { generator: portable(), reason: "no C compiler" };
  const built = make
    ? spawnSync(make, ["-s", "-C", folder, `CC=${compiler}`], { encoding: "utf8" })
    : compile(folder, compiler);
  if (built.status !== 0 || !existsSync(load)) {
    return {
      generator: portable(),
      reason: `the C generator does not compile: ${built.stderr?.slice(0, 400)}`,
    };
  }
  const tls = !(
    spawnSync(load, ["crr", "--tls", "--target", "127.0.0.1:1"], { encoding: "utf8" }).stderr ?? ""
  ).includes("without libssl");
  return {
    generator: {
      kind: "c",
      command: [load],
      tls,
      floor: statSync(floor, { throwIfNoEntry: false }) ? floor : null,
      pinned: (cpu, command) => [load, "pin", cpu === null ? "any" : String(cpu), "--", ...command],
    },
    reason: tls ? null : "libssl's headers are missing: TLS runs are left out",
  };
}

/** A machine with a compiler but without make. */
function compile(folder: string, compiler: string): { status: number | null; stderr: string } {
  const text = `
    set -e; cd "$1"; mkdir -p bin
    sources="load.c load-options.c load-client.c load-service.c load-stream.c load-histogram.c load-sample.c"
    "$2" -O2 -o bin/load $sources -lssl -lcrypto || "$2" -O2 -DNO_TLS -o bin/load $sources
    "$2" -O2 -o bin/floor floor.c`;
  return spawnSync("sh", ["-c", text, "sh", folder, compiler], { encoding: "utf8" });
}

/** Runs the generator to its end. Throws with what it said on stderr when it fails or takes longer than `limit` ms. */
export function runLoad(
  generator: Generator,
  options: readonly string[],
  limit: number,
): Promise<LoadResult> {
  return new Promise((resolve, reject) => {
    const [command, ...rest] = [...generator.command, ...options];
    const child = spawn(command!, rest, { stdio: ["ignore", "pipe", "pipe"] });
    const timer = setTimeout(() => child.kill("SIGKILL"), limit);
    let out = "";
    let said = "";
    child.stdout.on("data", (data: Buffer) => {
      out += data;
    });
    child.stderr.on("data", (data: Buffer) => {
      said += data;
    });
    child.on("error", reject);
    child.on("close", (code, signal) => {
      clearTimeout(timer);
      if (code === 0) resolve(JSON.parse(out) as LoadResult);
      else reject(new Error(said.trim() || `the generator ended with ${signal ?? code}`));
    });
  });
}

/** Idle connections that are held: those of the first stage at first (IDLE_TENTHS in pace.ts). */
export interface Held {
  /** Opens those of the next stage. */
  more(): Promise<void>;
  /** Ends them, and the generator. */
  release(): Promise<void>;
}

/** Opens idle connections up to the first stage; at least ten must be asked for. Takes `limit` ms for all of them at most. */
export async function holdIdle(
  generator: Generator,
  options: readonly string[],
  limit: number,
): Promise<Held> {
  const [command, ...rest] = [...generator.command, ...options];
  const child: ChildProcess = spawn(command!, rest, { stdio: ["pipe", "pipe", "pipe"] });
  const timer = setTimeout(() => child.kill("SIGKILL"), limit);
  let said = "";
  child.stderr!.on("data", (data: Buffer) => {
    said += data;
  });
  const ended = new Promise<void>((done) => child.on("close", () => done()));
  const opened = (): Promise<void> =>
    new Promise((resolve, reject) => {
      child.on("error", reject);
      child.on("close", () =>
        reject(new Error(said.trim() || "the generator could not hold the connections")),
      );
      child.stdout!.once("data", () => resolve());
    });
  void ended.then(() => clearTimeout(timer));
  await opened();
  return {
    more(): Promise<void> {
      child.stdin!.write("\n");
      return opened();
    },
    release(): Promise<void> {
      child.stdin!.end("\n");
      return ended;
    },
  };
}
