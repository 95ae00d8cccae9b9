/**
 * The DNS client: asks one question of the configured servers until one of them answers it. Random id, fresh socket and
 * mixed letter case per query (RFC 5452, 0x20), EDNS 1232 with a fall-back, TCP after truncation, failed servers asked
 * last for a while. A truncated or malformed message is never used in part. Never throws or rejects: an `Answer` says
 * what happened, and `attempts` says it server by server.
 */
import { randomInt } from "node:crypto";
import { type Answer, type AnswerKind, type Attempt, interpret, isDefinite, RCODE } from "./answer.ts";
import {
  type Exchange,
  exchangeTcp,
  exchangeUdp,
  type Ignored,
  noneIgnored,
  type Outcome,
} from "./exchange.ts";
import { type DnsMessage, encodeQuery, formatRecord, type QueryType } from "./message.ts";
import { canonicalName, mixCase, printable } from "./name.ts";
import {
  candidates,
  type Nameserver,
  parseResolvConf,
  type ResolvConf,
  ResolvConfFile,
} from "./resolv-conf.ts";

export interface ClientOptions {
  /** null: those of resolv.conf, with its search list and options. */
  readonly servers?: readonly Nameserver[] | null;
  readonly resolvConf?: ResolvConfFile;
  /** ms for one server in the first round; doubles each round. null: as resolv.conf or the default says. */
  readonly timeout?: number | null;
  /** Rounds over all servers. */
  readonly attempts?: number | null;
  /** ms for the whole query, all servers and rounds. */
  readonly deadline?: number;
  /** Never UDP. */
  readonly tcp?: boolean;
  /** 0 to 1; for letter case and the server to begin with under `rotate`. Ids come from the system's generator. */
  readonly random?: () => number;
}

export interface QueryOptions {
  readonly signal?: AbortSignal | undefined;
  /** A server (`Answer.server`) to ask last, to have another one confirm what it said. */
  readonly avoid?: string | null;
}

// resolv.conf(5) says 5 s; a proxy whose first server is gone should not wait that long for its second.
const TIMEOUT_MS = 2000;
const ATTEMPTS = 3;
const DEADLINE_MS = 10_000;
// How long a server that failed is asked last. SERVFAIL and its like may be about one name only.
const PENALTY_MS = 30_000;
const SERVER_TROUBLE: ReadonlySet<AnswerKind> = new Set([
  "timeout",
  "unreachable",
  "malformed",
  "refused",
  "lame",
]);
// How long a server that broke the case or refused EDNS is spared it before it is tried again.
const QUIRK_MS = 15 * 60_000;
// Mixed case, without it, without EDNS, TCP: no server needs more steps than that.
const MAX_STEPS = 5;

const NO_FILE = parseResolvConf("");

/** What is known of one server from earlier queries. Times are on the monotonic clock, in ms. */
interface Manners {
  failedUntil: number;
  noEdnsUntil: number;
  /** Case is lost until then; -1: it was seen kept. */
  noCaseUntil: number;
}

interface Asked {
  readonly outcome: Outcome;
  readonly transport: "udp" | "tcp";
}

/** What a lookup needs of a client. */
export type Asker = Pick<DnsClient, "search" | "query">;

/** Asks DNS servers. Nothing to close: between queries it holds at most sockets that wait for late answers, for a moment. */
export class DnsClient {
  readonly ignored: Ignored = noneIgnored();
  readonly #options: ClientOptions;
  readonly #resolvConf: ResolvConfFile;
  readonly #random: () => number;
  readonly #manners = new Map<string, Manners>();

  constructor(options: ClientOptions = {}) {
    this.#options = options;
    this.#resolvConf = options.resolvConf ?? new ResolvConfFile();
    this.#random = options.random ?? Math.random;
  }

  /**
   * Calls `onChange` when other servers may be asked than before: resolv.conf changed. The returned function ends that. Never
   * calls where the servers are configured.
   */
  watch(onChange: () => void): () => void {
    return this.#options.servers == null ? this.#resolvConf.watch(onChange) : () => {};
  }

