/**
 * A generation as a worker sees it: one accepted configuration, compiled. Control sends a `Plan` (plain data); `compile`
 * turns it into route tables, TLS contexts and cluster views. Compiling has no effect on anything that runs; a plan that
 * cannot be compiled throws and the worker goes on with the generation it has. Connections hold the scope they were born
 * in, so an old generation lives exactly as long as its last connection.
 */
import { createHash } from "node:crypto";
import type { EndpointSet } from "./cluster/endpoint.ts";
import { ClusterView } from "./cluster/pool.ts";
import type { ClusterConfig, Config, ListenerConfig, RouteConfig } from "./config/config.ts";
import { ProxyError } from "./errors.ts";
import { compileRoutes, type RouteTable } from "./route/table.ts";
import { clientSpec, serverSpec } from "./tls/context.ts";
import type { Identity } from "./tls/identity.ts";
import type { TlsContext, TlsContextSpec, Transport } from "./transport/transport.ts";
import { formatAddress } from "./wire/address.ts";
import { cidrSet } from "./wire/cidr.ts";

/** Everything a worker needs to run one generation; survives structured clone. */
export interface Plan {
  readonly generation: number;
  readonly config: Config;
  readonly identities: Readonly<Record<string, Identity>>;
  /** Shared by all workers, so that a ticket of one resumes at another. */
  readonly ticketKeys: Uint8Array;
  readonly sets: readonly EndpointSet[];
  /** Listening descriptors by listener name (epoll); absent where the worker binds itself (net). */
  readonly descriptors: Readonly<Record<string, number>>;
  /** This worker's counter rows, by listener and by cluster name. */
  readonly listenerRows: Readonly<Record<string, Float64Array>>;
  readonly clusterRows: Readonly<Record<string, Float64Array>>;
  /** Shared by all workers: one Int32 of live connections per listener. */
  readonly listenerLive: Readonly<Record<string, Int32Array>>;
}

/** What a connection knows of the listener that accepted it. */
export interface ListenerScope {
  readonly generation: number;
  readonly config: ListenerConfig;
  /** The scope of its per-source counts: from its name, so that counts go on over reloads. */
  readonly sourceScope: number;
  readonly table: RouteTable;
  readonly row: Float64Array;
  /** One Int32 shared by all workers: live connections of this listener. */
  readonly live: Int32Array;
  /** `limits.per_source` of the process; 0: none. */
  readonly perSource: number;
  /** Whether access lines are written. */
  readonly logged: boolean;
  readonly helloBytes: number;
  /** Whether a PROXY header from this address is believed. */
  trusts(source: string): boolean;
  contextOf(route: RouteConfig): TlsContext;
  clusterOf(route: RouteConfig): ClusterScope;
}

/** What a connection knows of the cluster it dials. */
export interface ClusterScope {
  readonly config: ClusterConfig;
  readonly view: ClusterView;
  /** For originating TLS; null: plain. */
  readonly context: TlsContext | null;
  readonly row: Float64Array;
}

export interface Generation {
  readonly number: number;
  readonly plan: Plan;
  readonly listeners: readonly ListenerScope[];
  readonly clusters: ReadonlyMap<string, ClusterScope>;
  /** Contexts by what they are made of: the next generation takes over those that did not change. */
  readonly contexts: ReadonlyMap<string, TlsContext>;
}

/** Told of consecutive dial failures, so that control can eject. */
export type OnFailures = (cluster: string, endpoint: string, count: number) => void;

/** Compiles a plan. Throws ProxyError IDENTITY when the transport cannot use what it is given. */
export function compile(
  plan: Plan,
  transport: Transport,
  previous: Generation | null,
  onFailures: OnFailures,
): Generation {
  const config = withSharedTexts(plan.config);
  const contexts = new Map<string, TlsContext>();
  const contextFor = (spec: TlsContextSpec): TlsContext => {
    const key = digest(spec);
    const context = contexts.get(key) ?? previous?.contexts.get(key) ?? transport.context(spec);
    contexts.set(key, context);
    return context;
  };

  const clusters = new Map<string, ClusterScope>();
  for (const cluster of Object.values(config.clusters)) {
    // A cluster that did not change goes on with its view: who waits in it for a first answer must still hear of it.
    const before = previous?.clusters.get(cluster.name);
    const view =
      before !== undefined && JSON.stringify(before.config) === JSON.stringify(cluster)
        ? before.view
        : new ClusterView(cluster, Math.random, (endpoint, count) =>
            onFailures(cluster.name, endpoint.key, count),
          );
    const identity = cluster.tls?.identity == null ? null : identityOf(plan, cluster.tls.identity);
    clusters.set(cluster.name, {
      config: cluster,
      view,
      context: cluster.tls === null ? null : contextFor(clientSpec(cluster, identity)),
      row: plan.clusterRows[cluster.name]!,
    });
  }
  for (const set of plan.sets) clusters.get(set.cluster)?.view.update(set);

  const listeners = config.listeners.map((listener): ListenerScope => {
    const routes = listener.default === null ? listener.routes : [...listener.routes, listener.default];
    const served = new Map<RouteConfig, TlsContext>();
    for (const route of routes) {
      if (route.tls !== "terminate") continue;
      served.set(
        route,
        contextFor(serverSpec(route, identityOf(plan, route.identity ?? ""), plan.ticketKeys)),
      );
    }
    const trusted = cidrSet(listener.proxyProtocol.trusted);
    return {
      generation: plan.generation,
      config: listener,
      sourceScope: createHash("sha256").update(listener.name).digest().readInt32LE(),
      table: compileRoutes(listener),
      row: plan.listenerRows[listener.name]!,
      live: plan.listenerLive[listener.name]!,
      perSource: config.limits.perSource,
      logged: config.log.access,
      helloBytes: config.limits.helloBytes,
      trusts: (source) => trusted.contains(source),
      contextOf: (route) => served.get(route)!,
      clusterOf: (route) => clusters.get(route.cluster)!,
    };
  });
  return { number: plan.generation, plan, listeners, clusters, contexts };
}

/**
 * The same, with every text as V8 keeps literals and keys: once. Those that come from another thread are copies, and comparing
 * a copy with "off" or "terminate" is a call each time.
 */
function withSharedTexts<T>(value: T): T {
  if (typeof value === "string") return Object.keys({ [value]: null })[0] as T;
  if (Array.isArray(value)) return value.map(withSharedTexts) as T;
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, part]) => [key, withSharedTexts(part)])) as T;
}

function identityOf(plan: Plan, name: string): Identity {
  const identity = plan.identities[name];
  if (identity === undefined) throw new ProxyError("INTERNAL", `identity ${name} is missing from the plan`);
  return identity;
}

/**
 * Which listeners share a socket over reloads: those of one address, whatever their name; with port 0 every listener has
 * a socket of its own, so the name decides.
 */
export function socketKey({ name, address }: ListenerConfig): string {
  const text = formatAddress(address);
  return address.kind === "ip" && address.port === 0 ? `${text} ${name}` : text;
}

/** What makes two contexts interchangeable. Hashed, so that no key material lives on in a map's key. */
function digest(spec: TlsContextSpec): string {
  const { authorise: _, sessionContext, ticketKeys, ...rest } = spec;
  return createHash("sha256")
    .update(JSON.stringify(rest))
    .update(sessionContext)
    .update(ticketKeys ?? "")
    .digest("hex");
}
