/**
 * The inside of a ClientHello: names, protocols, versions, groups. Invariants: every length is checked against what encloses
 * it; a duplicate of an extension that OpenSSL knows is refused, unknown extensions are skipped; GREASE values never show.
 * RFC 8446 sections 4.1.2 and 4.2, RFC 6066 section 3, RFC 7301 section 3.1, RFC 8701, RFC 9849.
 *
 * Server names are where Millrace is stricter than OpenSSL, because they reach logs, metrics and tables: see `readName`.
 */
import { ALERT } from "./alert.ts";
import { readIp } from "./ip.ts";

/** A parsed ClientHello. */
export interface Hello {
  /** Lower case, without a trailing dot; null where there is none, an empty one, or an IP literal. */
  readonly serverName: string | null;
  /** As offered, each byte one character (latin1): ALPN names are bytes, not text. */
  readonly alpn: readonly string[];
  /** From supported_versions, else the one legacy version: 0x0304 is TLS 1.3. */
  readonly versions: readonly number[];
  /** The highest TLS version offered; 0 where no known one is. */
  readonly maxVersion: number;
  /**
   * `offered`: an ECH extension of type outer, real or GREASE: these two are made to be told apart by nobody without the
   * ECH key (RFC 9849 section 6.2), and with a real one `serverName` is the public name. `inner`: a hello that an ECH
   * front has decrypted already; its `serverName` is the true one.
   */
  readonly ech: "none" | "offered" | "inner";
  /** Wants to resume a TLS 1.3 session or uses an external PSK. */
  readonly hasPsk: boolean;
  readonly groups: readonly number[];
  /** Bytes of stream from the first record header to the last byte of the hello. */
  readonly length: number;
}

export interface BadHello {
  readonly kind: "bad";
  readonly alert: number;
  readonly why: string;
}

export function badHello(alert: number, why: string): BadHello {
  return { kind: "bad", alert, why };
}

const SERVER_NAME = 0;
const SUPPORTED_GROUPS = 10;
const ALPN = 16;
const PRE_SHARED_KEY = 41;
const SUPPORTED_VERSIONS = 43;
const RENEGOTIATION_INFO = 0xff01;
const ECH = 0xfe0d;

// The extensions below 64 of which OpenSSL 3.0 refuses a second one (ssl/statem/extensions.c); it ignores unknown twins.
const SINGULAR = new Uint8Array(64);
for (const type of [0, 1, 5, 10, 11, 12, 13, 14, 16, 18, 21, 22, 23, 35, 41, 42, 43, 44, 45, 47, 49, 50, 51])
  SINGULAR[type] = 1;

const TLS12 = 0x0303;
const SSL3 = 0x0300;
const MAX_NAME = 255; // OpenSSL's TLSEXT_MAXLEN_host_name; a DNS name has at most 253 characters

/**
 * Parses the body of a ClientHello in `bytes` from `at` to `end`. `length` is only passed on. Never throws.
 */
export function parseMessage(bytes: Uint8Array, at: number, end: number, length: number): Hello | BadHello {
  const legacy = u16(bytes, at);
  at += 34; // version and random; MIN_MESSAGE has them
  const session = bytes[at]!;
  if (session > 32) return malformed("session id");
  at += 1 + session;
  if (at + 2 > end) return malformed("session id");
  const ciphers = u16(bytes, at);
  at += 2 + ciphers;
  if (ciphers === 0) return badHello(ALERT.illegal_parameter, "ClientHello without a cipher");
  if (ciphers % 2 !== 0 || at + 1 > end) return malformed("cipher list");
  const methods = bytes[at]!;
  at += 1 + methods;
  if (methods === 0 || at > end) return malformed("compression methods");

  const facts: Facts = { serverName: null, alpn: [], versions: null, groups: [], ech: "none", hasPsk: false };
  if (at < end) {
    if (at + 2 > end || at + 2 + u16(bytes, at) !== end) return malformed("extension block");
    const bad = readExtensions(bytes, at + 2, end, facts);
    if (bad !== null) return bad;
  }
  // Without supported_versions nothing above TLS 1.2 may be agreed on (RFC 8446 section 4.2.1).
  if (facts.versions === null && legacy < SSL3)
    return badHello(ALERT.protocol_version, `TLS version 0x${legacy.toString(16).padStart(4, "0")}`);
  const versions = facts.versions ?? [Math.min(legacy, TLS12)];
  let maxVersion = 0;
  for (const version of versions) if (version >> 8 === 3 && version > maxVersion) maxVersion = version;
  const { serverName, alpn, ech, hasPsk, groups } = facts;
  return { serverName, alpn, versions, maxVersion, ech, hasPsk, groups, length };
}

interface Facts {
  serverName: string | null;
  alpn: string[];
  versions: number[] | null;
  groups: number[];
  ech: "none" | "offered" | "inner";
  hasPsk: boolean;
}

