/**
 * `openssl s_client` as a peer that shares no code with us: what a user would see of a handshake, an alert or a resumption.
 */
import { spawn } from "node:child_process";

export interface SClientResult {
  /** Everything it printed, both streams. */
  readonly output: string;
  /** The number of the fatal alert it received; null for none. */
  readonly alert: number | null;
  readonly reused: boolean;
}

/** Connects, sends `input` and stays until the other side closes; `input` null says end at once. */
export function sClient(
  port: number,
  args: readonly string[],
  input: string | null = "",
): Promise<SClientResult> {
  return new Promise((resolve, reject) => {
    const child = spawn("openssl", ["s_client", "-connect", `127.0.0.1:${port}`, "-ign_eof", ...args]);
    let output = "";
    // Apart, too: where the two come together, one may cut the other's line.
    let errors = "";
    child.stdout.on("data", (chunk: Buffer) => {
      output += chunk;
    });
    child.stderr.on("data", (chunk: Buffer) => {
      output += chunk;
      errors += chunk;
    });
    // It may be gone before it has read what it was to send.
    child.stdin.on("error", () => {});
    child.on("error", reject);
    child.on("close", () => {
      const alert = /SSL alert number (\d+)/.exec(errors)?.[1];
      resolve({
        output,
        alert: alert === undefined ? null : Number(alert),
        reused: /^Reused, /m.test(output),
      });
    });
    if (input === null) child.stdin.end();
    else child.stdin.write(input);
  });
}
