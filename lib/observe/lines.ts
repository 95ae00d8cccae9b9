/**
 * Access lines on their way from a worker to the log: slots of shared memory. The worker encodes lines into a slot and hands
 * it over by its number; control writes the bytes out from where they lie and frees the slot. A line is encoded once and
 * copied by nobody, and what a log that is not read can hold back is bounded by the slots there are.
 * Invariant: a slot has one owner. Its flag is set by the worker when it begins to fill it, and cleared by control when its
 * bytes are written.
 */

// Large, because every slot that changes hands wakes two threads and has them evict the worker's data from the caches: short
// connections cost 0.97 of what they do with 128 KiB where all share one CPU.
const SLOT_BYTES = 512 * 1024;
// 8 MiB for each worker. Only what was used once is real memory, and the lowest free slot is used first.
const SLOTS = 16;
const FREE = 0;
const TAKEN = 1;
// What one character of a JavaScript string takes in UTF-8 at most.
const UTF8_MOST = 3;
/** A text of so many characters has room in an empty slot for certain. */
export const TEXT_MOST = Math.floor(SLOT_BYTES / UTF8_MOST);

/** The memory, which goes to a worker thread as it is. */
export interface SharedLines {
  /** One flag per slot. */
  readonly flags: Int32Array;
  readonly bytes: Uint8Array;
}

/** All slots free. */
export function createSharedLines(): SharedLines {
  return {
    flags: new Int32Array(new SharedArrayBuffer(SLOTS * 4)),
    bytes: new Uint8Array(new SharedArrayBuffer(SLOTS * SLOT_BYTES)),
  };
}

/** The worker's end. */
export class LineWriter {
  readonly #flags: Int32Array;
  readonly #bytes: Buffer;
  readonly #handOver: (slot: number, length: number) => void;
  /** The slot being filled, or -1. */
  #slot = -1;
  #length = 0;
  /** Handed over last, or -1. The log writes in order, so when it is free, all are. */
  #last = -1;

  /** `handOver` passes the first `length` bytes of a slot on to control. */
  constructor(shared: SharedLines, handOver: (slot: number, length: number) => void) {
    this.#flags = shared.flags;
    this.#bytes = Buffer.from(shared.bytes.buffer);
    this.#handOver = handOver;
  }

  /** Whether there are lines that were not handed over. */
  get waiting(): boolean {
    return this.#slot !== -1;
  }

  /** Takes whole lines, each with its newline; hands over what is full. False: there is no room, and they are lost. */
  add(lines: string): boolean {
    let most = lines.length * UTF8_MOST;
    // Worth counting: most lines are ASCII, and then a slot takes three times as many.
    if (this.#length + most > SLOT_BYTES) most = Buffer.byteLength(lines);
    if (this.#slot !== -1 && this.#length + most > SLOT_BYTES) this.flush();
    if (this.#slot === -1 && !this.#take(most)) return false;
    this.#length += this.#bytes.write(lines, this.#slot * SLOT_BYTES + this.#length);
    return true;
  }

  /** Hands over what there is, unless the log is behind: then it gathers, and a slow reader does not use up slots by the line. */
  offer(): void {
    if (this.#last === -1 || Atomics.load(this.#flags, this.#last) === FREE) this.flush();
  }

  /** Hands over what there is. */
  flush(): void {
    const slot = this.#slot;
    if (slot === -1) return;
    this.#slot = -1;
    this.#last = slot;
    this.#handOver(slot, this.#length);
    this.#length = 0;
  }

  #take(room: number): boolean {
    const slot = this.#flags.indexOf(FREE);
    if (slot === -1 || room > SLOT_BYTES) return false;
    Atomics.store(this.#flags, slot, TAKEN);
    this.#slot = slot;
    if (slot === this.#last) this.#last = -1;
    return true;
  }
}

/** Control's end: the bytes of a slot that was handed over. */
export function linesIn(shared: SharedLines, slot: number, length: number): Buffer {
  return Buffer.from(shared.bytes.buffer, slot * SLOT_BYTES, length);
}

/** Gives a slot back to the worker; nobody looks at its bytes any more. */
export function freeLines(shared: SharedLines, slot: number): void {
  Atomics.store(shared.flags, slot, FREE);
}
