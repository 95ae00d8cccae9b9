/**
 * A worker's view of one cluster: the newest endpoint set with its balancer, the connections that wait for the first one,
 * what became of dials, and the budget that keeps retries from becoming a storm. Synchronous; one per worker and
 * generation. Counts go to the endpoints' cells, where all workers and control see them.
 */
import type { ClusterConfig } from "../config/config.ts";
import { type Balancer, createBalancer } from "./balancer.ts";
import { DIALS, type Endpoint, type EndpointSet, FAILURES } from "./endpoint.ts";

/** Retries per dial that a cluster may cost in the long run; what Finagle and linkerd allow. */
const RETRY_RATIO = 0.2;
/** Retries a second that are always allowed: few connections must not be refused for being few. */
const RETRY_FLOOR_PER_SECOND = 10;
/** How far unused retries add up: ten seconds of the floor. */
const RETRY_RESERVE = 100;

/** Returned by `whenResolved`. */
export interface Waiting {
  /** The connection no longer waits; may be called at any time, also after it ran. */
  cancel(): void;
}

export class ClusterView {
  readonly config: ClusterConfig;
  readonly #random: () => number;
  readonly #now: () => number;
  readonly #onFailures: (endpoint: Endpoint, count: number) => void;
  /** Clusters without a set dial the address that the client meant: nothing to resolve, nobody to eject. */
  readonly #direct: boolean;
  #set: EndpointSet | null = null;
  #balancer: Balancer | null = null;
  readonly #waiting = new Set<() => void>();
  #retries = RETRY_RESERVE;
  #retriesAt: number;

  /**
   * `random` yields [0, 1). `onFailures` hears each time the consecutive failures of an endpoint have grown, for control,
   * which may eject it. `now` is monotonic ms, read on retries only.
   */
  constructor(
    config: ClusterConfig,
    random: () => number,
    onFailures: (endpoint: Endpoint, count: number) => void,
    now: () => number = () => performance.now(),
  ) {
    this.config = config;
    this.#random = random;
    this.#now = now;
    this.#onFailures = onFailures;
    this.#direct = config.source.kind === "original" || config.source.kind === "announced";
    this.#retriesAt = now();
  }

  /** The newest set; null before the first. */
  get set(): EndpointSet | null {
    return this.#set;
  }

  /** Whether `pick` speaks for the cluster. False until the resolver's first answer; clusters without a set are true. */
  get resolved(): boolean {
    return this.#direct || this.#set?.resolved === true;
  }

  /** Takes over a newer set; an older one, arriving late, is ignored. Connections keep the endpoints they have. */
  update(set: EndpointSet): void {
    if (this.#set !== null && set.version <= this.#set.version) return;
    this.#set = set;
    this.#balancer = createBalancer(this.config.balance, set, this.#random);
    if (!set.resolved) return;
    const runs = [...this.#waiting];
    for (const run of runs) {
      // A run may cancel another one.
      if (this.#waiting.delete(run)) run();
    }
  }

  /** See Balancer.pick. Null also before the first set and in clusters without a set. */
  pick(source: string | null, tried: readonly Endpoint[] | null): Endpoint | null {
    return this.#balancer === null ? null : this.#balancer.pick(source, tried);
  }

  /** Calls `run` once when the first answer is there; at once when it is. The caller bounds the wait by a deadline. */
  whenResolved(run: () => void): Waiting {
    const wake = () => run(); // an entry of its own, should one function wait twice
    if (this.resolved) wake();
    else this.#waiting.add(wake);
    return { cancel: () => this.#waiting.delete(wake) };
  }

  /**
   * Whether a connection whose dial failed may dial once more; a yes is spent. Retries stay below a fifth of all dials,
   * beyond a floor of ten a second and worker.
   */
  mayRetry(): boolean {
    const now = this.#now();
    this.#earn(((now - this.#retriesAt) * RETRY_FLOOR_PER_SECOND) / 1000);
    this.#retriesAt = now;
    if (this.#retries < 1) return false;
    this.#retries -= 1;
    return true;
  }

  /** A dial begins, first or retry. */
  dialled(endpoint: Endpoint): void {
    Atomics.add(endpoint.cell, DIALS, 1);
    this.#earn(RETRY_RATIO);
  }

  /**
   * The endpoint failed: refused, timed out, broke the handshake, or reset before its first byte. Not for faults of our own
   * (no descriptors, no local port), which would eject endpoints that are well.
   */
  dialFailed(endpoint: Endpoint): void {
    const count = Atomics.add(endpoint.cell, FAILURES, 1) + 1;
    if (!this.#direct) this.#onFailures(endpoint, count);
  }

  /**
   * The endpoint proved that it works: its first byte came, or it ended in order. A connection that merely stands proves
   * nothing: who accepts and resets would clear its own failures each time.
   */
  dialSucceeded(endpoint: Endpoint): void {
    // A plain look: Atomics.load costs a call, and that it may come a moment late makes no difference here.
    if (endpoint.cell[FAILURES] !== 0) Atomics.store(endpoint.cell, FAILURES, 0);
  }

  #earn(retries: number): void {
    this.#retries = Math.min(RETRY_RESERVE, this.#retries + retries);
  }
}
