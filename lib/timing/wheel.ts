/**
 * Deadlines for tens of thousands of connections: a hierarchical timing wheel (Varghese and Lauck, SOSP 1987) over
 * intrusive lists. Starting and stopping cost the same whatever else runs and allocate nothing.
 * Invariant: a timer never fires before its time on the clock that was handed in; it fires at most one tick later than
 * `advance` is told of that time. Pure: who owns the wheel owns the clock and the waiting.
 */

/** Whose time it is: an object and not a function, because a closure of its own is what an idle connection can do without. */
export interface Task {
  expired(): void;
}

/** See the wheel: a timer is made once and started for each phase. */
export interface Timer {
  /** Starts, or starts again, to fire once in `ms` (rounded up to the wheel's tick). */
  start(ms: number): void;
  stop(): void;
}

/** ms. Access lines tell ms, deadlines are seconds: 8 is fine enough, and a power of two keeps the division exact. */
export const TICK = 8;
/** 32 slots a level, so that one Int32 says which slots of a level hold timers. */
const BITS = 5;
const SLOTS = 1 << BITS;
const MASK = SLOTS - 1;
/** Six levels reach 2^30 ticks, 99 days; what lies beyond waits in the last one and is looked at again. */
const LEVELS = 6;
const REACH = 2 ** (BITS * LEVELS) - 1;
/** Ticks that one slot of a level spans. */
const SPANS = Array.from({ length: LEVELS }, (_, level) => 2 ** (BITS * level));
const NEVER = Number.POSITIVE_INFINITY;
const IDLE = -1;

class WheelTimer implements Timer {
  readonly wheel: Wheel;
  readonly task: Task;
  /** In ticks. */
  deadline = 0;
  /** Index into the wheel's slots; IDLE when it does not run. */
  slot = IDLE;
  before: WheelTimer | null = null;
  after: WheelTimer | null = null;

  constructor(wheel: Wheel, task: Task) {
    this.wheel = wheel;
    this.task = task;
  }

  start(ms: number): void {
    this.wheel.arm(this, ms);
  }

  stop(): void {
    if (this.slot !== IDLE) this.wheel.disarm(this);
  }
}

export class Wheel {
  readonly #now: () => number;
  /** Everything up to and including this tick has fired. */
  #tick: number;
  /** No timer is due before this tick; it may lie too early (a stopped timer leaves it), never too late. */
  #soonest = NEVER;
  #size = 0;
  readonly #slots: (WheelTimer | null)[] = new Array<WheelTimer | null>(LEVELS * SLOTS).fill(null);
  readonly #filled = new Int32Array(LEVELS);

  /** `now`: monotonic ms, the same clock that `advance` is told of; may stand still within a turn. */
  constructor(now: () => number) {
    this.#now = now;
    this.#tick = Math.floor(now() / TICK);
  }

  /** Timers that run. */
  get size(): number {
    return this.#size;
  }

  /** A stopped timer. Each time it fires its task is told, which may start and stop any timer, this one included. */
  createTimer(task: Task): Timer {
    return new WheelTimer(this, task);
  }

  /**
   * Fires what is due at `now`, in the order of the deadlines (by tick). What a task throws comes through; the timers not
   * yet fired stay due, so call `advance` again.
   */
  advance(now: number): void {
    const until = Math.floor(now / TICK);
    while (this.#soonest <= until) {
      const tick = this.#nextEvent();
      if (tick > until) {
        this.#soonest = tick;
        break;
      }
      this.#tick = tick;
      this.#cascade(tick);
      const slot = (tick | 0) & MASK;
      for (let due = this.#slots[slot]; due !== null && due !== undefined; due = this.#slots[slot]) {
        this.disarm(due);
        due.task.expired();
      }
    }
    if (until > this.#tick) this.#tick = until;
  }

  /**
   * Until when nothing is due, on its clock; Infinity: no timer runs. May be too early (then `advance` fires nothing), never too
   * late by more than a tick.
   */
  get due(): number {
    if (this.#size === 0) this.#soonest = NEVER;
    return this.#soonest * TICK;
  }

  /** Of timers only. */
  arm(timer: WheelTimer, ms: number): void {
    if (timer.slot !== IDLE) this.disarm(timer);
    const deadline = Math.ceil((this.#now() + ms) / TICK);
    // The current tick has fired already, or is firing now.
    timer.deadline = deadline > this.#tick ? deadline : this.#tick + 1;
    this.#insert(timer);
    this.#size++;
  }

  /** Of timers only. */
  disarm(timer: WheelTimer): void {
    const { before, after, slot } = timer;
    if (before === null) {
      this.#slots[slot] = after;
      if (after === null) this.#filled[slot >> BITS]! &= ~(1 << (slot & MASK));
    } else {
      before.after = after;
    }
    if (after !== null) after.before = before;
    timer.before = null;
    timer.after = null;
    timer.slot = IDLE;
    this.#size--;
  }

  /** Level by distance; `| 0` takes the tick modulo 2^32, so the wheel turns on for ever. */
  #insert(timer: WheelTimer): void {
    const ahead = timer.deadline - this.#tick;
    const near = Math.min(ahead, REACH);
    const level = near <= MASK ? 0 : ((31 - Math.clz32(near)) / BITS) | 0;
    const place = (((this.#tick + near) | 0) >> (level * BITS)) & MASK;
    const slot = level * SLOTS + place;
    const after = this.#slots[slot]!;
    timer.slot = slot;
    timer.after = after;
    timer.before = null;
    if (after !== null) after.before = timer;
    this.#slots[slot] = timer;
    this.#filled[level]! |= 1 << place;
    // A slot of a higher level is opened when its first tick comes, which is never after its timers' deadlines.
    const opens = level === 0 ? timer.deadline : this.#opening(level, place);
    if (opens < this.#soonest) this.#soonest = opens;
  }

  /** The next tick, the current one included on level 0, at which a slot that holds timers fires or opens. */
  #nextEvent(): number {
    let soonest = NEVER;
    for (let level = 0; level < LEVELS; level++) {
      const filled = this.#filled[level]!;
      if (filled === 0) continue;
      const here = ((this.#tick | 0) >> (level * BITS)) & MASK;
      // On level 0 the slot of the current tick is still due; above, that slot was opened and waits for a whole turn.
      const from = level === 0 ? here : (here + 1) & MASK;
      const turned = (filled >>> from) | (from === 0 ? 0 : filled << (SLOTS - from));
      const place = (from + (31 - Math.clz32(turned & -turned))) & MASK;
      const opens = level === 0 ? this.#tick + ((place - here) & MASK) : this.#opening(level, place);
      if (opens < soonest) soonest = opens;
    }
    return soonest;
  }

  /** The first tick after the current one at which the slot `place` of `level` (1 and above) is the current slot. */
  #opening(level: number, place: number): number {
    const span = SPANS[level]!;
    const here = Math.floor(this.#tick / span);
    const steps = (place - here) & MASK;
    return (here + (steps === 0 ? SLOTS : steps)) * span;
  }

  /** Spreads the slots that open at `tick` over the levels below, the highest first. */
  #cascade(tick: number): void {
    for (let level = LEVELS - 1; level > 0; level--) {
      if (tick % SPANS[level]! !== 0) continue;
      const place = ((tick | 0) >> (level * BITS)) & MASK;
      const slot = level * SLOTS + place;
      let timer = this.#slots[slot]!;
      this.#slots[slot] = null;
      this.#filled[level]! &= ~(1 << place);
      while (timer !== null) {
        const after: WheelTimer | null = timer.after;
        this.#insert(timer);
        timer = after!;
      }
    }
  }
}
