/** The compiled command line as a user runs it, in a terminal of 80 columns. */
import { execFile } from "node:child_process";
import { millrace } from "./root.ts";

export interface Ran {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export function millraceIn80(args: readonly string[]): Promise<Ran> {
  return new Promise((resolve) => {
    const env = { ...process.env, COLUMNS: "80", NO_COLOR: "1" };
    execFile(process.execPath, [millrace, ...args], { env, encoding: "utf8" }, (error, stdout, stderr) =>
      resolve({ code: error === null ? 0 : Number(error.code), stdout, stderr }),
    );
  });
}
