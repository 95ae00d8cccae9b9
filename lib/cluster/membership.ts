/**
 * The control half of one cluster: merges what its sources say into whole endpoint sets, keeps the cell of every endpoint
 * that stays or returns, checks, ejects, and tells what it did. Invariant: a set is published when it differs from the
 * last one, with a greater version; an endpoint that left is draining as soon as the set without it is out.
 */
import type { ClusterConfig } from "../config/config.ts";
import { formatAddress, plainHost, type SocketAddress } from "../wire/address.ts";
import type { Clock } from "./clock.ts";
import { Ejector } from "./eject.ts";
import { createCell, createEpoch, type Endpoint, type EndpointSet, HEALTH_UP } from "./endpoint.ts";
import { HealthCheck } from "./health.ts";
import { type ConnectTls, probe } from "./probe.ts";
import { type AskedEntry, type SourceQuery, sourcesOf, type Target, type TargetSource } from "./source.ts";
import { Standing, type StandingView } from "./standing.ts";

/** How long an idle endpoint that left is remembered (ms): a flapping answer must not wipe its record. */
const REMEMBER = 600_000;

/** Something that an operator may want to read in the log. */
export interface ClusterEvent {
  readonly cluster: string;
  readonly endpoint: string | null;
  readonly event: "added" | "removed" | "down" | "up" | "ejected" | "returned" | "spared" | "resolver";
  readonly level: "info" | "warn";
  readonly message: string;
  /** `resolver`: the records that led to it. */
  readonly raw?: readonly string[];
}

export interface ClusterOptions {
  /** Makes the source for a name or a service; not called for addresses. */
  readonly createSource: (query: SourceQuery, config: ClusterConfig) => TargetSource;
  /** For `health.check: tls`; see connectTlsWith. */
  readonly connectTls: ConnectTls | null;
  /** What a check sends first: a PROXY LOCAL header where the cluster speaks PROXY, else null. */
  readonly preamble: Uint8Array | null;
  readonly clock: Clock;
  readonly random: () => number;
  readonly onSet: (set: EndpointSet) => void;
  readonly onEvent: (event: ClusterEvent) => void;
}

/** For `/clusters` and `/status`. */
export interface ClusterDescription {
  readonly name: string;
  readonly balance: ClusterConfig["balance"];
  readonly resolved: boolean;
  readonly version: number;
  /** Nobody is usable, so everybody is dialled. */
  readonly panic: boolean;
  readonly sources: readonly unknown[];
  /** Members first, then those that left and still have connections. */
  readonly endpoints: readonly StandingView[];
}

interface Member {
  readonly standing: Standing;
  check: HealthCheck | null;
}

export class Cluster {
  readonly config: ClusterConfig;
  readonly #options: ClusterOptions;
  readonly #epoch: Int32Array;
  readonly #sources: ReturnType<typeof sourcesOf>;
  readonly #members = new Map<string, Member>();
  readonly #left = new Map<string, Standing>();
  readonly #ejector: Ejector | null;
  #previous: Cluster | null;
  #set: EndpointSet;
  #running = false;

  /**
   * `previous`: the same cluster of the generation before. `start` stops it (not earlier: a reload may still fail) and goes on
   * with its cells, so that load and health survive a reload, and with its answers where the source is the same.
   */
  constructor(config: ClusterConfig, options: ClusterOptions, previous: Cluster | null = null) {
    this.config = config;
    this.#options = options;
    this.#sources = sourcesOf(config, options.createSource);
    this.#epoch = previous === null ? createEpoch() : previous.#epoch;
    const known =
      previous !== null && JSON.stringify(previous.config.source) === JSON.stringify(config.source);
    this.#set = known ? previous.set : this.#newSet([], previous === null ? 0 : previous.set.version, false);
    this.#ejector =
      config.eject === null
        ? null
        : new Ejector({
            eject: config.eject,
            clock: options.clock,
            members: () => [...this.#members.values()].map((member) => member.standing),
            onEjected: (standing, reason, ms) =>
              this.#tell("warn", "ejected", standing, `ejected for ${ms} ms: ${reason}`),
            onReturned: (standing) => this.#tell("info", "returned", standing, "returned from ejection"),
            onSpared: (standing, reason) =>
              this.#tell(
                "warn",
                "spared",
                standing,
                `${reason}, but too many of the set are out to eject it`,
              ),
          });
    this.#previous = previous;
  }

