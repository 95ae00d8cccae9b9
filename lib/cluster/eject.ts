/**
 * Passive ejection: an endpoint whose dials keep failing is out for a while, longer each time it comes back no better.
 * Invariant: never more than `max_percent` of the set is out, counting also those that active checks call down; where that
 * allows nobody (one endpoint of one, at 50 %), nobody is ejected.
 */
import type { EjectConfig } from "../config/config.ts";
import type { Clock } from "./clock.ts";
import { HEALTH_UP } from "./endpoint.ts";
import type { Standing } from "./standing.ts";

/** An ejection lasts at most this many times `for`: 30 s become 1, 2, 4, 8 minutes. */
const LONGEST = 16;

export interface EjectorOptions {
  readonly eject: EjectConfig;
  readonly clock: Clock;
  /** All members of the set now. */
  readonly members: () => Iterable<Standing>;
  readonly onEjected: (standing: Standing, reason: string, ms: number) => void;
  readonly onReturned: (standing: Standing) => void;
  /** It would have been ejected, but too many are out. */
  readonly onSpared: (standing: Standing, reason: string) => void;
}

/** How often an endpoint was ejected without a good stretch in between. */
interface Offence {
  times: number;
  /** When it returned from the last one; null while ejected. */
  returnedAt: number | null;
  lasted: number;
  cancel: (() => void) | null;
}

export class Ejector {
  readonly #options: EjectorOptions;
  readonly #offences = new Map<Standing, Offence>();

  constructor(options: EjectorOptions) {
    this.#options = options;
  }

  /** A worker saw the `count`th failure in a row. Reports may come late, twice, or for an endpoint that is out already. */
  report(standing: Standing, count: number): void {
    const { eject, clock, onEjected, onSpared } = this.#options;
    if (count < eject.failures || standing.health !== HEALTH_UP) return;
    const reason = `${count} failures in a row`;
    if (!this.#mayEject()) {
      if (count === eject.failures) onSpared(standing, reason);
      return;
    }
    const offence = this.#offenceOf(standing);
    const ms = eject.for * Math.min(2 ** offence.times, LONGEST);
    offence.times++;
    offence.lasted = ms;
    offence.returnedAt = null;
    offence.cancel = clock.after(ms, () => this.#return(standing, offence));
    standing.setEjected(reason);
    onEjected(standing, reason, ms);
  }

  /** The endpoint is gone for good. */
  forget(standing: Standing): void {
    this.#offences.get(standing)?.cancel?.();
    this.#offences.delete(standing);
  }

  /** No endpoint returns after this. */
  stop(): void {
    for (const offence of this.#offences.values()) offence.cancel?.();
    this.#offences.clear();
  }

  #mayEject(): boolean {
    let members = 0;
    let out = 0;
    for (const standing of this.#options.members()) {
      members++;
      if (standing.health !== HEALTH_UP) out++;
    }
    return out + 1 <= Math.floor((members * this.#options.eject.maxPercent) / 100);
  }

  /** Twice as long in service as it was out clears the record. */
  #offenceOf(standing: Standing): Offence {
    const offence = this.#offences.get(standing);
    if (offence === undefined) {
      const first: Offence = { times: 0, returnedAt: null, lasted: 0, cancel: null };
      this.#offences.set(standing, first);
      return first;
    }
    const served = offence.returnedAt === null ? 0 : this.#options.clock.now() - offence.returnedAt;
    if (served >= 2 * offence.lasted) offence.times = 0;
    return offence;
  }

  #return(standing: Standing, offence: Offence): void {
    offence.cancel = null;
    offence.returnedAt = this.#options.clock.now();
    standing.setEjected(null);
    this.#options.onReturned(standing);
  }
}
