/** Buffers that the calls of an io_uring(7) choose from by themselves, as bytes come; io_uring_register(2), IORING_REGISTER_PBUF_RING. */
import { allocate, allocateBare, free, intsOf } from "./memory.ts";

// struct io_uring_buf: 16 bytes; the tail of the ring lies in what the first one leaves unused.
const BUF = { bytes: 16, length: 2, id: 3, tail: 7 };

/** Shared with the kernel, which takes a buffer for each completion and never gives one back: `give` does. Outlives its ring. */
export class BufferRing {
  /** Of the ring: whole pages, as the kernel wants it. */
  readonly address: number;
  readonly count: number;
  readonly size: number;
  readonly #data: number;
  readonly #ints: Int32Array;
  readonly #shorts: Uint16Array;
  #tail = 0;

  /** `count` buffers (a power of two) of `size` bytes, all of them free. Throws TRANSPORT when the system has no memory. */
  constructor(count: number, size: number) {
    this.count = count;
    this.size = size;
    const { address, bytes } = allocate(count * BUF.bytes);
    this.address = address;
    this.#ints = intsOf(bytes);
    this.#shorts = new Uint16Array(bytes.buffer, bytes.byteOffset, bytes.length >> 1);
    this.#data = allocateBare(count * size);
    for (let id = 0; id < count; id++) this.give(id);
  }

  /** Where the bytes of a buffer lie. */
  at(id: number): number {
    return this.#data + id * this.size;
  }

  /** Frees a buffer that a call has used. */
  give(id: number): void {
    const place = this.#tail & (this.count - 1);
    const address = this.at(id);
    const ints = this.#ints;
    const at = place * (BUF.bytes / 4);
    ints[at] = address;
    ints[at + 1] = Math.floor(address / 0x100000000);
    ints[at + BUF.length] = this.size;
    this.#shorts[(at + BUF.id) * 2] = id;
    this.#tail = (this.#tail + 1) & 0xffff;
    this.#shorts[BUF.tail] = this.#tail;
  }

  /** After the ring that knows it was closed. */
  release(): void {
    free(this.#data, this.count * this.size);
    free(this.address, this.count * BUF.bytes);
  }
}
