/**
 * Where the endpoints of a cluster come from: addresses from the configuration, which are known at once, and names and
 * services, each a `TargetSource` that delivers whole answers over time.
 */
import type { ClusterConfig } from "../config/config.ts";

/** One address that an answer names. `address` is an IP literal. Weight and priority as in SRV (RFC 2782). */
export interface ResolvedTarget {
  readonly address: string;
  readonly port: number;
  /** The name it was found under; null for a bare address. */
  readonly name: string | null;
  readonly weight: number;
  readonly priority: number;
}

export type Target = ResolvedTarget | (Omit<ResolvedTarget, "address" | "port"> & { readonly path: string });

export interface SourceEvent {
  readonly level: "info" | "warn";
  readonly message: string;
  /** The records that led to it, as a zone file would show them. */
  readonly raw?: readonly string[];
}

/** A resolver as a cluster sees it. */
export interface TargetSource {
  /**
   * Begins; `onTargets` gets the whole answer each time it changes (also an empty one, which says that there is nobody),
   * and is not called while nothing is known. Neither is called after `stop`. `known`: the answer that is served already,
   * from a source of the same query before this one; what an answer may take away counts from there.
   */
  start(
    onTargets: (targets: readonly ResolvedTarget[]) => void,
    onEvent: (event: SourceEvent) => void,
    known: readonly ResolvedTarget[] | null,
  ): void;
  stop(): void;
  /** Plain data for `/clusters`. */
  describe(): unknown;
}

export type SourceQuery =
  | { readonly kind: "name"; readonly host: string; readonly port: number }
  | { readonly kind: "srv"; readonly name: string };

/** A name or a service that is asked for. */
export interface AskedEntry {
  /** Equal for equal questions, also over reloads. */
  readonly id: string;
  readonly source: TargetSource;
  /** The last answer; null before the first. */
  targets: readonly ResolvedTarget[] | null;
  /** What the configuration says about every address of this source; it outranks the answer. */
  readonly fixed: { readonly weight: number; readonly priority: number } | null;
}

/** An address that the configuration has. */
export interface GivenEntry {
  readonly source: null;
  readonly targets: readonly Target[];
  readonly fixed: null;
}

export type SourceEntry = AskedEntry | GivenEntry;

/** All sources of a cluster. None for clusters that dial what the client meant. */
export function sourcesOf(
  config: ClusterConfig,
  createSource: (query: SourceQuery, config: ClusterConfig) => TargetSource,
): SourceEntry[] {
  const asking = (query: SourceQuery, fixed: AskedEntry["fixed"]): AskedEntry => ({
    id: JSON.stringify(query),
    source: createSource(query, config),
    targets: null,
    fixed,
  });
  const { source } = config;
  switch (source.kind) {
    case "original":
    case "announced":
      return [];
    case "dns":
      return [asking({ kind: "name", host: source.host, port: source.port }, null)];
    case "srv":
      return [asking({ kind: "srv", name: source.name }, null)];
    case "static":
      return source.endpoints.map(({ address, weight, priority }): SourceEntry => {
        if (address.kind === "name") {
          return asking({ kind: "name", host: address.host, port: address.port }, { weight, priority });
        }
        const target: Target =
          address.kind === "unix"
            ? { path: address.path, name: null, weight, priority }
            : { address: address.host, port: address.port, name: null, weight, priority };
        return { source: null, targets: [target], fixed: null };
      });
  }
}
