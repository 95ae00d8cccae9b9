/**
 * A resolver keeps one cluster's targets current: asks, waits for what the answer's TTL says, asks again, and delivers
 * whole sets. Its rule is to do no harm: a failed lookup changes nothing (keep_last_good), an empty answer after a full
 * one is not believed, and no single answer removes more than a share of the set (removal.ts).
 *
 *                       first answer                failure, or empty while keep_last_good
 *   idle ──▶ unresolved ────────────▶ fresh ─────────────────────────────────────▶ stale
 *     start()  │      ▲                 │  ▲                                        │  ▲
 *              └──────┘                 └──┘ answer                                 └──┘ failure again
 *          failure: back off                ▲                                       │
 *                                           └──────────────── answer ───────────────┘
 *   idle ──▶ stale    start() with a known set: what rules over removals rules over the first answer, too
 *   any ──▶ stopped   stop(): the query under way is aborted, nothing is delivered any more
 *
 * Other name servers (resolv.conf changed) interrupt a query under way and any waiting after a failure: it is asked at once.
 * An empty answer while nothing was served yet is an answer: it delivers the empty set.
 */
import type { Asker, DnsClient } from "./client.ts";
import type { ResolverEvent } from "./event.ts";
import { Lookup, type Resolution, type ResolutionKind, type Source } from "./lookup.ts";
import { absorb } from "./removal.ts";
import { type Target, targetKey } from "./srv.ts";

export interface ResolverOptions {
  readonly source: Source;
  readonly client: Asker & Pick<DnsClient, "watch">;
  /** The set being served already, by a resolver of the same source before this one; null where there was no answer yet. */
  readonly known?: readonly Target[] | null;
  /** ms; bounds on how long an answer holds, whatever its TTL. */
  readonly minTtl: number;
  readonly maxTtl: number;
  /** False: a failure or an empty answer empties the set once it is confirmed. */
  readonly keepLastGood: boolean;
  /** 0 to 1; the share of the set that one answer alone may remove. */
  readonly maxRemoval: number;
  /** The whole set, whenever it changed, and once for the first answer where none was known. */
  readonly onTargets: (targets: readonly Target[], facts: TargetFacts) => void;
  readonly onEvent?: (event: ResolverEvent) => void;
  /** ms, monotonic. */
  readonly now?: () => number;
  /** 0 to 1. */
  readonly random?: () => number;
  /** Calls once after `ms`; returns how to cancel. */
  readonly setTimer?: (call: () => void, ms: number) => () => void;
}

export interface TargetFacts {
  readonly kind: ResolutionKind;
  /** Seconds, as the answer said; null where it did not. */
  readonly ttl: number | null;
  /** Address and port of the DNS server that answered. */
  readonly server: string | null;
  /** Targets served although the last answer lacked them. */
  readonly held: number;
}

export type ResolverPhase = "idle" | "unresolved" | "fresh" | "stale" | "stopped";

export interface ResolverState {
  readonly phase: ResolverPhase;
  /** `now()` at which the phase began. */
  readonly since: number;
  /** `now()` of the next query; null while one is under way or none will come. */
  readonly nextQueryAt: number | null;
  readonly targets: number;
  readonly held: number;
  readonly failures: number;
  /** What went wrong last; empty while all is well. */
  readonly problem: string;
  /** The last answer to the source's own name, as a zone file would show it. */
  readonly raw: readonly string[];
}

const NEXT: Readonly<Record<ResolverPhase, readonly ResolverPhase[]>> = {
  idle: ["unresolved", "stale", "stopped"],
  unresolved: ["fresh", "stopped"],
  fresh: ["fresh", "stale", "stopped"],
  stale: ["fresh", "stale", "stopped"],
  stopped: [],
};

// Back-off after failures: quick enough to be there when DNS comes up at boot, slow enough for a DNS server in trouble.
const RETRY_FIRST_MS = 1000;
const RETRY_MOST_MS = 30_000;
// A second opinion on a removal, asked for whatever min_ttl says: until it comes, new connections may go where nobody is.
// A record that moved is thus left within its TTL plus 0.9 s: this, and the spread below.
const CONFIRM_MS = 500;
// TTL 0 with min_ttl 0 must not become a busy loop.
const PAUSE_LEAST_MS = 100;
// Beyond setTimeout's 2^31 ms, and nobody wants to find yesterday's set.
const PAUSE_MOST_MS = 24 * 3_600_000;
// Later by up to this share, and by no more than that, so that many proxies do not ask in step.
const SPREAD = 0.05;
const SPREAD_MOST_MS = 400;
// All targets together; a lookup that is not done then counts as failed.
const RESOLUTION_MS = 30_000;
// Lines of a raw answer in an event.
const RAW_LINES = 100;

