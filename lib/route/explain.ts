/**
 * Why a connection takes the route it takes: every route of a listener with its verdict, for the offline oracle. Invariant:
 * the order is the table's and the predicates are the matcher's, so the explanation cannot say anything but what runs.
 */
import type { RouteConfig } from "../config/config.ts";
import { formatAddress } from "../wire/address.ts";
import { type Candidate, type Miss, missOf, type RouteQuery } from "./predicate.ts";
import type { RouteTable } from "./table.ts";

export interface RouteStep {
  readonly route: RouteConfig;
  readonly verdict: "hit" | "missed";
  /** For people: which predicate failed and what it wanted, or what made it hit. */
  readonly why: string;
}

export interface Explanation {
  /** What `table.match` returns. */
  readonly hit: RouteConfig | null;
  /** Each route once: those asked, in the order asked, up to the hit; then the rest in file order. */
  readonly steps: readonly RouteStep[];
}

/** Explains a match. Never throws; not for the data path. */
export function explainRoute(table: RouteTable, query: RouteQuery): Explanation {
  const steps: RouteStep[] = [];
  const asked = new Set<RouteConfig>();
  let hit: RouteConfig | null = null;
  table.walk(query.serverName, (candidate) => {
    const { route } = candidate;
    // A route with several patterns may come by again; it fails again for the same reason.
    if (asked.has(route)) return false;
    asked.add(route);
    const miss = missOf(candidate, query);
    if (miss === null) {
      hit = route;
      steps.push({ route, verdict: "hit", why: whyHit(route, query) });
      return true;
    }
    steps.push({ route, verdict: "missed", why: whyMissed(miss, candidate, query) });
    return false;
  });
  for (const route of table.routes)
    if (!asked.has(route)) steps.push({ route, verdict: "missed", why: whyNotAsked(route, hit, query) });
  return { hit, steps };
}

function whyHit(route: RouteConfig, query: RouteQuery): string {
  const { sni, alpn, from, destination } = route.match;
  const held: string[] = [];
  const pattern = sni.filter((one) => covers(one, query.serverName)).sort(bySpecificity)[0];
  if (pattern !== undefined) held.push(`sni ${pattern}`);
  if (alpn.length > 0) held.push(`alpn ${alpn.find((one) => query.alpn.includes(one))}`);
  if (from.length > 0) held.push(`from ${query.from}`);
  if (destination.length > 0) held.push(`destination ${formatAddress(query.destination)}`);
  return held.length > 0 ? held.join(", ") : "takes what no other route takes";
}

function whyMissed(miss: Miss, { route }: Candidate, query: RouteQuery): string {
  const { alpn, from, destination } = route.match;
  switch (miss) {
    case "tls":
      return `tls ${route.tls} needs a ClientHello, the stream has none`;
    case "alpn":
      return `alpn ${list(query.alpn)} has none of ${list(alpn)}`;
    case "from":
      if (query.from !== null) return `from ${query.from} is not in ${list(from)}`;
      return query.destination.kind === "unix"
        ? `from a UNIX socket is not in ${list(from)}`
        : `no client address was given (--from), wanted ${list(from)}`;
    case "destination":
      return `destination ${formatAddress(query.destination)} is not in ${list(destination)}`;
  }
}

/** The table did not ask: the name excludes the route, or another was hit before it. */
function whyNotAsked(route: RouteConfig, hit: RouteConfig | null, query: RouteQuery): string {
  const { sni } = route.match;
  if (sni.length > 0 && !sni.some((pattern) => covers(pattern, query.serverName)))
    return query.serverName === null
      ? `no server name, wanted ${list(sni)}`
      : `sni ${query.serverName} is not in ${list(sni)}`;
  return `not asked: ${hit?.name ?? "another route"} comes first`;
}

/** For wording only; the table's index is what matches. */
function covers(pattern: string, name: string | null): boolean {
  if (name === null) return false;
  if (pattern.startsWith("**.")) return name.endsWith(pattern.slice(2)) && name.length > pattern.length - 2;
  if (pattern.startsWith("*.")) return name.slice(name.indexOf(".")) === pattern.slice(1);
  return name === pattern;
}

/** Exact first, then the longer suffix, `*.` before `**.`. */
function bySpecificity(a: string, b: string): number {
  const suffix = (pattern: string): number => pattern.replace(/^\*{1,2}\./, "").length;
  const stars = (pattern: string): number => pattern.length - pattern.replace(/^\*{1,2}/, "").length;
  return Math.sign(stars(a)) - Math.sign(stars(b)) || suffix(b) - suffix(a) || stars(a) - stars(b);
}

function list(words: readonly string[]): string {
  return words.length === 0 ? "(none)" : words.join(", ");
}
