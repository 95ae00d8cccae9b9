/**
 * Counter rows and live counts, by name. They outlive generations, so that totals never go back and a listener that returns goes
 * on counting where it stopped. Invariant: one row per worker, and a worker writes its own only.
 */
import type { Config } from "./config/config.ts";
import type { Plan } from "./generation.ts";
import { createClusterRow, createListenerRow } from "./observe/counters.ts";

/** The part of a plan in which workers differ. */
export type WorkerRows = Pick<Plan, "listenerRows" | "clusterRows" | "listenerLive">;

export class Rows {
  readonly #listeners = new Map<string, Float64Array[]>();
  readonly #clusters = new Map<string, Float64Array[]>();
  readonly #live = new Map<string, Int32Array>();

  /** By listener name, one row per worker. */
  get listeners(): ReadonlyMap<string, readonly Float64Array[]> {
    return this.#listeners;
  }
  /** By cluster name, one row per worker. */
  get clusters(): ReadonlyMap<string, readonly Float64Array[]> {
    return this.#clusters;
  }

  /** What each of `workers` counts in; rows that are missing are made. */
  of({ listeners, clusters }: Config, workers: number): WorkerRows[] {
    const listenerNames = listeners.map(({ name }) => name);
    const clusterNames = Object.keys(clusters);
    const rows = (create: () => Float64Array) => () => Array.from({ length: workers }, create);
    const ofListeners = entriesOf(this.#listeners, listenerNames, rows(createListenerRow));
    const ofClusters = entriesOf(this.#clusters, clusterNames, rows(createClusterRow));
    const live = entriesOf(this.#live, listenerNames, () => new Int32Array(new SharedArrayBuffer(4)));
    return Array.from({ length: workers }, (_, worker) => ({
      listenerRows: Object.fromEntries(ofListeners.map(([name, all]) => [name, all[worker]!])),
      clusterRows: Object.fromEntries(ofClusters.map(([name, all]) => [name, all[worker]!])),
      listenerLive: Object.fromEntries(live),
    }));
  }
}

function entriesOf<T>(known: Map<string, T>, names: readonly string[], create: () => T): [string, T][] {
  return names.map((name) => {
    const value = known.get(name) ?? create();
    known.set(name, value);
    return [name, value];
  });
}
