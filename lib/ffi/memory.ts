/**
 * Memory for C: off the JavaScript heap, at an address that never changes. Taken by mmap(2), so that pages count only once
 * they are touched, and given back only where that is said; everything else lives as long as its thread.
 */
import { ProxyError } from "../errors.ts";
import { errnoName } from "./errno.ts";
import { mmap, munmap } from "./libc.ts";
import { bind, viewOf } from "./library.ts";

// sys/mman.h, the same on x64 and arm64.
const PROT_READ_WRITE = 3;
const MAP_PRIVATE_ANONYMOUS = 0x22;
// Below 2 GiB an address is a small integer to V8, which crosses into C without a heap number made for it. x64 has it only.
const MAP_32BIT = process.arch === "x64" ? 0x40 : 0;

export interface Memory {
  readonly address: number;
  readonly bytes: Buffer;
}

/** `length` zeroed bytes, page-aligned, for the life of the thread. */
export function allocate(length: number): Memory {
  const address = allocateBare(length);
  return { address, bytes: viewOf(address, length) };
}

/** The same bytes as 32-bit numbers. */
export function intsOf(bytes: Buffer): Int32Array {
  return new Int32Array(bytes.buffer, bytes.byteOffset, bytes.length >> 2);
}

/** Zeroed bytes without a view, for memory that only C touches. `free` with the same length gives it back. */
export function allocateBare(length: number): number {
  let address = mmap(0, length, PROT_READ_WRITE, MAP_PRIVATE_ANONYMOUS | MAP_32BIT, -1, 0);
  if (address < 0) address = mmap(0, length, PROT_READ_WRITE, MAP_PRIVATE_ANONYMOUS, -1, 0);
  if (address < 0)
    throw new ProxyError("TRANSPORT", `no memory for a buffer of ${length} bytes: ${errnoName(address)}`);
  return address;
}

/** Gives back what `allocateBare` gave. */
export function free(address: number, length: number): void {
  munmap(address, length);
}

/** Copies between addresses that do not overlap, memcpy(3). */
export const copy: (to: number, from: number, length: number) => void = bind("memcpy", "intptr_t", [
  "intptr_t",
  "intptr_t",
  "size_t",
]);
/** Copies between addresses that may overlap, memmove(3). */
export const move: (to: number, from: number, length: number) => void = bind("memmove", "intptr_t", [
  "intptr_t",
  "intptr_t",
  "size_t",
]);