/** One cluster's source of targets. Its owner calls `start` once and `stop` once. */
export class Resolver {
  readonly #options: ResolverOptions;
  readonly #name: string;
  readonly #lookup: Lookup;
  readonly #now: () => number;
  readonly #random: () => number;
  readonly #setTimer: (call: () => void, ms: number) => () => void;
  #phase: ResolverPhase = "idle";
  #since: number;
  #nextQueryAt: number | null = null;
  #cancelTimer: () => void = () => {};
  #abort: AbortController | null = null;
  #unwatch: () => void = () => {};
  #targets: readonly Target[];
  #held: ReadonlySet<string> = new Set();
  /** The server whose answer is to be confirmed by another one. */
  #doubted: string | null = null;
  #failures = 0;
  #problem = "";
  #raw: readonly string[] = [];

  constructor(options: ResolverOptions) {
    this.#options = options;
    this.#name = options.source.kind === "srv" ? options.source.name : options.source.host;
    this.#now = options.now ?? (() => performance.now());
    this.#random = options.random ?? Math.random;
    this.#setTimer = options.setTimer ?? unrefTimer;
    this.#targets = options.known ?? [];
    this.#lookup = new Lookup(options.source, options.client, options.keepLastGood, this.#now, this.#targets);
    this.#since = this.#now();
  }

  get state(): ResolverState {
    return {
      phase: this.#phase,
      since: this.#since,
      nextQueryAt: this.#nextQueryAt,
      targets: this.#targets.length,
      held: this.#held.size,
      failures: this.#failures,
      problem: this.#problem,
      raw: this.#raw,
    };
  }

