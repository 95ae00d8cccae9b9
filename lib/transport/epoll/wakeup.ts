/**
 * How another thread wakes a blocked loop: an eventfd (eventfd(2)) that the loop watches. Any number of signals before the
 * loop gets to it are one wake-up; what there is to do lies elsewhere (a message port).
 */
import { ProxyError } from "../../errors.ts";
import { errnoName } from "../../ffi/errno.ts";
import { O_CLOEXEC, O_NONBLOCK } from "../../ffi/layout.ts";
import { close, eventfd, write } from "../../ffi/libc.ts";
import { allocate, type Memory } from "../../ffi/memory.ts";

export interface Wakeup {
  /** To be handed to the loop. Owned by the wake-up. */
  readonly descriptor: number;
  /** Wakes the loop, from any thread. Never blocks, never throws. */
  signal(): void;
  /** Closes the descriptor, after the loop has ended. */
  close(): void;
}

let one: Memory | null = null;

/** Throws TRANSPORT where no descriptor is left. */
export function createWakeup(): Wakeup {
  const descriptor = eventfd(0, O_NONBLOCK | O_CLOEXEC);
  if (descriptor < 0) throw new ProxyError("TRANSPORT", `eventfd(): ${errnoName(descriptor)}`);
  if (one === null) {
    one = allocate(8);
    one.bytes.writeBigUInt64LE(1n);
  }
  const { address } = one;
  let open = true;
  return {
    descriptor,
    signal: () => {
      // EAGAIN means that 2^64 - 2 signals wait already.
      if (open) write(descriptor, address, 8);
    },
    close: () => {
      if (open) close(descriptor);
      open = false;
    },
  };
}
