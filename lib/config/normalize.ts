/**
 * From what was written to what the program reads: names become entries, relative paths absolute, defaults that depend
 * on other settings are filled in. Only for a configuration without faults; plain data throughout.
 */
import { resolve } from "node:path";
import type { Address } from "../wire/address.ts";
import { tlsMode } from "./coherence.ts";
import type {
  ClusterConfig,
  ClusterSource,
  Config,
  EndpointConfig,
  HealthConfig,
  IdentityConfig,
  ListenerConfig,
  OriginateConfig,
  PeerRule,
  RouteConfig,
  Timeouts,
} from "./config.ts";
import { routeName } from "./parts.ts";
import type { ConfigWritten } from "./schema.ts";
import type { ClusterWritten } from "./schema-cluster.ts";
import type { IdentityWritten, ListenerWritten, PeerRuleWritten, RouteWritten } from "./schema-listener.ts";

export function toConfig(written: ConfigWritten, file: string | null, directory: string): Config {
  const timeouts = timeoutsOf(written.timeouts);
  return {
    file,
    transport: written.transport,
    workers: written.workers,
    log: written.log,
    admin: written.admin === undefined ? null : { listen: placed(written.admin.listen, directory) },
    limits: {
      connections: written.limits.connections,
      perSource: written.limits.per_source,
      helloBytes: written.limits.hello_bytes,
    },
    timeouts,
    dns: {
      servers: written.dns.servers ?? null,
      timeout: written.dns.timeout ?? null,
      attempts: written.dns.attempts ?? null,
    },
    identities: mapEntries(written.identities, (name, value) => identityOf(name, value, directory)),
    listeners: written.listeners.map((listener) => listenerOf(listener, timeouts, directory)),
    clusters: mapEntries(written.clusters, (name, value) => clusterOf(name, value, directory)),
  };
}

function timeoutsOf(written: ConfigWritten["timeouts"]): Timeouts {
  const { half_close, ...rest } = written;
  return { ...rest, halfClose: half_close };
}

function identityOf(name: string, written: IdentityWritten, directory: string): IdentityConfig {
  const file = (path: string | undefined): string | null =>
    path === undefined ? null : resolve(directory, path);
  return {
    name,
    cert: file(written.cert),
    key: file(written.key),
    ca: file(written.ca),
    crl: file(written.crl),
    watch: written.watch,
  };
}

function listenerOf(written: ListenerWritten, timeouts: Timeouts, directory: string): ListenerConfig {
  const { name } = written;
  const own = written.timeouts ?? {};
  return {
    name,
    address: placed(written.address, directory),
    proxyProtocol: written.proxy_protocol,
    transparent: written.transparent,
    limits: {
      connections: written.limits?.connections ?? null,
      perSource: written.limits?.per_source ?? null,
    },
    timeouts: {
      hello: own.hello ?? timeouts.hello,
      handshake: own.handshake ?? timeouts.handshake,
      connect: own.connect ?? timeouts.connect,
      idle: own.idle ?? timeouts.idle,
      halfClose: own.half_close ?? timeouts.halfClose,
      lifetime: own.lifetime ?? timeouts.lifetime,
      drain: own.drain ?? timeouts.drain,
    },
    routes: written.routes.map((route, i) => routeOf(route, routeName(name, i))),
    default: written.default === "refuse" ? null : routeOf(written.default, routeName(name, "default")),
  };
}

function routeOf(written: RouteWritten, name: string): RouteConfig {
  return {
    name: written.name ?? name,
    match: {
      sni: written.match?.sni ?? [],
      alpn: written.match?.alpn ?? [],
      from: written.match?.from ?? [],
      destination: written.match?.destination ?? [],
    },
    tls: tlsMode(written) ?? "none",
    identity: written.identity ?? null,
    clientAuth: written.client_auth,
    allow: (written.allow ?? []).map(ruleOf),
    alpn: written.alpn ?? [],
    tlsMin: written.tls_min ?? "1.2",
    cluster: written.cluster,
  };
}

function ruleOf(written: PeerRuleWritten): PeerRule {
  if (written === "any") return { kind: "any" };
  const [kind, value] = Object.entries(written)[0] as [Exclude<PeerRule["kind"], "any">, string];
  return { kind, value };
}

function clusterOf(name: string, written: ClusterWritten, directory: string): ClusterConfig {
  return {
    name,
    source: sourceOf(written, directory),
    minTtl: written.discover?.min_ttl ?? 1000,
    maxTtl: written.discover?.max_ttl ?? 300_000,
    keepLastGood: written.discover?.keep_last_good ?? true,
    maxRemoval: written.discover?.max_removal ?? 0.5,
    balance: written.balance,
    connect: { retries: written.connect.retries, timeout: written.connect.timeout ?? null },
    health: healthOf(written),
    eject:
      written.eject === undefined
        ? null
        : { failures: written.eject.failures, for: written.eject.for, maxPercent: written.eject.max_percent },
    tls: originateOf(written.tls),
    proxyProtocol: written.proxy_protocol,
    sourceAddress: written.source,
    slowStart: written.slow_start,
  };
}

function sourceOf(written: ClusterWritten, directory: string): ClusterSource {
  if (written.discover !== undefined) return { kind: "srv", name: written.discover.srv };
  if (written.dns !== undefined) return { kind: "dns", host: written.dns.host, port: written.dns.port };
  if (written.original_destination !== undefined) {
    return { kind: "original", port: written.original_destination.port ?? null };
  }
  if (written.announced_destination !== undefined) {
    return { kind: "announced", allow: written.announced_destination.allow };
  }
  const endpoints = (written.endpoints ?? []).map((endpoint): EndpointConfig => {
    const whole = "address" in endpoint ? endpoint : { address: endpoint, weight: 1, priority: 0 };
    return { ...whole, address: placed(whole.address, directory) };
  });
  return { kind: "static", endpoints };
}

function healthOf({ health, tls }: ClusterWritten): HealthConfig | null {
  if (health === undefined) return null;
  return {
    interval: health.interval,
    timeout: health.timeout,
    rise: health.rise,
    fall: health.fall,
    check: health.check ?? (tls === undefined ? "tcp" : "tls"),
    send: health.send ?? null,
    expect: health.expect ?? null,
  };
}

function originateOf(written: ClusterWritten["tls"]): OriginateConfig | null {
  if (written === undefined) return null;
  return {
    identity: written.identity ?? null,
    serverName: written.server_name ?? null,
    verify: written.verify.map(ruleOf),
    alpn: written.alpn,
    tlsMin: written.tls_min ?? "1.2",
  };
}

/** Socket paths are relative to the file, like all others. */
function placed<A extends Address>(address: A, directory: string): A {
  return address.kind === "unix" ? { ...address, path: resolve(directory, address.path) } : address;
}

function mapEntries<V, R>(
  entries: Readonly<Record<string, V>>,
  map: (name: string, value: V) => R,
): Record<string, R> {
  return Object.fromEntries(Object.entries(entries).map(([name, value]) => [name, map(name, value)]));
}
