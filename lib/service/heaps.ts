/**
 * What the two allocators of a process are told that serves for long: V8 for objects, malloc(3) for the buffers behind them.
 */
import { setFlagsFromString } from "node:v8";
import { keepFreed } from "../ffi/malloc.ts";

// A worker's young generation is collected in a third of a millisecond. Shared among V8's helper threads it is not faster, and on
// a machine whose cores are busy it takes until the last of them had its turn: pauses of 4 to 9 ms.
const ALONE = "--no-parallel-scavenge";

// On `net` every read is a buffer outside of V8's heap, which V8 counts until it is freed. Freed by a helper thread that has to
// wait for its turn, dead ones count as live, and V8 collects the whole heap twenty times a second in vain: with one CPU for all
// threads some processes fell into that and stayed there, at twice the CPU per byte.
const FREED_AT_ONCE = "--no-concurrent-array-buffer-sweeping";

// Those buffers come and go by the thousand. As soon as 128 KiB at the top of its heap are free, glibc gives them back to the
// system and asks for them again, a page fault for every 4 KiB: by the luck of what lies on top, up to 290,000 a GB and twice the
// CPU per byte. V8 lets up to 64 MiB of them wait for a collection, so what one frees is kept for what comes next.
const KEPT_BYTES = 64 * 1024 * 1024;

/** Of the whole process, threads that start later included. Once, before anything is served. */
export function tuneHeaps(): void {
  setFlagsFromString(ALONE);
  setFlagsFromString(FREED_AT_ONCE);
}

/** For a process that serves with `net`: the other transport reads into memory of its own. */
export function keepReadBuffers(): void {
  keepFreed(KEPT_BYTES);
}
