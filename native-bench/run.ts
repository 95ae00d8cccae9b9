/** One run of the generator against one contender, judged: a run whose work was not done cleanly does not count. */
import { readFileSync } from "node:fs";
import { type LoadResult, runLoad } from "./generator.ts";
import { loadOptions, type Setting } from "./hop.ts";
import type { Running } from "./process.ts";
import type { Run } from "./result.ts";
import type { Histogram } from "./statistics.ts";
import type { Work } from "./works.ts";

/** How long the generator may take beyond its own times: connections by the thousand, a machine that is busy. */
const GRACE_MS = 90_000;

export interface Times {
  readonly round: number;
  readonly seconds: number;
  readonly warmup: number;
}

function judge(result: LoadResult, work: Work): string | null {
  const { connect, io, tls, data } = result.errors;
  if (connect + io + tls + data > 0)
    return `errors: connect ${connect}, io ${io}, TLS ${tls}, wrong bytes ${data}`;
  if (result.stalled > 0) return `${result.stalled} connections stalled`;
  const units = work.unit === "GB" ? result.bytes_up + result.bytes_down : result.operations;
  if (units === 0) return "nothing was done";
  if (work.resumed && result.resumed < result.handshakes)
    return `only ${result.resumed} of ${result.handshakes} sessions were resumed`;
  if (work.load.includes("crr") && !work.resumed && result.resumed > 0)
    return `${result.resumed} sessions were resumed`;
  return null;
}

/** Sockets in TIME_WAIT on the proxy's side of the link. */
function timeWait(pid: number): number {
  try {
    const text = readFileSync(`/proc/${pid || "self"}/net/sockstat`, "utf8");
    return Number(/^TCP:.* tw (\d+)/m.exec(text)?.[1] ?? 0);
  } catch {
    return 0;
  }
}

function toRun(
  round: number,
  result: LoadResult,
  work: Work,
  running: Running,
  cpus: number,
  timeWaited: number,
): Run {
  const units = work.unit === "GB" ? (result.bytes_up + result.bytes_down) / 1e9 : result.operations;
  /** ns per unit to s per GB or µs per operation. */
  const scale = work.unit === "GB" ? 1e-9 : 1e-3;
  const { cpu, waited } = result;
  const window = result.seconds * 1e9;
  const logs = work.load.includes("crr") && running.pid > 0 && running.hop.accessLog;
  return {
    round,
    cost: running.pid && cpu.proxy > 0 ? (cpu.proxy * scale) / units : null,
    machineCost: (cpu.machine * scale) / units,
    rate: units / result.seconds,
    proxyShare: cpu.proxy / window,
    loadShare: cpu.generator / window,
    foreign: cpu.others / (window * cpus),
    steal: cpu.steal / (cpu.available || window * cpus),
    waited: { proxy: waited.proxy / window, generator: waited.generator / window },
    timeWait: Math.max(0, timeWait(running.pid) - timeWaited),
    latency: result.latency,
    tickets: result.handshakes > 0 ? result.tickets / result.handshakes : 0,
    logged: logs ? running.logLines() / result.operations_all : null,
    dropped: judge(result, work),
  };
}

/** `load` is the work's, with what was found out since, such as a rate. */
export async function runOnce(
  setting: Setting,
  work: Work,
  running: Running,
  load: readonly string[],
  { round, seconds, warmup }: Times,
): Promise<{ readonly run: Run; readonly histogram: Histogram }> {
  running.emptyLogs();
  const options = [
    ...loadOptions(setting, running, load, !work.workers),
    ...["--seconds", String(seconds), "--warmup", String(warmup)],
  ];
  const before = timeWait(running.pid);
  const result = await runLoad(setting.generator, options, (seconds + warmup) * 1000 + GRACE_MS);
  const run = toRun(round, result, work, running, setting.place.machine.cpus, before);
  return { run, histogram: result.histogram };
}
