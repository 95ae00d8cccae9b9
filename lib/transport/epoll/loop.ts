/**
 * The blocking loop of one worker: epoll_wait(2), then the events, then the timers that are due, then the ready list and the
 * steps that follow from all that, and again. Edge-triggered: a source is added once and removed by closing its descriptor, and
 * it must work until the kernel says EAGAIN or put itself on the ready list, which is served before the next wait, so that no
 * edge is lost. A new stream is added only when the wait comes: until then it tries, and what it did needs no event.
 * Invariants: a stale event never reaches the source that got a reused descriptor (the generation in `epoll_data` tells);
 * what one source throws reaches only that source's `onFault`.
 */
// The global of that name is a getter, which every turn would call.
import { performance } from "node:perf_hooks";
import { ProxyError } from "../../errors.ts";
import { EINTR, errnoName } from "../../ffi/errno.ts";
import type { IoUring } from "../../ffi/io-uring.ts";
import {
  EPOLL_CTL_ADD,
  EPOLL_CTL_DEL,
  EPOLL_CTL_MOD,
  EPOLLET,
  EPOLLIN,
  O_CLOEXEC,
} from "../../ffi/layout.ts";
import { close, epollCreate, epollCtl, epollWait } from "../../ffi/libc.ts";
import { Wheel } from "../../timing/wheel.ts";
import { Alarm } from "./alarm.ts";
import { Batch, type Watched } from "./batch.ts";
import { EVENTS, type WorkerMemory } from "./memory.ts";
import { Multishot } from "./multishot.ts";

interface Faulty {
  /** It threw while it was served. */
  onFault(thrown: unknown): void;
}

/** Something with a descriptor that the loop watches. */
export interface Source extends Faulty {
  readonly descriptor: number;
  /** Set by `add`; never the same twice in a row for one descriptor. */
  generation: number;
  /** On the ready list, or its next step is due. Kept by the loop. */
  waiting: boolean;
  /** EPOLLIN and so on, as the kernel reports them. */
  onEvents(mask: number): void;
  /** Its turn on the ready list. May come after the source was closed. */
  onReady(): void;
}

/** A source that begins before it is watched. */
export interface FreshSource extends Source, Watched {
  generation: number;
  /** The kernel watches it. */
  readonly watched: boolean;
}

// Calls made together. A whole wave of them wakes its peers once; but with too many the first connections have left the processor's
// cache when their turn comes again. Of what they cost with 16, short connections cost 0.95, in 128 at a time as well, and a round
// trip of 64 costs 0.98; with 64 it is 0.93 to 0.97 where the second-level cache has 2 MiB, and they would be more than a small one
// holds.
const TOGETHER_MOST = 32;

export class EventLoop {
  readonly wheel: Wheel;
  readonly batch: Batch;
  /** Null where it would not pay, or cannot be had. */
  readonly multishot: Multishot | null;
  readonly #memory: WorkerMemory;
  readonly #epoll: number;
  readonly #alarm: Alarm;
  readonly #onFault: (thrown: unknown) => void;
  /** By descriptor: descriptors are small and dense. */
  readonly #sources: (Source | undefined)[] = [];
  #generation = 0;
  #ready: Source[] = [];
  #serving: Source[] = [];
  /** Whose next step is due before the wait. */
  #steps: Source[] = [];
  /** To be watched from the next wait on. */
  #fresh: FreshSource[] = [];
  #deferred: (() => void)[] = [];
  #now = performance.now();

