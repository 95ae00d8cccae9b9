/**
 * The memory of one worker that C sees: one scratch buffer that every read goes through, the small cells that system calls
 * take arguments from and leave answers in, and the chunks that hold what a blocked socket did not take.
 * Invariant: the scratch buffer and the cells hold nothing from one call to the next; an idle connection owns no chunk.
 */
import { ProxyError } from "../../errors.ts";
import { layout } from "../../ffi/layout.ts";
import { allocate, allocateBare, copy, free, move } from "../../ffi/memory.ts";

/** One read. Four TLS records; larger ones were measured to cost more, for want of cache. */
export const SCRATCH = 64 * 1024;
/** Room for one read behind what `Stream.send` may have queued (4 KiB), on whole pages. */
export const CHUNK = SCRATCH + 8 * 1024;
/** Events of one epoll_wait(2). */
export const EVENTS = 256;
/** One read of many that are made together. */
export const SLOT = 16 * 1024;
/** So many of them at most. */
export const SLOTS = 64;
// Slots of whole pages would all meet in the same sets of the first-level cache.
const SLOT_STRIDE = SLOT + 192;
/** Calls that are made together at most. */
export const BLOCKS = 256;
/** What one of them reads or leaves beside data: a sockaddr and its length, or a struct epoll_event. */
export const BLOCK = 160;

// Freed chunks that are kept; the rest goes back to the system. 64 of them are 4.5 MiB.
const SPARE_CHUNKS = 64;

const ADDRESS_ROOM = 128;

/** CHUNK bytes of C's memory, of which those from `start` to `end` count. */
export class Chunk {
  readonly address: number;
  start = 0;
  end = 0;

  constructor(address: number) {
    this.address = address;
  }

  get length(): number {
    return this.end - this.start;
  }

  /** Moves what counts to the beginning. */
  compact(): void {
    if (this.start === 0) return;
    move(this.address, this.address + this.start, this.length);
    this.end -= this.start;
    this.start = 0;
  }

  /** Copies `length` bytes behind what is there. */
  append(address: number, length: number): void {
    if (this.end + length > CHUNK) this.compact();
    if (this.end + length > CHUNK) {
      throw new ProxyError("INTERNAL", `${length} bytes do not fit behind ${this.length} in a chunk`);
    }
    copy(this.address + this.end, address, length);
    this.end += length;
  }
}

export class WorkerMemory {
  /** The scratch buffer, SCRATCH bytes. */
  readonly scratch: number;
  readonly scratchBytes: Buffer;
  /** EVENTS of struct epoll_event, as Int32: see the strides. */
  readonly events: number;
  readonly eventInts: Int32Array;
  /** Two sets of SLOTS slots of SLOT bytes. */
  readonly slots: number;
  readonly slotStride = SLOT_STRIDE;
  readonly #slotBytes: Buffer;
  /** BLOCKS blocks of BLOCK bytes. */
  readonly blocks: number;
  readonly blockBytes: Buffer;
  readonly blockInts: Int32Array;
  /** A sockaddr with AF_UNSPEC. */
  readonly disconnect: number;
  /** In Int32: one event, and where its mask and the two halves of its data lie in it. */
  readonly eventStride: number;
  readonly eventData: number;
  /** One struct epoll_event to hand to epoll_ctl(2), laid out likewise. */
  readonly oneEvent: number;
  readonly oneEventInts: Int32Array;
  /** A sockaddr of up to 128 bytes. */
  readonly address: number;
  readonly addressBytes: Buffer;
  /** An int: the length of that sockaddr, or the value of a socket option. */
  readonly cell: number;
  readonly cellInts: Int32Array;
  /** A second int: the length of a socket option. */
  readonly lengthCell: number;
  readonly lengthInts: Int32Array;
  /** struct itimerspec, as Int32: how often, then when; seconds, then nanoseconds. */
  readonly timer: number;
  readonly timerInts: Int32Array;
  /** struct linger {1, 0}: close with a reset. */
  readonly lingerZero: number;
  readonly #shown: Buffer[];
  #chunks: Chunk[] = [];
  #chunksTaken = 0;

  constructor() {
    const { epollEvent, epollData } = layout!;
    const data = allocate(SCRATCH);
    this.scratch = data.address;
    this.scratchBytes = data.bytes;
    this.#shown = new Array<Buffer>(2 * SLOTS + 1).fill(data.bytes);
    const slots = allocate(2 * SLOTS * SLOT_STRIDE);
    this.slots = slots.address;
    this.#slotBytes = slots.bytes;
    const blocks = allocate(BLOCKS * BLOCK);
    this.blocks = blocks.address;
    this.blockBytes = blocks.bytes;
    this.blockInts = intsOf(blocks.bytes, 0, (BLOCKS * BLOCK) / 4);
    const events = allocate(EVENTS * epollEvent);
    this.events = events.address;
    this.eventInts = intsOf(events.bytes, 0, (EVENTS * epollEvent) / 4);
    this.eventStride = epollEvent / 4;
    this.eventData = epollData / 4;
    const small = allocate(4096);
    this.oneEvent = small.address;
    this.oneEventInts = intsOf(small.bytes, 0, 4);
    this.cell = small.address + 64;
    this.cellInts = intsOf(small.bytes, 64, 2);
    this.lengthCell = small.address + 72;
    this.lengthInts = intsOf(small.bytes, 72, 1);
    this.lingerZero = small.address + 80;
    intsOf(small.bytes, 80, 2).set([1, 0]);
    this.disconnect = small.address + 96;
    this.address = small.address + 128;
    this.timer = small.address + 256;
    this.timerInts = intsOf(small.bytes, 256, 8);
    this.addressBytes = small.bytes.subarray(128, 128 + ADDRESS_ROOM);
  }

  /** The first bytes of the scratch buffer or of a slot. The views are kept: many hellos are of one size. */
  shown(address: number, length: number): Buffer {
    const scratch = address === this.scratch;
    const offset = scratch ? 0 : address - this.slots;
    const place = scratch ? 2 * SLOTS : offset / SLOT_STRIDE;
    let shown = this.#shown[place]!;
    if (shown.length !== length) {
      shown = (scratch ? this.scratchBytes : this.#slotBytes).subarray(offset, offset + length);
      this.#shown[place] = shown;
    }
    return shown;
  }

  /** Chunks in use: what the slow readers of this worker hold, in CHUNK bytes at most. */
  get chunksTaken(): number {
    return this.#chunksTaken;
  }

  /** An empty chunk. Throws TRANSPORT when the system has no memory. */
  takeChunk(): Chunk {
    const chunk = this.#chunks.pop() ?? new Chunk(allocateBare(CHUNK));
    this.#chunksTaken++;
    return chunk;
  }

  giveChunk(chunk: Chunk): void {
    this.#chunksTaken--;
    chunk.start = 0;
    chunk.end = 0;
    if (this.#chunks.length < SPARE_CHUNKS) this.#chunks.push(chunk);
    else free(chunk.address, CHUNK);
  }
}

function intsOf(bytes: Buffer, offset: number, count: number): Int32Array {
  return new Int32Array(bytes.buffer, bytes.byteOffset + offset, count);
}
