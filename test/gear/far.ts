/**
 * Peers in a process of their own, which can be stopped, continued and killed as a peer on another machine can. What they do is
 * told to them one order at a time (far-child.ts) over the channel that Node gives a forked process; what they sent and what they
 * received comes back as hashes.
 */
import { type ChildProcess, fork } from "node:child_process";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import type { Lasting } from "./dns.ts";
import { eventually } from "./scene.ts";

/** What a far peer shows and whom it trusts; it demands a certificate where it listens. */
export interface FarTls {
  readonly cert: string;
  readonly key: string;
  readonly ca: string;
  readonly servername?: string;
  /**
   * It falls silent in the handshake after so many flights of its own; a half: in the middle of the next one. Then `connect` and
   * `accept` resolve when it has something to say and does not say it.
   */
  readonly flights?: number;
}

/** How many bytes, and their hash. `how`: `end` (FIN) or the code of the error, where they were received. */
export interface FarBytes {
  readonly bytes: number;
  readonly hash: string;
  readonly how: string;
}

export interface Order {
  readonly number: number;
  readonly what:
    | "listen"
    | "accept"
    | "connect"
    | "write"
    | "bulk"
    | "flood"
    | "finish"
    | "read"
    | "heard"
    | "ended"
    | "leave";
  readonly at: number;
  readonly host?: string | undefined;
  readonly text?: string | undefined;
  readonly size?: number | undefined;
  readonly tls?: FarTls | undefined;
}

export interface Answer {
  readonly number: number;
  readonly value?: unknown;
  readonly error?: string;
}

/** `through`: a program and its arguments that run the process, such as `unshare --net`. */
export interface FarOptions {
  readonly through?: readonly string[];
}

/** Stops a process (SIGSTOP); resolves when the kernel says that it stands still. SIGCONT has it go on. */
export async function standStill(pid: number): Promise<void> {
  process.kill(pid, "SIGSTOP");
  // proc_pid_stat(5), field 3.
  const state = (): string => readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1]![0]!;
  await eventually(() => state() === "T", "the process stands still", state);
}

export class FarPeer {
  readonly #child: ChildProcess;
  readonly #gone: Promise<void>;
  readonly #waiting = new Map<number, { done: (value: unknown) => void; failed: (why: Error) => void }>();
  #orders = 0;

  private constructor(child: ChildProcess) {
    this.#child = child;
    this.#gone = new Promise((resolve) => child.on("exit", () => resolve()));
    child.on("message", ({ number, value, error }: Answer) => {
      const waiting = this.#waiting.get(number);
      this.#waiting.delete(number);
      if (error === undefined) waiting?.done(value);
      else waiting?.failed(new Error(error));
    });
  }

  /** Starts one; it ends with the test. */
  static async start(t: Lasting, { through = [] }: FarOptions = {}): Promise<FarPeer> {
    const [program = process.execPath, ...words] = [...through, process.execPath];
    const peer = new FarPeer(
      fork(fileURLToPath(new URL("./far-child.js", import.meta.url)), [], {
        execPath: program,
        execArgv: words,
      }),
    );
    t.after(() => peer.kill());
    return peer;
  }

  get pid(): number {
    return this.#child.pid!;
  }

  /** Resolves with the port. */
  listen(tls?: FarTls, host = "127.0.0.1"): Promise<number> {
    return this.order({ what: "listen", at: 0, host, tls }) as Promise<number>;
  }

  /** Listens and sends everything back to who sent it; resolves with the port. */
  echo(host = "127.0.0.1"): Promise<number> {
    return this.order({ what: "listen", at: 0, host, text: "echo" }) as Promise<number>;
  }

  /** The next connection that came to a port. Nothing is read from it until it is told to. */
  async accept(port: number): Promise<FarSocket> {
    return new FarSocket(this, (await this.order({ what: "accept", at: port })) as number);
  }

  async connect(port: number, tls?: FarTls, host = "127.0.0.1"): Promise<FarSocket> {
    return new FarSocket(this, (await this.order({ what: "connect", at: port, host, tls })) as number);
  }

  /** Stops the whole process (SIGSTOP); resolves when the kernel says that it stands still. */
  stop(): Promise<void> {
    return standStill(this.pid);
  }

  /** SIGCONT. */
  go(): void {
    this.#child.kill("SIGCONT");
  }

  /** Closes every connection at once, or resets it, as far as the kernel: nothing is said above TCP. */
  async leave(how: "close" | "reset"): Promise<void> {
    await this.order({ what: "leave", at: 0, text: how });
  }

  /** SIGKILL; resolves when it is gone, and its sockets with it. */
  async kill(): Promise<void> {
    this.#child.kill("SIGKILL");
    await this.#gone;
  }

  order(order: Omit<Order, "number">): Promise<unknown> {
    this.#orders += 1;
    const number = this.#orders;
    return new Promise((done, failed) => {
      this.#waiting.set(number, { done, failed });
      this.#child.send({ ...order, number });
    });
  }
}

export class FarSocket {
  readonly #peer: FarPeer;
  readonly #id: number;

  constructor(peer: FarPeer, id: number) {
    this.#peer = peer;
    this.#id = id;
  }

  /** Writes bytes; resolves when the process has handed them to its kernel. */
  async write(bytes: Uint8Array | string): Promise<void> {
    await this.#order("write", { text: Buffer.from(bytes).toString("base64") });
  }

  /** Writes `size` bytes of its own at the reader's speed; resolves when they are with its kernel. */
  async bulk(size: number): Promise<void> {
    await this.#order("bulk", { size });
  }

  /** Begins to write for ever, as fast as they are taken. */
  async flood(): Promise<void> {
    await this.#order("flood");
  }

  /** Stops writing and half-closes; resolves with all that was written, when it is with the kernel. */
  finish(): Promise<FarBytes> {
    return this.#order("finish") as Promise<FarBytes>;
  }

  /** Begins to read. */
  async read(): Promise<void> {
    await this.#order("read");
  }

  /** Reads on; resolves when `size` bytes have come in all, or the end has: with what has come until then. */
  heard(size: number): Promise<FarBytes> {
    return this.#order("heard", { size }) as Promise<FarBytes>;
  }

  /** Reads to the end; resolves with all that was received. */
  ended(): Promise<FarBytes> {
    return this.#order("ended") as Promise<FarBytes>;
  }

  #order(what: Order["what"], more: Pick<Order, "text" | "size"> = {}): Promise<unknown> {
    return this.#peer.order({ what, at: this.#id, ...more });
  }
}
