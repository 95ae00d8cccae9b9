/**
 * BIOs: what an SSL object reads from and writes to. bio(7), BIO_s_socket(3), BIO_s_bio(3), BIO_s_mem(3).
 * Invariant: a BIO is reference-counted; SSL_set0_rbio and SSL_set0_wbio take one reference, BIO_free drops one.
 */
import { viewOf } from "./library.ts";
import { type Bind, C, expect, type Pinned, type Pointer, unusable } from "./openssl-binding.ts";

/** BIO_ctrl(3), openssl/bio.h. */
export const BIO_CTRL_RESET = 1;
/** BIO_s_bio(3), BIO_set_write_buf_size: refused while the half has a partner. */
export const BIO_C_SET_WRITE_BUF_SIZE = 136;
export const BIO_NOCLOSE = 0;

export interface BioFunctions {
  /** BIO_s_socket(3). A BIO on a descriptor; with BIO_NOCLOSE the descriptor stays the caller's. Caller frees. 0: no memory. */
  BIO_new_socket(descriptor: number, close: number): Pointer;
  /**
   * BIO_s_bio(3). Two BIOs, each with a ring buffer that holds what was written to it until the other one reads it. Stores
   * both pointers; the caller frees both. 1: done; 0: no memory.
   */
  BIO_new_bio_pair(first: Pointer, firstSize: number, second: Pointer, secondSize: number): number;
  /** BIO_s_bio(3). Where the oldest unread bytes of the pair begin and how many lie there in one piece; -1 or 0: none. */
  BIO_nread0(bio: Pointer, address: Pointer): number;
  /** BIO_write(3). Bytes taken, or <= 0. */
  BIO_write(bio: Pointer, data: Pointer, length: number): number;
  /** BIO_ctrl(3). BIO_CTRL_RESET on one half of a pair forgets what was written to that half. */
  BIO_ctrl(bio: Pointer, command: number, larg: number, parg: Pointer): number;
  /** BIO_ctrl(3). Bytes written to this half of a pair that the other half has not read. */
  BIO_ctrl_wpending(bio: Pointer): number;
  /** BIO_set_data(3). The structure behind this BIO. */
  BIO_get_data(bio: Pointer): Pointer;
  /** BIO_ctrl(3). Bytes read through this BIO since it was made. */
  BIO_number_read(bio: Pointer): number;
  /** BIO_s_mem(3). A read-only BIO over memory that must outlive it. Caller frees. */
  BIO_new_mem_buf(data: Pointer, length: number): Pointer;
  /** BIO_new(3). One more reference. */
  BIO_up_ref(bio: Pointer): number;
  /** BIO_new(3). Drops one reference; NULL is ignored. */
  BIO_free(bio: Pointer): number;
}

export function bindBio(bind: Bind): BioFunctions {
  const { int, long, size, pointer } = C;
  return {
    BIO_new_socket: bind("BIO_new_socket", pointer, [int, int]),
    BIO_new_bio_pair: bind("BIO_new_bio_pair", int, [pointer, size, pointer, size]),
    BIO_nread0: bind("BIO_nread0", int, [pointer, pointer]),
    BIO_write: bind("BIO_write", int, [pointer, pointer, int]),
    BIO_ctrl: bind("BIO_ctrl", long, [pointer, int, long, pointer]),
    BIO_ctrl_wpending: bind("BIO_ctrl_wpending", size, [pointer]),
    BIO_get_data: bind("BIO_get_data", pointer, [pointer]),
    BIO_number_read: bind("BIO_number_read", C.uint64, [pointer]),
    BIO_new_mem_buf: bind("BIO_new_mem_buf", pointer, [pointer, int]),
    BIO_up_ref: bind("BIO_up_ref", int, [pointer]),
    BIO_free: bind("BIO_free", int, [pointer]),
  };
}

/** What is written to `near` waits in a ring of memory until it is read from `far`. Whoever made the pair frees both. */
export interface BioPair {
  readonly near: Pointer;
  readonly far: Pointer;
}

/** A pair whose ring holds `size` bytes; null: no memory. In 16 bytes of `scratch` OpenSSL answers. */
export function makePair(lib: BioFunctions, size: number, scratch: Pinned): BioPair | null {
  if (lib.BIO_new_bio_pair(scratch.address, size, scratch.address + 8, 1) !== 1) return null;
  return {
    near: Number(scratch.bytes.readBigUInt64LE(0)),
    far: Number(scratch.bytes.readBigUInt64LE(8)),
  };
}

/** Where the ring of a new or emptied pair begins; it stays there. A byte goes in to learn it, and is forgotten. */
export function ringAddress(lib: BioFunctions, { near, far }: BioPair, scratch: Pinned): Pointer {
  lib.BIO_write(near, scratch.address, 1);
  lib.BIO_nread0(far, scratch.address);
  lib.BIO_ctrl(near, BIO_CTRL_RESET, 0, 0);
  return Number(scratch.bytes.readBigUInt64LE(0));
}

// How much of it is looked at. The count lies within the first 24 of 56 bytes in all of OpenSSL 3 (struct bio_bio_st, bss_bio.c).
const LOOKED_AT = 32;
const FILLINGS = [1, 77, 4000, 0];

/**
 * Where in the structure behind one half of a pair OpenSSL keeps how many bytes wait, as an offset: reading that in place costs next
 * to nothing, BIO_ctrl_wpending a call. The structure is private, so the place is not known but found: the one word that
 * follows every filling. Null: there is no such word. `bytes`: 4,000 to write from. The pair is empty afterwards.
 */
export function findWaiting(lib: BioFunctions, half: Pointer, bytes: Pointer): number | null {
  const view = viewOf(lib.BIO_get_data(half), LOOKED_AT);
  let offsets = Array.from({ length: LOOKED_AT / 4 }, (_, word) => word * 4);
  for (const filling of FILLINGS) {
    lib.BIO_ctrl(half, BIO_CTRL_RESET, 0, 0);
    if (filling > 0) lib.BIO_write(half, bytes, filling);
    const waiting = lib.BIO_ctrl_wpending(half);
    offsets = offsets.filter((offset) => view.readUInt32LE(offset) === waiting);
  }
  return offsets.length === 1 ? offsets[0]! : null;
}

/**
 * Sees a pair do what its page says and what TLS output relies on: it holds what was written, forgets it when it is told to, and
 * begins where it began. Returns what `findWaiting` finds. Throws ProxyError TRANSPORT. `scratch`: 4,096 bytes.
 */
export function examinePair(lib: BioFunctions, scratch: Pinned): number | null {
  const pair = makePair(lib, scratch.bytes.length, scratch);
  if (pair === null) throw unusable("BIO_new_bio_pair fails");
  const { near, far } = pair;
  const begin = ringAddress(lib, pair, scratch);
  const forgotten = lib.BIO_ctrl_wpending(near) === 0;
  scratch.bytes.write("bytes", 16);
  lib.BIO_write(near, scratch.address + 16, 5);
  const counted = lib.BIO_ctrl_wpending(near) === 5 && lib.BIO_nread0(far, scratch.address) === 5;
  const held = counted && Buffer.from(viewOf(begin, 5)).toString() === "bytes";
  lib.BIO_ctrl(near, BIO_CTRL_RESET, 0, 0);
  const fixed = ringAddress(lib, pair, scratch) === begin;
  const waitingAt = findWaiting(lib, near, scratch.address);
  lib.BIO_free(near);
  lib.BIO_free(far);
  expect("BIO_s_bio", forgotten && held && fixed);
  return waitingAt;
}