  /** `onFault` hears of what timers and deferred calls throw. Throws TRANSPORT where epoll cannot be had. */
  constructor(memory: WorkerMemory, uring: IoUring | null, onFault: (thrown: unknown) => void) {
    this.#memory = memory;
    this.#onFault = onFault;
    this.#epoll = epollCreate(O_CLOEXEC);
    this.#alarm = new Alarm(memory);
    let failed = Math.min(this.#epoll, this.#alarm.descriptor);
    if (failed >= 0) failed = this.add(this.#alarm, EPOLLIN | EPOLLET);
    if (failed < 0) {
      uring?.close();
      this.#alarm.close();
      if (this.#epoll >= 0) close(this.#epoll);
      throw new ProxyError("TRANSPORT", `the loop cannot be made: ${errnoName(failed)}`);
    }
    this.wheel = new Wheel(() => this.#now);
    const contain = (whose: Faulty, thrown: unknown) => this.#contain(whose, thrown);
    this.batch = new Batch(memory, this.#epoll, uring, contain);
    // With Linux 6.10, which `accepts` tells of: on an older one this was never tried.
    this.multishot =
      this.batch.isDear && this.batch.accepts
        ? Multishot.open(memory, this.#epoll, this.wheel, contain)
        : null;
  }

  /** Monotonic ms, taken after the wait and before the steps that follow. */
  get now(): number {
    return this.#now;
  }

  /** Watches the source for `mask` (with EPOLLET for edges). 0, or -errno: then it is not watched. */
  add(source: Source, mask: number): number {
    this.#know(source);
    const result = this.#control(EPOLL_CTL_ADD, source, mask);
    if (result < 0) this.forget(source);
    return result;
  }

  /** Watches the source from the next wait on, if it still lives then. What is ready at that time is reported. */
  watch(source: FreshSource): void {
    this.#know(source);
    this.#fresh.push(source);
  }

  /** Its interest has changed. What is ready under the new one is reported again, so no edge is lost. */
  modify(source: FreshSource): void {
    if (source.watched) this.#control(EPOLL_CTL_MOD, source, source.interest);
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

  /**
   * Has `onReady` called before the next wait, once, however often it is asked for; but for what is asked for meanwhile, which
   * waits for the turn after: so nobody who always has more to do starves the others.
   */
  ready(source: Source): void {
    if (source.waiting) return;
    source.waiting = true;
    this.#ready.push(source);
  }

  /** Has `onReady` called before the next wait in any case. For steps of which a source has few. */
  step(source: Source): void {
    if (source.waiting) return;
    source.waiting = true;
    this.#steps.push(source);
  }

  /** Calls `run` before the next wait. */
  defer(run: () => void): void {
    this.#deferred.push(run);
  }

  /** One turn. Blocks for at most `longest` ms (-1: for ever) when nothing is ready and no timer is nearer. */
  turn(longest: number): void {
    this.#serve();
    this.#settle();
    const blocks = longest !== 0 && this.#ready.length === 0 && this.#deferred.length === 0;
    if (blocks) {
      const { due } = this.wheel;
      this.#alarm.set(longest > 0 ? Math.min(due, performance.now() + longest) : due);
    }
    const count = this.#wait(blocks);
    const told = this.multishot?.busy ? this.multishot.tell() : 0;
    if (count > 0) {
      this.batch.together = count >= this.batch.least;
      this.#dispatch(count);
      this.batch.run();
    } else if (count < 0 && count !== -EINTR) {
      throw new ProxyError("INTERNAL", `epoll_wait(): ${errnoName(count)}`);
    }
    this.multishot?.note(told, Math.max(count, 0), this.#alarm.rung);
    this.#alarm.rung = 0;
    this.#fire();
    this.#settle();
  }

  /** Every source that is watched, for the end. */
  sources(): Source[] {
    return this.#sources.filter((source) => source !== undefined);
  }

  close(): void {
    this.batch.release();
    this.multishot?.close();
    this.#alarm.close();
    close(this.#epoll);
  }

  #wait(blocks: boolean): number {
    const { multishot } = this;
    const count = multishot?.busy
      ? multishot.wait(blocks)
      : epollWait(this.#epoll, this.#memory.events, EVENTS, blocks ? -1 : 0);
    this.#now = performance.now();
    return count;
  }

  #know(source: Source): void {
    this.#generation = (this.#generation + 1) | 0;
    source.generation = this.#generation;
    this.#sources[source.descriptor] = source;
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
            if (this.batch.urgent >= TOGETHER_MOST) this.batch.run();
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
    this.#callAll(serving);
  }

  /** Everything that must not wait for the kernel to report it. */
  #settle(): void {
    for (;;) {
      if (this.#steps.length > 0 || this.#fresh.length > 0 || this.batch.urgent > 0) this.#begin();
      else if (this.batch.waiting > 0) this.batch.flush();
      else return;
    }
  }

  /** The steps that are due, until none is; then whoever is new is watched. */
  #begin(): void {
    // What was begun in this turn has taken time: a dial to loopback is over already.
    if (this.#steps.length > 0) this.#now = performance.now();
    this.batch.together = this.#steps.length + this.#fresh.length >= this.batch.least;
    this.#callAll(this.#steps);
    for (const source of this.#fresh) {
      if (this.#sources[source.descriptor] === source) this.batch.watch(source);
    }
    this.#fresh.length = 0;
    this.batch.run();
  }

  /** Calls `onReady` of all in the list, those included that come meanwhile, and empties it. */
  #callAll(list: Source[]): void {
    for (const source of list) {
      source.waiting = false;
      try {
        source.onReady();
        if (this.batch.urgent >= TOGETHER_MOST) this.batch.run();
      } catch (thrown) {
        this.#contain(source, thrown);
      }
    }
    list.length = 0;
  }

  #contain(whose: Faulty, thrown: unknown): void {
    try {
      whose.onFault(thrown);
    } catch (again) {
      this.#onFault(again);
    }
  }
}
