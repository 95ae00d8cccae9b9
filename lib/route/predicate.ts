/**
 * One route's predicates, compiled. The single truth of matching: the table's answer and its explanation both ask `missOf`.
 * Invariant: every predicate that is not empty must hold. Names are not asked here: the table's index has settled them.
 */
import type { RouteConfig } from "../config/config.ts";
import type { SocketAddress } from "../wire/address.ts";
import { type CidrSet, cidrSet, type DestinationSet, destinationSet } from "../wire/cidr.ts";

/** What is known of a connection when its route is chosen. */
export interface RouteQuery {
  /** As `parseHello` gives it: lower case, no trailing dot; null where there is none. */
  readonly serverName: string | null;
  readonly alpn: readonly string[];
  /** The client's IP literal; null for a UNIX client. */
  readonly from: string | null;
  /** The address the client dialled. */
  readonly destination: SocketAddress;
  /** Whether the stream begins with a ClientHello. */
  readonly tls: boolean;
}

/** Which predicate did not hold. In the order in which they are asked, cheapest first. */
export type Miss = "tls" | "alpn" | "from" | "destination";

/** A route ready for matching. */
export interface Candidate {
  readonly route: RouteConfig;
  readonly from: CidrSet | null;
  readonly destination: DestinationSet | null;
}

/** Compiles a route. Throws RangeError on addresses that the configuration should have refused. */
export function compileCandidate(route: RouteConfig): Candidate {
  const { from, destination } = route.match;
  return {
    route,
    from: from.length > 0 ? cidrSet(from) : null,
    destination: destination.length > 0 ? destinationSet(destination) : null,
  };
}

/** The first predicate of a candidate, names left aside, that does not hold for a connection; `null` when all do. */
export function missOf(candidate: Candidate, query: RouteQuery): Miss | null {
  if (!query.tls && candidate.route.tls !== "none") return "tls";
  if (!offersOne(candidate.route.match.alpn, query.alpn)) return "alpn";
  return missOfAddresses(candidate, query.from, query.destination);
}

/** The part of `missOf` that is known before the client has said anything. */
export function missOfAddresses(
  candidate: Candidate,
  from: string | null,
  destination: SocketAddress,
): Miss | null {
  if (candidate.from !== null && (from === null || !candidate.from.contains(from))) return "from";
  if (candidate.destination !== null && !candidate.destination.contains(destination)) return "destination";
  return null;
}

function offersOne(wanted: readonly string[], offered: readonly string[]): boolean {
  if (wanted.length === 0) return true;
  for (const name of wanted) if (offered.includes(name)) return true;
  return false;
}

/** Whether a route can be decided on, and served, without a ClientHello. */
export function needsHello(route: RouteConfig): boolean {
  return route.tls !== "none" || route.match.sni.length > 0 || route.match.alpn.length > 0;
}
