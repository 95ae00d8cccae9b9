/**
 * What V8 does for a thread that idles, done for one that never returns to Node's event loop: its memory reducer runs as a task of
 * that loop, so what connections leave in the old generation would stay until the next crowd comes. While nothing happens, and
 * if enough has gathered, all of it is collected. It takes some milliseconds, which nobody waits for.
 */
import type { Task, Timer } from "../../timing/wheel.ts";
import type { EventLoop } from "./loop.ts";

const LOOK_MS = 1_000;
// More than the wake-ups from control, such as a scrape, and far from traffic.
const QUIET_EVENTS = 8;
// Twice what the young generation may hold, so that a pause between short connections is no reason: V8 throws compiled code away
// with the garbage, and what comes next would run at twice the cost until it is compiled again (measured).
const WORTH_BYTES = 8 << 20;

export class Garbage implements Task {
  readonly #loop: EventLoop;
  readonly #collect: () => void;
  readonly #used: () => number;
  readonly #timer: Timer;
  /** Events of the loop at the last look. */
  #served = 0;
  /** The least that was in use since the last collection. */
  #floor: number;

  /** `collect` frees all that nobody refers to; `used` tells the bytes of the heap. */
  constructor(loop: EventLoop, collect: () => void, used: () => number) {
    this.#loop = loop;
    this.#collect = collect;
    this.#used = used;
    this.#floor = used();
    this.#timer = loop.wheel.createTimer(this);
    this.#timer.start(LOOK_MS);
  }

  /** Looks whether it is time. */
  expired(): void {
    const { served } = this.#loop;
    const quiet = served - this.#served <= QUIET_EVENTS;
    this.#served = served;
    if (quiet) this.#look();
    this.#timer.start(LOOK_MS);
  }

  #look(): void {
    const used = this.#used();
    this.#floor = Math.min(this.#floor, used);
    if (used - this.#floor < WORTH_BYTES) return;
    this.#collect();
    this.#floor = this.#used();
  }
}
