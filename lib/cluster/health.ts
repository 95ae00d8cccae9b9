/**
 * Active checks of one endpoint: a probe every `interval` (jittered), down after `fall` failures in a row, up after `rise`
 * successes. Invariant: at most one probe at a time, and no verdict after `stop`.
 *
 * ```
 *            first probe fails, or `fall` in a row
 *   up ────────────────────────────────────────────▶ down
 *      ◀────────────────────────────────────────────
 *                     `rise` in a row
 * ```
 * An endpoint begins up, so that a start does not wait for checks; but nothing vouches for it yet, so its very first probe
 * decides alone (as in HAProxy). One that was checked before, in another generation or until it left, needs `fall` again.
 */
import type { HealthConfig } from "../config/config.ts";
import type { Clock } from "./clock.ts";

/** Part of the interval by which checks spread, so that those of many endpoints and proxies do not fall together. */
const JITTER = 0.1;
/** The first probe comes within this (ms), or within the interval where that is shorter. */
const FIRST_WITHIN = 1000;

export interface HealthCheckOptions {
  readonly health: HealthConfig;
  /** Null when well, else why not. Never rejects. */
  readonly probe: () => Promise<string | null>;
  /** The verdict changed: null is up, else why down. */
  readonly onVerdict: (reason: string | null) => void;
  readonly clock: Clock;
  readonly random: () => number;
  /** The verdict of checks before this one; null where there were none. */
  readonly before: "up" | "down" | null;
}

export class HealthCheck {
  readonly #options: HealthCheckOptions;
  #down: boolean;
  /** Probes in a row that speak against the verdict. */
  #against: number;
  #cancel: (() => void) | null = null;
  #running = false;

  constructor(options: HealthCheckOptions) {
    this.#options = options;
    this.#down = options.before === "down";
    this.#against = options.before === null ? options.health.fall - 1 : 0;
  }

  start(): void {
    const { health, random } = this.#options;
    this.#running = true;
    this.#schedule(random() * Math.min(health.interval, FIRST_WITHIN));
  }

  stop(): void {
    this.#running = false;
    this.#cancel?.();
    this.#cancel = null;
  }

  #schedule(ms: number): void {
    this.#cancel = this.#options.clock.after(ms, () => {
      this.#cancel = null;
      this.#options.probe().then((fault) => this.#judge(fault));
    });
  }

  #judge(fault: string | null): void {
    if (!this.#running) return;
    const { health, random, onVerdict } = this.#options;
    const agrees = (fault !== null) === this.#down;
    this.#against = agrees ? 0 : this.#against + 1;
    this.#schedule(health.interval * (1 - JITTER + 2 * JITTER * random()));
    if (this.#against < (this.#down ? health.rise : health.fall)) return;
    this.#down = !this.#down;
    this.#against = 0;
    onVerdict(fault);
  }
}
