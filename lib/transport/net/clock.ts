/**
 * Time on the portable transport: the shared timing wheel, driven by one Node timeout that is set for the wheel's next
 * deadline. However many deadlines run, libuv sees one timer.
 */
import { type Task, type Timer, Wheel } from "../../timing/wheel.ts";

export class Clock {
  readonly #wheel = new Wheel(() => performance.now());
  #timeout: NodeJS.Timeout | null = null;
  #due = Number.POSITIVE_INFINITY;

  now(): number {
    return performance.now();
  }

  timer(task: Task): Timer {
    const timer = this.#wheel.createTimer(task);
    return {
      start: (ms) => {
        timer.start(ms);
        if (performance.now() + ms < this.#due) this.#arm();
      },
      stop: () => timer.stop(),
    };
  }

  #arm(): void {
    if (this.#timeout !== null) clearTimeout(this.#timeout);
    this.#timeout = null;
    this.#due = this.#wheel.due;
    if (this.#due === Number.POSITIVE_INFINITY) return;
    this.#timeout = setTimeout(
      () => {
        this.#timeout = null;
        this.#due = Number.POSITIVE_INFINITY;
        this.#wheel.advance(performance.now());
        this.#arm();
      },
      // What fired before may have taken longer than that.
      Math.max(Math.ceil(this.#due - performance.now()), 1),
    );
    // Streams and listeners keep the process alive; a deadline alone must not.
    this.#timeout.unref();
  }
}