  /** The newest set. Before `start`: that of the generation before where the source is the same, else empty and unresolved. */
  get set(): EndpointSet {
    return this.#set;
  }

  /** Publishes what is known and begins to resolve and check. Addresses are known before this returns. */
  start(): void {
    this.#running = true;
    if (this.#previous !== null) this.#inherit(this.#previous);
    this.#previous = null;
    this.#merge(true);
    for (const entry of this.#sources) {
      if (entry.source === null) continue;
      entry.source.start(
        (targets) => {
          if (!this.#running) return;
          entry.targets = targets;
          this.#merge(false);
        },
        (event) => {
          if (!this.#running) return;
          const { name: cluster } = this.config;
          this.#options.onEvent({
            cluster,
            endpoint: null,
            event: "resolver",
            ...event,
          });
        },
        entry.targets,
      );
    }
  }

  /** Resolves, checks and writes no more. Cells stay valid for the connections that count in them. */
  stop(): void {
    this.#running = false;
    for (const entry of this.#sources) entry.source?.stop();
    for (const { standing, check } of this.#members.values()) {
      check?.stop();
      standing.stop();
    }
    for (const standing of this.#left.values()) standing.stop();
    this.#ejector?.stop();
  }

  /** A worker's report: the endpoint failed `count` times in a row. Unknown keys are of older sets and ignored. */
  report(key: string, count: number): void {
    const member = this.#members.get(key);
    if (this.#running && member !== undefined) this.#ejector?.report(member.standing, count);
  }

  describe(): ClusterDescription {
    const members = [...this.#members.values()].map((member) => member.standing);
    const busy = [...this.#left.values()].filter((standing) => standing.active > 0);
    return {
      name: this.config.name,
      balance: this.config.balance,
      resolved: this.#set.resolved,
      version: this.#set.version,
      panic: members.length > 0 && members.every((standing) => standing.health !== HEALTH_UP),
      sources: this.#sources.flatMap((entry) => (entry.source === null ? [] : [entry.source.describe()])),
      endpoints: [...members, ...busy].map((standing) => standing.describe()),
    };
  }

  #inherit(previous: Cluster): void {
    previous.stop();
    // It may have published since this one was made, and workers ignore a set that is not newer.
    const { version } = previous.set;
    if (version > this.#set.version) this.#set = { ...this.#set, version };
    const standings = [...previous.#members.values()].map((member) => member.standing);
    for (const { endpoint, checked, down, ejected, leftAt } of [...previous.#left.values(), ...standings]) {
      const standing = this.#newStanding(endpoint);
      standing.resume();
      if (leftAt !== null) standing.setMember(false);
      standing.checked = checked;
      standing.setDown(this.config.health === null ? null : down);
      // An ejection ends here: the new configuration may judge otherwise.
      if (ejected) standing.setEjected(null);
      this.#left.set(endpoint.key, standing);
    }
    for (const entry of this.#sources) {
      if (entry.source === null) continue;
      const same = previous.#sources.find(
        (other): other is AskedEntry => other.source !== null && other.id === entry.id,
      );
      if (same !== undefined) entry.targets ??= same.targets;
    }
  }

  #newStanding(endpoint: Endpoint): Standing {
    const { clock } = this.#options;
    return new Standing(endpoint, { clock, slowStart: this.config.slowStart, epoch: this.#epoch });
  }

  /** From all answers to members. Resolved once there is somebody, or every source has said that there is nobody. */
  #merge(first: boolean): void {
    const wanted = this.#wanted();
    const resolved =
      this.#set.resolved || wanted.size > 0 || this.#sources.every((entry) => entry.targets !== null);
    let changed = first || resolved !== this.#set.resolved;
    for (const [key, { standing, check }] of this.#members) {
      if (wanted.has(key)) continue;
      changed = true;
      check?.stop();
      this.#members.delete(key);
      this.#left.set(key, standing);
      this.#tell("info", "removed", standing, `removed; ${standing.active} connections finish`);
    }
    for (const [key, target] of wanted) {
      const member = this.#members.get(key);
      if (member === undefined) this.#join(key, target, first);
      else if (differs(member.standing.endpoint, target)) {
        member.standing.replace({ ...target, cell: member.standing.endpoint.cell });
      } else continue;
      changed = true;
    }
    if (!changed) return;
    const endpoints = [...wanted.keys()].map((key) => this.#members.get(key)!.standing.endpoint);
    this.#set = this.#newSet(endpoints, this.#set.version + 1, resolved);
    this.#options.onSet(this.#set);
    // Who left just now, or with the generation before. Not earlier: where all of a set are replaced, workers would have nobody to
    // dial while the new one is handed to them; and who stays over a reload must not look like one that returns.
    for (const standing of this.#left.values()) if (standing.leftAt === null) standing.setMember(false);
    this.#sweep();
  }

  #join(key: string, target: WantedEndpoint, first: boolean): void {
    const known = this.#left.get(key);
    this.#left.delete(key);
    const standing = known ?? this.#newStanding({ ...target, cell: createCell() });
    standing.replace({ ...target, cell: standing.endpoint.cell });
    standing.setMember(true);
    const member: Member = { standing, check: this.#newCheck(standing) };
    this.#members.set(key, member);
    member.check?.start();
    if (!first) this.#tell("info", "added", standing, known === undefined ? "added" : "returned to the set");
  }

  #newCheck(standing: Standing): HealthCheck | null {
    const { health } = this.config;
    if (health === null) return null;
    const { clock, random, preamble } = this.#options;
    const connectTls = health.check === "tls" ? this.#options.connectTls : null;
    return new HealthCheck({
      health,
      probe: async () => {
        const fault = await probe(standing.endpoint, { health, preamble, connectTls, clock });
        standing.checked = true;
        return fault;
      },
      onVerdict: (reason) => {
        standing.setDown(reason);
        if (reason === null) this.#tell("info", "up", standing, "check passed: up");
        else this.#tell("warn", "down", standing, `check failed: ${reason}`);
      },
      clock,
      random,
      before: standing.down !== null ? "down" : standing.checked ? "up" : null,
    });
  }

  #wanted(): Map<string, WantedEndpoint> {
    const wanted = new Map<string, WantedEndpoint>();
    for (const { targets, fixed } of this.#sources) {
      for (const target of targets ?? []) {
        const endpoint = { ...endpointOf(target), ...fixed };
        const twin = wanted.get(endpoint.key);
        wanted.set(endpoint.key, twin === undefined ? endpoint : mergeTwins(twin, endpoint));
      }
    }
    return wanted;
  }

  #sweep(): void {
    const old = this.#options.clock.now() - REMEMBER;
    for (const [key, standing] of this.#left) {
      if (standing.active > 0 || (standing.leftAt ?? 0) > old) continue;
      standing.stop();
      this.#ejector?.forget(standing);
      this.#left.delete(key);
    }
  }

  #newSet(endpoints: readonly Endpoint[], version: number, resolved: boolean): EndpointSet {
    return { cluster: this.config.name, version, resolved, endpoints, epoch: this.#epoch };
  }

  #tell(level: "info" | "warn", event: ClusterEvent["event"], standing: Standing, what: string): void {
    const { key } = standing.endpoint;
    const { name } = this.config;
    this.#options.onEvent({
      cluster: name,
      endpoint: key,
      event,
      level,
      message: `cluster ${name}: ${key} ${what}`,
    });
  }
}

type WantedEndpoint = Omit<Endpoint, "cell">;

function endpointOf(target: Target): WantedEndpoint {
  const { name, weight, priority } = target;
  const address: SocketAddress =
    "path" in target
      ? { kind: "unix", path: target.path }
      : { kind: "ip", host: plainHost(target.address), port: target.port };
  return { key: formatAddress(address), address, name, weight, priority };
}

/** One address named twice is one endpoint: the better priority counts, and within it the weights add up. */
function mergeTwins(one: WantedEndpoint, two: WantedEndpoint): WantedEndpoint {
  if (one.priority !== two.priority) return one.priority < two.priority ? one : two;
  return { ...one, weight: Math.min(one.weight + two.weight, 65_535) };
}

function differs(one: WantedEndpoint, two: WantedEndpoint): boolean {
  return one.weight !== two.weight || one.priority !== two.priority || one.name !== two.name;
}
