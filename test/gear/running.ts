/** Commands that keep running, as real processes of the compiled program: their log, their signals, their exit. */
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { stringify } from "yaml";
import type { ConfigInput } from "../../lib/config/parse.ts";
import { millrace } from "./root.ts";

/** A log line of a running process. */
export interface Line {
  readonly level: string;
  readonly msg: string;
  readonly [field: string]: unknown;
}

/** A Millrace that keeps running. */
export class Running {
  readonly child: ChildProcess;
  readonly lines: Line[] = [];
  /** Everything it wrote, both streams. */
  text = "";
  readonly exited: Promise<number | null>;
  #waiting: { holds: (line: Line) => boolean; found: (line: Line) => void; failed: (why: Error) => void }[] =
    [];
  #taken = 0;
  #rest = "";

  constructor(child: ChildProcess) {
    this.child = child;
    child.stdout?.on("data", (chunk: Buffer) => this.#read(chunk.toString()));
    child.stderr?.on("data", (chunk: Buffer) => {
      this.text += chunk;
    });
    this.exited = new Promise((resolve) => {
      child.on("close", (code) => {
        resolve(code);
        for (const { failed } of this.#waiting.splice(0)) failed(new Error(`it ended: ${this.text}`));
      });
    });
  }

  /** The next line, in order, of which `holds` is true; earlier ones are skipped. */
  line(holds: (line: Line) => boolean): Promise<Line> {
    return new Promise((found, failed) => {
      this.#waiting.push({ holds, found, failed });
      this.#serve();
    });
  }

  says(message: string): Promise<Line> {
    return this.line(({ msg }) => msg === message);
  }

  /** Resolves with the port of each listener once it accepts. */
  async ports(): Promise<Record<string, number>> {
    const { listeners } = await this.says("running");
    return Object.fromEntries(
      Object.entries(listeners as Record<string, string>).map(([name, address]) => [
        name,
        Number(/:(\d+)$/.exec(address)?.[1]),
      ]),
    );
  }

  #read(text: string): void {
    this.text += text;
    const lines = (this.#rest + text).split("\n");
    this.#rest = lines.pop()!;
    for (const line of lines) if (line.startsWith("{")) this.lines.push(JSON.parse(line) as Line);
    this.#serve();
  }

  #serve(): void {
    while (this.#waiting.length > 0 && this.#taken < this.lines.length) {
      const line = this.lines[this.#taken++]!;
      if (this.#waiting[0]!.holds(line)) this.#waiting.shift()!.found(line);
    }
  }
}

export interface StartOptions {
  /** `ignore` leaves standard output unread. */
  readonly unread?: boolean;
}

/** Starts a command that keeps running, and kills it at the end of the test. */
export function start(t: TestContext, args: readonly string[], options: StartOptions = {}): Running {
  const child = spawn(process.execPath, [millrace, ...args], { stdio: ["ignore", "pipe", "pipe"] });
  const running = new Running(child);
  if (options.unread === true) child.stdout.removeAllListeners("data").pause();
  t.after(async () => {
    child.kill("SIGKILL");
    child.stdout.resume();
    await running.exited;
  });
  return running;
}

/** A folder with a configuration in it, removed at the end of the test. */
export function configured(
  t: TestContext,
  config: ConfigInput | string,
): { readonly directory: string; readonly file: string; write(config: ConfigInput | string): void } {
  const directory = folder(t);
  const file = join(directory, "millrace.yaml");
  const write = (content: ConfigInput | string): void =>
    writeFileSync(file, typeof content === "string" ? content : stringify(content));
  write(config);
  return { directory, file, write };
}

export function folder(t: TestContext): string {
  const directory = mkdtempSync(join(tmpdir(), "millrace-"));
  t.after(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}
