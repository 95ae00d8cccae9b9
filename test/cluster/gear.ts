/** Endpoints, sets, chance and time that tests of the cluster room are made of. */
import type { Clock } from "../../lib/cluster/clock.ts";
import {
  createCell,
  createEpoch,
  type Endpoint,
  type EndpointSet,
  HEALTH,
} from "../../lib/cluster/endpoint.ts";
import type { ClusterConfig } from "../../lib/config/config.ts";
import { formatAddress, parseAddress, type SocketAddress } from "../../lib/wire/address.ts";

/** Mulberry32: the same numbers for the same seed. */
export function seeded(seed: number): () => number {
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

export interface EndpointSpec {
  readonly weight?: number;
  readonly priority?: number;
  readonly health?: number;
}

/** 10.0.x.y:80, as many as there are specs. */
export function endpointsOf(specs: readonly EndpointSpec[]): Endpoint[] {
  return specs.map(({ weight = 1, priority = 0, health = 0 }, index) => {
    const cell = createCell();
    cell[HEALTH] = health;
    const address = { kind: "ip", host: `10.0.${index >> 8}.${index & 255}`, port: 80 } as const;
    return { key: formatAddress(address), address, name: null, weight, priority, cell };
  });
}

export function equals(count: number): Endpoint[] {
  return endpointsOf(Array.from({ length: count }, () => ({})));
}

export function setOf(endpoints: readonly Endpoint[], version = 1): EndpointSet & { epoch: Int32Array } {
  return { cluster: "web", version, resolved: true, endpoints, epoch: createEpoch() };
}

/** As control writes it: the cell, then the epoch. */
export function write(set: { epoch: Int32Array }, endpoint: Endpoint, index: number, value: number): void {
  Atomics.store(endpoint.cell, index, value);
  Atomics.add(set.epoch, 0, 1);
}

/** How often each key was picked in `count` picks, as parts of 1. */
export function shares(count: number, pick: (turn: number) => Endpoint | null): Map<string, number> {
  const counts = new Map<string, number>();
  for (let turn = 0; turn < count; turn++) {
    const key = pick(turn)?.key ?? "none";
    counts.set(key, (counts.get(key) ?? 0) + 1 / count);
  }
  return counts;
}

/** Distinct IPv4 sources. */
export function sourceOf(turn: number): string {
  return `${10 + (turn >> 24)}.${(turn >> 16) & 255}.${(turn >> 8) & 255}.${turn & 255}`;
}

export function clusterConfig(overrides: Partial<ClusterConfig> = {}): ClusterConfig {
  return {
    name: "web",
    source: { kind: "static", endpoints: [] },
    minTtl: 1000,
    maxTtl: 300_000,
    keepLastGood: true,
    maxRemoval: 0.5,
    balance: "round_robin",
    connect: { retries: 2, timeout: null },
    health: null,
    eject: null,
    tls: null,
    proxyProtocol: "off",
    sourceAddress: "proxy",
    slowStart: 0,
    ...overrides,
  };
}

/** `{ address: "10.0.0.1:80" }` as configured. */
export function staticSource(
  ...addresses: (string | { address: string; weight?: number; priority?: number })[]
) {
  return {
    kind: "static" as const,
    endpoints: addresses.map((entry) => {
      const { address, weight = 1, priority = 0 } = typeof entry === "string" ? { address: entry } : entry;
      return { address: parseAddress(address) as SocketAddress, weight, priority };
    }),
  };
}

/** A clock that moves only by `pass`. */
export class HandClock implements Clock {
  #now = 1_000_000;
  readonly #timers = new Set<{ at: number; run: () => void }>();

  now(): number {
    return this.#now;
  }

  after(ms: number, run: () => void): () => void {
    const timer = { at: this.#now + ms, run };
    this.#timers.add(timer);
    return () => this.#timers.delete(timer);
  }

  get pending(): number {
    return this.#timers.size;
  }

  /** Runs what falls due, in order, and lets promises settle after each. */
  async pass(ms: number): Promise<void> {
    const end = this.#now + ms;
    for (;;) {
      const [next] = [...this.#timers].filter((timer) => timer.at <= end).sort((a, b) => a.at - b.at);
      if (next === undefined) break;
      this.#timers.delete(next);
      this.#now = Math.max(this.#now, next.at);
      next.run();
      await new Promise(setImmediate);
    }
    this.#now = end;
  }
}
