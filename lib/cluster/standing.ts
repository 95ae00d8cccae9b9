/**
 * Where an endpoint stands, as control knows it: one place that folds active checks, passive ejection and membership into
 * the one HEALTH word of the cell, and ramps SHARE up when the endpoint is usable again. Invariant: only this file
 * writes HEALTH and SHARE, and the cluster's epoch advances after each write.
 *
 * ```
 *                 worst of the three wins:  draining > down > ejected > up
 *   draining  removed from the set        down  active checks failed        ejected  too many dials failed
 * ```
 */
import type { Clock } from "./clock.ts";
import {
  ACTIVE,
  DIALS,
  type Endpoint,
  FAILURES,
  HEALTH,
  HEALTH_DOWN,
  HEALTH_DRAINING,
  HEALTH_EJECTED,
  HEALTH_UP,
  SHARE,
} from "./endpoint.ts";

/** By HEALTH value. */
export const HEALTH_NAMES = ["up", "down", "ejected", "draining"] as const;

const FULL_SHARE = 1000;
/** Where slow start begins, and its steps: Envoy's 10 %, and steps that nobody feels. */
const FIRST_SHARE = 100;
const RAMP_STEPS = 20;
const RAMP_MIN_STEP = 100; // ms; each step makes every worker recompute the cluster's weights

export interface StandingOptions {
  readonly clock: Clock;
  /** ms; 0: full share at once. */
  readonly slowStart: number;
  /** The cluster's epoch; see EndpointSet. */
  readonly epoch: Int32Array;
}

/** For `/clusters` and `/status`. */
export interface StandingView {
  readonly key: string;
  readonly name: string | null;
  readonly weight: number;
  readonly priority: number;
  readonly health: (typeof HEALTH_NAMES)[number];
  /** 0 to 1; below 1 during slow start. */
  readonly share: number;
  readonly active: number;
  /** Consecutive, over all workers. */
  readonly failures: number;
  readonly dials: number;
  /** Why it is not up; null while it is. */
  readonly reason: string | null;
  /** Unix ms of the last change of health. */
  readonly since: number;
}

export class Standing {
  /** Whether an active check of it has ended: the first one that fails has more to say than others. */
  checked = false;
  readonly #options: StandingOptions;
  #endpoint: Endpoint;
  #down: string | null = null;
  #ejected: string | null = null;
  #leftAt: number | null = null;
  #since: number;
  #stopRamp: (() => void) | null = null;

  constructor(endpoint: Endpoint, options: StandingOptions) {
    this.#endpoint = endpoint;
    this.#options = options;
    this.#since = options.clock.now();
  }

  get endpoint(): Endpoint {
    return this.#endpoint;
  }

  get health(): number {
    return Atomics.load(this.#endpoint.cell, HEALTH);
  }

  get active(): number {
    return Atomics.load(this.#endpoint.cell, ACTIVE);
  }

  /** Why active checks call it down; null while they do not. */
  get down(): string | null {
    return this.#down;
  }

  get ejected(): boolean {
    return this.#ejected !== null;
  }

  /** When it was removed from the set; null while it is a member. */
  get leftAt(): number | null {
    return this.#leftAt;
  }

  /** The endpoint with a new weight, priority or name; the same cell. */
  replace(endpoint: Endpoint): void {
    this.#endpoint = endpoint;
  }

  setDown(reason: string | null): void {
    this.#down = reason;
    this.#fold();
  }

  setEjected(reason: string | null): void {
    this.#ejected = reason;
    // It has had its punishment: it takes as many failures again, not one.
    if (reason === null) Atomics.store(this.#endpoint.cell, FAILURES, 0);
    this.#fold();
  }

  /** Goes on with the slow start that another one began in the same cell and left half done. */
  resume(): void {
    const { clock, slowStart } = this.#options;
    const share = Atomics.load(this.#endpoint.cell, SHARE);
    if (this.health !== HEALTH_UP || share === FULL_SHARE) return;
    this.#ramp(clock.now() - (slowStart * (share - FIRST_SHARE)) / (FULL_SHARE - FIRST_SHARE));
  }

  setMember(member: boolean): void {
    this.#leftAt = member ? null : this.#options.clock.now();
    this.#fold();
  }

  /** Writes no more: the cluster is stopped, or another one goes on with the cell. */
  stop(): void {
    this.#stopRamp?.();
    this.#stopRamp = null;
  }

  describe(): StandingView {
    const { key, name, weight, priority, cell } = this.#endpoint;
    return {
      key,
      name,
      weight,
      priority,
      health: HEALTH_NAMES[this.health] ?? "down",
      share: Atomics.load(cell, SHARE) / FULL_SHARE,
      active: this.active,
      failures: Atomics.load(cell, FAILURES),
      dials: Atomics.load(cell, DIALS) >>> 0,
      reason: this.#leftAt !== null ? "removed from the set" : (this.#down ?? this.#ejected),
      since: this.#since,
    };
  }

  #fold(): void {
    const health =
      this.#leftAt !== null
        ? HEALTH_DRAINING
        : this.#down !== null
          ? HEALTH_DOWN
          : this.#ejected !== null
            ? HEALTH_EJECTED
            : HEALTH_UP;
    if (health === this.health) return;
    this.#since = this.#options.clock.now();
    this.stop();
    if (health === HEALTH_UP && this.#options.slowStart > 0) this.#ramp(this.#since);
    else Atomics.store(this.#endpoint.cell, SHARE, FULL_SHARE);
    Atomics.store(this.#endpoint.cell, HEALTH, health);
    Atomics.add(this.#options.epoch, 0, 1);
  }

  #ramp(since: number): void {
    const { clock, slowStart, epoch } = this.#options;
    const part = slowStart === 0 ? 1 : Math.min(1, (clock.now() - since) / slowStart);
    const share = Math.round(FIRST_SHARE + (FULL_SHARE - FIRST_SHARE) * part);
    Atomics.store(this.#endpoint.cell, SHARE, share);
    Atomics.add(epoch, 0, 1);
    const step = Math.min(Math.max(slowStart / RAMP_STEPS, RAMP_MIN_STEP), slowStart);
    this.#stopRamp = part < 1 ? clock.after(step, () => this.#ramp(since)) : null;
  }
}
