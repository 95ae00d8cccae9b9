/**
 * The pieces of work that are measured, and how the generator is told to do each. A sweep is a row of works that
 * differ in one number: it shows that a cost does not grow with that number.
 */
import type { Shape } from "./contender.ts";

export interface Work {
  readonly name: string;
  /** One line for the tables. */
  readonly title: string;
  readonly shape: Shape;
  /** What one unit of cost is: CPU seconds per GB moved, or CPU microseconds per operation. */
  readonly unit: "GB" | "operation";
  /** The generator's mode and options, without addresses, certificates and times. */
  readonly load: readonly string[];
  readonly quick?: boolean;
  /** Connections open at once. */
  readonly connections: number;
  /** Open loop: the rate is a share of what the slowest contender reached in the work named here. */
  readonly rate?: { readonly of: string; readonly share: number };
  /** Sessions must be resumed: fewer than all but the first few is a failed run. */
  readonly resumed?: boolean;
  readonly routes?: number;
  readonly endpoints?: number;
  readonly sweep?: { readonly name: string; readonly axis: string; readonly x: number };
}

/** Clients come from several loopback addresses: one alone has too few ephemeral ports for short connections. */
const SOURCES = ["--sources", "8"];

function bulk(name: string, title: string, mode: string, connections: number, shape: Shape = "plain"): Work {
  const load = [`bulk-${mode}`, "--connections", String(connections)];
  return { name, title, shape, unit: "GB", connections, load };
}

function ping(name: string, title: string, connections: number, shape: Shape = "plain"): Work {
  const load = ["ping", "--connections", String(connections), "--size", "100"];
  return { name, title, shape, unit: "operation", connections, load };
}

/** `closing` and other options of the generator follow. */
function crr(name: string, title: string, connections: number, shape: Shape, ...more: string[]): Work {
  const load = ["crr", "--connections", String(connections), "--size", "100", ...SOURCES, ...more];
  return { name, title, shape, unit: "operation", connections, load };
}

export const WORKS: readonly Work[] = [
  bulk("bulk1", "bulk, 1 stream up", "up", 1),
  { ...bulk("bulk8", "bulk, 8 streams up", "up", 8), quick: true },
  bulk("bulk8-down", "bulk, 8 streams down", "down", 8),
  bulk("bulk8-both", "bulk, 8 streams both ways", "both", 8),
  ping("ping1", "ping-pong 100 B, 1 connection", 1),
  { ...ping("ping64", "ping-pong 100 B, 64 connections", 64), quick: true },
  { ...crr("crr", "connect, 100 B each way, client resets", 32, "plain"), quick: true },
  crr("crr-fin", "connect, 100 B each way, service closes", 32, "plain", "--close", "service-fin"),
  crr("sni", "connect, routed by SNI, passthrough", 32, "passthrough", "--hello"),
  { ...bulk("tbulk", "bulk TLS in, plain out (decrypt), 2 streams", "up", 2, "terminate"), quick: true },
  bulk("tbulk-down", "bulk plain in, TLS back (encrypt), 2 streams", "down", 2, "terminate"),
  bulk("tbulk-out", "bulk plain in, TLS out (originate, encrypt), 2 streams", "up", 2, "originate"),
  ping("tping16", "ping-pong 100 B over TLS, 16 connections", 16, "terminate"),
  { ...crr("hs", "full mTLS handshake, 100 B each way", 16, "terminate"), quick: true },
  { ...crr("hsr", "resumed mTLS handshake, 100 B each way", 16, "terminate", "--resume"), resumed: true },
  { ...ping("latency", "100 B at a fixed rate, 64 connections", 64), rate: { of: "ping64", share: 0.6 } },
  {
    ...ping("tlatency", "100 B over TLS at a fixed rate, 16 connections", 16, "terminate"),
    rate: { of: "tping16", share: 0.6 },
  },
];

function sweep(name: string, axis: string, values: readonly number[], make: (x: number) => Work): Work[] {
  return values.map((x) => ({
    ...make(x),
    name: `${name}-${x}`,
    title: `${axis} ${x}`,
    sweep: { name, axis, x },
  }));
}

function sized(x: number): Work {
  return { ...ping("", "", 16), load: ["ping", "--connections", "16", "--size", String(x)] };
}

function withIdle(x: number): Work {
  const work = ping("", "", 16);
  return { ...work, load: [...work.load, "--idle", String(x)], connections: 16 + x };
}

export const SWEEPS: readonly Work[] = [
  ...sweep("by-size", "message size (bytes)", [64, 1024, 16384, 131072, 1048576], sized),
  ...sweep("by-connections", "busy connections", [1, 16, 256, 2048], (x) => ping("", "", x)),
  ...sweep("by-idle", "idle connections beside 16 busy ones", [0, 1000, 8000], withIdle),
  ...sweep("by-routes", "SNI routes", [1, 100, 1000, 10000], (x) => ({
    ...crr("", "", 32, "passthrough", "--hello"),
    routes: x,
  })),
  ...sweep("by-endpoints", "endpoints of the cluster", [1, 100, 1000], (x) => ({
    ...crr("", "", 32, "plain"),
    endpoints: x,
  })),
];
