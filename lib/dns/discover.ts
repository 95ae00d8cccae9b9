/**
 * `millrace discover NAME`: resolves as the proxy would, once, and shows what it found: tiers, shares, addresses, TTLs,
 * which DNS server said so and how, the records themselves, and where it does not work, why. A name that begins with an
 * underscore is an SRV name; any other is a host, with or without a port. Plain data first, text from it.
 */
import type { Attempt } from "./answer.ts";
import type { Asker } from "./client.ts";
import { type Found, Lookup, type Resolution, type ResolutionKind } from "./lookup.ts";
import { canonicalName, printable } from "./name.ts";
import { shares, tiersOf } from "./srv.ts";

export interface DiscoverOptions {
  readonly client: Asker;
  readonly signal?: AbortSignal;
}

/** JSON-able. Shares are percent of the tier's connections. */
export interface Discovery {
  readonly name: string;
  readonly source: "srv" | "dns";
  readonly kind: ResolutionKind;
  /** Why there are no targets; empty where there are. */
  readonly detail: string;
  /** Seconds until the proxy would ask again, before min_ttl and max_ttl. */
  readonly ttl: number | null;
  readonly tiers: readonly DiscoveredTier[];
  /** The DNS server that answered for the name itself, as `address:port`. */
  readonly server: string | null;
  readonly transport: "udp" | "tcp" | null;
  readonly authenticated: boolean;
  readonly edns: boolean;
  readonly failures: readonly string[];
  readonly notes: readonly string[];
  readonly attempts: readonly Attempt[];
  readonly raw: readonly string[];
  readonly duration_ms: number;
}

export interface DiscoveredTier {
  readonly priority: number;
  readonly targets: readonly DiscoveredTarget[];
}

export interface DiscoveredTarget {
  readonly name: string;
  readonly port: number | null;
  readonly weight: number;
  readonly share: number;
  readonly ttl: number | null;
  readonly addresses: readonly Found[];
}

const HOST_PORT = /^(.*?)(?::(\d{1,5}))?$/s;
const COLUMNS = 80;

/** Resolves `name` once. Never rejects: what went wrong is in `kind` and `detail`. */
export async function discover(name: string, options: DiscoverOptions): Promise<Discovery> {
  const began = performance.now();
  const srv = name.startsWith("_");
  const [, host = name, port] = HOST_PORT.exec(name) ?? [];
  const lookup = new Lookup(
    srv ? { kind: "srv", name } : { kind: "dns", host, port: Number(port ?? 0) },
    options.client,
    false,
    () => performance.now(),
  );
  const resolution = await lookup.resolve(options.signal === undefined ? {} : { signal: options.signal });
  const first = resolution.answers[0];
  return {
    name,
    source: srv ? "srv" : "dns",
    kind: resolution.kind,
    detail: resolution.detail,
    ttl: resolution.ttl,
    tiers: srv ? srvTiers(resolution) : hostTier(resolution, host, port === undefined ? null : Number(port)),
    server: first?.server ?? null,
    transport: first?.transport ?? null,
    authenticated: first?.authenticated ?? false,
    edns: first?.edns ?? false,
    failures: resolution.failures,
    notes: resolution.notes,
    attempts: resolution.answers.flatMap((answer) => answer.attempts),
    raw: resolution.answers.flatMap((answer) => answer.raw),
    duration_ms: Math.round(performance.now() - began),
  };
}

/** Shares count the targets that have an address: what the proxy would really spread over. */
function srvTiers(resolution: Resolution): DiscoveredTier[] {
  return tiersOf(resolution.entries).map(({ priority, members }) => {
    const reachable = members.filter((entry) => (resolution.addresses.get(entry.target) ?? []).length > 0);
    const parts = shares(reachable.map((entry) => entry.weight));
    return {
      priority,
      targets: members.map((entry) => ({
        name: entry.target,
        port: entry.port,
        weight: entry.weight,
        share: percent(parts[reachable.indexOf(entry)] ?? 0),
        ttl: entry.ttl,
        addresses: resolution.addresses.get(entry.target) ?? [],
      })),
    };
  });
}

