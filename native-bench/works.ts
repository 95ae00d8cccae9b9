/**
 * The pieces of work that are measured, and how the generator is told to do each. Those marked `more` are measured when
 * they are asked for, one by one or as `--only more`: with them a run would take an hour.
 */
import type { Keys } from "./certificates.ts";
import type { Shape, TlsVersion } from "./contender.ts";

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
  readonly more?: boolean;
  /** Connections open at once. */
  readonly connections: number;
  /** Open loop: the rate is a share of what the slowest contender reached in the work named here. */
  readonly rate?: { readonly of: string; readonly share: number };
  /** Sessions must be resumed: fewer than all but the first few is a failed run. */
  readonly resumed?: boolean;
  readonly routes?: number;
  readonly endpoints?: number;
  /** 1.3 where it is left out. */
  readonly tls?: TlsVersion;
  /** ecdsa where it is left out. */
  readonly keys?: Keys;
  /** Contenders that scale are measured with each of these numbers of workers beside each other, on all CPUs. */
  readonly workers?: readonly number[];
  readonly sweep?: { readonly name: string; readonly axis: string; readonly x: number };
}

/** Clients come from several loopback addresses: one alone has too few ephemeral ports for short connections. */
const SOURCES = ["--sources", "8"];

export function bulk(
  name: string,
  title: string,
  mode: string,
  connections: number,
  shape: Shape = "plain",
): Work {
  const load = [`bulk-${mode}`, "--connections", String(connections)];
  return { name, title, shape, unit: "GB", connections, load };
}

export function ping(name: string, title: string, connections: number, shape: Shape = "plain"): Work {
  const load = ["ping", "--connections", String(connections), "--size", "100"];
  return { name, title, shape, unit: "operation", connections, load };
}

/** Short connections. `--close` and other options of the generator follow. */
export function crr(name: string, title: string, connections: number, shape: Shape, ...more: string[]): Work {
  const load = ["crr", "--connections", String(connections), "--size", "100", ...SOURCES, ...more];
  return { name, title, shape, unit: "operation", connections, load };
}

/** A ClientHello comes before the bytes: enough for a hop that routes by SNI, and nobody has to encrypt. */
function withHello(work: Work): Work {
  return { ...work, load: [...work.load, "--hello"] };
}

function more(work: Work): Work {
  return { ...work, more: true };
}

const hs = crr("hs", "full mTLS handshake, 100 B each way", 16, "terminate");
const ONE_AND_TWO = [1, 2];

export const WORKS: readonly Work[] = [
  more(bulk("bulk1", "bulk, 1 stream up", "up", 1)),
  { ...bulk("bulk8", "bulk, 8 streams up", "up", 8), quick: true },
  bulk("bulk8-down", "bulk, 8 streams down", "down", 8),
  more(bulk("bulk8-both", "bulk, 8 streams both ways", "both", 8)),
  ping("ping1", "ping-pong 100 B, 1 connection", 1),
  { ...ping("ping64", "ping-pong 100 B, 64 connections", 64), quick: true },
  { ...crr("crr", "connect, 100 B each way, client resets", 32, "plain"), quick: true },
  more(crr("crr-fin", "connect, 100 B each way, service closes", 32, "plain", "--close", "service-fin")),
  crr("sni", "connect, routed by SNI, passthrough", 32, "passthrough", "--hello"),
  more(withHello(bulk("sni-bulk", "bulk through SNI passthrough, 8 streams up", "up", 8, "passthrough"))),
  { ...bulk("tbulk", "bulk TLS in, plain out (decrypt), 2 streams", "up", 2, "terminate"), quick: true },
  bulk("tbulk-down", "bulk plain in, TLS back (encrypt), 2 streams", "down", 2, "terminate"),
  more(bulk("tbulk-out", "bulk plain in, TLS out (originate, encrypt), 2 streams", "up", 2, "originate")),
  more(bulk("tbulk-both", "bulk TLS in, TLS out (decrypt, encrypt), 2 streams", "up", 2, "reencrypt")),
  ping("tping16", "ping-pong 100 B over TLS, 16 connections", 16, "terminate"),
  { ...hs, quick: true },
  { ...crr("hsr", "resumed mTLS handshake, 100 B each way", 16, "terminate", "--resume"), resumed: true },
  more({ ...hs, name: "hs-rsa", title: "full mTLS handshake with RSA-2048, 100 B each way", keys: "rsa" }),
  more({ ...hs, name: "hs-12", title: "full mTLS handshake of TLS 1.2, 100 B each way", tls: "1.2" }),
  { ...ping("latency", "100 B at a fixed rate, 64 connections", 64), rate: { of: "ping64", share: 0.6 } },
  {
    ...ping("tlatency", "100 B over TLS at a fixed rate, 16 connections", 16, "terminate"),
    rate: { of: "tping16", share: 0.6 },
  },
  more({
    ...crr("crr-latency", "connect and 100 B at a fixed rate", 32, "plain"),
    rate: { of: "crr", share: 0.6 },
  }),
  more({
    ...crr("crr-workers", "connect, 100 B each way, 1 and 2 workers", 32, "plain"),
    workers: ONE_AND_TWO,
  }),
  more({ ...hs, name: "hs-workers", title: "full mTLS handshake, 1 and 2 workers", workers: ONE_AND_TWO }),
];
