/** What flows through a proxy, as its live listing says, and what memory a process holds meanwhile. */
import { readFileSync } from "node:fs";
import { setTimeout as pause } from "node:timers/promises";
import type { Stage } from "./scene.ts";

export interface Flow {
  readonly up: number;
  readonly down: number;
}

// How often it is looked, and how many looks in a row must be equal: many turns of a loop that moves MiB in each.
const LOOK_MS = 5;
const EQUAL_LOOKS = 10;

/** Of all live connections together. */
export async function flowOf(stage: Stage): Promise<Flow> {
  let up = 0;
  let down = 0;
  for (const row of await stage.proxy.connections()) {
    up += row["bytes_up"] as number;
    down += row["bytes_down"] as number;
  }
  return { up, down };
}

/** Resolves when at least so much has moved, each way. `look` is called with every look. */
export async function moved(stage: Stage, least: Flow, look: () => void = () => {}): Promise<Flow> {
  for (;;) {
    look();
    const flow = await flowOf(stage);
    if (flow.up >= least.up && flow.down >= least.down) return flow;
    await pause(LOOK_MS);
  }
}

/** Resolves when nothing moves any more, either way. `look` is called with every look. */
export async function stalled(stage: Stage, look: () => void = () => {}): Promise<Flow> {
  let flow = await flowOf(stage);
  for (let equal = 0; equal < EQUAL_LOOKS; ) {
    await pause(LOOK_MS);
    look();
    const now = await flowOf(stage);
    equal = now.up === flow.up && now.down === flow.down ? equal + 1 : 0;
    flow = now;
  }
  return flow;
}

/** Bytes that a process holds for itself; the kernel's buffers are not among them. proc_pid_status(5). */
export function memoryOf(pid: number | "self" = "self"): number {
  const status = readFileSync(`/proc/${pid}/status`, "utf8");
  return Number(/^RssAnon:\s+(\d+) kB$/m.exec(status)![1]) * 1024;
}
