/**
 * The control plane: turns configurations into generations and runs them on the workers. It owns everything that is not a
 * connection: identities, clusters, listening sockets and counter rows (each a room of its own), ticket keys, the admin door, the
 * log. Nothing changes unless everything can: a reload first loads all files, then has every worker compile and bind, and only
 * then commits; any failure leaves the running generation as it was.
 */
import { cpus } from "node:os";
import { type Admin, openAdmin } from "./admin.ts";
import type { Cluster } from "./cluster/membership.ts";
import { Clusters } from "./clusters.ts";
import { type Config, MAX_WORKERS } from "./config/config.ts";
import { same } from "./config/equality.ts";
import { ProxyError } from "./errors.ts";
import { Identities, type LoadedIdentities, loadIdentities } from "./identities.ts";
import { budgetDescriptors } from "./listen/descriptors.ts";
import { createSharedSources } from "./listen/sources.ts";
import type { DnsAnswers } from "./observe/dns-answers.ts";
import type { SharedLines } from "./observe/lines.ts";
import { type Log, openLog } from "./observe/log.ts";
import { Rows } from "./rows.ts";
import { Sockets } from "./sockets.ts";
import type { Identity } from "./tls/identity.ts";
import { TicketKeys } from "./tls/tickets.ts";
import { type Choice, chooseTransport } from "./transport/choice.ts";
import { formatAddress, type SocketAddress } from "./wire/address.ts";
import { BEATS, CONNECTION_LIMIT, DROPPED_LINES, type Event, type Shared } from "./worker.ts";
import { Workers } from "./workers.ts";

export interface ProxyOptions {
  /** Where the log goes; default: standard output as `log.format` says. */
  readonly log?: Log;
  /** Called when the proxy cannot go on (a worker died). Default: throw. */
  readonly onDeath?: (error: Error) => void;
}

export type State = "new" | "starting" | "running" | "draining" | "stopped";

/** ms after which lines that wait for a log nobody reads are given up at the end. */
export const LOG_CLOSE_MS = 1_000;

