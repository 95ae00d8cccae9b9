/** A process that holds all the pipes that its user may have (pipe-hog-child.ts). */
import { fork } from "node:child_process";
import { once } from "node:events";
import { readdirSync, readlinkSync } from "node:fs";
import { fileURLToPath } from "node:url";
import type { Lasting } from "./dns.ts";

export interface PipeHog {
  /** Large pipes that it has. */
  readonly pipes: number;
  /** Ends it; the pipes are free again. */
  end(): Promise<void>;
}

export async function hogPipes(t: Lasting): Promise<PipeHog> {
  const child = fork(fileURLToPath(new URL("./pipe-hog-child.js", import.meta.url)));
  const gone = once(child, "exit");
  const end = async (): Promise<void> => {
    child.kill("SIGKILL");
    await gone;
  };
  t.after(end);
  const [pipes] = (await once(child, "message")) as [number];
  return { pipes, end };
}

/** Descriptors of this process that are pipes. */
export function openPipes(): number {
  return readdirSync("/proc/self/fd").filter((descriptor) => {
    try {
      return readlinkSync(`/proc/self/fd/${descriptor}`).startsWith("pipe:");
    } catch {
      return false; // the folder's own
    }
  }).length;
}
