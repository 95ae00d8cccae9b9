/**
 * Checks inside one entry: settings that each are fine and together make no sense or are not safe. The rule behind
 * most of them is to fail closed: who asks for client certificates must say which clients are let in.
 */
import { valueAt } from "./explain.ts";
import { type FaultList, formatPath, type Path, quote } from "./faults.ts";
import type { ListenerPart, Part, Parts, RoutePart } from "./parts.ts";
import { either } from "./scalars.ts";
import { type ClusterWritten, SOURCES } from "./schema-cluster.ts";
import type { IdentityWritten, RouteWritten } from "./schema-listener.ts";

/** Adds every fault inside the entries of `parts`. */
export function checkCoherence(parts: Parts, faults: FaultList): void {
  for (const identity of parts.identities.values()) checkIdentity(identity, faults);
  for (const cluster of parts.clusters.values()) checkCluster(cluster, parts, faults);
  for (const listener of parts.listeners) checkListener(listener, parts, faults);
}

/** The TLS mode of a route; null where it must be written and is not. */
export function tlsMode(route: RouteWritten): "none" | "passthrough" | "terminate" | null {
  if (route.tls !== undefined) return route.tls;
  const needsTls = route.identity !== undefined || some(route.match?.sni) || some(route.match?.alpn);
  return needsTls ? null : "none";
}

function checkIdentity({ path, value }: Part<IdentityWritten>, faults: FaultList): void {
  if (value === null) return;
  if (value.cert !== undefined && value.key === undefined)
    faults.add(path, "must have a key beside its cert");
  if (value.key !== undefined && value.cert === undefined)
    faults.add(path, "must have a cert beside its key");
  if (value.crl !== undefined && value.ca === undefined) faults.add(path, "must have a ca beside its crl");
  if (value.cert === undefined && value.key === undefined && value.ca === undefined) {
    faults.add(path, "must have cert and key, or ca, or all three");
  }
}

function checkCluster({ path, value }: Part<ClusterWritten>, parts: Parts, faults: FaultList): void {
  const written = SOURCES.filter((key) => valueAt(parts.raw, [...path, key]) !== undefined);
  if (typeof valueAt(parts.raw, path) === "object" && written.length !== 1) {
    const found = written.length === 0 ? "none" : written.join(" and ");
    faults.add(path, `must have exactly one of ${either(SOURCES)}, not ${found}`, "key");
  }
  if (value === null) return;
  const { discover, tls, health } = value;
  if (discover !== undefined && discover.min_ttl > discover.max_ttl) {
    faults.add([...path, "discover", "min_ttl"], "must not be longer than max_ttl (5m when left out)");
  }
  if (health?.check === "tls" && tls === undefined) {
    faults.add([...path, "health", "check"], "must be tcp: the cluster has no tls to make a handshake with");
  }
  if (value.announced_destination?.allow.length === 0) {
    faults.add(
      [...path, "announced_destination", "allow"],
      "must name at least one destination: it lets in none",
    );
  }
  if (tls === undefined || tls.server_name !== undefined || tls.verify.length > 0) return;
  const unix = value.endpoints?.some(
    (endpoint) => ("address" in endpoint ? endpoint.address : endpoint).kind === "unix",
  );
  if (unix || value.original_destination !== undefined || value.announced_destination !== undefined) {
    faults.add([...path, "tls"], "must have server_name or verify: these endpoints have no name to check");
  }
}

function checkListener(listener: ListenerPart, parts: Parts, faults: FaultList): void {
  const { path, value, routes } = listener;
  const fallback = valueAt(parts.raw, [...path, "default"]) ?? "refuse";
  const written = valueAt(parts.raw, [...path, "routes"]) ?? [];
  if (value !== null && fallback === "refuse" && Array.isArray(written) && written.length === 0) {
    faults.add(path, "must have routes, or a default route: it would refuse everybody");
  }
  const proxy = value?.proxy_protocol;
  if (
    proxy !== undefined &&
    proxy.mode !== "off" &&
    proxy.trusted.length === 0 &&
    value?.address.kind === "ip"
  ) {
    faults.add(
      [...path, "proxy_protocol"],
      `must say in trusted whose headers are believed, such as trusted: [10.0.0.0/8]; mode ${proxy.mode} believes nobody without it`,
    );
  }
  const seen = new Map<string, Path>();
  for (const route of routes) {
    checkRoute(route, listener, parts, faults);
    if (route.isDefault || route.value === null) continue;
    const predicate = predicateOf(route.value);
    const first = seen.get(predicate);
    if (first === undefined) seen.set(predicate, route.path);
    else faults.add(route.path, `can never be reached: ${formatPath(first)} has the same match`);
  }
}

