/** Real programs as peers: where they are, and servers that run as long as a test. One that is missing is a skip that says so. */
import { type ChildProcess, spawn } from "node:child_process";
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { accessSync, constants, mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import type { Lasting } from "./dns.ts";

export interface RunningProgram {
  readonly host: string;
  readonly port: number;
  readonly folder: string;
  readonly child: ChildProcess;
  /** All that it wrote until now, both streams. */
  readonly said: () => string;
}

/** `{ skip: "…" }` for `test()` where a program is not installed. */
export function needs(...programs: string[]): { skip: string | false } {
  const missing = programs.filter((program) => programPath(program) === null);
  return { skip: missing.length > 0 ? `not installed: ${missing.join(", ")}` : false };
}

/**
 * Starts a server in the foreground, in a folder of its own and with a port that is free for UDP and TCP, and ends it with the
 * test. `configure` writes what it needs and returns its arguments; `ready` is what it says once it serves.
 */
export async function startProgram(
  t: Lasting,
  program: string,
  ready: RegExp,
  configure: (folder: string, port: number) => string[],
): Promise<RunningProgram> {
  const folder = mkdtempSync(join(tmpdir(), `${program}-`));
  const port = await freePort();
  const child = spawn(programPath(program) ?? program, configure(folder, port), {
    stdio: ["ignore", "pipe", "pipe"],
  });
  t.after(async () => {
    if (child.exitCode === null && child.signalCode === null) {
      child.kill("SIGKILL");
      await once(child, "exit");
    }
    rmSync(folder, { recursive: true, force: true });
  });
  let log = "";
  await new Promise<void>((resolve, reject) => {
    const hear = (chunk: Buffer): void => {
      log += chunk;
      if (ready.test(log)) resolve();
    };
    child.stdout.on("data", hear);
    child.stderr.on("data", hear);
    child.on("error", reject);
    child.on("exit", () => reject(new Error(`${program} ended at start:\n${log}`)));
  });
  return { host: "127.0.0.1", port, folder, child, said: () => log };
}

// Below what the kernel draws for clients (32768 on Linux, 49152 elsewhere): nobody is given it before its use.
const [FIRST_PORT, LAST_PORT] = [10_000, 32_767];

/** A port that is free for UDP and TCP now. */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = FIRST_PORT + Math.floor(Math.random() * (LAST_PORT - FIRST_PORT + 1));
    const listener = createServer();
    const socket = createSocket("udp4");
    try {
      listener.listen(port, "127.0.0.1");
      await once(listener, "listening");
      socket.bind(port, "127.0.0.1");
      await once(socket, "listening");
      return port;
    } catch {
      // somebody has it: draw again
    } finally {
      socket.close();
      if (listener.listening) {
        listener.close();
        await once(listener, "close");
      }
    }
  }
}

/** Where a program lies, also in the folders of administrators; null where it is not installed. */
export function programPath(program: string): string | null {
  const folders = [...(process.env["PATH"] ?? "").split(delimiter), "/usr/sbin", "/sbin"];
  for (const folder of folders) {
    const path = join(folder, program);
    try {
      accessSync(path, constants.X_OK);
      return path;
    } catch {
      // not there
    }
  }
  return null;
}
