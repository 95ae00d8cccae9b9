/**
 * A resolver as a cluster wants it: start, whole sets, events as log lines, plain data for `/clusters`. Here the words of
 * the configuration meet the resolver's options, and its events become sentences for the operator.
 */
import type { ClusterConfig } from "../config/config.ts";
import type { DnsClient } from "./client.ts";
import type { ResolverEvent } from "./event.ts";
import type { Source } from "./lookup.ts";
import { Resolver } from "./resolver.ts";
import type { Target } from "./srv.ts";

/** What to ask for: a service by its SRV name, or a host whose addresses are dialled at `port`. */
export type TargetQuery =
  | { readonly kind: "name"; readonly host: string; readonly port: number }
  | { readonly kind: "srv"; readonly name: string };

/** An event as a log line. `raw`: the records that led to it. */
export interface TargetEvent {
  readonly level: "info" | "warn";
  readonly message: string;
  readonly raw?: readonly string[];
}

/** A source of targets over time. `start` once, `stop` once; no call back after that. `known`: see ResolverOptions. */
export interface DnsTargets {
  start(
    onTargets: (targets: readonly Target[]) => void,
    onEvent: (event: TargetEvent) => void,
    known: readonly Target[] | null,
  ): void;
  stop(): void;
  /** Plain data for `/clusters`: phase, times, counts of answers by result. */
  describe(): DnsTargetsState;
}

export interface DnsTargetsState {
  readonly name: string;
  readonly phase: string;
  /** Seconds in this phase. */
  readonly for_s: number;
  /** Seconds until the next query; null while one is under way. */
  readonly next_query_s: number | null;
  readonly targets: number;
  readonly held: number;
  readonly failures: number;
  readonly problem: string;
  /** Resolutions of this source so far by result (`ok`, `nxdomain`, …). */
  readonly answers: Readonly<Record<string, number>>;
  /** Datagrams that were no answer to what was asked; of all names that the client asks for. */
  readonly ignored: Readonly<Record<string, number>>;
  readonly raw: readonly string[];
}

// Targets named in one log line; the rest is a number.
const NAMED = 10;

/**
 * The targets of one name under a cluster's policy. Nothing is asked before `start`. Sources may share a client, so that
 * what one learns of a DNS server is known to all. `onAnswer` hears of every resolution.
 */
export function createTargetSource(
  query: TargetQuery,
  cluster: Pick<ClusterConfig, "minTtl" | "maxTtl" | "keepLastGood" | "maxRemoval">,
  client: DnsClient,
  onAnswer: (name: string, result: string) => void = () => {},
): DnsTargets {
  const source: Source = query.kind === "srv" ? query : { kind: "dns", host: query.host, port: query.port };
  const name = query.kind === "srv" ? query.name : query.host;
  const answers: Record<string, number> = {};
  let resolver: Resolver | null = null;
  return {
    start(onTargets, onEvent, known) {
      resolver = new Resolver({
        source,
        client,
        known,
        minTtl: cluster.minTtl,
        maxTtl: cluster.maxTtl,
        keepLastGood: cluster.keepLastGood,
        maxRemoval: cluster.maxRemoval,
        onTargets,
        onEvent: (event) => {
          if (event.kind === "answer") {
            answers[event.result] = (answers[event.result] ?? 0) + 1;
            onAnswer(name, event.result);
          }
          const line = sentence(event);
          if (line !== null) onEvent(line);
        },
      });
      resolver.start();
    },
    stop: () => resolver?.stop(),
    describe() {
      const { phase, since, nextQueryAt, ...rest } = resolver?.state ?? IDLE;
      const now = performance.now();
      return {
        name,
        phase,
        for_s: Math.round((now - since) / 1000),
        next_query_s: nextQueryAt === null ? null : Math.max(0, Math.round((nextQueryAt - now) / 1000)),
        ...rest,
        answers: { ...answers },
        ignored: { ...client.ignored },
      };
    },
  };
}

const IDLE = {
  phase: "idle",
  since: 0,
  nextQueryAt: null,
  targets: 0,
  held: 0,
  failures: 0,
  problem: "",
  raw: [],
} as const;

/** The event in words; null for what only counts. */
function sentence(event: ResolverEvent): TargetEvent | null {
  const { name } = event;
  switch (event.kind) {
    case "answer":
      return null;
    case "changed": {
      const parts = [
        ...(event.added.length > 0 ? [`added ${list(event.added)}`] : []),
        ...(event.removed.length > 0 ? [`removed ${list(event.removed)}`] : []),
      ];
      return { level: "info", message: `${name}: ${parts.join("; ")}; now ${event.total}`, raw: event.raw };
    }
    case "failed": {
      if (event.failures > 1) return null;
      const retry = Math.ceil(event.retryIn / 1000);
      return {
        level: "warn",
        message: `${name}: ${event.detail} (${event.result}); asking again in ${retry} s`,
      };
    }
    case "stale":
      return {
        level: "warn",
        message: `${name}: no good answer (${event.result}); going on with the last ${event.serving} targets`,
      };
    case "removal_held": {
      const held = `${event.held.length} of ${event.total} targets are missing from the answer`;
      const confirm = `kept until a second answer in ${Math.ceil(event.confirmIn / 1000)} s confirms it`;
      return { level: "warn", message: `${name}: ${held}, ${confirm}: ${list(event.held)}`, raw: event.raw };
    }
    case "partial":
      return {
        level: "warn",
        message: `${name}: some targets could not be resolved: ${list(event.failures)}`,
      };
  }
}

function list(items: readonly string[]): string {
  const named = items.slice(0, NAMED).join(", ");
  return items.length > NAMED ? `${named} and ${items.length - NAMED} more` : named;
}
