/**
 * The epoll transport: one worker thread's sockets on raw descriptors, driven by a loop that blocks its thread. Promises,
 * Node's timers and its message events never run in that thread; whoever wants something of it signals the wake-up.
 */
import { ProxyError } from "../../errors.ts";
import { EPOLLIN } from "../../ffi/layout.ts";
import { read, requireEpoll } from "../../ffi/libc.ts";
import type { Task, Timer } from "../../timing/wheel.ts";
import type { SocketAddress } from "../../wire/address.ts";
import type {
  Accepted,
  Dialler,
  DialOptions,
  Flow,
  Listening,
  ListenOptions,
  RelayOwner,
  Stream,
  TlsContext,
  TlsContextSpec,
  Transport,
} from "../transport.ts";
import { openRing } from "./batch.ts";
import type { TlsEngine } from "./channel.ts";
import { dial } from "./dial.ts";
import { dialError, type Gear } from "./gear.ts";
import { KeepAlives } from "./keepalives.ts";
import { Listener } from "./listener.ts";
import { EventLoop, type Source } from "./loop.ts";
import { WorkerMemory } from "./memory.ts";
import { Pipes } from "./pipes.ts";
import { Relay } from "./relay.ts";
import { Sockets } from "./sockets.ts";
import { EpollStream } from "./stream.ts";

export interface EpollOptions {
  /** How many workers share the listeners and the user's pipe budget. */
  readonly workers: number;
  /** The eventfd of a `Wakeup`, and what to do when it was signalled; null: nobody wakes this loop. */
  readonly wakeup: { readonly descriptor: number; readonly woken: () => void } | null;
  /** Hears of faults of ours after they were contained. Must not throw. */
  readonly onFault: (thrown: unknown) => void;
  /** Pipes for splice at most; by default a share of what an unprivileged user may have. 0: always copy. */
  readonly pipes?: number;
  /** Makes the TLS of this worker when it is first needed; without it `context` throws TRANSPORT. */
  readonly tls?: (() => TlsEngine) | null;
}

/** What runs and what waits, for the metrics and for tests. */
export interface EpollState {
  readonly pipes: number;
  readonly chunks: number;
  readonly timers: number;
}

// 64 MiB of pipe-user-pages-soft in pipes of 1 MiB; as root there is no such bound, but it is a fair share of memory, too.
const PIPES_OF_ALL_WORKERS = 64;

export class EpollTransport implements Transport {
  readonly name = "epoll";
  readonly #gear: Gear;
  readonly #loop: EventLoop;
  readonly #options: EpollOptions;
  #tls: TlsEngine | null = null;
  #stopped = false;

  constructor(options: EpollOptions) {
    requireEpoll();
    const memory = new WorkerMemory();
    const sockets = new Sockets(memory);
    const loop = new EventLoop(memory, openRing(), options.onFault);
    const budget = options.pipes ?? Math.max(1, Math.floor(PIPES_OF_ALL_WORKERS / options.workers));
    this.#options = options;
    this.#loop = loop;
    this.#gear = {
      loop,
      memory,
      sockets,
      pipes: new Pipes(memory, budget),
      keepAlives: new KeepAlives(loop, sockets),
      lingering: 0,
      tls: () => this.#engine(),
      onFault: options.onFault,
      dialError,
    };
    if (options.wakeup !== null) this.#watch(options.wakeup.descriptor, options.wakeup.woken);
  }

  now(): number {
    return this.#loop.now;
  }

  timer(task: Task): Timer {
    return this.#loop.wheel.createTimer(task);
  }

  listen(options: ListenOptions, accepted: Accepted, ready: (error: ProxyError | null) => void): Listening {
    if (options.descriptor === null)
      throw new ProxyError("LISTEN", "the epoll transport listens on descriptors only");
    const listener = new Listener(this.#gear, options.descriptor, this.#options.workers, accepted);
    this.#loop.defer(() => ready(null));
    return listener;
  }

  dial(target: SocketAddress, options: DialOptions, dialler: Dialler): Stream {
    return dial(this.#gear, target, options, dialler);
  }

  context(spec: TlsContextSpec): TlsContext {
    return this.#engine().context(spec);
  }

  keep(contexts: ReadonlySet<TlsContext>): void {
    this.#tls?.keep(contexts);
  }

  relay(downstream: Stream, upstream: Stream, flow: Flow, owner: RelayOwner): void {
    new Relay(this.#gear, downstream as EpollStream, upstream as EpollStream, flow, owner).start();
  }

  /** Blocks this thread and serves until `stop`; then releases everything, streams that still live by reset. */
  run(): void {
    while (!this.#stopped) this.#loop.turn(-1);
    this.#release();
  }

  /** One turn of the loop that blocks for at most `longest` ms; for tests and for callers with a loop of their own. */
  turn(longest: number): void {
    this.#loop.turn(longest);
  }

  /** Has `run` return after the current turn. To be called in this thread; from others through the wake-up. */
  stop(): void {
    this.#stopped = true;
  }

  get state(): EpollState {
    const { pipes, memory, loop } = this.#gear;
    return { pipes: pipes.open, chunks: memory.chunksTaken, timers: loop.wheel.size };
  }

  #engine(): TlsEngine {
    if (this.#tls !== null) return this.#tls;
    const make = this.#options.tls ?? null;
    if (make === null) throw new ProxyError("TRANSPORT", "this epoll transport was made without TLS");
    this.#tls = make();
    return this.#tls;
  }

  #watch(descriptor: number, woken: () => void): void {
    const { memory } = this.#gear;
    const source: Source = {
      descriptor,
      generation: 0,
      waiting: false,
      onEvents: () => {
        read(descriptor, memory.cell, 8);
        woken();
      },
      onReady: () => {},
      onFault: this.#options.onFault,
    };
    // Level-triggered: a signal during `woken` is seen in the next turn.
    this.#loop.add(source, EPOLLIN);
  }

  #release(): void {
    for (const source of this.#loop.sources()) {
      if (source instanceof EpollStream) source.abort();
      else if (source instanceof Listener) source.close();
    }
    this.#gear.pipes.drain();
    this.#tls?.release();
    this.#loop.close();
  }
}

/** A transport for one worker thread. Throws TRANSPORT where it cannot run; `probeEpoll` says so beforehand. */
export function createEpollTransport(options: EpollOptions): EpollTransport {
  return new EpollTransport(options);
}
