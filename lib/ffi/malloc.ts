/**
 * What the C library's allocator does with freed memory, mallopt(3).
 */
import { find } from "./library.ts";

// malloc.h of glibc.
const M_TRIM_THRESHOLD = -1;

/**
 * Lets the allocator keep up to `bytes` of freed memory at the top of a heap before it gives any back to the system. Holds for every
 * heap of the process (glibc has one more for each busy thread); does nothing where the C library is not glibc or cannot be reached.
 */
export function keepFreed(bytes: number): void {
  find("mallopt", "int", ["int", "int"])?.(M_TRIM_THRESHOLD, bytes);
}
