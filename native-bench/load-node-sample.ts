/** The CPU times that the portable generator reports, from /proc; zeros where there is none. */
import { readdirSync, readFileSync } from "node:fs";
import { tree } from "./process.ts";

/** USER_HZ, 100 on every Linux that Node runs on. */
const TICK_NS = 1e7;

/** ns in which a process's threads could have run and had no CPU: the second field of schedstat. */
function waitOf(pid: number): number {
  let sum = 0;
  for (const thread of readdirSync(`/proc/${pid}/task`)) {
    sum += Number(readFileSync(`/proc/${pid}/task/${thread}/schedstat`, "utf8").split(" ")[1]);
  }
  return sum;
}

/** The same of this process's main thread, which does the work; zero where it cannot be read. */
export function ownWait(): number {
  try {
    return Number(readFileSync("/proc/self/schedstat", "utf8").split(" ")[1]);
  } catch {
    return 0;
  }
}

/** ns of the watched tree: user and system, reaped children included, and waiting. */
export function treeTime(root: number): { user: number; system: number; waited: number; processes: number } {
  const sum = { user: 0, system: 0, waited: 0, processes: 0 };
  if (root === 0 || process.platform !== "linux") return sum;
  for (const pid of tree(root)) {
    try {
      const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
      const fields = stat
        .slice(stat.lastIndexOf(")") + 2)
        .split(" ")
        .map(Number);
      sum.user += (fields[11]! + fields[13]!) * TICK_NS;
      sum.system += (fields[12]! + fields[14]!) * TICK_NS;
      sum.processes++;
      sum.waited += waitOf(pid);
    } catch {
      // ended meanwhile
    }
  }
  return sum;
}

/** busy, steal and all, in ns. */
export function machineTime(): { busy: number; steal: number; all: number } {
  if (process.platform !== "linux") return { busy: 0, steal: 0, all: 0 };
  const first = readFileSync("/proc/stat", "utf8").split("\n", 1)[0]!;
  const [user, nice, system, rest, wait, irq, soft, steal] = first
    .split(/\s+/)
    .slice(1)
    .map((n) => Number(n) * TICK_NS) as number[];
  const busy = user! + nice! + system! + irq! + soft!;
  return { busy, steal: steal!, all: busy + steal! + rest! + wait! };
}
