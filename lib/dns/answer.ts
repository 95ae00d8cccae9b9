/**
 * What a response means for one question (RFC 1034 section 4.3, RFC 2308): its kind, the records at the end of the alias
 * chain, how long it holds. Only records that hang together with the question count; whatever else a server put into the
 * message is ignored. NXDOMAIN, NODATA and the failures stay distinct all the way up. Pure.
 */
import type { CnameRecord, DnsMessage, DnsRecord, QueryType, SoaRecord } from "./message.ts";
import { isWithin } from "./name.ts";

/** The question was answered: there is data, there is none of this type, the name does not exist. */
export const DEFINITE_KINDS = ["ok", "nodata", "nxdomain"] as const;
/**
 * The question was not answered. `lame`: a referral or an answer without recursion. `loop`: aliases that lead in a circle.
 * `rcode`: any other response code. `timeout`, `unreachable`, `malformed`, `aborted`: no usable response at all.
 */
export const FAILURE_KINDS = [
  "servfail",
  "refused",
  "formerr",
  "notimp",
  "rcode",
  "lame",
  "loop",
  "malformed",
  "unreachable",
  "timeout",
  "aborted",
] as const;
export type DefiniteKind = (typeof DEFINITE_KINDS)[number];
export type FailureKind = (typeof FAILURE_KINDS)[number];
export type AnswerKind = DefiniteKind | FailureKind;

/** RFC 1034 sets no bound on alias chains; real ones have one to four links. */
export const MAX_ALIASES = 8;

export const RCODE = {
  NOERROR: 0,
  FORMERR: 1,
  SERVFAIL: 2,
  NXDOMAIN: 3,
  NOTIMP: 4,
  REFUSED: 5,
  BADVERS: 16,
} as const;

export interface Meaning {
  readonly kind: AnswerKind;
  /** The name at the end of the alias chain; the name asked for where there is none. */
  readonly canonical: string;
  /** True where the chain ends in an alias whose target this message says nothing about: ask again for `canonical`. */
  readonly dangling: boolean;
  /** Records of the type asked for, owned by `canonical`. */
  readonly records: readonly DnsRecord[];
  /** Seconds that the answer holds: the least TTL on the way; null where nothing says so. */
  readonly ttl: number | null;
}

/** One try at one server. */
export interface Attempt {
  readonly server: string;
  readonly transport: "udp" | "tcp";
  readonly result: string;
  readonly ms: number;
}

/** What came of one question. */
export interface Answer {
  readonly kind: AnswerKind;
  /** For people: why, where `kind` is a failure. */
  readonly detail: string;
  readonly name: string;
  readonly type: QueryType;
  /** The end of the alias chain. */
  readonly canonical: string;
  /** The chain ends in an alias that this answer does not resolve: ask again for `canonical`. */
  readonly dangling: boolean;
  readonly records: readonly DnsRecord[];
  readonly additionals: readonly DnsRecord[];
  /** Records left out because a name in them is no host name. */
  readonly hostile: number;
  /** Seconds that it holds: least TTL, or the SOA's negative TTL; null where nothing says so. */
  readonly ttl: number | null;
  /** `address port`, the one that answered; null where none did. */
  readonly server: string | null;
  readonly transport: "udp" | "tcp" | null;
  readonly authenticated: boolean;
  readonly authoritative: boolean;
  readonly edns: boolean;
  /** Every record of the message, as a zone file would show it. */
  readonly raw: readonly string[];
  readonly attempts: readonly Attempt[];
}

/** True where the question has an answer, if only that there is nothing. */
export function isDefinite(kind: AnswerKind): kind is DefiniteKind {
  return (DEFINITE_KINDS as readonly string[]).includes(kind);
}

/** What `message` says about `name` and `type`. The caller has matched id, question and source. */
export function interpret(message: DnsMessage, name: string, type: QueryType): Meaning {
  const failure = (kind: FailureKind): Meaning => ({
    kind,
    canonical: name,
    dangling: false,
    records: [],
    ttl: null,
  });
  if (message.rcode !== RCODE.NOERROR && message.rcode !== RCODE.NXDOMAIN)
    return failure(failureOf(message.rcode));

  let canonical = name;
  let aliasTtl = Number.POSITIVE_INFINITY;
  const seen = new Set([name]);
  for (;;) {
    const alias = message.answers.find(
      (record): record is CnameRecord => record.type === "CNAME" && record.name === canonical,
    );
    if (alias === undefined) break;
    canonical = alias.target;
    aliasTtl = Math.min(aliasTtl, alias.ttl);
    if (seen.has(canonical) || seen.size > MAX_ALIASES) return failure("loop");
    seen.add(canonical);
  }

  const records = message.answers.filter((record) => record.type === type && record.name === canonical);
  if (message.rcode === RCODE.NOERROR && records.length > 0) {
    // RFC 2181 section 5.2: differing TTLs in one set are wrong; the least is the safe reading.
    const ttl = records.reduce((least, record) => Math.min(least, record.ttl), aliasTtl);
    return { kind: "ok", canonical, dangling: false, records, ttl };
  }

  const soa = message.authorities.find(
    (record): record is SoaRecord => record.type === "SOA" && isWithin(canonical, record.name),
  );
  const least = Math.min(
    aliasTtl,
    soa === undefined ? Number.POSITIVE_INFINITY : Math.min(soa.ttl, soa.minimum),
  );
  const ttl = soa === undefined ? null : least;
  if (message.rcode === RCODE.NXDOMAIN)
    return { kind: "nxdomain", canonical, dangling: false, records: [], ttl };
  if (canonical !== name && soa === undefined) {
    return { kind: "nodata", canonical, dangling: true, records: [], ttl: aliasTtl };
  }
  const referral = !message.authoritative && message.authorities.some((record) => record.type === "NS");
  if (soa === undefined && referral) return failure("lame");
  return { kind: "nodata", canonical, dangling: false, records: [], ttl };
}

function failureOf(rcode: number): FailureKind {
  switch (rcode) {
    case RCODE.FORMERR:
      return "formerr";
    case RCODE.SERVFAIL:
      return "servfail";
    case RCODE.NOTIMP:
      return "notimp";
    case RCODE.REFUSED:
      return "refused";
    default:
      return "rcode";
  }
}
