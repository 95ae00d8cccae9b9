/**
 * Least connections, by the ACTIVE counts that all workers share. Up to EXACT_LIMIT members the scan is exact: with equal
 * weights the next connection goes to one with the fewest, so a pick raises nobody above the mean rounded up, but by one for
 * each other worker that picked and has not counted yet. Beyond, the better of two weighted draws (Mitzenmacher's power
 * of two choices), which needs no scan and does not herd workers onto one endpoint.
 */
import { ACTIVE, type Endpoint, isAmong } from "./endpoint.ts";
import { Lottery } from "./lottery.ts";

/** A scan of 32 cells costs about 0.1 µs, a connection some 30 µs; with more members two draws are as good. */
export const EXACT_LIMIT = 32;

export class LeastConnections {
  readonly #members: readonly Endpoint[];
  readonly #lottery: Lottery;
  readonly #random: () => number;
  #weights: Float64Array = new Float64Array(0);
  readonly #active: Float64Array;
  /** Turns among equals, as in Rotation: without them idle endpoints would not follow their weights. */
  readonly #due: Float64Array;
  #clock = 0;

  constructor(members: readonly Endpoint[], random: () => number) {
    this.#members = members;
    this.#lottery = new Lottery(members.length, random);
    this.#active = new Float64Array(members.length);
    this.#due = new Float64Array(members.length);
    this.#random = random;
  }

  /** Takes over new weights (kept, not copied); 0 takes a member out. */
  refresh(weights: Float64Array): void {
    for (let index = 0; index < weights.length; index++) {
      const joins = weights[index]! > 0 && !(this.#weights[index]! > 0);
      if (joins) this.#due[index] = this.#clock + this.#random() / weights[index]!;
    }
    this.#weights = weights;
    if (this.#members.length > EXACT_LIMIT) this.#lottery.refresh(weights);
  }

  pick(_source: string | null, tried: readonly Endpoint[] | null): Endpoint | null {
    const index = this.#members.length > EXACT_LIMIT ? this.#betterOfTwo(tried) : this.#scan(tried);
    return index < 0 ? null : this.#members[index]!;
  }

  /**
   * A member stands for the pick while its load (active / weight) is below the load that the best one would have after
   * taking it. With equal weights only the least loaded do. With unequal ones this keeps a light member (small weight, slow
   * start) from being flooded just because it is idle: among those that stand, turns follow the weights.
   */
  #scan(tried: readonly Endpoint[] | null): number {
    const members = this.#members;
    const weights = this.#weights;
    const active = this.#active;
    let level = Number.POSITIVE_INFINITY;
    for (let index = 0; index < members.length; index++) {
      const weight = weights[index]!;
      if (weight === 0 || (tried !== null && isAmong(tried, members[index]!))) {
        active[index] = Number.POSITIVE_INFINITY;
        continue;
      }
      // A plain load: it cannot tear, and the balancer's atomic load of the epoch orders it.
      const count = members[index]!.cell[ACTIVE]!;
      active[index] = count / weight;
      const after = (count + 1) / weight;
      if (after < level) level = after;
    }
    let best = -1;
    let bestDue = Number.POSITIVE_INFINITY;
    for (let index = 0; index < members.length; index++) {
      if (active[index]! >= level) continue;
      // Who stood aside for long may catch up by one turn, not by all it missed.
      const due = Math.max(this.#due[index]!, this.#clock - 1 / weights[index]!);
      if (due < bestDue) {
        bestDue = due;
        best = index;
      }
    }
    if (best >= 0) {
      this.#due[best] = bestDue + 1 / weights[best]!;
      if (bestDue > this.#clock) this.#clock = bestDue;
    }
    return best;
  }

  #betterOfTwo(tried: readonly Endpoint[] | null): number {
    const one = this.#draw(tried);
    if (one < 0) return -1;
    const two = this.#draw(tried);
    return this.#load(two) < this.#load(one) ? two : one;
  }

  #draw(tried: readonly Endpoint[] | null): number {
    return tried === null ? this.#lottery.draw() : this.#lottery.drawUntried(this.#members, tried);
  }

  #load(index: number): number {
    return this.#members[index]!.cell[ACTIVE]! / this.#weights[index]!;
  }
}
