/**
 * Source hash: the same source reaches the same endpoint while that one is usable and not overloaded. A Maglev table
 * (Eisenbud et al., NSDI 2016) over all members, usable or not, so that health moves only the sources of the endpoint
 * that fell out and brings them back when it returns; load is bounded as in Mirrokni et al., "Consistent Hashing with
 * Bounded Loads". The table depends on keys and weights only: every worker, and every host, computes the same one.
 */
import { ACTIVE, type Endpoint, isAmong } from "./endpoint.ts";
import { Rotation } from "./rotation.ts";
import { fullWeights } from "./weights.ts";

/**
 * Table sizes, primes. A change of the set moves the sources of who left or joined and up to 2 % of the others; a set that
 * grows past the limit is reshuffled once.
 */
const SMALL_TABLE = 16_381; // built in about 2 ms; at least 64 slots each, so shares are right to 2 %
const LARGE_TABLE = 131_071; // some 30 ms, once per set
const SMALL_TABLE_MEMBERS = 256;
/** An endpoint takes at most this much more than its share of the connections... */
const LOAD_FACTOR = 1.25; // the paper's and HAProxy's recommendation
/** ...but always this many: a few connections of one source belong together whatever the average is. */
const LOAD_FLOOR = 32;
/** Slots looked at before the scan; with half of the members out, 16 miss in 0.002 %. */
const PROBES = 16;
/** Cells read per pick to keep the sum of connections fresh. Exact up to that many members, then n/16 picks old. */
const SURVEY = 16;

export class Affinity {
  readonly #members: readonly Endpoint[];
  readonly #random: () => number;
  #table: Int32Array | null = null;
  #weights: Float64Array = new Float64Array(0);
  #weightSum = 0;
  readonly #surveyed: Int32Array;
  #surveyAt = 0;
  #activeSum = 0;

  constructor(members: readonly Endpoint[], random: () => number) {
    this.#members = members;
    this.#random = random;
    this.#surveyed = new Int32Array(members.length);
  }

  /** Slow start narrows the bound of an endpoint, not its slots: sources do not wander while it grows. */
  refresh(weights: Float64Array): void {
    this.#weights = weights;
    this.#weightSum = 0;
    this.#activeSum = 0;
    for (let index = 0; index < weights.length; index++) {
      this.#weightSum += weights[index]!;
      this.#surveyed[index] = weights[index] === 0 ? 0 : this.#members[index]!.cell[ACTIVE]!;
      this.#activeSum += this.#surveyed[index]!;
    }
  }

  pick(source: string | null, tried: readonly Endpoint[] | null): Endpoint | null {
    if (this.#weightSum === 0) return null;
    if (this.#members.length > 1) this.#survey();
    this.#table ??= fillTable(this.#members);
    const table = this.#table;
    const hash = source === null ? Math.floor(this.#random() * 0x1_0000_0000) : hashText(source, 0);
    for (let probe = 0; probe < PROBES; probe++) {
      // Each probe hashes anew, so the sources of one endpoint scatter over all others.
      const slot = (probe === 0 ? hash : mix(hash + Math.imul(probe, 0x9e3779b1))) % table.length;
      const index = table[slot]!;
      if (this.#fits(index, tried)) return this.#members[index]!;
    }
    return this.#scan(hash, tried);
  }

  /** Around the members from a place of the source's own: the first that fits, else the least loaded that may serve. */
  #scan(hash: number, tried: readonly Endpoint[] | null): Endpoint | null {
    const count = this.#members.length;
    let least: Endpoint | null = null;
    let leastLoad = Number.POSITIVE_INFINITY;
    for (let step = 0; step < count; step++) {
      const index = (hash + step) % count;
      const endpoint = this.#members[index]!;
      if (this.#fits(index, tried)) return endpoint;
      const load = endpoint.cell[ACTIVE]! / this.#weights[index]!; // infinite or NaN for who is out
      if (load < leastLoad && (tried === null || !isAmong(tried, endpoint))) {
        least = endpoint;
        leastLoad = load;
      }
    }
    return least;
  }

  #fits(index: number, tried: readonly Endpoint[] | null): boolean {
    const weight = this.#weights[index]!;
    if (weight === 0) return false;
    const endpoint = this.#members[index]!;
    if (tried !== null && isAmong(tried, endpoint)) return false;
    const active = endpoint.cell[ACTIVE]!;
    if (active < LOAD_FLOOR) return true;
    return active + 1 <= Math.ceil((LOAD_FACTOR * (this.#activeSum + 1) * weight) / this.#weightSum);
  }

  #survey(): void {
    const count = this.#members.length;
    const reads = Math.min(count, SURVEY);
    for (let read = 0; read < reads; read++) {
      const index = this.#surveyAt;
      this.#surveyAt = index + 1 === count ? 0 : index + 1;
      if (this.#weights[index] === 0) continue;
      const active = this.#members[index]!.cell[ACTIVE]!;
      this.#activeSum += active - this.#surveyed[index]!;
      this.#surveyed[index] = active;
    }
  }
}

/** Slots in proportion to the weights, taken in weighted turns, each member along a permutation of its own. */
function fillTable(members: readonly Endpoint[]): Int32Array {
  const size = members.length > SMALL_TABLE_MEMBERS ? LARGE_TABLE : SMALL_TABLE;
  // By key: the order of a DNS answer must not matter.
  const order = members.map((_, index) => index).sort((a, b) => (members[a]!.key < members[b]!.key ? -1 : 1));
  const sorted = order.map((index) => members[index]!);
  const turns = new Rotation(sorted.length, () => 0);
  turns.refresh(fullWeights(sorted));
  const cursor = Float64Array.from(sorted, (endpoint) => hashText(endpoint.key, 1) % size);
  const stride = Float64Array.from(sorted, (endpoint) => (hashText(endpoint.key, 2) % (size - 1)) + 1);
  const table = new Int32Array(size).fill(-1);
  for (let filled = 0; filled < size; filled++) {
    const turn = turns.next();
    let slot = cursor[turn]!;
    while (table[slot] !== -1) slot = (slot + stride[turn]!) % size;
    table[slot] = order[turn]!;
    cursor[turn] = slot;
  }
  return table;
}

/** FNV-1a, finished by MurmurHash3's mixer: neighbouring addresses must land far apart. Unsigned 32 bits. */
function hashText(text: string, seed: number): number {
  let hash = 0x811c9dc5 ^ Math.imul(seed, 0x9e3779b1);
  for (let index = 0; index < text.length; index++) {
    hash = Math.imul(hash ^ text.charCodeAt(index), 0x01000193);
  }
  return mix(hash);
}

function mix(value: number): number {
  let hash = value | 0;
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}
