/**
 * The inside of a ClientHello: names and protocols, no more than routes ask for. Invariants: every length is checked against what
 * encloses it; a duplicate of an extension that OpenSSL knows is refused, unknown extensions are skipped.
 * RFC 8446 sections 4.1.2 and 4.2, RFC 6066 section 3, RFC 7301 section 3.1, RFC 9849.
 *
 * Server names are where Millrace is stricter than OpenSSL, because they reach logs, metrics and tables: see `readName`.
 */
import { ALERT } from "./alert.ts";
import { readIp } from "./ip.ts";
import { rememberedBytes } from "./texts.ts";

/** A parsed ClientHello. */
export interface Hello {
  /**
   * Lower case, without a trailing dot; null where there is none, an empty one, or an IP literal. With Encrypted ClientHello it
   * is the public name, which says nothing of the true one (RFC 9849 section 6.1).
   */
  readonly serverName: string | null;
  /** As offered, each byte one character (latin1): ALPN names are bytes, not text. */
  readonly alpn: readonly string[];
  /** Sends supported_versions; without, nothing above TLS 1.2 may be agreed on (RFC 8446 section 4.2.1). */
  readonly listsVersions: boolean;
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
const SUPPORTED_VERSIONS = 43;
const RENEGOTIATION_INFO = 0xff01;
const ECH = 0xfe0d;

// The extensions below 64 of which OpenSSL 3.0 refuses a second one (ssl/statem/extensions.c); it ignores unknown twins.
const SINGULAR = new Uint8Array(64);
for (const type of [0, 1, 5, 10, 11, 12, 13, 14, 16, 18, 21, 22, 23, 35, 41, 42, 43, 44, 45, 47, 49, 50, 51])
  SINGULAR[type] = 1;

const SSL3 = 0x0300;
const NONE: readonly string[] = [];
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

  const facts: Facts = { serverName: null, alpn: NONE, listsVersions: false, length };
  if (at < end) {
    if (at + 2 > end || at + 2 + u16(bytes, at) !== end) return malformed("extension block");
    const bad = readExtensions(bytes, at + 2, end, facts);
    if (bad !== null) return bad;
  }
  if (!facts.listsVersions && legacy < SSL3)
    return badHello(ALERT.protocol_version, `TLS version 0x${legacy.toString(16).padStart(4, "0")}`);
  return facts;
}

type Facts = { -readonly [K in keyof Hello]: Hello[K] };

function readExtensions(bytes: Uint8Array, at: number, end: number, facts: Facts): BadHello | null {
  let seenLow = 0; // types 0 to 31 as bits
  let seenHigh = 0; // types 32 to 63
  let seenRenegotiation = false;
  let seenEch = false;
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
        bad = readAlpn(bytes, from, at, facts);
        break;
      case SUPPORTED_GROUPS:
        if (at - from < 4 || u16(bytes, from) !== at - from - 2) return malformed("supported_groups");
        if ((at - from) % 2 !== 0) return malformed("supported_groups");
        break;
      case SUPPORTED_VERSIONS:
        if (at - from < 3 || bytes[from] !== at - from - 1) return malformed("supported_versions");
        if ((at - from) % 2 === 0) return malformed("supported_versions");
        facts.listsVersions = true;
        break;
      case RENEGOTIATION_INFO:
        if (seenRenegotiation) return duplicate(type);
        seenRenegotiation = true;
        break;
      case ECH:
        if (seenEch) return duplicate(type);
        seenEch = true;
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
  if (from + 5 === end) return null; // OpenSSL lets an empty name pass, as if none had been sent
  const name = hostName(bytes, from + 5, end);
  if (name === undefined) return badHello(ALERT.unrecognized_name, "a server name that is no host name");
  facts.serverName = name;
  return null;
}

/**
 * A host name in lower case without its trailing dot. `undefined` (refused, unrecognized_name) for more than 255 bytes, for
 * empty labels and for any byte but letters, digits, `-`, `_` and `.`: NUL, control characters, quotes, `*`, UTF-8. `null` (as
 * if none had been sent) for an IP literal, which RFC 6066 forbids, some clients send, and no certificate or route by name can
 * answer.
 */
function readName(bytes: Uint8Array, from: number, end: number): string | null | undefined {
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

// Clients ask for the same few names and protocols, and to make a text costs as much as all the rest of a hello.
const hostName = rememberedBytes(1024, readName);
const protocolName = rememberedBytes<never>(64, latin1);

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

function readAlpn(bytes: Uint8Array, from: number, end: number, facts: Facts): BadHello | null {
  const names: string[] = [];
  if (end - from < 4 || u16(bytes, from) !== end - from - 2) return malformed("ALPN");
  for (let at = from + 2; at < end; ) {
    const next = at + 1 + bytes[at]!;
    if (next === at + 1 || next > end) return malformed("ALPN");
    names.push(protocolName(bytes, at + 1, next));
    at = next;
  }
  facts.alpn = names;
  return null;
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
