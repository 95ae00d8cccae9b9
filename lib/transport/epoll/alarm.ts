/**
 * Wakes the loop when its next timer is due: a timerfd, timerfd_create(2), beside everything else that the loop watches. With a
 * timeout of its own every wait has the kernel begin a timer and stop it again, 0.65 µs for nothing whenever something comes before
 * it is due; this one is begun again only when a deadline comes nearer, or has passed.
 */
import { CLOCK_MONOTONIC, TFD_CLOEXEC } from "../../ffi/layout.ts";
import { close, timerfdCreate, timerfdSettime } from "../../ffi/libc.ts";
import type { WorkerMemory } from "./memory.ts";

/** A `Source` of the loop. */
export class Alarm {
  /** -errno where no timer can be had. */
  readonly descriptor: number;
  generation = 0;
  waiting = false;
  /** How often it has rung since the loop took note of it. */
  rung = 0;
  readonly #memory: WorkerMemory;
  /** When it rings. */
  #due = Number.POSITIVE_INFINITY;

  constructor(memory: WorkerMemory) {
    this.#memory = memory;
    this.descriptor = timerfdCreate(CLOCK_MONOTONIC, TFD_CLOEXEC);
  }

  /** Has it ring at `due` at the latest, in ms of performance.now(). It may ring earlier, for what was due before. */
  set(due: number): void {
    if (due >= this.#due) return;
    this.#due = due;
    const { timer, timerInts } = this.#memory;
    // The loop's own clock stands still while it works, and who is late now would be late in every turn until then. A timer of
    // nothing would never ring.
    const wait = Math.max(Math.ceil(due - performance.now()), 1);
    const seconds = Math.floor(wait / 1000);
    timerInts[4] = seconds;
    timerInts[6] = (wait - seconds * 1000) * 1e6;
    timerfdSettime(this.descriptor, timer);
  }

  /** Edge-triggered, and never read: what is set next begins from nothing. */
  onEvents(): void {
    this.#due = Number.POSITIVE_INFINITY;
    this.rung++;
  }

  onReady(): void {}

  /** Nothing in it throws. */
  onFault(): void {}

  close(): void {
    if (this.descriptor >= 0) close(this.descriptor);
  }
}
