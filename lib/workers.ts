/**
 * All workers of a process, as control sees them: one `Worker` in this thread on `net`, or one thread each on `epoll`. Commands
 * go to every worker; answers come back as events. A worker thread that dies takes the process down, because nobody else
 * owns its descriptors: `onDeath` says so once.
 */
import { Worker as Thread } from "node:worker_threads";
import { ProxyError } from "./errors.ts";
import type { Plan } from "./generation.ts";
import { createSharedLines, freeLines, linesIn, type SharedLines } from "./observe/lines.ts";
import { createWakeup } from "./transport/epoll/wakeup.ts";
import { createNetTransport } from "./transport/net/transport.ts";
import type { SocketAddress } from "./wire/address.ts";
import { type Command, type Event, type Shared, Worker } from "./worker.ts";

/** What a worker thread is started with. */
export interface ThreadData {
  readonly index: number;
  readonly workers: number;
  readonly shared: Shared;
  readonly lines: SharedLines;
  /** The eventfd that wakes its loop after a command was posted. */
  readonly wakeup: number;
}

// Three semi-spaces of 2 MiB: short connections cost the same as with 4 MiB (0.99 to 1.01 of it, medians of 90 interleaved runs) and
// with V8's 16 MiB, with 1 MiB a tenth more. What thousands of idle connections add is then mostly themselves: 1.7 kB each, not
// 2.3. Not for `net`, which has no thread of its own.
const YOUNG_MB = 6;

/** One worker as control reaches it. */
export interface Link {
  post(command: Command): void;
  /** Resolves when it has ended. */
  stopped(): Promise<void>;
}

/** Starts a worker. `heard` gets its events, `died` hears of an end that nobody asked for. Throws where it cannot be started. */
export type StartWorker = (
  index: number,
  lines: SharedLines,
  heard: (event: Event) => void,
  died: (error: Error) => void,
) => Link;

export interface WorkersOptions {
  readonly transport: "net" | "epoll";
  readonly count: number;
  readonly shared: Shared;
  readonly onEvent: (event: Event) => void;
  /** Access lines in UTF-8. The bytes are the caller's until it calls `written`. */
  readonly onLines: (bytes: Buffer, written: () => void) => void;
  readonly onDeath: (error: Error) => void;
  /** Default: as `transport` says. Another one is for tests. */
  readonly start?: StartWorker;
}

export class Workers {
  readonly count: number;
  /** Where the access lines of each worker wait for the log. */
  readonly lines: readonly SharedLines[];
  readonly #links: Link[] = [];
  readonly #options: WorkersOptions;
  /** Who still has to answer what: resolved when every worker has. */
  #preparing: ((event: Extract<Event, { type: "prepared" }>) => void) | null = null;
  #refuse: ((error: Error) => void) | null = null;
  #queries = new Map<
    number,
    { rows: Record<string, unknown>[]; found: boolean; left: number; done: () => void }
  >();
  #nextQuery = 1;
  #committed: { left: number; done: () => void } | null = null;
  #drained: { left: number; done: () => void } | null = null;
  /** Nobody answers any more: a worker died, or all were stopped. */
  #silent = false;

  /** Starts them. Throws when one cannot be started, the others told to stop. */
  constructor(options: WorkersOptions) {
    const { transport, count, shared } = options;
    this.count = count;
    this.#options = options;
    this.lines = Array.from({ length: count }, createSharedLines);
    const start = options.start ?? (transport === "net" ? inline(shared) : thread(shared, count));
    const died = (error: Error) => this.#died(error);
    try {
      for (const [index, lines] of this.lines.entries()) {
        this.#links.push(start(index, lines, (event) => this.#heard(index, event), died));
      }
    } catch (thrown) {
      this.#silent = true;
      this.broadcast({ type: "stop" });
      throw thrown;
    }
  }

  /**
   * Has every worker compile its plan and open its listeners; nothing else changes yet. Rejects with the first worker's error,
   * after all of them have gone back. Resolves with the addresses that workers bound themselves.
   */
  prepare(plans: readonly Plan[]): Promise<Record<string, SocketAddress>> {
    return new Promise((resolve, reject) => {
      if (this.#silent) return reject(new ProxyError("INTERNAL", "the workers are gone: nothing can change"));
      const addresses: Record<string, SocketAddress> = {};
      let left = this.count;
      let failed: ProxyError | null = null;
      this.#refuse = reject;
      this.#preparing = (event) => {
        Object.assign(addresses, event.addresses);
        if (event.error !== null) failed ??= new ProxyError(event.error.code, event.error.message);
        left -= 1;
        if (left > 0) return;
        this.#preparing = null;
        if (failed === null) return resolve(addresses);
        this.broadcast({ type: "abort", generation: event.generation });
        reject(failed);
      };
      for (const [index, plan] of plans.entries()) this.#links[index]!.post({ type: "prepare", plan });
    });
  }