  /** What resolv.conf says, with the configured servers instead of its own: then nothing else of the file counts, either. */
  #conf(): ResolvConf {
    const { servers } = this.#options;
    return servers == null ? this.#resolvConf.current() : { ...NO_FILE, nameservers: servers };
  }

  /** The servers in the order in which they are asked now. */
  #ranked(conf: ResolvConf, avoid: string | null): Nameserver[] {
    const { nameservers } = conf;
    const first = conf.rotate ? Math.floor(this.#random() * nameservers.length) : 0;
    const rotated = [...nameservers.slice(first), ...nameservers.slice(0, first)];
    const now = performance.now();
    const rank = (server: Nameserver): number =>
      (serverKey(server) === avoid ? 2 : 0) + (this.#mannersOf(server).failedUntil > now ? 1 : 0);
    return rotated.sort((left, right) => rank(left) - rank(right));
  }

  /**
   * Asks for a name as a person wrote it: with the search list of resolv.conf where the servers come from there. Only
   * "does not exist" and "nothing of this type" lead on to the next name: a failure proves no absence, and moving on
   * would swap one domain's endpoints for another's. For the same reason all types are asked of one name before the next:
   * a host without AAAA must not get that of a stranger further down the list. An answer for each type, in their order.
   */
  async search(
    written: string,
    types: readonly QueryType[],
    options: QueryOptions = {},
  ): Promise<readonly Answer[]> {
    const conf = this.#conf();
    const names = candidates(written, conf.search, conf.ndots);
    let first: readonly Answer[] | null = null;
    for (const name of names) {
      const answers = await Promise.all(types.map((type) => this.query(name, type, options)));
      if (!answers.every(isAbsence)) return answers;
      // "Nothing of this type" says more than "does not exist".
      if (first === null || (!first.some(isNodata) && answers.some(isNodata))) first = answers;
    }
    return first ?? types.map((type) => noName(written, type));
  }

  /** Asks for exactly this name. */
  async query(written: string, type: QueryType, options: QueryOptions = {}): Promise<Answer> {
    const name = canonicalName(written);
    if (name === null) return noName(written, type);
    const conf = this.#conf();
    const rounds = this.#options.attempts ?? conf.attempts ?? ATTEMPTS;
    const timeout = this.#options.timeout ?? conf.timeout ?? TIMEOUT_MS;
    const endsAt = performance.now() + (this.#options.deadline ?? DEADLINE_MS);
    const attempts: Attempt[] = [];
    let failure: Answer | null = null;
    const tcp = this.#options.tcp ?? conf.tcp;
    let servers = this.#ranked(conf, options.avoid ?? null);
    for (let round = 0; round < rounds && servers.length > 0; round++) {
      const silent: Nameserver[] = [];
      for (const server of servers) {
        const left = endsAt - performance.now();
        if (left <= 0) break;
        const wait = Math.ceil(Math.min(timeout * 2 ** round, left));
        const asked = await this.#ask(server, name, type, { wait, tcp }, attempts, options.signal);
        const answer = this.#read(server, name, type, asked, attempts);
        if (answer.kind === "aborted") return answer;
        if (isDefinite(answer.kind)) {
          this.#mannersOf(server).failedUntil = 0;
          return answer;
        }
        if (SERVER_TROUBLE.has(answer.kind)) {
          this.#mannersOf(server).failedUntil = performance.now() + PENALTY_MS;
        }
        // Only silence is worth another round: a server that refused will refuse again.
        if (answer.kind === "timeout") silent.push(server);
        // A server's own word says more than silence.
        if (failure === null || failure.kind === "timeout") failure = answer;
      }
      servers = silent;
    }
    return failure === null
      ? { ...nothing(name, type), kind: "timeout", detail: "no time was left to ask", attempts }
      : { ...failure, attempts };
  }

  /** One server, as many steps as its manners need: without case, without EDNS, over TCP. */
  async #ask(
    server: Nameserver,
    name: string,
    type: QueryType,
    how: { readonly wait: number; readonly tcp: boolean },
    attempts: Attempt[],
    signal: AbortSignal | undefined,
  ): Promise<Asked> {
    const manners = this.#mannersOf(server);
    const endsAt = performance.now() + how.wait;
    let edns = manners.noEdnsUntil <= performance.now();
    let mixed = manners.noCaseUntil <= performance.now();
    let { tcp } = how;
    let droppedEdns = false;
    let asked: Asked | null = null;
    for (let step = 0; step < MAX_STEPS; step++) {
      const wait = step === 0 ? how.wait : Math.ceil(endsAt - performance.now());
      if (asked !== null && wait <= 0) {
        // What came so far was to be asked again, so it is no answer.
        return {
          outcome: { kind: "timeout", detail: "no time was left to ask again" },
          transport: asked.transport,
        };
      }
      const sent = mixed ? mixCase(name, this.#random) : name;
      const id = randomInt(65536);
      const exchange: Exchange = {
        id,
        name: sent,
        type,
        wire: encodeQuery(id, sent, type, edns),
        timeout: wait,
        signal,
        // Over TCP nobody can forge from off the path, so case proves nothing there.
        strictCase: mixed && !tcp && manners.noCaseUntil === -1,
      };
      const before = performance.now();
      const strangeCase = this.ignored.wrongCase;
      const outcome = await (tcp ? exchangeTcp : exchangeUdp)(server, exchange, this.ignored);
      asked = { outcome, transport: tcp ? "tcp" : "udp" };
      attempts.push({
        server: serverKey(server),
        transport: asked.transport,
        result: outcome.kind === "message" ? describe(outcome.message) : outcome.detail,
        ms: Math.round(performance.now() - before),
      });
      if (outcome.kind !== "message") {
        // It kept case once and does not now: another program answers there. Learn anew next time.
        if (this.ignored.wrongCase > strangeCase) manners.noCaseUntil = 0;
        break;
      }
      const { message, caseKept } = outcome;
      if (mixed && !tcp && !caseKept) {
        // Ask again plainly, with a new id from a new port: a forger would have to guess both twice.
        manners.noCaseUntil = performance.now() + QUIRK_MS;
        mixed = false;
        continue;
      }
      if (mixed && !tcp && message.question !== null) manners.noCaseUntil = -1;
      if (edns && isEdnsTrouble(message)) {
        edns = false;
        droppedEdns = true;
        continue;
      }
      if (droppedEdns && !isEdnsTrouble(message)) manners.noEdnsUntil = performance.now() + QUIRK_MS;
      if (message.truncated && !tcp) {
        tcp = true;
        continue;
      }
      break;
    }
    return asked ?? { outcome: { kind: "timeout", detail: "no time was left to ask" }, transport: "udp" };
  }

  #read(server: Nameserver, name: string, type: QueryType, asked: Asked, attempts: Attempt[]): Answer {
    const { outcome, transport } = asked;
    const base = { ...nothing(name, type), server: serverKey(server), transport, attempts };
    if (outcome.kind !== "message") {
      return { ...base, kind: outcome.kind, detail: `${serverKey(server)}: ${outcome.detail}` };
    }
    const { message } = outcome;
    if (message.truncated) {
      return { ...base, kind: "malformed", detail: `${serverKey(server)}: the answer is cut short` };
    }
    const meaning = interpret(message, name, type);
    return {
      ...base,
      ...meaning,
      detail: isDefinite(meaning.kind) ? "" : `${serverKey(server)}: ${describe(message)} (${meaning.kind})`,
      additionals: message.additionals,
      hostile: message.hostile,
      authenticated: message.authenticated,
      authoritative: message.authoritative,
      edns: message.edns,
      raw: [...message.answers, ...message.authorities, ...message.additionals].map(formatRecord),
    };
  }

  #mannersOf(server: Nameserver): Manners {
    const key = serverKey(server);
    let manners = this.#manners.get(key);
    if (manners === undefined) {
      manners = { failedUntil: 0, noEdnsUntil: 0, noCaseUntil: 0 };
      this.#manners.set(key, manners);
    }
    return manners;
  }
}

