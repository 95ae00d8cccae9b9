/**
 * DNS messages on the wire (RFC 1035, EDNS by RFC 6891). dns-packet is the codec; this room stands before it and checks
 * the frame first (every name, every length, every pointer), because a codec that trusts an RDLENGTH reads the neighbour's
 * bytes. Invariant: whatever the bytes, the answer is a message or a fault, in bounded time, never a throw.
 */
import dnsPacket from "dns-packet";
import { canonicalName } from "./name.ts";

declare module "dns-packet" {
  /** Exported by the library, missing in its types: one resource record at an offset. */
  export const answer: { decode(buffer: Buffer, offset: number): Answer };
}

/** The types that discovery asks for. */
export type QueryType = "A" | "AAAA" | "SRV";

interface RecordBase {
  /** Owner in kept form (see name.ts). */
  readonly name: string;
  /** Seconds, as sent, but 0 where the top bit is set (RFC 2181 section 8). */
  readonly ttl: number;
}
export interface AddressRecord extends RecordBase {
  readonly type: "A" | "AAAA";
  readonly address: string;
}
export interface CnameRecord extends RecordBase {
  readonly type: "CNAME";
  readonly target: string;
}
export interface SrvRecord extends RecordBase {
  readonly type: "SRV";
  readonly priority: number;
  readonly weight: number;
  readonly port: number;
  readonly target: string;
}
export interface SoaRecord extends RecordBase {
  readonly type: "SOA";
  readonly minimum: number;
}
export interface NsRecord extends RecordBase {
  readonly type: "NS";
}
export type DnsRecord = AddressRecord | CnameRecord | SrvRecord | SoaRecord | NsRecord;

export interface DnsMessage {
  readonly id: number;
  readonly rcode: number;
  readonly truncated: boolean;
  readonly authoritative: boolean;
  /** The AD bit: the server says that it validated. Worth what the way to the server is worth. */
  readonly authenticated: boolean;
  readonly recursion: boolean;
  readonly edns: boolean;
  /** As sent, case kept; null where the message has no question. */
  readonly question: { readonly name: string; readonly type: number } | null;
  readonly answers: readonly DnsRecord[];
  readonly authorities: readonly DnsRecord[];
  readonly additionals: readonly DnsRecord[];
  /** Records left out: names that are no host names, or not of class IN. */
  readonly hostile: number;
}

export type Decoded = { readonly message: DnsMessage } | { readonly fault: string };

const TYPE_NUMBERS = { A: 1, NS: 2, CNAME: 5, SOA: 6, AAAA: 28, SRV: 33, OPT: 41 } as const;
const KEPT_TYPES: ReadonlySet<number> = new Set([1, 2, 5, 6, 28, 33]);
const CLASS_IN = 1;
const HEADER_BYTES = 12;
/** DNS flag day 2020: fits every path without fragments, which are what off-path forgers use. */
export const EDNS_BYTES = 1232;
// A name has at most 127 labels; a chain of more pointers than that is meant to burn CPU.
const MAX_POINTERS = 127;
const MAX_NAME_OCTETS = 255;

export function typeNumber(type: QueryType): number {
  return TYPE_NUMBERS[type];
}

/** A query with recursion desired. `name` must be one that `canonicalName` accepts, in any case. */
export function encodeQuery(id: number, name: string, type: QueryType, edns: boolean): Buffer {
  const flags = dnsPacket.RECURSION_DESIRED | (edns ? dnsPacket.AUTHENTIC_DATA : 0); // AD: RFC 6840 section 5.7
  const opt = {
    type: "OPT" as const,
    name: ".",
    udpPayloadSize: EDNS_BYTES,
    extendedRcode: 0,
    ednsVersion: 0,
    flags: 0,
    flag_do: false,
    options: [],
  };
  const questions = [{ name, type, class: "IN" as const }];
  return dnsPacket.encode({ type: "query", id, flags, questions, additionals: edns ? [opt] : [] });
}

