/** System calls per connection: a run of its own under `strace -c -f`, because tracing distorts everything else. */
import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { Contender } from "./contender.ts";
import { runLoad } from "./generator.ts";
import { hopFor, loadOptions, type Setting } from "./hop.ts";
import { start, tree } from "./process.ts";
import { which } from "./program.ts";
import type { CallsRow } from "./result.ts";
import { WORKS } from "./works.ts";

const SECONDS = 1;
/** Before tracing, so that no start-up or compilation is counted. */
const WARM_SECONDS = 0.5;

export function canTrace(): boolean {
  return which("strace") !== null;
}

/** The table that `strace -c` prints: name to count. */
export function parseCalls(text: string): Map<string, number> {
  const calls = new Map<string, number>();
  for (const line of text.split("\n")) {
    const match = /^\s*[\d.]+\s+[\d.]+\s+\d+\s+(\d+)\s+(?:\d+\s+)?(\w+)$/.exec(line);
    if (match && match[2] !== "total") calls.set(match[2]!, Number(match[1]));
  }
  return calls;
}

export async function measureCalls(setting: Setting, contender: Contender, index: number): Promise<CallsRow> {
  const work = WORKS.find((w) => w.name === "crr")!;
  const base = { contender: contender.name, kind: contender.kind };
  try {
    const running = await start(
      setting.generator,
      setting.link,
      contender,
      hopFor(setting, contender, work, index),
      setting.place.proxyCpu,
    );
    try {
      const options = loadOptions(setting, running, work.load);
      await runLoad(
        setting.generator,
        [...options, "--seconds", String(WARM_SECONDS), "--warmup", "0"],
        30_000,
      );
      const file = join(running.hop.directory, "calls.txt");
      const strace = spawn(
        which("strace")!,
        ["-f", "-c", "-o", file, ...tree(running.pid).flatMap((pid) => ["-p", String(pid)])],
        {
          stdio: ["ignore", "ignore", "pipe"],
        },
      );
      const ended = new Promise<void>((resolve) => strace.once("close", () => resolve()));
      await new Promise<void>((resolve, reject) => {
        strace.stderr.once("data", (data: Buffer) =>
          /attached/.test(String(data)) ? resolve() : reject(new Error(String(data).trim())),
        );
        strace.once("error", reject);
      });
      const result = await runLoad(
        setting.generator,
        [...options, "--seconds", String(SECONDS), "--warmup", "0"],
        60_000,
      );
      strace.kill("SIGINT");
      await ended;
      const calls = [...parseCalls(readFileSync(file, "utf8"))]
        .map(([name, count]) => [name, count / result.operations] as const)
        .sort((a, b) => b[1] - a[1]);
      const total = calls.reduce((sum, [, count]) => sum + count, 0);
      return { ...base, connections: result.operations, calls, total, failed: null };
    } finally {
      await running.stop();
    }
  } catch (error) {
    return { ...base, connections: 0, calls: [], total: 0, failed: (error as Error).message };
  }
}
