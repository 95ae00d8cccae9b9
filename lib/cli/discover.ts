/**
 * `millrace discover`: what the proxy would see behind a name, or, with a configuration, the endpoints of its clusters: by its
 * name servers, within its limits, merged and weighed by the code that runs in the proxy.
 */
import { isIP } from "node:net";
import { systemClock } from "../cluster/clock.ts";
import { Cluster } from "../cluster/membership.ts";
import { fullWeights } from "../cluster/weights.ts";
import type { ClusterConfig } from "../config/config.ts";
import { loadConfig } from "../config/parse.ts";
import { formatDuration } from "../config/units.ts";
import { DnsClient } from "../dns/client.ts";
import { discover, formatDiscovery, wrap } from "../dns/discover.ts";
import { printable } from "../dns/name.ts";
import { createTargetSource, type DnsTargetsState } from "../dns/source.ts";
import { ProxyError } from "../errors.ts";
import { type IpAddress, parseAddress } from "../wire/address.ts";
import { table } from "./text.ts";

interface Question {
  /** A name to ask for; with `config` a cluster of it. */
  readonly name: string | undefined;
  readonly config: string | undefined;
  readonly server: readonly string[];
  readonly json: boolean;
}

/** A cluster as it stands after one answer of each of its sources. JSON-able. */
interface Found {
  readonly cluster: string;
  readonly balance: ClusterConfig["balance"];
  /** Where it dials what its clients ask for there is nothing to find. */
  readonly direct: boolean;
  readonly endpoints: readonly FoundEndpoint[];
  readonly sources: readonly DnsTargetsState[];
  readonly events: readonly string[];
  readonly min_ttl_ms: number;
  readonly max_ttl_ms: number;
}

interface FoundEndpoint {
  readonly endpoint: string;
  readonly name: string | null;
  readonly priority: number;
  readonly weight: number;
  /** Percent of the connections of its priority, while all of it are up. */
  readonly share: number;
}

export async function discoverName(question: Question): Promise<number> {
  const { name, config, json } = question;
  const servers = question.server.length > 0 ? question.server.map(serverOf) : null;
  if (config !== undefined) return discoverClusters(config, name, servers, json);
  if (name === undefined) throw new ProxyError("USAGE", "say what to discover: a NAME, or -c FILE");
  const found = await discover(name, { client: new DnsClient({ servers }) });
  process.stdout.write(json ? `${JSON.stringify(found, null, 2)}\n` : formatDiscovery(found));
  return found.kind === "ok" ? 0 : 1;
}

function serverOf(text: string): IpAddress {
  const version = isIP(text);
  const address = parseAddress(version === 0 ? text : version === 6 ? `[${text}]:53` : `${text}:53`);
  if (address?.kind === "ip" && address.port > 0) return address;
  throw new ProxyError("USAGE", `--server ${text}: must be an IP address, or IP:PORT`);
}

async function discoverClusters(
  file: string,
  wanted: string | undefined,
  servers: readonly IpAddress[] | null,
  json: boolean,
): Promise<number> {
  const { clusters, dns } = loadConfig(file);
  if (wanted !== undefined && !Object.hasOwn(clusters, wanted)) {
    const names = Object.keys(clusters).join(", ") || "none";
    throw new ProxyError("USAGE", `${file} has no cluster ${wanted}; there are ${names}`);
  }
  const client = new DnsClient(servers === null ? dns : { ...dns, servers });
  const asked = wanted === undefined ? Object.values(clusters) : [clusters[wanted]!];
  const found = await Promise.all(asked.map((cluster) => findEndpoints(cluster, client)));
  process.stdout.write(json ? `${JSON.stringify(found, null, 2)}\n` : found.map(formatFound).join("\n"));
  return found.every(({ direct, endpoints }) => direct || endpoints.length > 0) ? 0 : 1;
}

/** Lets the cluster live until each of its sources has answered or failed once. Nothing is checked and nothing dialled. */
async function findEndpoints(config: ClusterConfig, client: DnsClient): Promise<Found> {
  let waiting = 0;
  let answered = (): void => {};
  const done = new Promise<void>((resolve) => {
    answered = resolve;
  });
  const events: string[] = [];
  const cluster = new Cluster(
    { ...config, health: null, eject: null },
    {
      createSource: (query) => {
        waiting += 1;
        let first = true;
        return createTargetSource(query, config, client, () => {
          if (!first) return;
          first = false;
          waiting -= 1;
          if (waiting === 0) answered();
        });
      },
      connectTls: null,
      preamble: null,
      clock: systemClock,
      random: Math.random,
      onSet: () => {},
      onEvent: ({ level, message }) => {
        if (level === "warn") events.push(message);
      },
    },
  );
  if (waiting === 0) answered();
  cluster.start();
  await done;
  const sources = cluster.describe().sources as DnsTargetsState[];
  cluster.stop();
  return {
    cluster: config.name,
    balance: config.balance,
    direct: config.source.kind === "original" || config.source.kind === "announced",
    endpoints: endpointsOf(cluster),
    sources,
    events,
    min_ttl_ms: config.minTtl,
    max_ttl_ms: config.maxTtl,
  };
}

function endpointsOf(cluster: Cluster): FoundEndpoint[] {
  const { endpoints } = cluster.set;
  const priorities = [...new Set(endpoints.map(({ priority }) => priority))].sort((a, b) => a - b);
  return priorities.flatMap((wanted) => {
    const tier = endpoints.filter(({ priority }) => priority === wanted);
    const worth = fullWeights(tier);
    const all = worth.reduce((sum, one) => sum + one, 0);
    return tier.map(({ key, name, priority, weight }, index) => {
      const share = Math.round((worth[index]! / all) * 1000) / 10;
      return { endpoint: key, name, priority, weight, share };
    });
  });
}

function formatFound(found: Found): string {
  const { cluster, balance, direct, endpoints, sources, events } = found;
  const count = `${endpoints.length} endpoint${endpoints.length === 1 ? "" : "s"}`;
  const lines = [
    direct
      ? `cluster ${cluster}: dials what its clients ask for`
      : `cluster ${cluster}: ${count}, ${balance}`,
  ];
  if (endpoints.length > 0) {
    const rows = endpoints.map(({ priority, share, weight, endpoint, name }) => {
      return [priority, `${share} %`.padStart(7), weight, endpoint, name === null ? "" : printable(name)];
    });
    lines.push("", ...table(["priority", "share", "weight", "endpoint", "name"], rows));
  }
  const kept = `${formatDuration(found.min_ttl_ms)} to ${formatDuration(found.max_ttl_ms)}`;
  for (const { name, phase, next_query_s: next, problem } of sources) {
    const again = next === null ? "" : `, asked again in ${next} s`;
    lines.push("", ...wrap(`${printable(name)}: ${phase}${again}; answers are kept ${kept}`, ""));
    if (problem !== "") lines.push(...wrap(printable(problem), "  "));
  }
  if (events.length > 0) {
    lines.push("", "warnings", ...events.flatMap((event) => wrap(printable(event), "  ")));
  }
  const records = sources.flatMap(({ raw }) => raw);
  if (records.length > 0) lines.push("", "records", ...records.map((record) => `  ${record}`));
  return `${lines.join("\n")}\n`;
}
