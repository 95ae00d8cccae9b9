/**
 * One source (an SRV name, or a host and port) into one set of targets: SRV first, aliases followed, then the addresses
 * of every target, several at a time. Remembers addresses for their TTL, and past it as what is served when a single
 * lookup fails: one name that cannot be resolved must not take the others with it. Never throws or rejects.
 */
import { setMaxListeners } from "node:events";
import { isIP } from "node:net";
import { type Answer, type AnswerKind, isDefinite, MAX_ALIASES } from "./answer.ts";
import type { Asker, QueryOptions } from "./client.ts";
import type { AddressRecord, QueryType, SrvRecord } from "./message.ts";
import { canonicalName, isLocalhost, printable } from "./name.ts";
import { assemble, knownAddresses, MAX_TARGETS, readSrv, sortTargets, type Target, unusable } from "./srv.ts";

/** Where a cluster's targets come from. */
export type Source =
  | { readonly kind: "srv"; readonly name: string }
  | { readonly kind: "dns"; readonly host: string; readonly port: number };

/** `unavailable`: SRV target ".", the service is decidedly not there. */
export type ResolutionKind = AnswerKind | "unavailable";

export interface Resolution {
  /** `ok` exactly where there are targets. */
  readonly kind: ResolutionKind;
  readonly detail: string;
  readonly targets: readonly Target[];
  /** Seconds until the first part of it runs out; null where nothing says so. */
  readonly ttl: number | null;
  /** Lookups of single targets that failed while the whole went well. */
  readonly failures: readonly string[];
  /** What was passed over, and why. */
  readonly notes: readonly string[];
  readonly entries: readonly SrvRecord[];
  /** Usable addresses by name. */
  readonly addresses: ReadonlyMap<string, readonly Found[]>;
  /** Every answer in the order it came; the first is the one to the source's own name. */
  readonly answers: readonly Answer[];
}

/** An address and how many seconds it holds; null: as long as nobody says otherwise. */
export interface Found {
  readonly address: string;
  readonly ttl: number | null;
}

export interface LookupOptions {
  readonly signal?: AbortSignal;
  /** Ask this server last. */
  readonly avoid?: string | null;
  /** Ask for addresses that are remembered, too. */
  readonly afresh?: boolean;
}

interface Remembered {
  readonly found: readonly Found[];
  readonly expiresAt: number;
}

// Enough to resolve 500 targets in a moment, few enough not to look like an attack to a small DNS server.
const PARALLEL = 16;
const FAMILIES = ["A", "AAAA"] as const;
// RFC 6761 section 6.3: what `localhost` means never changes.
const LOCALHOST = { A: "127.0.0.1", AAAA: "::1" } as const;

/** Resolves one source again and again. */
export class Lookup {
  readonly #source: Source;
  readonly #client: Asker;
  readonly #now: () => number;
  readonly #keepStale: boolean;
  #remembered = new Map<string, Remembered>();

  /**
   * `now` in ms, monotonic. `keepStale`: serve remembered addresses of a target whose own lookup fails. `known`: what an
   * earlier lookup of this source found; remembered as past its time.
   */
  constructor(
    source: Source,
    client: Asker,
    keepStale: boolean,
    now: () => number,
    known: readonly Target[] = [],
  ) {
    this.#source = source;
    this.#client = client;
    this.#keepStale = keepStale;
    this.#now = now;
    for (const { name, address } of known) {
      const key = `${address.includes(":") ? "AAAA" : "A"} ${name}`;
      const same = this.#remembered.get(key)?.found ?? [];
      this.#remembered.set(key, { found: [...same, { address, ttl: null }], expiresAt: now() });
    }
  }

