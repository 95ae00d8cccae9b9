/**
 * How many connections each client address has, counted by all workers in shared memory of a fixed size: a count-min
 * sketch (Cormode and Muthukrishnan, 2005) that is only ever added to and taken from in pairs.
 * Invariants: an estimate is never below the truth, so a limit always holds; memory does not grow with the number of clients;
 * the hash is seeded at random, so nobody can aim at another's cells. With n connections in all, an estimate is too high by
 * more than n / 24,000 with a chance of 2 % (e / 65536 of n, e^-4), that is by nothing at all up to some 20,000 connections.
 */
import { randomBytes } from "node:crypto";

const ROWS = 4;
const COLUMNS = 65_536;
const MASK = COLUMNS - 1;

/** What workers share: a megabyte of counts and the seed of the hash. Survives structured clone. */
export interface SharedSources {
  /** Int32 counts, ROWS × COLUMNS. */
  readonly counts: Int32Array;
  readonly seed: readonly [number, number];
}

/** Empty counts. `seed` is for tests. */
export function createSharedSources(seed?: readonly [number, number]): SharedSources {
  const random = randomBytes(8);
  return {
    counts: new Int32Array(new SharedArrayBuffer(ROWS * COLUMNS * 4)),
    seed: seed ?? [random.readInt32LE(0), random.readInt32LE(4)],
  };
}

export class SourceCounts {
  readonly #counts: Int32Array;
  readonly #seed: readonly [number, number];

  constructor(shared: SharedSources) {
    this.#counts = shared.counts;
    this.#seed = shared.seed;
  }

  /** Adds one connection of `source` in `scope` (a listener's, or the process's) and returns how many it has now, at least. */
  enter(scope: number, source: string): number {
    let least = Number.POSITIVE_INFINITY;
    let first = this.#hash(scope, source, this.#seed[0]);
    const step = this.#hash(scope, source, this.#seed[1]) | 1;
    for (let row = 0; row < ROWS; row++) {
      const count = Atomics.add(this.#counts, row * COLUMNS + ((first >>> 16) & MASK), 1) + 1;
      if (count < least) least = count;
      first = (first + step) | 0;
    }
    return least;
  }

  /** Takes one away again: exactly once for each `enter`, with the same arguments. */
  leave(scope: number, source: string): void {
    let first = this.#hash(scope, source, this.#seed[0]);
    const step = this.#hash(scope, source, this.#seed[1]) | 1;
    for (let row = 0; row < ROWS; row++) {
      Atomics.sub(this.#counts, row * COLUMNS + ((first >>> 16) & MASK), 1);
      first = (first + step) | 0;
    }
  }

  /** MurmurHash3's rounds over the characters; keyed, because the seed is secret. */
  #hash(scope: number, source: string, seed: number): number {
    let hash = mix(seed, scope);
    for (let index = 0; index < source.length; index++) hash = mix(hash, source.charCodeAt(index));
    hash ^= hash >>> 16;
    hash = Math.imul(hash, 0x85ebca6b);
    hash ^= hash >>> 13;
    hash = Math.imul(hash, 0xc2b2ae35);
    return hash ^ (hash >>> 16);
  }
}

function mix(hash: number, value: number): number {
  let word = Math.imul(value, 0xcc9e2d51);
  word = (word << 15) | (word >>> 17);
  const mixed = hash ^ Math.imul(word, 0x1b873593);
  return (Math.imul((mixed << 13) | (mixed >>> 19), 5) + 0xe6546b64) | 0;
}
