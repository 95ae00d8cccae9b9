/**
 * Picks an endpoint of a set: priority tiers first (RFC 2782: the lowest value that has a usable endpoint), then the
 * cluster's policy within the tier. Health is read from the shared cells, so a change needs no message; the set's epoch
 * tells in one load whether there was one. Runs in workers: synchronous, no clock, nothing allocated on a pick.
 *
 * Invariants: never a tried endpoint, never a draining one. Panic: when nobody at all is usable, everybody but the draining
 * is in: if health is wrong about all, refusing all would turn a doubt into an outage.
 */
import type { ClusterConfig } from "../config/config.ts";
import { Affinity } from "./affinity.ts";
import { type Endpoint, type EndpointSet, HEALTH, HEALTH_UP, SHARE } from "./endpoint.ts";
import { LeastConnections } from "./least.ts";
import { Lottery } from "./lottery.ts";
import { Rotation } from "./rotation.ts";
import { currentWeights } from "./weights.ts";

export interface Balancer {
  /**
   * The next endpoint to dial, or null when the set has none that was not tried. A retry that used up a tier goes on with
   * the next one. `source` is the client's address without port; only `source_hash` looks at it.
   */
  pick(source: string | null, tried: readonly Endpoint[] | null): Endpoint | null;
}

/** How endpoints of one tier take turns. `refresh` comes before the first pick; weight 0 takes a member out. `tried` is never empty. */
interface Policy {
  refresh(weights: Float64Array): void;
  pick(source: string | null, tried: readonly Endpoint[] | null): Endpoint | null;
}

interface Tier {
  readonly members: readonly Endpoint[];
  readonly policy: Policy;
  weights: Float64Array;
}

/** A balancer over one set; a new set gets a new one. `random` yields [0, 1). */
export function createBalancer(
  policy: ClusterConfig["balance"],
  set: EndpointSet,
  random: () => number,
): Balancer {
  return new TieredBalancer(policy, set, random);
}

class TieredBalancer implements Balancer {
  readonly #endpoints: readonly Endpoint[];
  readonly #tiers: readonly Tier[];
  readonly #epoch: Int32Array | null;
  #seen: number;
  /** HEALTH and SHARE of every endpoint as last seen; they decide everything below. */
  readonly #snapshot: Int32Array;
  #first = 0;

  constructor(policy: ClusterConfig["balance"], set: EndpointSet, random: () => number) {
    this.#endpoints = set.endpoints;
    this.#tiers = tiersOf(set.endpoints, policy, random);
    this.#epoch = set.epoch ?? null;
    this.#snapshot = new Int32Array(set.endpoints.length).fill(-1);
    this.#seen = this.#epoch === null ? 0 : Atomics.load(this.#epoch, 0);
    this.#revalidate();
  }

  pick(source: string | null, tried: readonly Endpoint[] | null): Endpoint | null {
    if (this.#epoch === null) this.#revalidate();
    else {
      // A plain look, for Atomics.load costs a call. If there was a change it is taken for good before the cells are read, so
      // that one that comes meanwhile is found by the next pick.
      if (this.#epoch[0] !== this.#seen) {
        this.#seen = Atomics.load(this.#epoch, 0);
        this.#revalidate();
      }
    }
    const passed = tried !== null && tried.length > 0 ? tried : null;
    for (let index = this.#first; index < this.#tiers.length; index++) {
      const endpoint = this.#tiers[index]!.policy.pick(source, passed);
      if (endpoint !== null) return endpoint;
    }
    return null;
  }

  #revalidate(): void {
    let changed = false;
    let usable = 0;
    for (let index = 0; index < this.#endpoints.length; index++) {
      const cell = this.#endpoints[index]!.cell;
      const health = Atomics.load(cell, HEALTH);
      if (health === HEALTH_UP) usable++;
      const state = health * 1024 + Atomics.load(cell, SHARE); // SHARE is at most 1000
      if (state === this.#snapshot[index]) continue;
      this.#snapshot[index] = state;
      changed = true;
    }
    if (changed) this.#refresh(usable === 0);
  }

  #refresh(panic: boolean): void {
    this.#first = this.#tiers.length;
    for (let index = this.#tiers.length - 1; index >= 0; index--) {
      const tier = this.#tiers[index]!;
      const weights = currentWeights(tier.members, panic);
      if (weights.some((weight) => weight > 0)) this.#first = index;
      if (weights.every((weight, member) => weight === tier.weights[member])) continue;
      tier.weights = weights;
      tier.policy.refresh(weights);
    }
  }
}

function tiersOf(
  endpoints: readonly Endpoint[],
  policy: ClusterConfig["balance"],
  random: () => number,
): readonly Tier[] {
  const byPriority = new Map<number, Endpoint[]>();
  for (const endpoint of endpoints) {
    const members = byPriority.get(endpoint.priority);
    if (members === undefined) byPriority.set(endpoint.priority, [endpoint]);
    else members.push(endpoint);
  }
  return [...byPriority]
    .sort(([a], [b]) => a - b)
    .map(([, members]) => {
      const weights = new Float64Array(members.length);
      const tier = { members, policy: createPolicy(policy, members, random), weights };
      tier.policy.refresh(weights);
      return tier;
    });
}

function createPolicy(
  name: ClusterConfig["balance"],
  members: readonly Endpoint[],
  random: () => number,
): Policy {
  switch (name) {
    case "round_robin":
      return new RoundRobin(members, random);
    case "random":
      return new RandomChoice(members, random);
    case "least_connections":
      return new LeastConnections(members, random);
    case "source_hash":
      return new Affinity(members, random);
  }
}

class RoundRobin implements Policy {
  readonly #members: readonly Endpoint[];
  readonly #rotation: Rotation;

  constructor(members: readonly Endpoint[], random: () => number) {
    this.#members = members;
    this.#rotation = new Rotation(members.length, random);
  }

  refresh(weights: Float64Array): void {
    this.#rotation.refresh(weights);
  }

  pick(_source: string | null, tried: readonly Endpoint[] | null): Endpoint | null {
    const index = tried === null ? this.#rotation.next() : this.#rotation.nextUntried(this.#members, tried);
    return index < 0 ? null : this.#members[index]!;
  }
}

class RandomChoice implements Policy {
  readonly #members: readonly Endpoint[];
  readonly #lottery: Lottery;

  constructor(members: readonly Endpoint[], random: () => number) {
    this.#members = members;
    this.#lottery = new Lottery(members.length, random);
  }

  refresh(weights: Float64Array): void {
    this.#lottery.refresh(weights);
  }

  pick(_source: string | null, tried: readonly Endpoint[] | null): Endpoint | null {
    const index = tried === null ? this.#lottery.draw() : this.#lottery.drawUntried(this.#members, tried);
    return index < 0 ? null : this.#members[index]!;
  }
}