/** How servers are named in answers, events and `discover`: `address:port`, IPv6 in brackets. */
export function serverKey(server: Nameserver): string {
  return server.host.includes(":") ? `[${server.host}]:${server.port}` : `${server.host}:${server.port}`;
}

/** Nothing here. An alias whose end is yet to be asked for is something. */
function isAbsence(answer: Answer): boolean {
  return (answer.kind === "nxdomain" || answer.kind === "nodata") && !answer.dangling;
}

function isNodata(answer: Answer): boolean {
  return answer.kind === "nodata";
}

function isEdnsTrouble(message: DnsMessage): boolean {
  return [RCODE.FORMERR, RCODE.NOTIMP, RCODE.BADVERS].some((rcode) => rcode === message.rcode);
}

const RCODE_NAMES = ["NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED"];

function describe(message: DnsMessage): string {
  const rcode = RCODE_NAMES[message.rcode] ?? `RCODE${message.rcode}`;
  return message.truncated ? `${rcode}, truncated` : `${rcode}, ${message.answers.length} records`;
}

function nothing(name: string, type: QueryType): Answer {
  return {
    kind: "malformed",
    detail: "",
    name,
    type,
    canonical: name,
    dangling: false,
    records: [],
    additionals: [],
    hostile: 0,
    ttl: null,
    server: null,
    transport: null,
    authenticated: false,
    authoritative: false,
    edns: false,
    raw: [],
    attempts: [],
  };
}

function noName(written: string, type: QueryType): Answer {
  return {
    ...nothing(written, type),
    detail: `"${printable(written)}" is no name to ask for`,
  };
}