function hostTier(resolution: Resolution, host: string, port: number | null): DiscoveredTier[] {
  const name = canonicalName(host) ?? host;
  const found =
    resolution.addresses.get(name) ?? resolution.targets.map(({ address }) => ({ address, ttl: null }));
  if (found.length === 0) return [];
  const target = { name, port, weight: 1, share: 100, ttl: resolution.ttl, addresses: found };
  return [{ priority: 0, targets: [target] }];
}

function percent(share: number): number {
  return Math.round(share * 1000) / 10;
}

/** For a terminal of 80 columns. Raw records and names may be longer; they are not cut, so that they can be copied. */
export function formatDiscovery(discovery: Discovery): string {
  const { kind, detail, server, transport, tiers } = discovery;
  const name = printable(discovery.name);
  const lines: string[] = [];
  const asked =
    server === null ? "" : `, from ${server} over ${transport}${discovery.authenticated ? ", AD" : ""}`;
  const held = discovery.ttl === null ? "" : `, for ${discovery.ttl} s`;
  lines.push(
    ...wrap(
      kind === "ok"
        ? `${name}: ${plural(count(tiers), "address", "addresses")}${asked}${held}`
        : `${name}: ${VERDICTS[kind]}${asked}${held}`,
      "",
    ),
  );
  if (detail !== "") lines.push(...wrap(detail, "  "));
  for (const tier of tiers) {
    lines.push("", `priority ${tier.priority}${tier === tiers[0] ? "" : " (only when all above are down)"}`);
    for (const target of tier.targets) {
      const port = target.port === null ? "" : `:${target.port}`;
      const ttl = target.ttl === null ? "" : `  TTL ${target.ttl} s`;
      lines.push(
        `  ${`${target.share} %`.padStart(7)}  weight ${target.weight}${ttl}  ${target.name}${port}`,
      );
      for (const { address, ttl: own } of target.addresses) {
        lines.push(`           ${address}${own === null ? "" : `  TTL ${own} s`}`);
      }
      if (target.addresses.length === 0) lines.push("           no address: gets no connections");
    }
  }
  section(lines, "failed lookups", discovery.failures);
  section(lines, "notes", discovery.notes);
  section(
    lines,
    "asked",
    kind === "ok" && discovery.attempts.length > 20
      ? [`${discovery.attempts.length} queries in ${discovery.duration_ms} ms`]
      : discovery.attempts.map((one) => `${one.server} ${one.transport} ${one.ms} ms: ${one.result}`),
  );
  if (discovery.raw.length > 0) lines.push("", "records", ...discovery.raw.map((record) => `  ${record}`));
  return `${lines.join("\n")}\n`;
}

const VERDICTS: Readonly<Record<ResolutionKind, string>> = {
  ok: "found",
  unavailable: "declared not available",
  nodata: "no such record (NODATA)",
  nxdomain: "no such name (NXDOMAIN)",
  servfail: "the DNS server failed (SERVFAIL)",
  refused: "the DNS server refuses to answer (REFUSED)",
  formerr: "the DNS server does not understand the query (FORMERR)",
  notimp: "the DNS server does not do this kind of query (NOTIMP)",
  rcode: "the DNS server answered with an error",
  lame: "the DNS server does not resolve for us (referral)",
  loop: "the aliases lead in a circle",
  malformed: "no usable answer",
  unreachable: "the DNS server cannot be reached",
  timeout: "no answer in time",
  aborted: "aborted",
};

function count(tiers: readonly DiscoveredTier[]): number {
  return tiers.reduce(
    (sum, tier) => sum + tier.targets.reduce((own, one) => own + one.addresses.length, 0),
    0,
  );
}

function plural(number: number, one: string, many: string): string {
  return `${number} ${number === 1 ? one : many}`;
}

function section(lines: string[], title: string, items: readonly string[]): void {
  if (items.length === 0) return;
  lines.push("", title);
  for (const item of items) lines.push(...wrap(item, "  "));
}

/** Lines of 80 columns, broken at spaces; words that are longer than a line stay whole. */
export function wrap(text: string, indent: string): string[] {
  const lines: string[] = [];
  let line = indent;
  for (const word of text.split(" ")) {
    if (line.length > indent.length && line.length + 1 + word.length > COLUMNS) {
      lines.push(line);
      line = `${indent}  `;
    }
    line += line.trim() === "" ? word : ` ${word}`;
  }
  lines.push(line);
  return lines;
}
