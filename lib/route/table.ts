/**
 * Which route takes a connection. Immutable, compiled once per listener and generation; exact names cost one Map look-up.
 *
 * Order of candidates: routes whose `sni` names the server name exactly; then those with a wildcard that covers it, the longest
 * suffix first (`*.x` is exactly one label before x, `**.x` one or more, neither is x itself; of the same suffix `*.` comes
 * first); then routes without `sni`; within each of these groups file order; last the default. The first candidate whose other
 * predicates all hold takes the connection; one that fails passes it on to the next, so specificity never hides a route.
 *
 * TLS: a stream without a ClientHello only reaches routes with `tls: none`. A stream with one reaches every route: `none` means
 * bytes, and TLS records are bytes. A `none` route without `sni`, `alpn`, `from` or `destination` thus takes everything that
 * comes to it: on a listener that mixes plain and TLS, write it last or make it the default.
 */
import type { ListenerConfig, RouteConfig } from "../config/config.ts";
import type { SocketAddress } from "../wire/address.ts";
import {
  type Candidate,
  compileCandidate,
  missOf,
  missOfAddresses,
  needsHello,
  type RouteQuery,
} from "./predicate.ts";

export type { RouteQuery } from "./predicate.ts";

/** Receives candidates in their order; returning true ends the walk. */
export type Visit = (candidate: Candidate) => boolean;

/** Compiles a listener's routes. Throws RangeError on addresses that the configuration should have refused. */
export function compileRoutes(listener: ListenerConfig): RouteTable {
  return new RouteTable(listener);
}

export class RouteTable {
  /** Some route needs a ClientHello. False: never wait for one, the other side may speak first. */
  readonly needsHello: boolean;
  /** Every route, and the default, needs one: the client speaks first on this listener. */
  readonly clientFirst: boolean;
  /** No route takes a stream without TLS: such a stream can be refused as soon as it shows. */
  readonly needsTls: boolean;
  /** All routes in file order, the default last. */
  readonly routes: readonly RouteConfig[];

  readonly #exact = new Map<string, Candidate[]>();
  /** By suffix, without the leading `*.` or `**.`. */
  readonly #oneLabel = new Map<string, Candidate[]>();
  readonly #anyLabels = new Map<string, Candidate[]>();
  readonly #nameless: Candidate[] = [];
  readonly #named: Candidate[] = [];
  readonly #default: Candidate | null;

  constructor(listener: ListenerConfig) {
    for (const route of listener.routes) {
      const candidate = compileCandidate(route);
      if (route.match.sni.length === 0) this.#nameless.push(candidate);
      else this.#named.push(candidate);
      for (const pattern of new Set(route.match.sni)) {
        if (pattern.startsWith("**.")) append(this.#anyLabels, pattern.slice(3), candidate);
        else if (pattern.startsWith("*.")) append(this.#oneLabel, pattern.slice(2), candidate);
        else append(this.#exact, pattern, candidate);
      }
    }
    this.#default = listener.default === null ? null : compileCandidate(listener.default);
    this.routes = listener.default === null ? listener.routes : [...listener.routes, listener.default];
    this.needsHello = this.routes.some(needsHello);
    this.clientFirst = this.routes.length > 0 && this.routes.every(needsHello);
    this.needsTls = this.routes.every((route) => route.tls !== "none");
  }

  /** The route that takes a connection; null: none does, refuse it. */
  match(query: RouteQuery): RouteConfig | null {
    let hit: RouteConfig | null = null;
    this.walk(query.serverName, (candidate) => {
      if (missOf(candidate, query) !== null) return false;
      hit = candidate.route;
      return true;
    });
    return hit;
  }

  /**
   * The route that every possible stream from this client to this destination would reach, so that the client need not speak
   * first; null where a ClientHello can make a difference. Only worth asking where `needsHello` and not `clientFirst`.
   */
  matchEarly(from: string | null, destination: SocketAddress): RouteConfig | null {
    for (const candidate of this.#named)
      if (missOfAddresses(candidate, from, destination) === null) return null;
    for (const candidate of this.#nameless)
      if (missOfAddresses(candidate, from, destination) === null)
        return needsHello(candidate.route) ? null : candidate.route;
    const last = this.#default;
    if (last === null || missOfAddresses(last, from, destination) !== null) return null;
    return needsHello(last.route) ? null : last.route;
  }

  /** Shows the candidates for a server name in their order until `visit` returns true. A route may show more than once. */
  walk(serverName: string | null, visit: Visit): void {
    if (serverName !== null && this.#named.length > 0 && this.#walkNamed(serverName, visit)) return;
    if (visitAll(this.#nameless, visit)) return;
    if (this.#default !== null) visit(this.#default);
  }

  #walkNamed(name: string, visit: Visit): boolean {
    if (visitAll(this.#exact.get(name), visit)) return true;
    if (this.#oneLabel.size === 0 && this.#anyLabels.size === 0) return false;
    for (
      let dot = name.indexOf("."), first = true;
      dot >= 0;
      dot = name.indexOf(".", dot + 1), first = false
    ) {
      const suffix = name.slice(dot + 1);
      if (first && visitAll(this.#oneLabel.get(suffix), visit)) return true;
      if (visitAll(this.#anyLabels.get(suffix), visit)) return true;
    }
    return false;
  }
}

function visitAll(candidates: readonly Candidate[] | undefined, visit: Visit): boolean {
  if (candidates === undefined) return false;
  for (const candidate of candidates) if (visit(candidate)) return true;
  return false;
}

function append(index: Map<string, Candidate[]>, key: string, candidate: Candidate): void {
  const same = index.get(key);
  if (same === undefined) index.set(key, [candidate]);
  else same.push(candidate);
}
