/**
 * How much comes at a time: whether multishot receives are worth while. Every message costs the kernel a little more there, and
 * every turn of the loop costs less. A mean over some hundred turns, because one burst is not yet a crowd. Pure.
 */

// Round trips, of what they cost the ordinary way where a system call takes 1.25 µs: one connection 0.84, 64 of them at 21,000/s
// 0.78, two to three as fast as they can 0.83; but eight and more as fast as they can 1.03, for then four to seven come at a time,
// with no more calls than for one. The same work comes in smaller pieces to a multishot receive (1.1 to 1.3 at a time; 3 from 16
// connections on, as fast as they can), so the two bounds do not lead to and fro.
const ONE = 1 << 16;
const CALM = 2 * ONE;
const CROWDED = 2.25 * ONE;
const UNKNOWN = 4 * ONE;
// What epoll has to tell costs two calls more there, which is what a turn without it saves. And while the loop waits there, every
// client wakes every worker: EPOLLEXCLUSIVE holds among those that wait in epoll_wait(2) only.
const OTHERS = 4;
/** Turns that the mean is made of, as a power of two. */
const TURNS = 8;

export class Crowd {
  /** In 1/ONE. */
  #mean = UNKNOWN;

  /** So much came in a turn in which something did; `others`: not only short messages. */
  note(count: number, others: boolean): void {
    this.#mean += ((others ? count + OTHERS : count) * ONE - this.#mean) >> TURNS;
  }

  /** Little comes at a time, and has for a while. */
  get isCalm(): boolean {
    return this.#mean <= CALM;
  }

  get isCrowded(): boolean {
    return this.#mean > CROWDED;
  }

  /** Not calm until it has been for a while. */
  forget(): void {
    this.#mean = UNKNOWN;
  }
}
