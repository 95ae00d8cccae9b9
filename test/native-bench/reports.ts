/** Reports made by hand, for tests of what is made from them. */
import type { Report, Row, Run, WorkResult } from "../../native-bench/result.ts";

export function run(round: number, cost: number, dropped: string | null = null): Run {
  const latency = { count: 1, min: 1, mean: 1, p50: 1, p90: 1, p99: 1, p999: 1, max: 1 };
  const shares = { proxyShare: 0.9, loadShare: 0.5, foreign: 0, steal: 0 };
  return {
    round,
    cost,
    machineCost: 2 * cost,
    rate: 1e6 / cost,
    ...shares,
    latency,
    tickets: 0,
    logged: 1,
    dropped,
  };
}

export function row(contender: string, kind: Row["kind"], costs: readonly number[]): Row {
  const runs = costs.map((cost, round) => run(round, cost));
  return { contender, kind, version: "1", runs, cold: null, histogram: [[1000, 5]], failed: null };
}

export function work(rows: readonly Row[], more: Partial<WorkResult> = {}): WorkResult {
  return {
    name: "crr",
    title: "connect",
    shape: "plain",
    unit: "operation",
    rate: null,
    sweep: null,
    rows,
    ...more,
  };
}

export function report(works: readonly WorkResult[]): Report {
  return {
    ...{
      format: 1,
      date: "2026-01-01 00:00",
      command: "npm run bench",
      quick: false,
      revision: "abc",
      generator: "c",
    },
    ...{ accessLog: true, seconds: 1, runs: 3, warmup: 1, missing: [{ name: "envoy", reason: "not here" }] },
    place: {
      ...{ namespace: true, link: "loopback", proxyCpu: 1, loadCpu: 0, congestion: "reno" },
      machine: { cpu: "cpu", cpus: 2, kernel: "6.1", memory: 2 ** 31 },
    },
    contenders: works[0]!.rows.map((r) => ({ name: r.contender, kind: r.kind, version: "1", note: null })),
    works,
    idle: [],
    calls: [],
  };
}
