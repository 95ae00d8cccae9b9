/**
 * The blocking loop of one worker: epoll_wait(2), then the events, then the timers that are due, then the ready list, and
 * again. Edge-triggered: a source is added once and removed by closing its descriptor, and it must work until the kernel says
 * EAGAIN or put itself on the ready list, which is served before the next wait, so that no edge is lost.
 * Invariants: a stale event never reaches the source that got a reused descriptor (the generation in `epoll_data` tells);
 * what one source throws reaches only that source's `onFault`.
 */
import { ProxyError } from "../../errors.ts";
import { EINTR, errnoName } from "../../ffi/errno.ts";
import { EPOLL_CTL_ADD, EPOLL_CTL_DEL, EPOLL_CTL_MOD, O_CLOEXEC } from "../../ffi/layout.ts";
import { close, epollCreate, epollCtl, epollWait } from "../../ffi/libc.ts";
import { Wheel } from "../../timing/wheel.ts";
import { EVENTS, type WorkerMemory } from "./memory.ts";

/** Something with a descriptor that the loop watches. */
export interface Source {
  readonly descriptor: number;
  /** Set by `add`; never the same twice in a row for one descriptor. */
  generation: number;
  /** On the ready list. Kept by the loop. */
  waiting: boolean;
  /** EPOLLIN and so on, as the kernel reports them. */
  onEvents(mask: number): void;
  /** Its turn on the ready list. May come after the source was closed. */
  onReady(): void;
  /** It threw from one of the above. */
  onFault(thrown: unknown): void;
}

export class EventLoop {
  readonly wheel: Wheel;
  readonly #memory: WorkerMemory;
  readonly #epoll: number;
  readonly #onFault: (thrown: unknown) => void;
  /** By descriptor: descriptors are small and dense. */
  readonly #sources: (Source | undefined)[] = [];
  #generation = 0;
  #ready: Source[] = [];
  #serving: Source[] = [];
  #deferred: (() => void)[] = [];
  #now = performance.now();

  /** `onFault` hears of what timers and deferred calls throw. Throws TRANSPORT where epoll cannot be had. */
  constructor(memory: WorkerMemory, onFault: (thrown: unknown) => void) {
    this.#memory = memory;
    this.#onFault = onFault;
    this.#epoll = epollCreate(O_CLOEXEC);
    if (this.#epoll < 0) throw new ProxyError("TRANSPORT", `epoll_create1(): ${errnoName(this.#epoll)}`);
    this.wheel = new Wheel(() => this.#now);
  }

  /** Monotonic ms, taken once per turn, after the wait. */
  get now(): number {
    return this.#now;
  }

  /** Watches the source for `mask` (with EPOLLET for edges). 0, or -errno: then it is not watched. */
  add(source: Source, mask: number): number {
    this.#generation = (this.#generation + 1) | 0;
    source.generation = this.#generation;
    const result = this.#control(EPOLL_CTL_ADD, source, mask);
    if (result === 0) this.#sources[source.descriptor] = source;
    return result;
  }

  /** Changes the mask. What is ready under the new one is reported again, so no edge is lost. */
  modify(source: Source, mask: number): void {
    this.#control(EPOLL_CTL_MOD, source, mask);
  }

  /** Stops watching a descriptor that stays open or has duplicates. */
  remove(source: Source): void {
    this.#control(EPOLL_CTL_DEL, source, 0);
    this.forget(source);
  }

  /** Forgets a source whose only descriptor is closed next, which removes it from the kernel's set. */
  forget(source: Source): void {
    if (this.#sources[source.descriptor] === source) this.#sources[source.descriptor] = undefined;
  }

  /** Whether the source that was added under this generation is still watched. */
  lives(descriptor: number, generation: number): boolean {
    return this.#sources[descriptor]?.generation === generation;
  }

  /** Has `onReady` called before the next wait. At most once, however often it is asked for. */
  ready(source: Source): void {
    if (source.waiting) return;
    source.waiting = true;
    this.#ready.push(source);
  }

  /** Calls `run` before the next wait. */
  defer(run: () => void): void {
    this.#deferred.push(run);
  }

  /** One turn. Blocks for at most `longest` ms (-1: for ever) when nothing is ready and no timer is nearer. */
  turn(longest: number): void {
    this.#serve();
    let timeout = 0;
    if (this.#ready.length === 0 && this.#deferred.length === 0) {
      timeout = this.wheel.next(this.#now);
      if (longest >= 0 && (timeout < 0 || timeout > longest)) timeout = longest;
    }
    const count = epollWait(this.#epoll, this.#memory.events, EVENTS, timeout);
    this.#now = performance.now();
    if (count > 0) this.#dispatch(count);
    else if (count < 0 && count !== -EINTR) {
      throw new ProxyError("INTERNAL", `epoll_wait(): ${errnoName(count)}`);
    }
    this.#fire();
  }

  /** Every source that is watched, for the end. */
  sources(): Source[] {
    return this.#sources.filter((source) => source !== undefined);
  }

  close(): void {
    close(this.#epoll);
  }

  #control(operation: number, source: Source, mask: number): number {
    const { oneEventInts, oneEvent, eventData } = this.#memory;
    oneEventInts[0] = mask;
    oneEventInts[eventData] = source.descriptor;
    oneEventInts[eventData + 1] = source.generation;
    return epollCtl(this.#epoll, operation, source.descriptor, oneEvent);
  }

  #dispatch(count: number): void {
    const { eventInts, eventStride, eventData } = this.#memory;
    let index = 0;
    let source: Source | undefined;
    while (index < count) {
      try {
        while (index < count) {
          const at = index * eventStride;
          index++;
          source = this.#sources[eventInts[at + eventData]!];
          if (source !== undefined && source.generation === eventInts[at + eventData + 1]) {
            source.onEvents(eventInts[at]!);
          }
        }
      } catch (thrown) {
        this.#contain(source!, thrown);
      }
    }
  }

  #fire(): void {
    for (;;) {
      try {
        this.wheel.advance(this.#now);
        return;
      } catch (thrown) {
        this.#onFault(thrown);
      }
    }
  }

  /** What becomes ready meanwhile is served after the next wait, which then does not block: nobody starves. */
  #serve(): void {
    if (this.#deferred.length > 0) {
      const deferred = this.#deferred;
      this.#deferred = [];
      for (const run of deferred) {
        try {
          run();
        } catch (thrown) {
          this.#onFault(thrown);
        }
      }
    }
    if (this.#ready.length === 0) return;
    const serving = this.#ready;
    this.#ready = this.#serving;
    this.#serving = serving;
    for (const source of serving) {
      source.waiting = false;
      try {
        source.onReady();
      } catch (thrown) {
        this.#contain(source, thrown);
      }
    }
    serving.length = 0;
  }

  #contain(source: Source, thrown: unknown): void {
    try {
      source.onFault(thrown);
    } catch (again) {
      this.#onFault(again);
    }
  }
}
