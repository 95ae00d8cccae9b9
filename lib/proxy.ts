/**
 * The control plane: turns configurations into generations and runs them on the workers. It owns everything that is not a
 * connection: identities and their watches, clusters with their resolvers and health checks, ticket keys, counter rows,
 * listening sockets of the epoll transport, the admin door, the log. Nothing changes unless everything can: a reload first loads all files,
 * then has every worker compile and bind, and only then commits; any failure leaves the running generation as it was.
 */
import { cpus } from "node:os";
import { type Admin, openAdmin } from "./admin.ts";
import { systemClock } from "./cluster/clock.ts";
import { connectTlsWith } from "./cluster/handshake.ts";
import { Cluster, type ClusterOptions } from "./cluster/membership.ts";
import type { ClusterConfig, Config, ListenerConfig } from "./config/config.ts";
import { DnsClient } from "./dns/client.ts";
import { createTargetSource } from "./dns/source.ts";
import { ProxyError } from "./errors.ts";
import { type Plan, socketKey } from "./generation.ts";
import { budgetDescriptors } from "./listen/descriptors.ts";
import { type Bound, bindListener } from "./listen/socket.ts";
import { createSharedSources } from "./listen/sources.ts";
import { claimPath } from "./listen/unix.ts";
import { createClusterRow, createListenerRow } from "./observe/counters.ts";
import { DnsAnswers } from "./observe/dns-answers.ts";
import { type Log, openLog } from "./observe/log.ts";
import { clientSpec } from "./tls/context.ts";
import { type Identity, loadIdentity } from "./tls/identity.ts";
import { peerFromDer } from "./tls/peer.ts";
import { TicketKeys } from "./tls/tickets.ts";
import { IdentityWatch } from "./tls/watch.ts";
import { type Choice, chooseTransport } from "./transport/choice.ts";
import { formatAddress, type SocketAddress } from "./wire/address.ts";
import { encodeProxyHeader } from "./wire/proxy-header.ts";
import {
  BEATS,
  CONNECTION_LIMIT,
  DROPPED_LINES,
  type Event,
  MAX_WORKERS,
  PENDING_LOG_BYTES,
  type Shared,
} from "./worker.ts";
import { Workers } from "./workers.ts";

export interface ProxyOptions {
  /** Where the log goes; default: standard output as `log.format` says. */
  readonly log?: Log;
  /** Called when the proxy cannot go on (a worker died). Default: throw. */
  readonly onDeath?: (error: Error) => void;
}

export type State = "new" | "starting" | "running" | "draining" | "stopped";

// Lines that wait for a log nobody reads are given up after this long at the end.
const LOG_CLOSE_MS = 1_000;

