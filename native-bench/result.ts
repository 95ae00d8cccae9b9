/** What a whole run leaves behind: plain data, stored as JSON, from which every table and chart is made. */
import type { Kind, Missing } from "./contender.ts";
import type { LoadResult } from "./generator.ts";
import type { Place } from "./place.ts";
import type { Histogram } from "./statistics.ts";
import type { Tail } from "./tail.ts";

/** One run of one contender. Costs are CPU seconds per GB or CPU microseconds per operation. */
export interface Run {
  readonly round: number;
  /** Of the proxy's process tree; null for `direct` and where there is no /proc. */
  readonly cost: number | null;
  /** Of the whole machine: proxy, generator, service and kernel. */
  readonly machineCost: number;
  /** GB/s or operations/s. */
  readonly rate: number;
  /** Share of its CPU that the proxy and the generator used. */
  readonly proxyShare: number;
  readonly loadShare: number;
  /** Share of the machine that other processes used, and that the hypervisor took. */
  readonly foreign: number;
  readonly steal: number;
  /** Time in which threads could have run and had no CPU, as a share of the run; the proxy's own threads add up. */
  readonly waited?: { readonly proxy: number; readonly generator: number };
  /** By how many more sockets are in TIME_WAIT after the run. */
  readonly timeWait?: number;
  readonly latency: LoadResult["latency"];
  readonly tickets: number;
  /** Access lines per operation; null where connections outlive the run. */
  readonly logged: number | null;
  /** Why this run does not count. */
  readonly dropped: string | null;
}

export interface Row {
  readonly contender: string;
  readonly kind: Kind;
  readonly version: string;
  /** Where one contender is measured with several numbers of workers. */
  readonly workers?: number;
  readonly runs: readonly Run[];
  /** The first seconds after the start, before anything is warm. */
  readonly cold: Run | null;
  /** Latencies of all counted runs together. */
  readonly histogram: Histogram;
  /** At a fixed rate: the percentiles and what they add to a direct connection. */
  readonly tails?: readonly Tail[];
  readonly failed: string | null;
}

export interface WorkResult {
  readonly name: string;
  readonly title: string;
  readonly shape: string;
  readonly unit: "GB" | "operation";
  /** Open loop: the fixed rate. */
  readonly rate: number | null;
  readonly sweep: { readonly name: string; readonly axis: string; readonly x: number } | null;
  readonly rows: readonly Row[];
}

/** Bytes. `user` is the growth of the process tree's proportional set size. */
export interface IdleRow {
  readonly contender: string;
  readonly kind: Kind;
  readonly shape: "plain" | "terminate";
  readonly connections: number;
  readonly atStart: number;
  readonly user: number;
  readonly afterRelease: number;
  readonly failed: string | null;
}

export interface CallsRow {
  readonly contender: string;
  readonly kind: Kind;
  readonly connections: number;
  /** Calls per connection, the most frequent first. */
  readonly calls: readonly (readonly [string, number])[];
  readonly total: number;
  readonly failed: string | null;
}

export interface Report {
  readonly format: 1;
  readonly date: string;
  readonly command: string;
  readonly quick: boolean;
  readonly revision: string;
  readonly place: Place;
  readonly generator: "c" | "node";
  readonly accessLog: boolean;
  readonly seconds: number;
  readonly runs: number;
  readonly warmup: number;
  readonly contenders: readonly {
    readonly name: string;
    readonly kind: Kind;
    readonly version: string;
    readonly note: string | null;
  }[];
  readonly missing: readonly Missing[];
  readonly works: readonly WorkResult[];
  readonly idle: readonly IdleRow[];
  readonly calls: readonly CallsRow[];
}

/** Reads a stored report. JSON writes null for the infinity that an end of an interval may be. */
export function parseReport(text: string): Report {
  return JSON.parse(text, (key, value: unknown) =>
    (key === "low" || key === "high") && value === null ? Number.POSITIVE_INFINITY : value,
  ) as Report;
}
