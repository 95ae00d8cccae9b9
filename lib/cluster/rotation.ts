/**
 * Weighted turns: member i comes up every 1/weight[i] units of a virtual clock, earliest first (earliest deadline first,
 * as in Envoy's EDF scheduler). Exact to one turn over any stretch and as smooth as nginx's smooth round robin, but
 * O(log n) a turn instead of O(n). Invariant: `#heap` holds exactly the members with a weight, ordered by (due, index).
 */
import { type Endpoint, isAmong } from "./endpoint.ts";

export class Rotation {
  readonly #random: () => number;
  readonly #weights: Float64Array;
  readonly #due: Float64Array;
  readonly #heap: Int32Array;
  #size = 0;

  constructor(count: number, random: () => number) {
    this.#random = random;
    this.#weights = new Float64Array(count);
    this.#due = new Float64Array(count);
    this.#heap = new Int32Array(count);
  }

  /**
   * Takes over new weights; 0 takes a member out. Who stays keeps its place in the turn. Who joins gets a random one
   * within its interval, so that workers, and sets that change often, do not all begin with the same endpoint.
   */
  refresh(weights: Float64Array): void {
    const now = this.#size > 0 ? this.#due[this.#heap[0]!]! : 0;
    this.#size = 0;
    for (let index = 0; index < weights.length; index++) {
      const before = this.#weights[index]!;
      const weight = weights[index]!;
      this.#weights[index] = weight;
      if (weight === 0) continue;
      if (before === 0) this.#due[index] = now + this.#random() / weight;
      else if (before !== weight) this.#due[index] = now + ((this.#due[index]! - now) * before) / weight;
      this.#heap[this.#size++] = index;
    }
    for (let position = (this.#size >> 1) - 1; position >= 0; position--) this.#sink(position);
  }

  /** The member whose turn it is, charged with that turn; -1 when nobody has a weight. */
  next(): number {
    return this.#size === 0 ? -1 : this.#charge(0);
  }

  /** Like `next`, passing over the tried ones without charging them. Costs O(tried), not O(members). */
  nextUntried(members: readonly Endpoint[], tried: readonly Endpoint[]): number {
    const position = this.#earliestUntried(0, members, tried);
    return position < 0 ? -1 : this.#charge(position);
  }

  /** Only the children of a tried member need a look: every other subtree hides behind its own root. */
  #earliestUntried(position: number, members: readonly Endpoint[], tried: readonly Endpoint[]): number {
    if (position >= this.#size) return -1;
    if (!isAmong(tried, members[this.#heap[position]!]!)) return position;
    const left = this.#earliestUntried(2 * position + 1, members, tried);
    const right = this.#earliestUntried(2 * position + 2, members, tried);
    if (left < 0) return right;
    if (right < 0) return left;
    return this.#before(this.#heap[left]!, this.#heap[right]!) ? left : right;
  }

  #charge(position: number): number {
    const index = this.#heap[position]!;
    this.#due[index] = this.#due[index]! + 1 / this.#weights[index]!;
    this.#sink(position);
    return index;
  }

  #before(one: number, other: number): boolean {
    const dueOne = this.#due[one]!;
    const dueOther = this.#due[other]!;
    return dueOne < dueOther || (dueOne === dueOther && one < other);
  }

  #sink(from: number): void {
    const heap = this.#heap;
    const size = this.#size;
    const index = heap[from]!;
    let position = from;
    for (;;) {
      let child = 2 * position + 1;
      if (child >= size) break;
      if (child + 1 < size && this.#before(heap[child + 1]!, heap[child]!)) child++;
      if (!this.#before(heap[child]!, index)) break;
      heap[position] = heap[child]!;
      position = child;
    }
    heap[position] = index;
  }
}