function checkRoute(route: RoutePart, listener: ListenerPart, parts: Parts, faults: FaultList): void {
  const { path, value } = route;
  if (value === null) return;
  const mode = tlsMode(value);
  const matched = (["sni", "alpn"] as const).filter((key) => some(value.match?.[key]));
  if (mode === null) {
    const because = matched.length > 0 ? `match.${matched[0]}` : "an identity";
    const advice = matched.length > 0 ? "passthrough or terminate" : "terminate";
    faults.add([...path, "tls"], `is missing: it must be ${advice}, because the route has ${because}`);
    return;
  }
  if (mode === "none" && matched[0] !== undefined) {
    faults.add(
      [...path, "tls"],
      `must be passthrough or terminate: plain bytes carry no ${matched[0]} to match`,
    );
  }
  if (mode === "terminate") checkTerminate(value, path, parts, faults);
  else checkUntouched(value, mode, path, parts, faults);
  checkDestination(value, listener, path, parts, faults);
}

function checkTerminate(route: RouteWritten, path: Path, parts: Parts, faults: FaultList): void {
  const identity = route.identity === undefined ? undefined : parts.identities.get(route.identity)?.value;
  if (route.identity === undefined) {
    faults.add(
      [...path, "identity"],
      "is missing: a route that terminates TLS needs an identity with cert and key",
    );
  } else if (identity?.ca !== undefined && identity.cert === undefined && identity.key === undefined) {
    faults.add(
      [...path, "identity"],
      `must have cert and key to terminate TLS: ${quote(route.identity)} has only ca`,
    );
  }
  if (route.client_auth === "none") {
    if (route.allow !== undefined) {
      faults.add([...path, "allow"], "has no effect without client certificates: add client_auth: required");
    }
    return;
  }
  if (identity && identity.ca === undefined) {
    const who = quote(route.identity ?? "");
    faults.add([...path, "client_auth"], `needs a ca in identity ${who} to check client certificates with`);
  }
  if (!some(route.allow)) {
    const advice = "the clients that are let in, or [any] for all that the ca vouches for";
    faults.add(
      [...path, "allow"],
      `is missing: with client_auth ${route.client_auth} it must list ${advice}`,
    );
  }
}

function checkUntouched(
  route: RouteWritten,
  mode: string,
  path: Path,
  parts: Parts,
  faults: FaultList,
): void {
  for (const key of ["identity", "client_auth", "allow", "alpn", "tls_min"] as const) {
    if (valueAt(parts.raw, [...path, key]) === undefined) continue;
    if (key === "client_auth" && route.client_auth === "none") continue;
    faults.add(
      [...path, key],
      `has no effect with tls: ${mode}, only with tls: terminate; remove one of them`,
      "key",
    );
  }
}

function checkDestination(
  route: RouteWritten,
  listener: ListenerPart,
  path: Path,
  parts: Parts,
  faults: FaultList,
): void {
  const cluster = parts.clusters.get(route.cluster)?.value;
  if (!cluster || listener.value === null) return;
  const at = [...path, "cluster"];
  if (cluster.original_destination !== undefined && listener.value.transparent === "off") {
    faults.add(
      at,
      "must not dial the original destination: the listener is not transparent, so that is the proxy itself",
    );
  }
  if (cluster.announced_destination !== undefined && listener.value.proxy_protocol.mode === "off") {
    faults.add(
      at,
      "must not dial the announced destination: the listener takes no PROXY header (proxy_protocol)",
    );
  }
}

/** The same text for two matches that take the same connections by the same words. */
function predicateOf(route: RouteWritten): string {
  const match = route.match ?? {};
  const words = (list: readonly string[] | undefined): string[] => [...new Set(list ?? [])].sort();
  return JSON.stringify([words(match.sni), words(match.alpn), words(match.from), words(match.destination)]);
}

function some(list: readonly unknown[] | undefined): boolean {
  return list !== undefined && list.length > 0;
}