/** Reads a response. Never throws. A truncated response (TC) may end anywhere after its question. */
export function decodeMessage(wire: Buffer): Decoded {
  try {
    return { message: new Reading(wire).message() };
  } catch (thrown) {
    return { fault: thrown instanceof Error ? thrown.message : String(thrown) };
  }
}

class Malformed extends Error {}

class Reading {
  readonly #wire: Buffer;
  #at = HEADER_BYTES;
  #hostile = 0;
  /** A label of the record at hand has a dot inside, which the codec's text form would hide. */
  #dotted = false;
  #opt: { extendedRcode: number } | null = null;

  constructor(wire: Buffer) {
    this.#wire = wire;
  }

  message(): DnsMessage {
    const wire = this.#wire;
    if (wire.length < HEADER_BYTES) throw new Malformed(`${wire.length} bytes are no DNS header`);
    const flags = wire.readUInt16BE(2);
    if ((flags & 0x8000) === 0) throw new Malformed("a query, not a response");
    if (((flags >> 11) & 0xf) !== 0) throw new Malformed("not a standard query");
    const truncated = (flags & 0x0200) !== 0;
    const question = this.#question(wire.readUInt16BE(4));
    const answers = this.#section(wire.readUInt16BE(6), truncated);
    const authorities = this.#section(wire.readUInt16BE(8), truncated);
    const additionals = this.#section(wire.readUInt16BE(10), truncated);
    return {
      id: wire.readUInt16BE(0),
      rcode: (flags & 0xf) | ((this.#opt?.extendedRcode ?? 0) << 4),
      truncated,
      authoritative: (flags & 0x0400) !== 0,
      recursion: (flags & 0x0080) !== 0,
      authenticated: (flags & 0x0020) !== 0,
      edns: this.#opt !== null,
      question,
      answers,
      authorities,
      additionals,
      hostile: this.#hostile,
    };
  }

  #question(count: number): DnsMessage["question"] {
    if (count === 0) return null;
    if (count !== 1) throw new Malformed(`${count} questions`);
    const labels: string[] = [];
    const end = this.#name(this.#at, labels);
    this.#need(end, 4);
    if (this.#wire.readUInt16BE(end + 2) !== CLASS_IN) throw new Malformed("the question is not of class IN");
    this.#at = end + 4;
    return { name: labels.join("."), type: this.#wire.readUInt16BE(end) };
  }

  #section(count: number, truncated: boolean): DnsRecord[] {
    const records: DnsRecord[] = [];
    for (let index = 0; index < count; index++) {
      try {
        this.#record(records);
      } catch (thrown) {
        if (!truncated) throw thrown;
        this.#at = this.#wire.length;
        break;
      }
    }
    return records;
  }

  #record(into: DnsRecord[]): void {
    const wire = this.#wire;
    const start = this.#at;
    this.#dotted = false;
    const fixed = this.#name(start, null);
    const dottedOwner = this.#dotted;
    this.#need(fixed, 10);
    const type = wire.readUInt16BE(fixed);
    const length = wire.readUInt16BE(fixed + 8);
    const data = fixed + 10;
    this.#need(data, length);
    this.#at = data + length;
    if (type === TYPE_NUMBERS.OPT) {
      this.#opt = { extendedRcode: wire.readUInt8(fixed + 4) };
      return;
    }
    if (!KEPT_TYPES.has(type)) return;
    this.#checkData(type, data, length);
    // A mailbox (SOA) may have dots in a label, and its names are never used.
    const dotted = type === TYPE_NUMBERS.SOA ? dottedOwner : this.#dotted;
    const inClass = wire.readUInt16BE(fixed + 2) === CLASS_IN;
    const record = inClass && !dotted ? toRecord(wire, start) : null;
    if (record === null) this.#hostile++;
    else into.push(record);
  }

  /** The data must fill exactly its RDLENGTH. */
  #checkData(type: number, data: number, length: number): void {
    let end: number;
    switch (type) {
      case TYPE_NUMBERS.A:
        end = data + 4;
        break;
      case TYPE_NUMBERS.AAAA:
        end = data + 16;
        break;
      case TYPE_NUMBERS.SRV:
        end = this.#name(data + 6, null);
        break;
      case TYPE_NUMBERS.SOA:
        end = this.#name(this.#name(data, null), null) + 20;
        break;
      default:
        end = this.#name(data, null);
    }
    if (end !== data + length) throw new Malformed(`a record of type ${type} lies about its length`);
  }

