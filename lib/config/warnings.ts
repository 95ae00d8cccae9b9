/**
 * What in an accepted configuration is probably not meant: entries that nothing uses, settings without effect. Never a
 * reason to refuse it. Needs only the `Config`; places are added where the caller has them.
 */
import type { Config, ListenerConfig, RouteConfig } from "./config.ts";
import { type Path, quote } from "./faults.ts";

export interface Warning {
  readonly path: Path;
  readonly message: string;
}

export function findWarnings(config: Config): Warning[] {
  const warnings: Warning[] = [];
  const routes = config.listeners.flatMap(routesOf);
  const clusters = new Set(routes.map((route) => route.cluster));
  const identities = new Set<string | null>(routes.map((route) => route.identity));
  for (const cluster of Object.values(config.clusters)) {
    identities.add(cluster.tls?.identity ?? null);
    const path = ["clusters", cluster.name];
    if (!clusters.has(cluster.name)) warnings.push({ path, message: "is used by no route" });
    if (cluster.source.kind === "static" && cluster.source.endpoints.length === 0) {
      warnings.push({ path: [...path, "endpoints"], message: "is empty: every connection to it will fail" });
    }
  }
  for (const name of Object.keys(config.identities)) {
    if (!identities.has(name))
      warnings.push({ path: ["identities", name], message: "is used by no route and no cluster" });
  }
  for (const [i, listener] of config.listeners.entries()) {
    const path = ["listeners", i];
    for (const [j, route] of listener.routes.entries()) {
      warnWrapped(route, [...path, "routes", j], config, warnings);
    }
    if (listener.default !== null) warnWrapped(listener.default, [...path, "default"], config, warnings);
    const { mode, trusted, position } = listener.proxyProtocol;
    if (mode === "off" && trusted.length > 0) {
      warnings.push({ path: [...path, "proxy_protocol"], message: "has no effect: its mode is off" });
    }
    const untouched = routesOf(listener).filter((route) => route.tls !== "terminate");
    if (mode === "require" && position === "inner" && untouched.length > 0) {
      const names = untouched.map(({ name }) => quote(name)).join(", ");
      warnings.push({
        path: [...path, "proxy_protocol", "position"],
        message: `refuses everybody who takes ${names}: TLS does not end there, so no header can be inside it`,
      });
    }
    if (mode === "accept" && position === "inner" && untouched.length === routesOf(listener).length) {
      warnings.push({
        path: [...path, "proxy_protocol", "position"],
        message: "has no effect: no route terminates TLS, so there is nothing inside it",
      });
    }
    if (listener.timeouts.drain !== config.timeouts.drain) {
      warnings.push({
        path: [...path, "timeouts", "drain"],
        message:
          "has no effect: a drain is of the whole process, and the timeouts of the process say how long",
      });
    }
    const all = listener.routes.findIndex((route) =>
      Object.values(route.match).every((list) => list.length === 0),
    );
    if (all >= 0 && listener.default !== null) {
      warnings.push({
        path: [...path, "default"],
        message: `is never reached: routes[${all}] takes everything`,
      });
    }
  }
  return warnings;
}

/** All of a listener. */
function routesOf(listener: ListenerConfig): RouteConfig[] {
  return listener.default === null ? [...listener.routes] : [...listener.routes, listener.default];
}

/** TLS in TLS is sound, when two tunnels are meant; more often a `terminate` was forgotten. */
function warnWrapped(route: RouteConfig, path: Path, config: Config, warnings: Warning[]): void {
  const cluster = Object.hasOwn(config.clusters, route.cluster) ? config.clusters[route.cluster] : undefined;
  if (route.tls !== "passthrough" || !cluster?.tls) return;
  const message =
    `wraps the client's TLS in the TLS of ${quote(route.cluster)}, so that the endpoint gets TLS in TLS; ` +
    "terminate here, or remove the cluster's tls, unless the endpoint unwraps both";
  warnings.push({ path: [...path, "cluster"], message });
}
