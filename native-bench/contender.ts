/**
 * What is measured: a program that takes connections on one port and carries them to another. A peer file says
 * how to find its program and how to configure it so that the hop is the same for all: TLS 1.3,
 * TLS_AES_128_GCM_SHA256, P-256, the same certificates, client verification, one worker, an access line per connection.
 */
import type { Certificates } from "./certificates.ts";

/** plain: bytes through. terminate: TLS in, plain out. originate: plain in, TLS out. passthrough: route by SNI. */
export type Shape = "plain" | "terminate" | "originate" | "passthrough";

export const SHAPES: readonly Shape[] = ["plain", "terminate", "originate", "passthrough"];

/** floor and direct are yardsticks, baseline is plain Node streams; only peers count as "best peer". */
export type Kind = "millrace" | "peer" | "floor" | "baseline" | "direct";

/** One hop to configure. */
export interface Hop {
  readonly shape: Shape;
  readonly listen: number;
  readonly target: number;
  /** A folder of its own for configuration and logs. */
  readonly directory: string;
  readonly certificates: Certificates;
  readonly accessLog: boolean;
  /** Connections that must fit at once. */
  readonly connections: number;
  /** Names that the passthrough routes know; the one that is asked for is `certificates.name`. */
  readonly routes: number;
  /** Addresses 127.1.x.y of the target; 1 means 127.0.0.1. */
  readonly endpoints: number;
}

export interface Launch {
  readonly command: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  /** Files that the program writes to besides its output; emptied between runs. */
  readonly logs?: readonly string[];
}

export interface Contender {
  readonly name: string;
  readonly kind: Kind;
  /** As the program tells it. */
  readonly version: string;
  readonly shapes: readonly Shape[];
  /** False where a connection costs a process or a thread: left out of runs with thousands of them. */
  readonly many: boolean;
  /** What differs from the common terms, for the notes under a table. */
  readonly note?: string;
  /** Writes its configuration into `hop.directory`. Not called for `direct`. */
  launch(hop: Hop): Launch;
}

/** A program that is not there: said in the result instead of being left out silently. */
export interface Missing {
  readonly name: string;
  readonly reason: string;
}

export interface Found {
  readonly contenders: readonly Contender[];
  readonly missing: readonly Missing[];
}

/** Programs named on the command line. */
export interface Programs {
  /** NAME=PATH or PATH of further HAProxy binaries. */
  readonly haproxy: readonly string[];
  /** Further Node binaries for Millrace and the plain baseline. */
  readonly node: readonly string[];
  readonly envoy: string | null;
  readonly ghostunnel: string | null;
}

/** The addresses of a hop's target. */
export function targets(hop: Hop): string[] {
  if (hop.endpoints === 1) return [`127.0.0.1:${hop.target}`];
  return Array.from({ length: hop.endpoints }, (_, i) => `127.1.${i >> 8}.${i & 255}:${hop.target}`);
}

/** The names of a passthrough hop's routes, the one that is asked for last. */
export function names(hop: Hop): string[] {
  const others = Array.from({ length: hop.routes - 1 }, (_, i) => `n${i}.example.test`);
  return [...others, hop.certificates.name];
}