export class Proxy {
  readonly #log: Log;
  readonly #onDeath: (error: Error) => void;
  readonly #tickets = new TicketKeys({ now: Date.now });
  readonly #shared: Shared = {
    gauges: new Int32Array(new SharedArrayBuffer((BEATS + MAX_WORKERS) * 4)),
    sources: createSharedSources(),
  };
  readonly #listenerRows = new Map<string, Float64Array[]>();
  readonly #clusterRows = new Map<string, Float64Array[]>();
  readonly #listenerLive = new Map<string, Int32Array>();
  readonly #bound = new Map<string, Bound>();
  readonly #watches = new Map<string, IdentityWatch>();
  readonly #reloads = { ok: 0, failed: 0 };
  readonly #startedAt = Date.now();
  readonly #dnsAnswers = new DnsAnswers();
  #dnsClient: DnsClient;
  #admin: Admin | null = null;
  #addresses = new Map<string, SocketAddress>();
  #config: Config;
  #identities: Readonly<Record<string, Identity>> = {};
  #clusters = new Map<string, Cluster>();
  #workers: Workers | null = null;
  #choice: Choice | null = null;
  #generation = 0;
  #state: State = "new";
  #ticketTimer: NodeJS.Timeout | null = null;
  /** Changes are applied one after the other; this is the last of them and never rejects. */
  #turn: Promise<unknown> = Promise.resolve();
  #draining: Promise<void> | null = null;
  #closing: Promise<void> | null = null;

  constructor(config: Config, options: ProxyOptions = {}) {
    this.#config = config;
    this.#dnsClient = new DnsClient(config.dns);
    this.#log = options.log ?? openLog(config.log);
    this.#onDeath =
      options.onDeath ??
      ((error) => {
        throw error;
      });
  }

  get state(): State {
    return this.#state;
  }
  get config(): Config {
    return this.#config;
  }
  /** Unix ms. */
  get startedAt(): number {
    return this.#startedAt;
  }
  get generation(): number {
    return this.#generation;
  }
  /** Bound addresses by listener name; port 0 is resolved. */
  get addresses(): ReadonlyMap<string, SocketAddress> {
    return this.#addresses;
  }
  /** Where the admin door is; null while there is none. */
  get adminAddress(): SocketAddress | null {
    return this.#admin?.address ?? null;
  }
  /** Which transport runs and why. Null before `start`. */
  get choice(): Choice | null {
    return this.#choice;
  }
  get reloads(): Readonly<{ ok: number; failed: number }> {
    return this.#reloads;
  }
  get dnsAnswers(): DnsAnswers {
    return this.#dnsAnswers;
  }
  get log(): Log {
    return this.#log;
  }
  get identities(): Readonly<Record<string, Identity>> {
    return this.#identities;
  }
  get clusters(): ReadonlyMap<string, Cluster> {
    return this.#clusters;
  }
  get gauges(): Int32Array {
    return this.#shared.gauges;
  }
  get workers(): number {
    return this.#workers?.count ?? 0;
  }
  /** This process's counter rows, one per worker. */
  listenerRows(): ReadonlyMap<string, readonly Float64Array[]> {
    return this.#listenerRows;
  }
  clusterRows(): ReadonlyMap<string, readonly Float64Array[]> {
    return this.#clusterRows;
  }

  /** Resolves when every listener accepts. Rejects with a ProxyError, everything released. */
  async start(): Promise<void> {
    if (this.#state !== "new") throw new ProxyError("USAGE", `start: the proxy is ${this.#state}`);
    this.#state = "starting";
    try {
      await this.#inTurn(() => this.#start());
    } catch (thrown) {
      await this.close();
      throw thrown;
    }
    // A getter, because the compiler does not see that `close` may have been called meanwhile.
    if (this.state !== "starting") throw new ProxyError("USAGE", "start: the proxy was closed meanwhile");
    this.#state = "running";
  }

  /** Replaces the configuration. Rejects with a ProxyError and keeps the old generation when anything is wrong. */
  async reload(config: Config): Promise<void> {
    if (this.#state !== "running") throw new ProxyError("USAGE", `reload: the proxy is ${this.#state}`);
    await this.#inTurn(async () => {
      try {
        this.#warnFixed(config);
        await this.#apply(config, await loadIdentities(config));
        this.#reloads.ok += 1;
        this.#log.events.info({ generation: this.#generation }, "reloaded");
      } catch (thrown) {
        this.#reloads.failed += 1;
        this.#log.events.error(
          { generation: this.#generation, error: (thrown as Error).message },
          "reload failed, the running configuration stays",
        );
        throw thrown;
      }
    });
  }

  /** Says what a reload cannot change. */
  #warnFixed(config: Config): void {
    const fixed = ({ transport, workers, log }: Config) => [transport, workers, log.format];
    if (same(fixed(config), fixed(this.#config))) return;
    this.#log.events.warn("transport, workers and log.format change at a restart only");
  }

  /**
   * Stops accepting at once and waits for live connections, at most `ms` (default: `timeouts.drain`; 0 waits for ever); what
   * is left then is reset with reason `drain`. Ends in state `stopped`. A second call joins the first.
   */
  async drain(ms: number = this.#config.timeouts.drain): Promise<void> {
    if (this.#state === "running") {
      this.#state = "draining";
      this.#draining = this.#drain(ms);
    }
    if (this.#state === "draining") await this.#draining;
    await this.close();
  }

  async #drain(ms: number): Promise<void> {
    this.#log.events.info({ limit_ms: ms }, "draining");
    this.#stopRenewing();
    // A reload that has begun would open listeners behind our back; no other begins.
    await this.#turn;
    // It may have begun to watch.
    this.#stopRenewing();
    let deadline: NodeJS.Timeout | undefined;
    const limit = new Promise<void>((resolve) => {
      if (ms > 0) deadline = setTimeout(resolve, ms);
    });
    this.#closeBound();
    await Promise.race([this.#workers!.drain(), limit]);
    clearTimeout(deadline);
  }

  /** Ends everything now. Idempotent: every call resolves when all is released. */
  close(): Promise<void> {
    this.#state = "stopped";
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    await this.#turn;
    await this.#release();
    if (this.#generation > 0) this.#log.events.info("stopped");
    await this.#log.close(LOG_CLOSE_MS);
  }

  /** A reload that was refused before it got here (its file cannot be read) counts as failed, too. */
  countFailedReload(): void {
    this.#reloads.failed += 1;
  }

  /** Rows of the live listing, at most `limit` per worker. */
  async connections(limit = 10_000): Promise<readonly Record<string, unknown>[]> {
    return (await this.#workers?.list(limit)) ?? [];
  }

  /** Ends one connection with reason `killed`; false when there is none of that id. */
  async kill(id: string): Promise<boolean> {
    return (await this.#workers?.kill(id)) ?? false;
  }

  // ── start and change ───────────────────────────────────────────────────────────────────────────────────────────────

  async #start(): Promise<void> {
    const config = this.#config;
    const identities = await loadIdentities(config);
    const choice = chooseTransport(config);
    this.#choice = choice;
    this.#workers = new Workers({
      transport: choice.transport,
      count: choice.transport === "net" ? 1 : workerCount(config),
      shared: this.#shared,
      onEvent: (_, event) => this.#heard(event),
      onDeath: (error) => this.#died(error),
    });
    if (choice.why !== null)
      this.#log.events.info({ transport: choice.transport, why: choice.why }, "transport");
    await this.#apply(config, identities);
    this.#scheduleTickets();
    this.#log.events.info(
      {
        transport: choice.transport,
        workers: this.#workers.count,
        listeners: Object.fromEntries(
          [...this.#addresses].map(([name, address]) => [name, formatAddress(address)]),
        ),
        ...(this.#admin === null ? {} : { admin: formatAddress(this.#admin.address) }),
        connections_limit: this.#shared.gauges[CONNECTION_LIMIT],
      },
      "running",
    );
  }

  /** Makes one generation of a configuration and identities and switches to it, or throws and changes nothing. */
  async #apply(config: Config, identities: Readonly<Record<string, Identity>>): Promise<void> {
    if (this.#state === "draining" || this.#state === "stopped") {
      throw new ProxyError("USAGE", `the proxy is ${this.#state}`);
    }
    const workers = this.#workers!;
    const generation = this.#generation + 1;
    const dnsClient = same(config.dns, this.#config.dns) ? this.#dnsClient : new DnsClient(config.dns);
    const clusters = this.#nextClusters(config, identities, dnsClient);
    const fresh = await this.#bindMissing(config);
    let admin = this.#admin;
    try {
      admin = await this.#nextAdmin(config);
      const plans = Array.from({ length: workers.count }, (_, worker) =>
        this.#plan(generation, config, identities, clusters, worker),
      );
      const bound = await workers.prepare(plans);
      this.#addresses = this.#resolvedAddresses(config, bound);
    } catch (thrown) {
      for (const bound of fresh) this.#unbind(bound);
      if (admin !== this.#admin) await admin?.close();
      throw thrown;
    }
    this.#limitConnections(config);
    workers.broadcast({ type: "commit", generation });
    this.#generation = generation;
    this.#config = config;
    this.#dnsClient = dnsClient;
    this.#identities = identities;
    const before = this.#clusters;
    this.#clusters = clusters;
    for (const [name, cluster] of before) if (!clusters.has(name)) cluster.stop();
    // A changed cluster takes over from the one before, which it stops itself.
    for (const [name, cluster] of clusters) if (before.get(name) !== cluster) cluster.start();
    const kept = new Set(config.listeners.map(socketKey));
    for (const [address, bound] of this.#bound) if (!kept.has(address)) this.#unbind(bound);
    this.#watchIdentities();
    this.#log.level(config.log.level);
    const door = this.#admin;
    this.#admin = admin;
    if (door !== admin) await door?.close();
  }

  /** How many connections at once: as configured, else as many as the descriptors leave room for. */
  #limitConnections({ limits }: Config): void {
    const budget = budgetDescriptors(this.#choice!.transport);
    const limit = limits.connections === "auto" ? budget.connections : limits.connections;
    const before = Atomics.exchange(this.#shared.gauges, CONNECTION_LIMIT, limit);
    if (limit <= budget.connections || limit === before) return;
    this.#log.events.warn(
      { limit, descriptors: budget.limit, fits: budget.connections },
      "limits.connections is more than the descriptor limit allows; raise LimitNOFILE",
    );
  }

  /** The admin door that a configuration asks for: the open one where its address stays. */
  async #nextAdmin({ admin }: Config): Promise<Admin | null> {
    if (admin === null) return null;
    if (this.#admin !== null && same(admin, this.#config.admin)) return this.#admin;
    return openAdmin(this, admin.listen);
  }

  #plan(
    generation: number,
    config: Config,
    identities: Readonly<Record<string, Identity>>,
    clusters: ReadonlyMap<string, Cluster>,
    worker: number,
  ): Plan {
    const rowsOf = (
      rows: Map<string, Float64Array[]>,
      name: string,
      create: () => Float64Array,
    ): Float64Array => {
      let all = rows.get(name);
      if (all === undefined) {
        all = Array.from({ length: this.#workers!.count }, create);
        rows.set(name, all);
      }
      return all[worker]!;
    };
    const byListener = <T>(value: (listener: ListenerConfig) => T): Record<string, T> =>
      Object.fromEntries(config.listeners.map((listener) => [listener.name, value(listener)]));
    const descriptors: Record<string, number> = {};
    for (const listener of config.listeners) {
      const bound = this.#bound.get(socketKey(listener));
      if (bound !== undefined) descriptors[listener.name] = bound.descriptor;
    }
    return {
      generation,
      config,
      identities,
      ticketKeys: this.#tickets.current(),
      sets: [...clusters.values()].map((cluster) => cluster.set),
      descriptors,
      listenerRows: byListener((listener) => rowsOf(this.#listenerRows, listener.name, createListenerRow)),
      clusterRows: Object.fromEntries(
        Object.keys(config.clusters).map((name) => [name, rowsOf(this.#clusterRows, name, createClusterRow)]),
      ),
      listenerLive: byListener((listener) => {
        let live = this.#listenerLive.get(listener.name);
        if (live === undefined) {
          live = new Int32Array(new SharedArrayBuffer(4));
          this.#listenerLive.set(listener.name, live);
        }
        return live;
      }),
    };
  }

  /** Clusters of a new configuration: those that did not change are the running ones, with their state. */
  #nextClusters(
    config: Config,
    identities: Readonly<Record<string, Identity>>,
    dnsClient: DnsClient,
  ): Map<string, Cluster> {
    const next = new Map<string, Cluster>();
    for (const [name, cluster] of Object.entries(config.clusters)) {
      const running = this.#clusters.get(name);
      const identity = cluster.tls?.identity ?? null;
      const unchanged =
        identity === null || this.#identities[identity]?.version === identities[identity]?.version;
      if (
        running !== undefined &&
        unchanged &&
        same([running.config, this.#config.dns], [cluster, config.dns])
      ) {
        next.set(name, running);
        continue;
      }
      next.set(
        name,
        new Cluster(cluster, this.#clusterOptions(cluster, identities, dnsClient), running ?? null),
      );
    }
    return next;
  }

  #clusterOptions(
    cluster: ClusterConfig,
    identities: Readonly<Record<string, Identity>>,
    dnsClient: DnsClient,
  ): ClusterOptions {
    const { tls } = cluster;
    return {
      createSource: (query) => createTargetSource(query, cluster, dnsClient, this.#dnsAnswers.count),
      connectTls:
        tls === null
          ? null
          : connectTlsWith(
              clientSpec(cluster, tls.identity === null ? null : identities[tls.identity]!),
              tls.serverName,
              peerFromDer,
            ),
      preamble: cluster.proxyProtocol === "off" ? null : localHeader(cluster.proxyProtocol),
      clock: systemClock,
      random: Math.random,
      onSet: (set) => this.#workers?.broadcast({ type: "set", set }),
      onEvent: ({ level, message, ...fields }) => this.#log.events[level](fields, message),
    };
  }

  /** A watch that is still right goes on: what it is about to see must not be lost. */
  #watchIdentities(): void {
    const wanted = this.#config.identities;
    for (const [name, watch] of this.#watches) {
      const right = same(watch.config, wanted[name]) && watch.version === this.#identities[name]?.version;
      if (right) continue;
      watch.close();
      this.#watches.delete(name);
    }
    for (const config of Object.values(wanted)) {
      const { name } = config;
      if (!config.watch || this.#watches.has(name)) continue;
      const watch = new IdentityWatch({
        config,
        current: this.#identities[name]!,
        changed: (renewed) => void this.#renewed(watch, renewed),
        failed: (error) =>
          this.#log.events.error(
            { identity: name, error: error.message },
            "identity cannot be renewed, the last good one stays",
          ),
      });
      this.#watches.set(name, watch);
      // The files may have changed since they were read.
      void watch.look();
    }
  }

  /** A renewed certificate is a new generation of the same configuration. */
  async #renewed(watch: IdentityWatch, identity: Identity): Promise<void> {
    const { name } = identity;
    try {
      await this.#inTurn(async () => {
        // A reload may have come first and read the same files, or given the name to others.
        if (this.#watches.get(name) !== watch || this.#identities[name]?.version === identity.version) return;
        await this.#apply(this.#config, { ...this.#identities, [name]: identity });
        this.#log.events.info(
          { identity: name, not_after: identity.notAfter, generation: this.#generation },
          "identity renewed",
        );
      });
    } catch (thrown) {
      this.#log.events.error(
        { identity: name, error: (thrown as Error).message },
        "identity cannot be used, the last good one stays",
      );
    }
  }

  #scheduleTickets(): void {
    this.#ticketTimer = setTimeout(() => {
      this.#tickets.rotate();
      void this.#inTurn(() => this.#apply(this.#config, this.#identities))
        .catch((error: Error) => this.#log.events.error({ error: error.message }, "ticket keys not rotated"))
        .finally(() => {
          if (this.#state === "running") this.#scheduleTickets();
        });
    }, this.#tickets.due());
    this.#ticketTimer.unref();
  }

  // ── sockets ────────────────────────────────────────────────────────────────────────────────────────────────────────

  /** On epoll control binds, so that all workers share one queue. Rejects with what it bound released. */
  async #bindMissing(config: Config): Promise<Bound[]> {
    const fresh: Bound[] = [];
    const standing = new Set(this.#generation === 0 ? [] : this.#config.listeners.map(socketKey));
    try {
      for (const listener of config.listeners) {
        const { name, address } = listener;
        if (address.kind === "systemd" || standing.has(socketKey(listener))) continue;
        if (address.kind === "unix") await claimPath(address.path, `listener ${name}`);
        if (this.#choice!.transport !== "epoll") continue;
        const bound = bindListener(name, address);
        this.#bound.set(socketKey(listener), bound);
        fresh.push(bound);
      }
    } catch (thrown) {
      for (const bound of fresh) this.#unbind(bound);
      throw thrown;
    }
    return fresh;
  }

  #unbind(bound: Bound): void {
    for (const [key, value] of this.#bound) if (value === bound) this.#bound.delete(key);
    bound.close();
  }

  #closeBound(): void {
    for (const bound of [...this.#bound.values()]) this.#unbind(bound);
  }

  #resolvedAddresses(
    config: Config,
    fresh: Readonly<Record<string, SocketAddress>>,
  ): Map<string, SocketAddress> {
    const addresses = new Map<string, SocketAddress>();
    for (const listener of config.listeners) {
      const { name } = listener;
      const previous = this.#config.listeners.find((old) => socketKey(old) === socketKey(listener));
      const bound =
        this.#bound.get(socketKey(listener))?.address ??
        fresh[name] ??
        (previous === undefined ? undefined : this.#addresses.get(previous.name));
      if (bound !== undefined) addresses.set(name, bound);
    }
    return addresses;
  }

  // ── workers ────────────────────────────────────────────────────────────────────────────────────────────────────────

  #heard(event: Event): void {
    switch (event.type) {
      case "fault":
        this.#log.events.error({ error: event.message }, "a fault of ours, contained to one connection");
        return;
      case "lines":
        this.#log.lines(event.text, () =>
          Atomics.sub(this.#shared.gauges, PENDING_LOG_BYTES, event.text.length),
        );
        return;
      case "failures":
        this.#clusters.get(event.cluster)?.report(event.endpoint, event.count);
        return;
    }
  }

  #died(error: Error): void {
    this.#log.events.fatal({ error: error.message }, "a worker died; its descriptors have no other owner");
    this.#onDeath(error);
  }

  /** No new generation comes of itself any more. */
  #stopRenewing(): void {
    if (this.#ticketTimer !== null) clearTimeout(this.#ticketTimer);
    for (const watch of this.#watches.values()) watch.close();
    this.#watches.clear();
  }

  async #release(): Promise<void> {
    this.#stopRenewing();
    for (const cluster of this.#clusters.values()) cluster.stop();
    this.#closeBound();
    await this.#workers?.stop();
    await this.#admin?.close();
    const dropped = this.#shared.gauges[DROPPED_LINES]!;
    if (dropped > 0)
      this.#log.events.warn({ dropped }, "access lines were dropped, because the log was not read");
  }

  #inTurn<T>(change: () => Promise<T>): Promise<T> {
    const next = this.#turn.then(change);
    this.#turn = next.catch(() => {});
    return next;
  }
}

async function loadIdentities(config: Config): Promise<Readonly<Record<string, Identity>>> {
  const entries = await Promise.all(
    Object.values(config.identities).map(
      async (identity) => [identity.name, await loadIdentity(identity)] as const,
    ),
  );
  return Object.fromEntries(entries);
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

/** `auto`: one per CPU. */
function workerCount(config: Config): number {
  return Math.min(config.workers === "auto" ? cpus().length : config.workers, MAX_WORKERS);
}

/** Configurations are plain data in a fixed key order. */
function same(a: unknown, b: unknown): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}