  #need(at: number, bytes: number): void {
    if (at + bytes > this.#wire.length) throw new Malformed("a record reaches past the end");
  }

  /** Walks the name at `at` and returns the offset behind it. Pointers must lead backwards, so there is no loop. */
  #name(at: number, labels: string[] | null): number {
    const wire = this.#wire;
    let end = -1;
    let limit = at;
    let octets = 1;
    let pointers = 0;
    for (;;) {
      this.#need(at, 1);
      const length = wire.readUInt8(at);
      if (length === 0) return end === -1 ? at + 1 : end;
      if ((length & 0xc0) === 0xc0) {
        this.#need(at, 2);
        const target = wire.readUInt16BE(at) & 0x3fff;
        if (end === -1) end = at + 2;
        if (target >= limit || target < HEADER_BYTES)
          throw new Malformed("a compression pointer leads forward");
        if (++pointers > MAX_POINTERS) throw new Malformed("too many compression pointers");
        limit = target;
        at = target;
        continue;
      }
      if ((length & 0xc0) !== 0) throw new Malformed("an unknown kind of label");
      this.#need(at + 1, length);
      octets += length + 1;
      if (octets > MAX_NAME_OCTETS) throw new Malformed("a name of more than 255 octets");
      if (wire.subarray(at + 1, at + 1 + length).includes(0x2e)) this.#dotted = true;
      labels?.push(wire.toString("latin1", at + 1, at + 1 + length));
      at += length + 1;
    }
  }
}

/** One checked record through the codec; null where a name in it is not a host name. */
function toRecord(wire: Buffer, start: number): DnsRecord | null {
  const raw = dnsPacket.answer.decode(wire, start);
  const name = canonicalName(raw.name);
  if (name === null) return null;
  switch (raw.type) {
    case "A":
    case "AAAA":
      return { type: raw.type, name, ttl: saneTtl(raw.ttl), address: raw.data };
    case "CNAME": {
      const target = canonicalName(raw.data);
      return target === null ? null : { type: "CNAME", name, ttl: saneTtl(raw.ttl), target };
    }
    case "SRV": {
      const target = canonicalName(raw.data.target);
      const { priority = 0, weight = 0, port } = raw.data;
      return target === null
        ? null
        : { type: "SRV", name, ttl: saneTtl(raw.ttl), priority, weight, port, target };
    }
    case "SOA":
      return { type: "SOA", name, ttl: saneTtl(raw.ttl), minimum: saneTtl(raw.data.minimum) };
    case "NS":
      return { type: "NS", name, ttl: saneTtl(raw.ttl) };
    default:
      return null;
  }
}

/** RFC 2181 section 8: a TTL with the top bit set is 0. */
function saneTtl(ttl: number | undefined): number {
  return ttl === undefined || ttl > 0x7fffffff ? 0 : ttl;
}

/** A record as a zone file would show it, for logs and `discover`. */
export function formatRecord(record: DnsRecord): string {
  const dot = (name: string): string => (name === "." ? "." : `${name}.`);
  const head = `${dot(record.name)} ${record.ttl} IN ${record.type}`;
  switch (record.type) {
    case "A":
    case "AAAA":
      return `${head} ${record.address}`;
    case "CNAME":
      return `${head} ${dot(record.target)}`;
    case "SRV":
      return `${head} ${record.priority} ${record.weight} ${record.port} ${dot(record.target)}`;
    case "SOA":
      return `${head} (minimum ${record.minimum})`;
    case "NS":
      return head;
  }
}
