/**
 * The clusters of the running configuration with what they resolve, dial and report by. Invariant: a cluster that a reload does
 * not change goes on as it is, with its health and its set; a changed one takes over from the one before.
 */
import { systemClock } from "./cluster/clock.ts";
import type { EndpointSet } from "./cluster/endpoint.ts";
import { connectTlsWith } from "./cluster/handshake.ts";
import { Cluster, type ClusterOptions } from "./cluster/membership.ts";
import type { ClusterConfig, Config } from "./config/config.ts";
import { same } from "./config/equality.ts";
import { DnsClient } from "./dns/client.ts";
import { createTargetSource } from "./dns/source.ts";
import { DnsAnswers } from "./observe/dns-answers.ts";
import type { Log } from "./observe/log.ts";
import { clientSpec } from "./tls/context.ts";
import type { Identity } from "./tls/identity.ts";
import { peerFromDer } from "./tls/peer.ts";
import { encodeProxyHeader } from "./wire/proxy-header.ts";

/** The clusters of one configuration. */
export interface ClusterGeneration {
  readonly config: Config;
  readonly identities: Readonly<Record<string, Identity>>;
  readonly dnsClient: DnsClient;
  readonly byName: ReadonlyMap<string, Cluster>;
}

export interface ClustersOptions {
  readonly log: Log;
  readonly onSet: (set: EndpointSet) => void;
}

export class Clusters {
  readonly dnsAnswers = new DnsAnswers();
  readonly #options: ClustersOptions;
  #running: ClusterGeneration | null = null;

  constructor(options: ClustersOptions) {
    this.#options = options;
  }

  get current(): ReadonlyMap<string, Cluster> {
    return this.#running?.byName ?? new Map();
  }

  /** Clusters for a new configuration; nothing starts yet. */
  next(config: Config, identities: Readonly<Record<string, Identity>>): ClusterGeneration {
    const before = this.#running;
    const sameDns = before !== null && same(before.config.dns, config.dns);
    const dnsClient = sameDns ? before.dnsClient : new DnsClient(config.dns);
    const byName = new Map<string, Cluster>();
    for (const [name, cluster] of Object.entries(config.clusters)) {
      const running = before?.byName.get(name) ?? null;
      const identity = cluster.tls?.identity ?? null;
      const sameIdentity =
        identity === null || before?.identities[identity]?.version === identities[identity]?.version;
      const unchanged = running !== null && sameDns && sameIdentity && same(running.config, cluster);
      const options = () => this.#optionsOf(cluster, identities, dnsClient);
      byName.set(name, unchanged ? running : new Cluster(cluster, options(), running));
    }
    return { config, identities, dnsClient, byName };
  }

  /** Switches: what is gone stops, what is new starts. */
  commit(next: ClusterGeneration): void {
    const before = this.current;
    this.#running = next;
    for (const [name, cluster] of before) if (!next.byName.has(name)) cluster.stop();
    // A changed cluster takes over from the one before, which it stops itself.
    for (const [name, cluster] of next.byName) if (before.get(name) !== cluster) cluster.start();
  }

  stop(): void {
    for (const cluster of this.current.values()) cluster.stop();
  }

  #optionsOf(
    cluster: ClusterConfig,
    identities: Readonly<Record<string, Identity>>,
    dnsClient: DnsClient,
  ): ClusterOptions {
    const { tls, proxyProtocol } = cluster;
    const identity = tls?.identity == null ? null : identities[tls.identity]!;
    return {
      createSource: (query) => createTargetSource(query, cluster, dnsClient, this.dnsAnswers.count),
      connectTls:
        tls === null ? null : connectTlsWith(clientSpec(cluster, identity), tls.serverName, peerFromDer),
      preamble: proxyProtocol === "off" ? null : localHeader(proxyProtocol),
      clock: systemClock,
      random: Math.random,
      onSet: this.#options.onSet,
      onEvent: ({ level, message, ...fields }) => this.#options.log.events[level](fields, message),
    };
  }
}

/** What a health check says ahead: it speaks for the proxy, not for a client. */
function localHeader(version: "v1" | "v2"): Uint8Array {
  return encodeProxyHeader({
    version: version === "v1" ? 1 : 2,
    command: "local",
    source: null,
    destination: null,
    tlvs: {},
  });
}