function readExtensions(bytes: Uint8Array, at: number, end: number, facts: Facts): BadHello | null {
  let seenLow = 0; // types 0 to 31 as bits
  let seenHigh = 0; // types 32 to 63
  let seenRenegotiation = false;
  while (at < end) {
    if (at + 4 > end) return malformed("extension block");
    const type = u16(bytes, at);
    const from = at + 4;
    at = from + u16(bytes, at + 2);
    if (at > end) return malformed("extension block");
    if (type < 64 && SINGULAR[type] === 1) {
      const bit = 1 << (type & 31);
      if ((type < 32 ? seenLow : seenHigh) & bit) return duplicate(type);
      if (type < 32) seenLow |= bit;
      else seenHigh |= bit;
    }
    let bad: BadHello | null = null;
    switch (type) {
      case SERVER_NAME:
        bad = readServerName(bytes, from, at, facts);
        break;
      case ALPN:
        bad = readAlpn(bytes, from, at, facts.alpn);
        break;
      case SUPPORTED_GROUPS:
        if (at - from < 4 || u16(bytes, from) !== at - from - 2) return malformed("supported_groups");
        bad = readNumbers(bytes, from + 2, at, facts.groups, "supported_groups");
        break;
      case SUPPORTED_VERSIONS:
        if (at - from < 3 || bytes[from] !== at - from - 1) return malformed("supported_versions");
        facts.versions = [];
        bad = readNumbers(bytes, from + 1, at, facts.versions, "supported_versions");
        break;
      case PRE_SHARED_KEY:
        facts.hasPsk = true;
        break;
      case RENEGOTIATION_INFO:
        if (seenRenegotiation) return duplicate(type);
        seenRenegotiation = true;
        break;
      case ECH:
        if (facts.ech !== "none") return duplicate(type);
        facts.ech = at - from === 1 && bytes[from] === 1 ? "inner" : "offered";
        break;
    }
    if (bad !== null) return bad;
  }
  return null;
}

/** Exactly one name of type host_name, as OpenSSL has it: with several, two parsers could choose differently. */
function readServerName(bytes: Uint8Array, from: number, end: number, facts: Facts): BadHello | null {
  if (end - from < 5 || u16(bytes, from) !== end - from - 2) return malformed("server_name");
  if (bytes[from + 2] !== 0) return badHello(ALERT.decode_error, `server name of type ${bytes[from + 2]}`);
  if (u16(bytes, from + 3) !== end - from - 5) return malformed("server_name");
  const name = readName(bytes, from + 5, end);
  if (name === undefined) return badHello(ALERT.unrecognized_name, "a server name that is no host name");
  facts.serverName = name;
  return null;
}

/**
 * A host name in lower case without its trailing dot. `undefined` (refused, unrecognized_name) for more than 255 bytes, for
 * empty labels and for any byte but letters, digits, `-`, `_` and `.`: NUL, control characters, quotes, `*`, UTF-8. `null` (as
 * if none had been sent) for an empty name, which OpenSSL lets pass, and for an IP literal, which RFC 6066 forbids, some
 * clients send, and no certificate or route by name can answer.
 */
function readName(bytes: Uint8Array, from: number, end: number): string | null | undefined {
  if (from === end) return null;
  if (end - from > MAX_NAME) return undefined;
  if (bytes[end - 1] === DOT) end--;
  let label = 0;
  let upper = false;
  let numeric = true;
  for (let at = from; at < end; at++) {
    const kind = KIND[bytes[at]!]!;
    if (kind === REFUSED) return ipOrRefused(latin1(bytes, from, end));
    if (kind === DOTS && label === 0) return undefined;
    label = kind === DOTS ? 0 : label + 1;
    if (kind === UPPER) upper = true;
    if (kind < DIGIT) numeric = false;
  }
  if (label === 0) return undefined;
  const name = latin1(bytes, from, end);
  if (numeric && readIp(name, scratch) !== 0) return null;
  return upper ? name.toLowerCase() : name;
}

/** Names have no colon, IPv6 literals have. */
function ipOrRefused(text: string): null | undefined {
  return readIp(text, scratch) === 0 ? undefined : null;
}

const DOT = 0x2e;
// What a byte of a name is. Those from DIGIT on can be all of an IPv4 literal.
const REFUSED = 0;
const LOWER = 1; // and `-` and `_`
const UPPER = 2;
const DIGIT = 3;
const DOTS = 4;
const KIND = new Uint8Array(256);
KIND.fill(LOWER, 0x61, 0x7b);
KIND.fill(UPPER, 0x41, 0x5b);
KIND.fill(DIGIT, 0x30, 0x3a);
KIND[0x2d] = KIND[0x5f] = LOWER;
KIND[DOT] = DOTS;
const scratch = new Uint32Array(4);

function readAlpn(bytes: Uint8Array, from: number, end: number, into: string[]): BadHello | null {
  if (end - from < 4 || u16(bytes, from) !== end - from - 2) return malformed("ALPN");
  for (let at = from + 2; at < end; ) {
    const next = at + 1 + bytes[at]!;
    if (next === at + 1 || next > end) return malformed("ALPN");
    into.push(latin1(bytes, at + 1, next));
    at = next;
  }
  return null;
}

/** A list of 16-bit numbers without its GREASE. */
function readNumbers(
  bytes: Uint8Array,
  from: number,
  end: number,
  into: number[],
  what: string,
): BadHello | null {
  if ((end - from) % 2 !== 0) return malformed(what);
  for (let at = from; at < end; at += 2) {
    const value = u16(bytes, at);
    if (!isGrease(value)) into.push(value);
  }
  return null;
}

/** RFC 8701 section 2: 0x0a0a, 0x1a1a to 0xfafa. */
function isGrease(value: number): boolean {
  return (value & 0x0f0f) === 0x0a0a && value >> 8 === (value & 255);
}

function u16(bytes: Uint8Array, at: number): number {
  return bytes[at]! * 256 + bytes[at + 1]!;
}

function latin1(bytes: Uint8Array, from: number, end: number): string {
  const buffer = bytes instanceof Buffer ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  return buffer.toString("latin1", from, end);
}

function malformed(what: string): BadHello {
  return badHello(ALERT.decode_error, `ClientHello with a malformed ${what}`);
}

function duplicate(type: number): BadHello {
  return badHello(ALERT.illegal_parameter, `ClientHello with two extensions of type ${type}`);
}
