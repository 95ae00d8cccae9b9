/**
 * What is measured: a program that takes connections on one port and carries them to another. A peer file says
 * how to find its program and how to configure it so that the hop is the same for all: AES-128-GCM, P-256, the same
 * certificates, client verification, one worker where the work does not say otherwise, an access line per connection.
 */
import type { Certificates } from "./certificates.ts";

/** plain: bytes through. terminate: TLS in. originate: TLS out. reencrypt: TLS in and out. passthrough: route by SNI. */
export type Shape = "plain" | "terminate" | "originate" | "reencrypt" | "passthrough";

export const SHAPES: readonly Shape[] = ["plain", "terminate", "originate", "reencrypt", "passthrough"];

/** Whether clients speak TLS with the hop. */
export function tlsIn(shape: Shape): boolean {
  return shape === "terminate" || shape === "reencrypt";
}

/** Whether the hop speaks TLS with the service. */
export function tlsOut(shape: Shape): boolean {
  return shape === "originate" || shape === "reencrypt";
}

export type TlsVersion = "1.2" | "1.3";

export const TLS13_CIPHER = "TLS_AES_128_GCM_SHA256";
/** The same cipher in TLS 1.2, for keys of either kind. */
export const TLS12_CIPHERS = "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256";

/** floor and direct are yardsticks, baseline is plain Node streams; only peers count as "best peer". */
export type Kind = "millrace" | "peer" | "floor" | "baseline" | "direct";

/** One hop to configure. Addresses are IP:PORT. */
export interface Hop {
  readonly shape: Shape;
  readonly listen: string;
  /** The service; more than one are addresses of the same one. */
  readonly targets: readonly string[];
  /** A folder of its own for configuration and logs. */
  readonly directory: string;
  readonly certificates: Certificates;
  readonly tls: TlsVersion;
  readonly accessLog: boolean;
  readonly workers: number;
  /** Connections that must fit at once. */
  readonly connections: number;
  /** Names that the passthrough routes know; the one that is asked for is `certificates.name`. */
  readonly routes: number;
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
  /** Whether it can be given more than one worker. */
  readonly scales?: boolean;
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
  /** NAME=FOLDER or FOLDER of further builds of Millrace. */
  readonly builds: readonly string[];
  readonly envoy: string | null;
  readonly ghostunnel: string | null;
}

/** The two halves of IP:PORT. */
export function split(address: string): readonly [ip: string, port: string] {
  const at = address.lastIndexOf(":");
  return [address.slice(0, at), address.slice(at + 1)];
}

/** The names of a passthrough hop's routes, the one that is asked for last. */
export function names(hop: Hop): string[] {
  const others = Array.from({ length: hop.routes - 1 }, (_, i) => `n${i}.example.test`);
  return [...others, hop.certificates.name];
}
