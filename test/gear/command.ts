/** The compiled command line as a user runs it, in a terminal of 80 columns. */
import { execFile } from "node:child_process";
import { millrace } from "./root.ts";

export interface Ran {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export function millraceIn80(args: readonly string[], cwd?: string): Promise<Ran> {
  return ran(process.execPath, [millrace, ...args], cwd);
}

/** Runs any program to its end; `input` is what it reads. */
export function ran(program: string, args: readonly string[], cwd?: string, input = ""): Promise<Ran> {
  return new Promise((resolve) => {
    const env = { ...process.env, COLUMNS: "80", NO_COLOR: "1" };
    const child = execFile(program, args, { env, cwd, encoding: "utf8" }, (error, stdout, stderr) =>
      resolve({ code: error === null ? 0 : Number(error.code), stdout, stderr }),
    );
    // It may be gone before it has read what it was to read.
    child.stdin?.on("error", () => {}).end(input);
  });
}