  /** Begins to ask and returns at once: a proxy starts without DNS. */
  start(): void {
    if (this.#phase !== "idle") throw new Error(`resolver ${this.#name}: started while ${this.#phase}`);
    this.#enter(this.#options.known == null ? "unresolved" : "stale");
    this.#unwatch = this.#options.client.watch(() => this.#wake());
    this.#ask();
  }

  /** Ends it: no query, no timer, no delivery after this. May be called at any time, and again. */
  stop(): void {
    if (this.#phase === "stopped") return;
    this.#enter("stopped");
    this.#unwatch();
    this.#cancelTimer();
    this.#nextQueryAt = null;
    this.#abort?.abort();
  }

  /** There are other name servers: what the old ones do not answer, or did not, is asked again now. */
  #wake(): void {
    const asking = this.#nextQueryAt === null;
    if (!asking && this.#failures === 0) return; // asked in its time, by those that there are then
    this.#failures = 0;
    this.#cancelTimer();
    if (asking) this.#abort?.abort();
    this.#ask();
  }

  get #stopped(): boolean {
    return this.#phase === "stopped";
  }

  #ask(): void {
    this.#nextQueryAt = null;
    const abort = new AbortController();
    this.#abort = abort;
    const cancelDeadline = this.#setTimer(() => abort.abort(), RESOLUTION_MS);
    const confirming = this.#held.size > 0;
    this.#lookup
      .resolve({ signal: abort.signal, avoid: confirming ? this.#doubted : null, afresh: confirming })
      .then((resolution) => {
        cancelDeadline();
        if (this.#stopped || this.#abort !== abort) return;
        const late = resolution.kind === "aborted";
        const detail = `not done within ${RESOLUTION_MS / 1000} s`;
        this.#take(late ? { ...resolution, kind: "timeout", detail } : resolution);
      });
  }

  #take(resolution: Resolution): void {
    const { kind } = resolution;
    this.#raw = resolution.answers[0]?.raw ?? [];
    this.#event({ kind: "answer", name: this.#name, result: kind });
    const empty = kind === "nodata" || kind === "nxdomain";
    if (kind === "ok" || kind === "unavailable" || (empty && this.#mayEmpty())) {
      this.#accept(resolution);
    } else {
      this.#endure(resolution, empty);
    }
  }

  /** An empty answer counts where nothing would be lost, or where the operator wants it to count. */
  #mayEmpty(): boolean {
    return !this.#options.keepLastGood || this.#targets.length === 0;
  }

  #accept(resolution: Resolution): void {
    this.#problem = resolution.failures[0] ?? resolution.detail;
    // Addresses served past their time should not wait for the others' TTL.
    const partial = resolution.failures.length > 0;
    this.#failures = partial ? this.#failures + 1 : 0;
    if (partial && this.#failures === 1) {
      this.#event({ kind: "partial", name: this.#name, failures: resolution.failures.slice(0, RAW_LINES) });
    }
    const pause = this.#holding(resolution.ttl);
    this.#serve(resolution, "fresh", partial ? Math.min(pause, this.#backOff()) : pause);
  }

  /** Nothing usable, or nothing at all where something was: go on with what there is. */
  #endure(resolution: Resolution, empty: boolean): void {
    this.#failures++;
    this.#problem = resolution.detail || resolution.kind;
    const pause = empty ? this.#holding(resolution.ttl) : this.#backOff();
    this.#event({
      kind: "failed",
      name: this.#name,
      result: resolution.kind,
      detail: this.#problem,
      failures: this.#failures,
      retryIn: pause,
    });
    if (this.#phase === "unresolved") {
      this.#askIn(pause);
      return;
    }
    if (this.#phase === "fresh") {
      this.#event({
        kind: "stale",
        name: this.#name,
        result: resolution.kind,
        serving: this.#targets.length,
      });
    }
    if (!this.#options.keepLastGood) {
      this.#serve(resolution, "stale", pause);
      return;
    }
    this.#enter("stale");
    this.#askIn(pause);
  }

  /** Takes the resolution's targets into the set, delivers what changed, and plans the next query. */
  #serve(resolution: Resolution, phase: ResolverPhase, pause: number): void {
    const first = this.#phase === "unresolved";
    this.#enter(phase);
    const before = this.#targets;
    const result = absorb(before, this.#held, resolution.targets, this.#options.maxRemoval);
    this.#targets = result.targets;
    this.#held = result.held;
    const raw = excerpt(resolution);
    const answered = resolution.answers.at(0)?.server ?? null;
    let next = pause;
    if (result.held.size > 0) {
      this.#doubted = answered;
      next = CONFIRM_MS;
      const held = [...result.held];
      this.#event({
        kind: "removal_held",
        name: this.#name,
        held,
        total: before.length,
        confirmIn: next,
        raw,
      });
    }
    this.#askIn(next);
    const changed = result.added.length > 0 || result.removed.length > 0;
    if (changed) {
      const added = result.added.map(targetKey);
      const removed = result.removed.map(targetKey);
      this.#event({ kind: "changed", name: this.#name, added, removed, total: result.targets.length, raw });
    }
    if (this.#stopped) return; // by whoever heard the events
    if (changed || result.altered || first) {
      const { kind, ttl } = resolution;
      this.#options.onTargets(result.targets, { kind, ttl, server: answered, held: result.held.size });
    }
  }

  #askIn(ms: number): void {
    if (this.#stopped) return;
    const pause = Math.min(Math.max(Math.round(ms), PAUSE_LEAST_MS), PAUSE_MOST_MS);
    this.#nextQueryAt = this.#now() + pause;
    this.#cancelTimer = this.#setTimer(() => this.#ask(), pause);
  }

  /** ms that an answer holds; one that does not say (no SOA: RFC 2308 section 5) is not kept longer than a failure. */
  #holding(ttl: number | null): number {
    const { minTtl, maxTtl } = this.#options;
    if (ttl === null) return Math.min(Math.max(this.#backOff(), minTtl), maxTtl);
    const held = Math.max(ttl * 1000, minTtl);
    return Math.min(held + Math.min(SPREAD * held, SPREAD_MOST_MS) * this.#random(), maxTtl);
  }

  /** Doubles with every failure in a row; the lower half of the span is certain, the upper drawn. */
  #backOff(): number {
    const span = Math.min(RETRY_FIRST_MS * 2 ** Math.min(Math.max(this.#failures - 1, 0), 20), RETRY_MOST_MS);
    return span * (0.5 + 0.5 * this.#random());
  }

  #enter(phase: ResolverPhase): void {
    if (this.#stopped) return;
    if (!NEXT[this.#phase].includes(phase))
      throw new Error(`resolver ${this.#name}: ${this.#phase} → ${phase}`);
    if (phase !== this.#phase) this.#since = this.#now();
    this.#phase = phase;
  }

  #event(event: ResolverEvent): void {
    if (!this.#stopped) this.#options.onEvent?.(event);
  }
}

/** The raw answers of a resolution, cut where a log line would become a book. */
function excerpt(resolution: Resolution): string[] {
  const lines = resolution.answers.flatMap((answer) => answer.raw);
  if (lines.length <= RAW_LINES) return lines;
  return [...lines.slice(0, RAW_LINES), `… and ${lines.length - RAW_LINES} more`];
}

function unrefTimer(call: () => void, ms: number): () => void {
  const timer = setTimeout(call, ms).unref();
  return () => clearTimeout(timer);
}
