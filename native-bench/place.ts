/**
 * Where a run happens: a network namespace of its own where that is allowed (own ports, own congestion control, own
 * sysctls, nobody else's traffic), else the machine's loopback; one CPU for the proxy, another for the generator.
 */
import { spawn, spawnSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { cpus, release, totalmem } from "node:os";
import { ask, which } from "./program.ts";

const MARK = "MILLRACE_BENCH_NAMESPACE";

/** [file below /proc/sys/net, value, why] */
const SYSCTLS: readonly (readonly [string, string, string])[] = [
  ["ipv4/tcp_congestion_control", "reno", "BBR paces, even on loopback"],
  ["ipv4/ip_local_port_range", "16384 65535", "room for short connections; listeners stay below"],
  ["ipv4/tcp_tw_reuse", "1", "sockets in TIME_WAIT must not end a run"],
  ["ipv4/tcp_max_syn_backlog", "8192", "the same accept queue for all"],
  ["core/somaxconn", "4096", "the same accept queue for all"],
];

export interface Place {
  readonly namespace: boolean;
  /** CPU of the proxy and of the generator; null on a machine with one. */
  readonly proxyCpu: number | null;
  readonly loadCpu: number | null;
  readonly congestion: string;
  readonly machine: {
    readonly cpu: string;
    readonly cpus: number;
    readonly kernel: string;
    readonly memory: number;
  };
  /** Descriptors that one process may have. */
  readonly descriptors: number;
}

function read(path: string): string {
  try {
    return readFileSync(path, "utf8").trim();
  } catch {
    return "";
  }
}

/** Runs this program again inside a namespace and gives its exit code; null when there can be none or this is it. */
export function reenter(): Promise<number> | null {
  if (process.env[MARK] || process.platform !== "linux") return null;
  const unshare = which("unshare");
  const ip = which("ip");
  if (!unshare || !ip) return null;
  const root = process.getuid?.() === 0;
  const flags = root ? ["--net"] : ["--user", "--map-root-user", "--net"];
  const up = `${ip} link set lo up && `;
  if (spawnSync(unshare, [...flags, "sh", "-c", `${up}true`]).status !== 0) return null;
  const again = [process.execPath, ...process.execArgv, ...process.argv.slice(1)];
  const child = spawn(unshare, [...flags, "sh", "-c", `${up}exec "$@"`, "sh", ...again], {
    stdio: "inherit",
    env: { ...process.env, [MARK]: "1" },
  });
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, () => child.kill(signal));
  return new Promise((resolve) => child.once("close", (code) => resolve(code ?? 1)));
}

/** Sets up the namespace if this runs in one, and says what the place is. */
export function settle(): Place {
  const namespace = process.env[MARK] === "1";
  if (namespace) {
    for (const [file, value] of SYSCTLS) {
      try {
        writeFileSync(`/proc/sys/net/${file}`, value);
      } catch {
        // a sysctl that is not per namespace or not allowed: what holds is reported below
      }
    }
  }
  const count = cpus().length;
  return {
    namespace,
    proxyCpu: count > 1 ? count - 1 : null,
    loadCpu: count > 1 ? 0 : null,
    congestion: read("/proc/sys/net/ipv4/tcp_congestion_control") || "unknown",
    machine: { cpu: cpus()[0]?.model ?? "unknown", cpus: count, kernel: release(), memory: totalmem() },
    descriptors: Number((ask("sh", "-c", "ulimit -Hn") ?? "").trim()) || 1024,
  };
}
