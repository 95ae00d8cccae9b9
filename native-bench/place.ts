/**
 * Where a run happens: a network namespace of its own where that is allowed (own ports, own congestion control, own
 * sysctls, nobody else's traffic), else the machine's loopback; one CPU for the proxy, another for the generator.
 */
import { spawn, spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { cpus, release, totalmem } from "node:os";
import { type Link, type LinkKind, loopback, makeVeth } from "./link.ts";
import { ask, searchPath, which } from "./program.ts";

const MARK = "MILLRACE_BENCH_NAMESPACE";

/** [file below /proc/sys/net, value, why] */
const SYSCTLS: readonly (readonly [string, string, string])[] = [
  ["ipv4/tcp_congestion_control", "reno", "BBR paces, even on loopback"],
  ["ipv4/ip_local_port_range", "16384 65535", "room for short connections; listeners stay below"],
  ["ipv4/tcp_tw_reuse", "1", "sockets in TIME_WAIT must not end a run"],
  [
    "ipv4/tcp_tw_reuse_delay",
    "100",
    "nor use up the ports: beyond 40,000 connections a second connect(2) seeks one for 500 µs",
  ],
  ["ipv4/tcp_max_syn_backlog", "8192", "the same accept queue for all"],
  ["core/somaxconn", "4096", "the same accept queue for all"],
];
/** A sysctl that is not per namespace or not allowed is left as it is: what holds is reported. */
const SET_SYSCTLS = SYSCTLS.map(
  ([file, value]) => `{ echo ${value} > /proc/sys/net/${file}; } 2>/dev/null || true`,
).join("\n");

export interface Place {
  readonly namespace: boolean;
  readonly link: LinkKind;
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
}

function read(path: string): string {
  try {
    return readFileSync(path, "utf8").trim();
  } catch {
    return "";
  }
}

function firstLine(text: string): string {
  return text.trim().split("\n")[0] ?? "";
}

/** Whether this process is the one that runs inside the namespace. */
export function isInside(): boolean {
  return process.env[MARK] === "1";
}

/** Runs this program again inside a namespace and gives its exit code, or says why there can be none. */
export async function reenter(): Promise<{ readonly code: number } | { readonly refused: string }> {
  if (process.platform !== "linux") return { refused: "not Linux" };
  const unshare = which("unshare");
  const ip = which("ip");
  if (!unshare || !ip) return { refused: `no ${unshare ? "ip" : "unshare"} on the PATH` };
  const root = process.getuid?.() === 0;
  const flags = root ? ["--net"] : ["--user", "--map-root-user", "--net"];
  const up = `${ip} link set lo up`;
  const probe = spawnSync(unshare, [...flags, "sh", "-c", up], { encoding: "utf8" });
  if (probe.status !== 0) return { refused: firstLine(probe.stderr || String(probe.error ?? "refused")) };
  const again = [process.execPath, ...process.execArgv, ...process.argv.slice(1)];
  const child = spawn(unshare, [...flags, "sh", "-c", `${up} && exec "$@"`, "sh", ...again], {
    stdio: "inherit",
    env: { ...process.env, PATH: searchPath(), [MARK]: "1" },
  });
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, () => child.kill(signal));
  return new Promise((resolve) => child.once("close", (code) => resolve({ code: code ?? 1 })));
}

/** Sets up the namespace if this runs in one, and says what the place is. Throws when there can be no such link. */
export async function settle(kind: LinkKind): Promise<{ readonly place: Place; readonly link: Link }> {
  if (isInside()) spawnSync("sh", ["-c", SET_SYSCTLS]);
  else if (kind === "veth") throw new Error("--link veth needs a network namespace");
  const link = kind === "veth" ? await makeVeth(SET_SYSCTLS) : loopback;
  const count = cpus().length;
  const place: Place = {
    namespace: isInside(),
    link: kind,
    proxyCpu: count > 1 ? count - 1 : null,
    loadCpu: count > 1 ? 0 : null,
    congestion: read("/proc/sys/net/ipv4/tcp_congestion_control") || "unknown",
    machine: { cpu: cpus()[0]?.model ?? "unknown", cpus: count, kernel: release(), memory: totalmem() },
  };
  return { place, link };
}

/** How many descriptors a contender may have: `prefix` is what contenders are started with. */
export function descriptors(prefix: readonly string[]): number {
  const limit = "process.report.getReport().userLimits.open_files.hard";
  const [program, ...rest] = [...prefix, process.execPath, "-p", limit];
  const said = ask(program!, ...rest)?.trim();
  return said === "unlimited" ? Number.MAX_SAFE_INTEGER : Number(said) || DESCRIPTORS;
}

/** What every system gives. */
const DESCRIPTORS = 1024;

/** Room for the service and the contenders. */
const PORTS = 100;
const FIRST_PORT = 8000;
/** Below the ephemeral ports of every system. */
const LAST_PORT = 30_000;

/** The first of PORTS ports that nobody uses; in a namespace of its own every port is free. */
export function freePorts(): number {
  const used = [read("/proc/net/tcp"), read("/proc/net/tcp6")]
    .flatMap((table) => table.split("\n").slice(1))
    .map((line) => Number.parseInt(line.trim().split(/\s+/)[1]?.split(":")[1] ?? "0", 16));
  for (let first = FIRST_PORT; first < LAST_PORT; first += PORTS) {
    if (!used.some((port) => port >= first && port < first + PORTS)) return first;
  }
  return FIRST_PORT;
}
