/**
 * `openssl s_client` as a peer that shares no code with us: what a user would see of a handshake, an alert or a resumption.
 */
import { type ChildProcessWithoutNullStreams, spawn } from "node:child_process";

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

/** A session with it that a test types into, line by line; its own commands are lines like `R` and `K`. */
export class SClientSession {
  readonly closed: Promise<void>;
  readonly #child: ChildProcessWithoutNullStreams;
  #output = "";
  #heard: () => void = () => {};

  constructor(port: number, args: readonly string[]) {
    this.#child = spawn("openssl", ["s_client", "-connect", `127.0.0.1:${port}`, ...args]);
    this.#child.stdin.on("error", () => {});
    for (const stream of [this.#child.stdout, this.#child.stderr]) {
      stream.on("data", (chunk: Buffer) => {
        this.#output += chunk;
        this.#heard();
      });
    }
    this.closed = new Promise((resolve) => this.#child.on("close", () => resolve()));
    void this.closed.then(() => this.#heard());
  }

  /** Everything it printed until now. */
  get output(): string {
    return this.#output;
  }

  type(line: string): void {
    this.#child.stdin.write(`${line}\n`);
  }

  /** Resolves when this has been printed; rejects when it ends before. */
  async prints(pattern: RegExp): Promise<void> {
    let over = false;
    void this.closed.then(() => {
      over = true;
    });
    while (!pattern.test(this.#output)) {
      if (over) throw new Error(`s_client ended without ${pattern}: ${this.#output}`);
      await new Promise<void>((resolve) => {
        this.#heard = resolve;
      });
    }
  }

  kill(): Promise<void> {
    this.#child.kill("SIGKILL");
    return this.closed;
  }
}
