/**
 * Counters in shared memory: one row of doubles per listener (or cluster) and worker, written by that worker only and summed
 * by control on scrape. A row is a SharedArrayBuffer that outlives generations, so totals never go back. One writer per row
 * and aligned doubles make atomics unnecessary.
 */
import { REASONS, type Reason } from "../errors.ts";
import type { ConnectionRecord } from "./record.ts";

/** Upper bounds in seconds of the histogram buckets; from a loopback hop to a slow handshake across the world. */
export const SECONDS_BUCKETS = [
  0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10,
] as const;
/** Connections live longer than handshakes. */
export const LIFETIME_BUCKETS = [0.01, 0.1, 1, 10, 60, 300, 1800, 3600, 14400, 86400] as const;
/** As they appear in `millrace_handshakes_total{version}`. */
export const VERSIONS = ["TLSv1.2", "TLSv1.3", "none"] as const;

// A histogram is its buckets (the last one is +Inf) followed by the sum; the count is the sum over buckets.
const size = (buckets: readonly number[]): number => buckets.length + 2;

const REASON = 0;
const ACTIVE = REASON + REASONS.length;
const BYTES_UP = ACTIVE + 1;
const BYTES_DOWN = BYTES_UP + 1;
const HANDSHAKES = BYTES_DOWN + 1; // version × resumed × result
const HANDSHAKE_SECONDS = HANDSHAKES + VERSIONS.length * 4;
const CONNECTION_SECONDS = HANDSHAKE_SECONDS + size(SECONDS_BUCKETS);
const LISTENER_DOUBLES = CONNECTION_SECONDS + size(LIFETIME_BUCKETS);

/** A zeroed row for one listener and one worker. */
export function createListenerRow(): Float64Array {
  return new Float64Array(new SharedArrayBuffer(LISTENER_DOUBLES * 8));
}

/** A zeroed row for one cluster and one worker: the histogram of dial times. */
export function createClusterRow(): Float64Array {
  return new Float64Array(new SharedArrayBuffer(size(SECONDS_BUCKETS) * 8));
}

export function countAccepted(row: Float64Array): void {
  row[ACTIVE]! += 1;
}

/** Counts bytes as they flow, so that a long connection is visible before it ends. */
export function countBytes(row: Float64Array, up: number, down: number): void {
  row[BYTES_UP]! += up;
  row[BYTES_DOWN]! += down;
}

export function countHandshake(
  row: Float64Array,
  version: string | null,
  resumed: boolean,
  ok: boolean,
  ms: number,
): void {
  const known = VERSIONS.indexOf(version as (typeof VERSIONS)[number]);
  const column = known === -1 ? VERSIONS.length - 1 : known;
  row[HANDSHAKES + column * 4 + (resumed ? 2 : 0) + (ok ? 0 : 1)]! += 1;
  if (ok) observe(row, HANDSHAKE_SECONDS, SECONDS_BUCKETS, ms / 1000);
}

export function countDial(row: Float64Array, ms: number): void {
  observe(row, 0, SECONDS_BUCKETS, ms / 1000);
}

/** Folds an ended record. Its bytes have been counted by `countBytes`. */
export function countEnded(row: Float64Array, record: ConnectionRecord): void {
  row[ACTIVE]! -= 1;
  row[REASON + REASONS.indexOf(record.reason ?? "internal")]! += 1;
  observe(row, CONNECTION_SECONDS, LIFETIME_BUCKETS, record.durationMs / 1000);
}

function observe(row: Float64Array, at: number, buckets: readonly number[], seconds: number): void {
  let bucket = 0;
  while (bucket < buckets.length && seconds > buckets[bucket]!) bucket += 1;
  row[at + bucket]! += 1;
  row[at + buckets.length + 1]! += seconds;
}

/** A histogram as Prometheus wants it: cumulative counts per bound, +Inf last. */
export interface HistogramTotals {
  readonly bounds: readonly number[];
  readonly cumulative: readonly number[];
  readonly sum: number;
}

export interface ListenerTotals {
  readonly reasons: readonly { readonly reason: Reason; readonly total: number }[];
  readonly active: number;
  readonly bytesUp: number;
  readonly bytesDown: number;
  readonly handshakes: readonly {
    readonly version: string;
    readonly resumed: boolean;
    readonly ok: boolean;
    readonly total: number;
  }[];
  readonly handshakeSeconds: HistogramTotals;
  readonly connectionSeconds: HistogramTotals;
}

/** Sums the rows of all workers. */
export function sumListener(rows: readonly Float64Array[]): ListenerTotals {
  const sum = new Float64Array(LISTENER_DOUBLES);
  for (const row of rows) for (let i = 0; i < LISTENER_DOUBLES; i += 1) sum[i]! += row[i]!;
  return {
    reasons: REASONS.map((reason, i) => ({ reason, total: sum[REASON + i]! })),
    active: sum[ACTIVE]!,
    bytesUp: sum[BYTES_UP]!,
    bytesDown: sum[BYTES_DOWN]!,
    handshakes: VERSIONS.flatMap((version, v) =>
      [0, 1, 2, 3].map((i) => ({
        version,
        resumed: i >= 2,
        ok: i % 2 === 0,
        total: sum[HANDSHAKES + v * 4 + i]!,
      })),
    ),
    handshakeSeconds: histogram(sum, HANDSHAKE_SECONDS, SECONDS_BUCKETS),
    connectionSeconds: histogram(sum, CONNECTION_SECONDS, LIFETIME_BUCKETS),
  };
}

export function sumCluster(rows: readonly Float64Array[]): HistogramTotals {
  const sum = new Float64Array(size(SECONDS_BUCKETS));
  for (const row of rows) for (let i = 0; i < sum.length; i += 1) sum[i]! += row[i]!;
  return histogram(sum, 0, SECONDS_BUCKETS);
}

function histogram(sum: Float64Array, at: number, bounds: readonly number[]): HistogramTotals {
  const cumulative: number[] = [];
  let count = 0;
  for (let i = 0; i <= bounds.length; i += 1) {
    count += sum[at + i]!;
    cumulative.push(count);
  }
  return { bounds, cumulative, sum: sum[at + bounds.length + 1]! };
}