  /** One resolution. An aborted one has kind `aborted` and must be thrown away. */
  resolve(options: LookupOptions = {}): Promise<Resolution> {
    // Every query under way listens to it, and so do sockets that wait for late answers; Node warns of a leak at 10.
    if (options.signal !== undefined) setMaxListeners(4 * PARALLEL, options.signal);
    const run = new Run(this.#client, this.#now, this.#keepStale, this.#remembered, options);
    const resolution =
      this.#source.kind === "srv"
        ? run.service(this.#source.name)
        : run.host(this.#source.host, this.#source.port);
    return resolution.then(
      (done) => {
        // Names that are no longer targets are forgotten.
        if (done.kind === "ok") this.#remembered = run.used;
        return done;
      },
      // What a zone says is not ours to trust: were we to stumble over it, that zone alone goes without an answer.
      (error: Error) => run.stumbled(error),
    );
  }
}

/** One resolution on its way. */
class Run {
  readonly used = new Map<string, Remembered>();
  readonly #client: Asker;
  readonly #now: () => number;
  readonly #keepStale: boolean;
  readonly #remembered: ReadonlyMap<string, Remembered>;
  readonly #options: LookupOptions;
  readonly #answers: Answer[] = [];
  readonly #failures: string[] = [];
  readonly #notes: string[] = [];
  readonly #addresses = new Map<string, Found[]>();
  readonly #kinds = new Set<AnswerKind>();
  #ttl = Number.POSITIVE_INFINITY;

  constructor(
    client: Asker,
    now: () => number,
    keepStale: boolean,
    remembered: ReadonlyMap<string, Remembered>,
    options: LookupOptions,
  ) {
    this.#client = client;
    this.#now = now;
    this.#keepStale = keepStale;
    this.#remembered = remembered;
    this.#options = options;
  }

  async service(name: string): Promise<Resolution> {
    const answer = (await this.#search(name, ["SRV"]))[0]!;
    if (answer.kind !== "ok") return this.#end(answer.kind, answer.detail, [], []);
    const set = readSrv(answer.records);
    this.#notes.push(...set.notes);
    if (!set.available) {
      return this.#end(
        "unavailable",
        `${answer.name}: the service is declared not available (target ".")`,
        [],
        [],
      );
    }
    const known = knownAddresses(answer.canonical, set.entries, answer.additionals);
    const jobs: (() => Promise<void>)[] = [];
    for (const [target, { records, missing }] of known) {
      for (const type of FAMILIES) {
        const given = records.filter((record) => record.type === type);
        if (given.length > 0) this.#keep(target, type, given, least(given));
      }
      for (const type of missing) jobs.push(() => this.#resolveAddresses(target, type));
    }
    await parallel(jobs);
    const addresses = new Map<string, readonly string[]>();
    for (const [target, found] of this.#addresses) {
      const plain = found.map(({ address }) => address);
      addresses.set(target, plain);
    }
    const addressesOf = (target: string): readonly string[] => addresses.get(target) ?? [];
    const targets = assemble(set.entries, addressesOf);
    this.#noteExcess(set.entries.reduce((count, { target }) => count + addressesOf(target).length, 0));
    return this.#end("ok", `no target of ${answer.name} has an address`, set.entries, targets);
  }

  async host(host: string, port: number): Promise<Resolution> {
    const target = (address: string, name: string | null): Target => {
      return { address, port, name, weight: 1, priority: 0 };
    };
    if (isIP(host) !== 0) return this.#end("ok", "", [], [target(host, null)]);
    // As it is told from others, and as certificates know it: without the dot that switches the search list off.
    const name = canonicalName(host);
    if (name === null) return this.#end("malformed", `"${printable(host)}" is no name to ask for`, [], []);
    if (!this.#recall(name, FAMILIES)) {
      const answers = await this.#search(host, FAMILIES);
      FAMILIES.forEach((type, index) => {
        this.#take(name, type, answers[index]!);
      });
    }
    const found = this.#addresses.get(name) ?? [];
    const targets = sortTargets(found.map(({ address }) => target(address, name)));
    this.#noteExcess(targets.length);
    return this.#end("ok", `${name} has no address`, [], targets.slice(0, MAX_TARGETS));
  }

  /** What is left of a resolution in which something threw. */
  stumbled(error: Error): Resolution {
    return this.#end("malformed", `an answer that cannot be dealt with: ${error.message}`, [], []);
  }

  /** The addresses of one family into `#addresses`: remembered, asked for, or remembered past their time. */
  async #resolveAddresses(name: string, type: "A" | "AAAA"): Promise<void> {
    if (!this.#recall(name, [type])) this.#take(name, type, await this.#ask(name, type));
  }

  /** Into `#addresses` what need not be asked for. False where any of the types must be, and then none is taken. */
  #recall(name: string, types: readonly ("A" | "AAAA")[]): boolean {
    if (isLocalhost(name)) {
      for (const type of types) this.#add(name, [{ address: LOCALHOST[type], ttl: null }]);
      return true;
    }
    if (this.#options.afresh === true) return false;
    const now = this.#now();
    const known: [string, Remembered][] = [];
    for (const type of types) {
      const key = `${type} ${name}`;
      const remembered = this.#remembered.get(key);
      if (remembered === undefined || remembered.expiresAt <= now) return false;
      known.push([key, remembered]);
    }
    for (const [key, remembered] of known) {
      this.used.set(key, remembered);
      this.#add(name, remembered.found);
      this.#holds(Math.ceil((remembered.expiresAt - now) / 1000));
      this.#kinds.add("ok");
    }
    return true;
  }

  /** What came of asking for a name's addresses of one family. */
  #take(name: string, type: "A" | "AAAA", answer: Answer): void {
    this.#kinds.add(answer.kind);
    if (answer.kind === "ok") {
      const records = answer.records.filter((record): record is AddressRecord => record.type === type);
      this.#keep(name, type, records, answer.ttl ?? 0);
      return;
    }
    if (isDefinite(answer.kind)) {
      if (answer.ttl !== null) this.#holds(answer.ttl);
      this.#notes.push(`${name}: ${answer.kind === "nxdomain" ? "no such name" : `no ${type} record`}`);
      return;
    }
    this.#failures.push(`${name} ${type}: ${answer.detail || answer.kind}`);
    const key = `${type} ${name}`;
    const remembered = this.#remembered.get(key);
    if (remembered === undefined || !this.#keepStale) return;
    this.used.set(key, remembered);
    this.#add(name, remembered.found);
  }

  /** Takes records as a name's addresses, and remembers them for their TTL. */
  #keep(name: string, type: "A" | "AAAA", records: readonly AddressRecord[], ttl: number): void {
    const found: Found[] = [];
    for (const { address, ttl: own } of records) {
      const fault = unusable(address);
      if (fault === null) found.push({ address, ttl: own });
      else this.#notes.push(`${name}: ${address} is ${fault}, left out`);
    }
    this.#holds(ttl);
    this.used.set(`${type} ${name}`, { found, expiresAt: this.#now() + ttl * 1000 });
    this.#add(name, found);
  }

  #add(name: string, found: readonly Found[]): void {
    const present = this.#addresses.get(name) ?? [];
    for (const one of found) if (!present.some((other) => other.address === one.address)) present.push(one);
    this.#addresses.set(name, present);
  }

  #holds(seconds: number): void {
    this.#ttl = Math.min(this.#ttl, seconds);
  }

  get #asking(): QueryOptions {
    return { signal: this.#options.signal, avoid: this.#options.avoid ?? null };
  }

  /** The name as written, by the search list; an answer for each type, all of them of the same name. */
  async #search(written: string, types: readonly QueryType[]): Promise<Answer[]> {
    const answers = await this.#client.search(written, types, this.#asking);
    return Promise.all(answers.map((answer) => this.#follow(answer)));
  }

  async #ask(name: string, type: QueryType): Promise<Answer> {
    return this.#follow(await this.#client.query(name, type, this.#asking));
  }

  /** Aliases followed from answer to answer, bounded. */
  async #follow(first: Answer): Promise<Answer> {
    const { name, type } = first;
    let answer = first;
    this.#answers.push(answer);
    const seen = new Set([name]);
    let ttl = answer.ttl;
    while (answer.dangling) {
      const next = answer.canonical;
      if (seen.has(next) || seen.size > MAX_ALIASES) {
        return { ...answer, kind: "loop", detail: `${name}: the aliases lead in a circle`, dangling: false };
      }
      seen.add(next);
      answer = await this.#client.query(next, type, this.#asking);
      this.#answers.push(answer);
      ttl = answer.ttl === null || ttl === null ? (answer.ttl ?? ttl) : Math.min(ttl, answer.ttl);
    }
    answer = { ...answer, name, ttl };
    if (answer.hostile > 0)
      this.#notes.push(`${name}: ${answer.hostile} records with impossible names left out`);
    if (type === "SRV" && answer.ttl !== null) this.#holds(answer.ttl);
    return answer;
  }

  /** Says so where `count` targets are more than are used. */
  #noteExcess(count: number): void {
    if (count > MAX_TARGETS) this.#notes.push(`${count} targets, only the first ${MAX_TARGETS} are used`);
  }

  #end(
    kind: ResolutionKind,
    detail: string,
    entries: readonly SrvRecord[],
    targets: readonly Target[],
  ): Resolution {
    const ttl = Number.isFinite(this.#ttl) ? this.#ttl : null;
    return {
      ...(kind === "ok" && targets.length === 0
        ? this.#nothing(detail)
        : { kind, detail: kind === "ok" ? "" : detail }),
      targets,
      ttl,
      failures: this.#failures,
      notes: this.#notes,
      entries,
      addresses: this.#addresses,
      answers: this.#answers,
    };
  }

  /** What it means that no target has an address: a failure where any lookup failed, else that there is none. */
  #nothing(detail: string): { kind: AnswerKind; detail: string } {
    for (const kind of this.#kinds) {
      if (!isDefinite(kind)) return { kind, detail: this.#failures[0] ?? detail };
    }
    return {
      kind: this.#kinds.has("nxdomain") && !this.#kinds.has("nodata") ? "nxdomain" : "nodata",
      detail,
    };
  }
}

function least(records: readonly AddressRecord[]): number {
  return records.reduce((ttl, record) => Math.min(ttl, record.ttl), Number.POSITIVE_INFINITY);
}

/** Runs the jobs, `PARALLEL` at a time. */
async function parallel(jobs: readonly (() => Promise<void>)[]): Promise<void> {
  let next = 0;
  const lane = async (): Promise<void> => {
    for (let job = jobs[next++]; job !== undefined; job = jobs[next++]) await job();
  };
  await Promise.all(Array.from({ length: Math.min(PARALLEL, jobs.length) }, lane));
}
