/**
 * A contender's process: started on its CPU, ready when its port listens (read from /proc/net/tcp, so that no
 * connection is spent on asking), memory of its tree, stopped by its own process group.
 */
import { type ChildProcess, spawn } from "node:child_process";
import {
  closeSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  rmSync,
  statSync,
  truncateSync,
} from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { type Contender, type Hop, split } from "./contender.ts";
import type { Generator } from "./generator.ts";
import type { Link } from "./link.ts";

const READY_MS = 15_000;
const STOP_MS = 3_000;

export interface Running {
  readonly contender: Contender;
  readonly hop: Hop;
  /** Root of the process tree; 0 for `direct`. */
  readonly pid: number;
  alive(): boolean;
  /** Empties its logs, so that the disk does not fill and every run starts alike. */
  emptyLogs(): void;
  /** Lines in its access log since the last emptying. */
  logLines(): number;
  stop(): Promise<void>;
}

/** On Linux `pid` is a process in the namespace of the address. */
async function listening(address: string, pid: number): Promise<boolean> {
  const [host, port] = split(address);
  if (process.platform === "linux") {
    const hex = Number(port).toString(16).toUpperCase().padStart(4, "0");
    try {
      const table = readFileSync(`/proc/${pid}/net/tcp`, "utf8");
      return new RegExp(`^\\s*\\d+: \\S+:${hex} \\S+ 0A `, "m").test(table);
    } catch {
      return false; // it ended
    }
  }
  return new Promise((resolve) => {
    const socket = connect(Number(port), host, () => {
      socket.destroy();
      resolve(true);
    });
    socket.on("error", () => resolve(false));
  });
}

function countLines(file: string): number {
  const buffer = Buffer.alloc(1 << 20);
  let fd: number;
  try {
    fd = openSync(file, "r");
  } catch {
    return 0;
  }
  let lines = 0;
  for (let n = readSync(fd, buffer); n > 0; n = readSync(fd, buffer)) {
    for (let at = buffer.indexOf(10); at >= 0 && at < n; at = buffer.indexOf(10, at + 1)) lines++;
  }
  closeSync(fd);
  return lines;
}

/** The line of a program's output that most likely says what is wrong. */
function fault(output: string): string {
  const lines = output.split("\n").filter((line) => line.trim() !== "");
  const line = lines.find((text) => /error|alert|emerg|fatal|cannot/i.test(text)) ?? lines.at(-1);
  return line ? line.trim().slice(0, 160) : "it said nothing";
}

/** What must not outlive the harness, however it ends. */
const left = new Set<() => void>();
process.once("exit", () => {
  for (const kill of left) kill();
});

/** Starts a contender and waits for its port. Throws with the end of its output when it does not come up. */
export async function start(
  generator: Generator,
  link: Link,
  contender: Contender,
  hop: Hop,
  cpu: number | null,
): Promise<Running> {
  mkdirSync(hop.directory, { recursive: true });
  const launch = contender.launch(hop);
  if (contender.kind === "direct") {
    return {
      contender,
      hop,
      pid: 0,
      alive: () => true,
      emptyLogs: () => {},
      logLines: () => 0,
      stop: async () => {},
    };
  }
  const output = join(hop.directory, "output.log");
  // Written from its end on, so that it can be emptied meanwhile; without what another run left.
  rmSync(output, { force: true });
  const fd = openSync(output, "a");
  const [command, ...rest] = link.enter(generator.pinned(cpu, launch.command));
  const child: ChildProcess = spawn(command!, rest, {
    stdio: ["ignore", fd, fd],
    detached: true,
    cwd: hop.directory,
    env: { ...process.env, ...launch.env },
  });
  closeSync(fd);
  const ended = new Promise<void>((resolve) => {
    child.once("exit", () => resolve());
    child.once("error", () => resolve());
  });
  const alive = (): boolean =>
    child.pid !== undefined && child.exitCode === null && child.signalCode === null;
  const signal = (name: NodeJS.Signals): void => {
    try {
      process.kill(-child.pid!, name);
    } catch {
      // gone already
    }
  };
  const logs = [output, ...(launch.logs ?? [])];
  const running: Running = {
    contender,
    hop,
    pid: child.pid ?? 0,
    alive,
    emptyLogs(): void {
      for (const file of logs) if (statSync(file, { throwIfNoEntry: false })) truncateSync(file);
    },
    logLines: () => logs.reduce((sum, file) => sum + countLines(file), 0),
    async stop(): Promise<void> {
      left.delete(kill);
      if (alive()) {
        signal("SIGTERM");
        // Draining is not what is measured: a second signal, then the hard one.
        await Promise.race([ended, delay(200, undefined, { ref: false })]);
        if (alive()) signal("SIGTERM");
        await Promise.race([ended, delay(STOP_MS, undefined, { ref: false })]);
      }
      signal("SIGKILL");
      await ended;
    },
  };
  const kill = (): void => signal("SIGKILL");
  left.add(kill);
  const deadline = Date.now() + READY_MS;
  while (!(await listening(hop.listen, running.pid))) {
    if (!alive() || Date.now() > deadline) {
      await running.stop();
      throw new Error(`did not come up: ${fault(readFileSync(output, "utf8"))}`);
    }
    await delay(20);
  }
  return running;
}

/** Every process of a tree, by the parents in /proc. */
export function tree(root: number): number[] {
  const parents = new Map<number, number>();
  for (const entry of readdirSync("/proc")) {
    if (!/^\d+$/.test(entry)) continue;
    try {
      const stat = readFileSync(`/proc/${entry}/stat`, "utf8");
      parents.set(Number(entry), Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[1]));
    } catch {
      // ended meanwhile
    }
  }
  const inside = new Set([root]);
  for (let before = 0; before !== inside.size; ) {
    before = inside.size;
    for (const [pid, parent] of parents) if (inside.has(parent)) inside.add(pid);
  }
  return [...inside];
}

/** Proportional set size of a tree in bytes: shared pages are counted once. */
export function memory(root: number): number {
  let sum = 0;
  for (const pid of tree(root)) {
    try {
      const kib = /^Pss:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, "utf8"))?.[1];
      sum += Number(kib ?? 0) * 1024;
    } catch {
      // ended meanwhile
    }
  }
  return sum;
}