  /** Switches to what was prepared; resolves when every worker has, so that who connects from then on meets it. */
  commit(generation: number): Promise<void> {
    return new Promise((done) => {
      this.#committed = { left: this.count, done };
      this.broadcast({ type: "commit", generation });
      if (this.#silent) done();
    });
  }

  broadcast(command: Command): void {
    for (const link of this.#links) link.post(command);
  }

  /** Live connections of all workers, at most `limit` of each. */
  async list(limit: number): Promise<readonly Record<string, unknown>[]> {
    return (await this.#ask((query) => ({ type: "list", query, limit }))).rows;
  }

  /** True when a worker had that connection and ended it. */
  async kill(id: string): Promise<boolean> {
    return (await this.#ask((query) => ({ type: "kill", query, id }))).found;
  }

  /** Stops accepting; resolves when no worker has a connection left. */
  drain(): Promise<void> {
    return new Promise((done) => {
      this.#drained = { left: this.count, done };
      this.broadcast({ type: "drain" });
      if (this.#silent) done();
    });
  }

  /** Ends every connection and every worker. */
  async stop(): Promise<void> {
    this.broadcast({ type: "stop" });
    await Promise.all(this.#links.map((link) => link.stopped()));
    this.#settle();
  }

  #died(error: Error): void {
    if (this.#silent) return;
    this.#settle();
    this.#refuse?.(error);
    this.#options.onDeath(error);
  }

  /** Who still waits for an answer gets what there is. */
  #settle(): void {
    this.#silent = true;
    for (const query of this.#queries.values()) query.done();
    this.#queries.clear();
    this.#committed?.done();
    this.#drained?.done();
  }

  #ask(
    command: (query: number) => Command,
  ): Promise<{ rows: readonly Record<string, unknown>[]; found: boolean }> {
    if (this.#silent) return Promise.resolve({ rows: [], found: false });
    const query = this.#nextQuery;
    this.#nextQuery += 1;
    return new Promise((resolve) => {
      const answer = { rows: [], found: false, left: this.count, done: () => resolve(answer) };
      this.#queries.set(query, answer);
      this.broadcast(command(query));
    });
  }

  #heard(index: number, event: Event): void {
    switch (event.type) {
      case "lines": {
        const lines = this.lines[index]!;
        const { slot, length } = event;
        this.#options.onLines(linesIn(lines, slot, length), () => freeLines(lines, slot));
        return;
      }
      case "prepared":
        this.#preparing?.(event);
        return;
      case "listed":
      case "killed": {
        const answer = this.#queries.get(event.query);
        if (answer === undefined) return;
        // One by one: as arguments of one call so many as there may be would not fit on the stack.
        if (event.type === "listed") for (const row of event.rows) answer.rows.push(row);
        else answer.found ||= event.found;
        answer.left -= 1;
        if (answer.left > 0) return;
        this.#queries.delete(event.query);
        answer.done();
        return;
      }
      case "committed":
        if (this.#committed === null) return;
        this.#committed.left -= 1;
        if (this.#committed.left === 0) this.#committed.done();
        return;
      case "drained":
        if (this.#drained === null) return;
        this.#drained.left -= 1;
        if (this.#drained.left === 0) this.#drained.done();
        return;
      default:
        this.#options.onEvent(event);
    }
  }
}

function inline(shared: Shared): StartWorker {
  return (index, lines, heard) => {
    const worker = new Worker(createNetTransport(), index, shared, lines, heard);
    return { post: (command) => worker.receive(command), stopped: () => Promise.resolve() };
  };
}

function thread(shared: Shared, workers: number): StartWorker {
  return (index, lines, heard, died) => {
    const wakeup = createWakeup();
    const data: ThreadData = { index, workers, shared, lines, wakeup: wakeup.descriptor };
    let started: Thread;
    try {
      started = new Thread(new URL("./thread.js", import.meta.url), {
        workerData: data,
        resourceLimits: { maxYoungGenerationSizeMb: YOUNG_MB },
      });
    } catch (thrown) {
      wakeup.close();
      throw thrown;
    }
    let stopping = false;
    const stopped = new Promise<void>((resolve) => {
      started.on("exit", (code) => {
        wakeup.close();
        if (!stopping) died(new ProxyError("INTERNAL", `worker ${index} ended by itself with code ${code}`));
        resolve();
      });
    });
    started.on("message", heard);
    started.on("error", died);
    return {
      post: (command) => {
        if (command.type === "stop") stopping = true;
        started.postMessage(command);
        wakeup.signal();
      },
      stopped: () => stopped,
    };
  };
}
