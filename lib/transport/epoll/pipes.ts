/**
 * Pipes for splice(2), pooled. A direction holds one only while bytes are in it. The kernel allows a user without
 * CAP_SYS_RESOURCE 16,384 pages in all pipes of all processes (pipe(7): pipe-user-pages-soft), that is 64 pipes of 1 MiB;
 * beyond it pipes are one or two pages long, and splicing through those is slower than copying. So the size is read back, a
 * small pipe is refused, and who gets none copies.
 */
import { F_GETPIPE_SZ, F_SETPIPE_SZ, O_CLOEXEC, O_NONBLOCK } from "../../ffi/layout.ts";
import { close, fcntl, pipe2 } from "../../ffi/libc.ts";
import type { WorkerMemory } from "./memory.ts";

/** As in Go's internal/poll; a slot takes one fragment, and fragments may be as short as a segment of 1,448 bytes. */
export const PIPE_BYTES = 1 << 20;
// Below this a pipe is not worth its calls.
const LEAST_BYTES = 256 * 1024;
// After a refusal the next try waits, else every bulk direction would try with every read.
const RETRY_MS = 1000;

export interface Pipe {
  readonly output: number;
  readonly input: number;
}

export class Pipes {
  readonly #memory: WorkerMemory;
  readonly #budget: number;
  readonly #free: Pipe[] = [];
  #open = 0;
  #refusedUntil = 0;

  /** `budget`: how many may exist at once. */
  constructor(memory: WorkerMemory, budget: number) {
    this.#memory = memory;
    this.#budget = budget;
  }

  /** Pipes that exist, in the pool or not; two descriptors each. */
  get open(): number {
    return this.#open;
  }

  /** An empty pipe, or null: then copy. */
  take(now: number): Pipe | null {
    const pipe = this.#free.pop();
    if (pipe !== undefined) return pipe;
    if (this.#open >= this.#budget || now < this.#refusedUntil) return null;
    const made = this.#make();
    if (made === null) this.#refusedUntil = now + RETRY_MS;
    return made;
  }

  /** Gives back a pipe; one that is not empty is closed, what it holds is lost. */
  give(pipe: Pipe, empty: boolean): void {
    if (empty) this.#free.push(pipe);
    else this.#close(pipe);
  }

  /** Closes what lies in the pool. */
  drain(): void {
    for (const pipe of this.#free.splice(0)) this.#close(pipe);
  }

  #make(): Pipe | null {
    if (pipe2(this.#memory.cell, O_NONBLOCK | O_CLOEXEC) < 0) return null;
    const pipe: Pipe = { output: this.#memory.cellInts[0]!, input: this.#memory.cellInts[1]! };
    this.#open++;
    fcntl(pipe.input, F_SETPIPE_SZ, PIPE_BYTES);
    if (fcntl(pipe.input, F_GETPIPE_SZ, 0) >= LEAST_BYTES) return pipe;
    this.#close(pipe);
    return null;
  }

  #close(pipe: Pipe): void {
    this.#open--;
    close(pipe.output);
    close(pipe.input);
  }
}
