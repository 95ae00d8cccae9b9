/**
 * System calls of this process that fail, as if the machine were out of descriptors, memory or ports: strace(1) lets them return an
 * error without being carried out. Peers and clients must live in other processes, or they meet the same.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { needs } from "./nameservers.ts";
import type { Needs } from "./scene.ts";

/** `{ skip: "…" }` where this process cannot be traced. */
export function tracing(): Needs {
  const missing: Needs = { ...needs("strace"), oneByOne: true };
  if (missing.skip !== false || process.getuid?.() === 0) return missing;
  return {
    ...missing,
    skip: restricted() ? "needs root: kernel.yama.ptrace_scope keeps strace from attaching" : false,
  };
}

/** Whether a process may trace its own children only. */
function restricted(): boolean {
  try {
    return readFileSync("/proc/sys/kernel/yama/ptrace_scope", "utf8").trim() !== "0";
  } catch {
    return false;
  }
}

/**
 * While `body` runs, `call` (by name) fails in every thread of this process with `error` (an errno by name). Resolves with how many
 * did.
 */
export async function failing(call: string, error: string, body: () => Promise<void>): Promise<number> {
  const folder = mkdtempSync(join(tmpdir(), "strace-"));
  const trace = join(folder, "trace");
  const what = ["-e", `trace=${call}`, "-e", `inject=${call}:error=${error}`];
  const child = spawn("strace", ["-f", "-o", trace, ...what, "-p", String(process.pid)], {
    stdio: ["ignore", "ignore", "pipe"],
  });
  const gone = once(child, "exit");
  try {
    await new Promise<void>((resolve, reject) => {
      let said = "";
      child.stderr.on("data", (chunk: Buffer) => {
        said += chunk;
        if (/attached/.test(said)) resolve();
      });
      void gone.then(() => reject(new Error(`strace: ${said}`)));
    });
    await body();
    child.kill("SIGINT");
    await gone;
    return readFileSync(trace, "utf8").split("(INJECTED)").length - 1;
  } finally {
    child.kill("SIGKILL");
    await gone;
    rmSync(folder, { recursive: true });
  }
}
