/**
 * Metrics in Prometheus text, collected when somebody asks: the counters live in shared memory and cost nothing in between.
 * Names and labels are public: interface.md section 4. A fresh registry per scrape makes double registration impossible.
 */
import { Counter, Gauge, Registry } from "prom-client";
import { type HistogramTotals, sumCluster, sumListener } from "./counters.ts";

/** What a scrape needs to know; all of it is read, nothing is kept. */
export interface MetricsView {
  readonly listeners: ReadonlyMap<string, readonly Float64Array[]>;
  readonly clusters: ReadonlyMap<string, readonly Float64Array[]>;
  readonly endpoints: readonly { cluster: string; endpoint: string; up: boolean; active: number }[];
  readonly dnsAnswers: readonly { name: string; result: string; total: number }[];
  readonly certificates: readonly { identity: string; notAfter: number }[];
  readonly generation: number;
  readonly reloads: Readonly<{ ok: number; failed: number }>;
  readonly logDropped: number;
  readonly descriptors: Readonly<{ open: number; limit: number }>;
  readonly build: Readonly<{ version: string; node: string; openssl: string; transport: string }>;
}

export const METRICS_TYPE = Registry.PROMETHEUS_CONTENT_TYPE;

export async function metricsText(view: MetricsView): Promise<string> {
  const registry = new Registry();
  const registers = [registry];
  const counter = <L extends string>(name: string, help: string, labelNames: L[] = []) =>
    new Counter({ name, help, labelNames, registers });
  const gauge = <L extends string>(name: string, help: string, labelNames: L[] = []) =>
    new Gauge({ name, help, labelNames, registers });

  const connections = counter("millrace_connections_total", "Connections ended, by reason", [
    "listener",
    "reason",
  ]);
  const active = gauge("millrace_connections_active", "Connections now", ["listener"]);
  const bytes = counter("millrace_bytes_total", "Bytes relayed; up is from client to upstream", [
    "listener",
    "direction",
  ]);
  const handshakes = counter("millrace_handshakes_total", "TLS handshakes with clients", [
    "listener",
    "version",
    "resumed",
    "result",
  ]);
  const handshakeSeconds: Labelled[] = [];
  const connectionSeconds: Labelled[] = [];
  for (const [listener, rows] of view.listeners) {
    const totals = sumListener(rows);
    for (const { reason, total } of totals.reasons)
      if (total > 0) connections.inc({ listener, reason }, total);
    active.set({ listener }, totals.active);
    bytes.inc({ listener, direction: "up" }, totals.bytesUp);
    bytes.inc({ listener, direction: "down" }, totals.bytesDown);
    for (const { version, resumed, ok, total } of totals.handshakes) {
      if (total > 0)
        handshakes.inc({ listener, version, resumed: String(resumed), result: ok ? "ok" : "failed" }, total);
    }
    handshakeSeconds.push({ label: `listener="${quoted(listener)}"`, totals: totals.handshakeSeconds });
    connectionSeconds.push({ label: `listener="${quoted(listener)}"`, totals: totals.connectionSeconds });
  }
  const dialSeconds = [...view.clusters].map(([cluster, rows]) => ({
    label: `cluster="${quoted(cluster)}"`,
    totals: sumCluster(rows),
  }));

  const up = gauge("millrace_endpoint_up", "1 when the endpoint is used", ["cluster", "endpoint"]);
  const endpointActive = gauge("millrace_endpoint_active", "Connections to the endpoint now", [
    "cluster",
    "endpoint",
  ]);
  for (const { cluster, endpoint, up: isUp, active: now } of view.endpoints) {
    up.set({ cluster, endpoint }, isUp ? 1 : 0);
    endpointActive.set({ cluster, endpoint }, now);
  }
  const answers = counter("millrace_dns_answers_total", "DNS answers, by result", ["name", "result"]);
  for (const { name, result, total } of view.dnsAnswers) answers.inc({ name, result }, total);
  const notAfter = gauge(
    "millrace_certificate_not_after_seconds",
    "Unix time at which the certificate expires",
    ["identity"],
  );
  for (const { identity, notAfter: at } of view.certificates)
    notAfter.set({ identity }, Math.round(at / 1000));
  gauge("millrace_generation", "Number of the running configuration").set(view.generation);
  const reloads = counter("millrace_reloads_total", "Reloads, by result", ["result"]);
  reloads.inc({ result: "ok" }, view.reloads.ok);
  reloads.inc({ result: "failed" }, view.reloads.failed);
  counter("millrace_log_dropped_total", "Access lines dropped, because the log was not read").inc(
    view.logDropped,
  );
  const descriptors = gauge("millrace_descriptors", "File descriptors of the process", ["state"]);
  descriptors.set({ state: "open" }, view.descriptors.open);
  descriptors.set({ state: "limit" }, view.descriptors.limit);
  gauge("millrace_build_info", "What runs", ["version", "node", "openssl", "transport"]).set(view.build, 1);

  return (
    (await registry.metrics()) +
    histogramText(
      "millrace_handshake_seconds",
      "TLS handshakes with clients that succeeded",
      handshakeSeconds,
    ) +
    histogramText("millrace_dial_seconds", "Time to connect to an endpoint", dialSeconds) +
    histogramText("millrace_connection_seconds", "Connections from accept to end", connectionSeconds)
  );
}

interface Labelled {
  readonly label: string;
  readonly totals: HistogramTotals;
}

// prom-client's histograms only take single observations; ours arrive as buckets that were counted elsewhere.
function histogramText(name: string, help: string, rows: readonly Labelled[]): string {
  let text = `\n# HELP ${name} ${help}\n# TYPE ${name} histogram\n`;
  for (const { label, totals } of rows) {
    for (const [i, bound] of totals.bounds.entries()) {
      text += `${name}_bucket{le="${bound}",${label}} ${totals.cumulative[i]}\n`;
    }
    const count = totals.cumulative.at(-1) ?? 0;
    text += `${name}_bucket{le="+Inf",${label}} ${count}\n${name}_sum{${label}} ${totals.sum}\n${name}_count{${label}} ${count}\n`;
  }
  return text;
}

/** A label's value as the text format wants it. */
function quoted(label: string): string {
  return label.replaceAll("\\", "\\\\").replaceAll('"', '\\"').replaceAll("\n", "\\n");
}