export class Proxy {
  readonly #log: Log;
  readonly #onDeath: (error: Error) => void;
  readonly #tickets = new TicketKeys({ now: Date.now });
  readonly #shared: Shared = {
    gauges: new Int32Array(new SharedArrayBuffer((BEATS + MAX_WORKERS) * 4)),
    sources: createSharedSources(),
  };
  readonly #rows = new Rows();
  readonly #sockets = new Sockets();
  readonly #identities: Identities;
  readonly #clusters: Clusters;
  readonly #reloads = { ok: 0, failed: 0 };
  readonly #startedAt = Date.now();
  #admin: Admin | null = null;
  #config: Config;
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
    this.#log = options.log ?? openLog(config.log);
    this.#identities = new Identities({
      log: this.#log,
      renew: (identity, due) => this.#renew(identity, due),
    });
    this.#clusters = new Clusters({
      log: this.#log,
      onSet: (set) => this.#workers?.broadcast({ type: "set", set }),
    });
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
    return this.#sockets.addresses;
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
    return this.#clusters.dnsAnswers;
  }
  get log(): Log {
    return this.#log;
  }
  get identities(): LoadedIdentities {
    return this.#identities.current;
  }
  get clusters(): ReadonlyMap<string, Cluster> {
    return this.#clusters.current;
  }
  get gauges(): Int32Array {
    return this.#shared.gauges;
  }
  get workers(): number {
    return this.#workers?.count ?? 0;
  }
  /** Where the access lines of each worker wait for the log. */
  get lines(): readonly SharedLines[] {
    return this.#workers?.lines ?? [];
  }
  /** This process's counter rows, one per worker. */
  listenerRows(): ReadonlyMap<string, readonly Float64Array[]> {
    return this.#rows.listeners;
  }
  clusterRows(): ReadonlyMap<string, readonly Float64Array[]> {
    return this.#rows.clusters;
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
    this.#sockets.close();
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
      onEvent: (event) => this.#heard(event),
      onLines: (bytes, written) => this.#log.lines(bytes, written),
      onDeath: (error) => this.#died(error),
    });
    if (choice.why !== null)
      this.#log.events.info({ transport: choice.transport, why: choice.why }, "transport");
    await this.#apply(config, identities);
    this.#scheduleTickets();
    this.#log.events.info(
      {
        transport: choice.transport,
        ...(choice.transport === "epoll" ? { io_uring: choice.ioUring } : {}),
        workers: this.#workers.count,
        listeners: Object.fromEntries(
          [...this.#sockets.addresses].map(([name, address]) => [name, formatAddress(address)]),
        ),
        ...(this.#admin === null ? {} : { admin: formatAddress(this.#admin.address) }),
        connections_limit: this.#shared.gauges[CONNECTION_LIMIT],
      },
      "running",
    );
  }

  /** Makes one generation of a configuration and identities and switches to it, or throws and changes nothing. */
  async #apply(config: Config, identities: LoadedIdentities): Promise<void> {
    if (this.#state === "draining" || this.#state === "stopped") {
      throw new ProxyError("USAGE", `the proxy is ${this.#state}`);
    }
    const workers = this.#workers!;
    const generation = this.#generation + 1;
    const clusters = this.#clusters.next(config, identities);
    const fresh = await this.#sockets.open(config.listeners, this.#choice!.transport);
    const door = this.#admin;
    let admin = door;
    let addresses: Readonly<Record<string, SocketAddress>>;
    try {
      admin = await this.#nextAdmin(config);
      const plan = {
        generation,
        config,
        identities,
        ticketKeys: this.#tickets.current(),
        sets: [...clusters.byName.values()].map((cluster) => cluster.set),
        descriptors: this.#sockets.descriptors(config.listeners),
      };
      addresses = await workers.prepare(
        this.#rows.of(config, workers.count).map((rows) => ({ ...plan, ...rows })),
      );
    } catch (thrown) {
      this.#sockets.abandon(fresh);
      if (admin !== door) await admin?.close();
      throw thrown;
    }
    this.#limitConnections(config);
    // First: whoever closes a socket last resets its queue, and only a worker empties that before.
    this.#sockets.commit(config.listeners, addresses);
    const committed = workers.commit(generation);
    this.#generation = generation;
    this.#config = config;
    this.#clusters.commit(clusters);
    this.#identities.commit(config, identities);
    this.#log.level(config.log.level);
    await committed;
    this.#admin = admin;
    if (door !== admin) await door?.close();
  }

  /** How many connections at once: as configured, else as many as the descriptors leave room for. */
  #limitConnections({ limits, listeners }: Config): void {
    const budget = budgetDescriptors(this.#choice!.transport, this.#workers!.count, listeners.length);
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

  /** A renewed certificate is a new generation of the same configuration. */
  async #renew(identity: Identity, due: () => boolean): Promise<void> {
    const { name, notAfter } = identity;
    await this.#inTurn(async () => {
      if (!due()) return;
      await this.#apply(this.#config, { ...this.#identities.current, [name]: identity });
      this.#log.events.info(
        { identity: name, not_after: notAfter, generation: this.#generation },
        "identity renewed",
      );
    });
  }

  #scheduleTickets(): void {
    this.#ticketTimer = setTimeout(() => {
      this.#tickets.rotate();
      void this.#inTurn(() => this.#apply(this.#config, this.#identities.current))
        .catch((error: Error) => this.#log.events.error({ error: error.message }, "ticket keys not rotated"))
        .finally(() => {
          if (this.#state === "running") this.#scheduleTickets();
        });
    }, this.#tickets.due());
    this.#ticketTimer.unref();
  }

  // ── workers ────────────────────────────────────────────────────────────────────────────────────────────────────────

  #heard(event: Event): void {
    switch (event.type) {
      case "fault":
        this.#log.events.error({ error: event.message }, "a fault of ours, contained to one connection");
        return;
      case "failures":
        this.#clusters.current.get(event.cluster)?.report(event.endpoint, event.count);
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
    this.#identities.unwatch();
  }

  async #release(): Promise<void> {
    this.#stopRenewing();
    this.#clusters.stop();
    this.#sockets.close();
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

/** `auto`: one per CPU. */
function workerCount(config: Config): number {
  return Math.min(config.workers === "auto" ? cpus().length : config.workers, MAX_WORKERS);
}
