/**
 * One piece of work, all contenders: each is started on a port of its own, warmed up, then measured in rounds whose
 * order turns round (A B C, C B A, B C A, ...), so that a slow minute of the machine falls on all alike. A run that
 * the hypervisor disturbed is done again, twice at most.
 */
import { join } from "node:path";
import type { Certificates } from "./certificates.ts";
import type { Contender, Hop } from "./contender.ts";
import { type Generator, type LoadResult, runLoad } from "./generator.ts";
import type { Place } from "./place.ts";
import { type Running, start } from "./process.ts";
import type { Progress } from "./progress.ts";
import type { Row, Run, WorkResult } from "./result.ts";
import { median, merge } from "./statistics.ts";
import type { Work } from "./works.ts";

export interface Setting {
  readonly generator: Generator;
  readonly place: Place;
  readonly certificates: Certificates;
  readonly directory: string;
  readonly accessLog: boolean;
  readonly seconds: number;
  readonly runs: number;
  readonly warmup: number;
  readonly progress: Progress;
}

/** Below the ephemeral ports that place.ts sets. */
const FIRST_PORT = 8001;
const SERVICE_PORT = 8000;
/** A run from which the hypervisor took more than this is done again. */
const STEAL_MAX = 0.01;
const REPEATS = 2;
/** A new process per run has its sockets and caches to fill even when the contender is warm. */
const SETTLE_SECONDS = 0.2;

/** Spare descriptors for listeners, logs, pipes and libraries. */
const SPARE = 500;

/** How many connections one process can carry through with this descriptor limit. */
export function affordable(place: Place, wanted: number): number {
  return Math.max(1, Math.min(wanted, Math.floor((place.descriptors - SPARE) / 2)));
}

export function hopFor(
  setting: Setting,
  contender: Contender,
  work: Pick<Work, "shape" | "connections" | "routes" | "endpoints">,
  index: number,
): Hop {
  return {
    shape: work.shape,
    listen: FIRST_PORT + index,
    target: SERVICE_PORT,
    directory: join(setting.directory, `${index}-${contender.name}`),
    certificates: setting.certificates,
    accessLog: setting.accessLog,
    connections: affordable(setting.place, work.connections + SPARE),
    routes: work.routes ?? 1,
    endpoints: work.endpoints ?? 1,
  };
}

