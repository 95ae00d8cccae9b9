/**
 * How many connections the soft limit on descriptors (getrlimit(2), RLIMIT_NOFILE) leaves room for, and how many descriptors
 * are open. A connection has two; a reserve is for everything that must go on working at the limit.
 */
import { readdirSync, readFileSync } from "node:fs";
import { LINGERING_MOST } from "./lingering.ts";

/** What is left for logs, certificates, DNS sockets, the admin interface and Node itself. */
const RESERVE = 64;
// The pipes of the epoll transport: 64 at most in a process (see transport/epoll/pipes.ts), two descriptors each.
const PIPE_RESERVE = 128;
// What each epoll worker has: its epoll, its alarm, its two rings, its eventfd and the four of Node's own loop; of each listener a
// duplicate, and one to turn clients away with (see transport/epoll/listener.ts).
const OF_WORKER = 9;
const OF_LISTENER = 2;
// Of what is left of a small limit not more than a quarter is set aside, so that a few connections are possible in any case.
const RESERVE_SHARE = 0.25;
// Where the limit cannot be read: what most systems give at least.
const UNKNOWN_LIMIT = 256;
// Windows has handles instead and no such limit.
const WINDOWS_LIMIT = 16_384;

export interface DescriptorBudget {
  /** The soft limit. */
  readonly limit: number;
  /** Connections that fit. */
  readonly connections: number;
}

/** For the process it is called in, with so many workers and listeners. `limit` is for tests. */
export function budgetDescriptors(
  transport: "net" | "epoll",
  workers: number,
  listeners: number,
  limit: number = softLimit(),
): DescriptorBudget {
  const epoll = transport === "epoll";
  const left = limit - (epoll ? workers * (OF_WORKER + OF_LISTENER * listeners) : 0);
  const wanted = RESERVE + (epoll ? PIPE_RESERVE + workers * LINGERING_MOST : 0);
  const reserve = Math.min(wanted, Math.floor(left * RESERVE_SHARE));
  return { limit, connections: Math.max(1, Math.floor((left - reserve) / 2)) };
}

/** Descriptors of this process: open now (0 where the system does not tell) and allowed. */
export function countDescriptors(): { readonly open: number; readonly limit: number } {
  try {
    // One of them is the folder that is being read.
    return { open: readdirSync("/proc/self/fd").length - 1, limit: softLimit() };
  } catch {
    return { open: 0, limit: softLimit() };
  }
}

function softLimit(): number {
  if (process.platform === "win32") return WINDOWS_LIMIT;
  try {
    return parseLimits(readFileSync("/proc/self/limits", "utf8")) ?? UNKNOWN_LIMIT;
  } catch {
    return UNKNOWN_LIMIT;
  }
}

/** The soft limit in the text of /proc/PID/limits; null when it is not there. `unlimited` is what the kernel allows by default. */
export function parseLimits(text: string): number | null {
  const line = /^Max open files\s+(\d+|unlimited)\s/m.exec(text);
  if (line === null) return null;
  return line[1] === "unlimited" ? 1_048_576 : Number(line[1]);
}