/** The generator's options for one hop, without times. */
export function loadOptions(setting: Setting, running: Running, load: readonly string[]): string[] {
  const { contender, hop } = running;
  const isDirect = contender.kind === "direct";
  const c = setting.certificates;
  const clientTls = hop.shape === "terminate" || (isDirect && hop.shape === "originate");
  const serviceTls = hop.shape === "originate" || (isDirect && hop.shape === "terminate");
  const [cert, key] = serviceTls ? [c.cert, c.key] : [c.clientCert, c.clientKey];
  const tls = clientTls || serviceTls ? ["--ca", c.ca, "--cert", cert, "--key", key] : [];
  const everywhere = hop.endpoints > 1 ? "0.0.0.0" : "127.0.0.1";
  return [
    ...load,
    ...[
      "--target",
      `127.0.0.1:${isDirect ? hop.target : hop.listen}`,
      "--service",
      `${everywhere}:${hop.target}`,
    ],
    ...["--sni", c.name, ...tls],
    ...(clientTls ? ["--tls"] : []),
    ...(serviceTls ? ["--service-tls"] : []),
    ...(setting.place.loadCpu === null ? [] : ["--cpu", String(setting.place.loadCpu), "--spin"]),
    ...(running.pid ? ["--watch", String(running.pid)] : []),
  ];
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

function toRun(round: number, result: LoadResult, work: Work, running: Running, cpus: number): Run {
  const gigabytes = (result.bytes_up + result.bytes_down) / 1e9;
  const units = work.unit === "GB" ? gigabytes : result.operations;
  /** ns per unit to s per GB or µs per operation. */
  const scale = work.unit === "GB" ? 1e-9 : 1e-3;
  const { cpu } = result;
  const all = cpu.available || result.seconds * 1e9 * cpus;
  const once = work.load.includes("crr");
  return {
    round,
    cost: running.pid && cpu.proxy > 0 ? (cpu.proxy * scale) / units : null,
    machineCost: (cpu.machine * scale) / units,
    rate: units / result.seconds,
    proxyShare: cpu.proxy / 1e9 / result.seconds,
    loadShare: cpu.generator / 1e9 / result.seconds,
    foreign: Math.max(0, (cpu.machine - cpu.proxy - cpu.generator) / all),
    steal: cpu.steal / all,
    latency: result.latency,
    tickets: result.handshakes > 0 ? result.tickets / result.handshakes : 0,
    logged: once && running.pid && running.hop.accessLog ? running.logLines() / result.operations : null,
    dropped: judge(result, work),
  };
}

interface Entry {
  readonly contender: Contender;
  running: Running | null;
  readonly runs: Run[];
  readonly histograms: LoadResult["histogram"][];
  cold: Run | null;
  failed: string | null;
}

async function once(
  setting: Setting,
  work: Work,
  entry: Entry,
  round: number,
  seconds: number,
  warmup: number,
  load: readonly string[],
): Promise<Run> {
  const running = entry.running!;
  running.emptyLogs();
  const options = [
    ...loadOptions(setting, running, load),
    "--seconds",
    String(seconds),
    "--warmup",
    String(warmup),
  ];
  const result = await runLoad(setting.generator, options, (seconds + warmup) * 1000 + 90_000);
  const run = toRun(round, result, work, running, setting.place.machine.cpus);
  if (!run.dropped) entry.histograms.push(result.histogram);
  return run;
}

/** A rate that everyone can hold: `share` of what the slowest reached, rounded to two digits. */
async function commonRate(
  setting: Setting,
  work: Work,
  entries: readonly Entry[],
  reference: Work,
  known: readonly WorkResult[],
): Promise<number> {
  const before = known.find((result) => result.name === reference.name);
  const rates: number[] = [];
  for (const entry of entries.filter((e) => e.running && e.contender.kind !== "direct")) {
    const row = before?.rows.find((r) => r.contender === entry.contender.name && r.runs.length > 0);
    if (row) rates.push(median(row.runs.map((run) => run.rate)));
    else
      rates.push(
        (
          await once(
            setting,
            reference,
            entry,
            -1,
            Math.min(0.5, setting.seconds),
            SETTLE_SECONDS,
            reference.load,
          )
        ).rate,
      );
  }
  const rate = Math.min(...rates) * work.rate!.share;
  return Number(rate.toPrecision(2));
}

/** The order of a round: forwards, backwards, and starting elsewhere every second round. */
export function order<T>(list: readonly T[], round: number): T[] {
  const shift = list.length > 0 ? (round >> 1) % list.length : 0;
  const turned = [...list.slice(shift), ...list.slice(0, shift)];
  return round % 2 === 0 ? turned : turned.reverse();
}

async function warmUp(
  setting: Setting,
  work: Work,
  entry: Entry,
  index: number,
  load: readonly string[],
): Promise<void> {
  try {
    entry.running ??= await start(
      setting.generator,
      entry.contender,
      hopFor(setting, entry.contender, work, index),
      setting.place.proxyCpu,
    );
    entry.cold = await once(setting, work, entry, -1, setting.warmup, 0, load);
    entry.histograms.length = 0;
  } catch (error) {
    entry.failed = (error as Error).message;
  }
}

async function measureOne(
  setting: Setting,
  work: Work,
  entry: Entry,
  round: number,
  load: readonly string[],
): Promise<void> {
  for (let attempt = 0; attempt <= REPEATS; attempt++) {
    try {
      const samples = entry.histograms.length;
      const run = await once(setting, work, entry, round, setting.seconds, SETTLE_SECONDS, load);
      const stolen = run.steal > STEAL_MAX;
      if (stolen && !run.dropped) entry.histograms.length = samples;
      entry.runs.push(
        stolen && !run.dropped ? { ...run, dropped: `steal ${(run.steal * 100).toFixed(1)} %` } : run,
      );
      if (!stolen) return;
    } catch (error) {
      entry.failed = (error as Error).message;
      return;
    }
  }
}

/** Measures `work` with every contender that can do it. A contender that fails has the reason in its row. */
export async function measure(
  setting: Setting,
  work: Work,
  contenders: readonly Contender[],
  works: readonly Work[],
  known: readonly WorkResult[],
): Promise<WorkResult> {
  const able = contenders.filter(
    (c) => c.shapes.includes(work.shape) && (c.many || work.connections <= 64) && fits(c, work),
  );
  const entries: Entry[] = able.map((contender) => ({
    contender,
    running: null,
    runs: [],
    histograms: [],
    cold: null,
    failed: null,
  }));
  let load = work.load;
  let rate: number | null = null;
  try {
    if (work.rate) {
      const reference = works.find((w) => w.name === work.rate!.of)!;
      for (const [i, entry] of entries.entries()) {
        setting.progress.step(work.name, entry.contender.name, "starting");
        await warmUp(setting, reference, entry, i, reference.load);
      }
      rate = await commonRate(setting, work, entries, reference, known);
      load = [...work.load, "--rate", String(rate)];
    }
    for (const [i, entry] of entries.entries()) {
      setting.progress.step(work.name, entry.contender.name, "warming up");
      if (!entry.failed) await warmUp(setting, work, entry, i, load);
    }
    for (let round = 0; round < setting.runs; round++) {
      for (const entry of order(entries, round)) {
        setting.progress.step(work.name, entry.contender.name, `run ${round + 1} of ${setting.runs}`);
        if (!entry.failed) await measureOne(setting, work, entry, round, load);
      }
    }
  } finally {
    for (const entry of entries) await entry.running?.stop();
  }
  const rows = entries.map(
    (entry): Row => ({
      contender: entry.contender.name,
      kind: entry.contender.kind,
      version: entry.contender.version,
      runs: entry.runs,
      cold: entry.cold,
      histogram: merge(entry.histograms),
      failed:
        entry.failed ??
        (entry.runs.every((run) => run.dropped) ? (entry.runs[0]?.dropped ?? "no run") : null),
    }),
  );
  return {
    name: work.name,
    title: work.title,
    shape: work.shape,
    unit: work.unit,
    rate,
    sweep: work.sweep ?? null,
    rows,
  };
}

/** The bare relay knows neither many routes nor many endpoints, and nothing is told of them to a direct connection. */
function fits(contender: Contender, work: Work): boolean {
  if (!work.sweep) return true;
  const choosing =
    (work.routes ?? 1) > 1 ||
    (work.endpoints ?? 1) > 1 ||
    work.sweep.name === "by-routes" ||
    work.sweep.name === "by-endpoints";
  return choosing ? contender.kind === "millrace" || contender.kind === "peer" : contender.kind !== "direct";
}
