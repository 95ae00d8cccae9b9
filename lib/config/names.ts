/**
 * Names and patterns of names as a configuration writes them, each brought to one spelling: host names and server
 * name patterns in lower case, without the trailing dot unless DNS is asked for them (RFC 6066 section 3, RFC 4343),
 * SPIFFE ID patterns (SPIFFE ID standard section 2), certificate fingerprints as 64 hex digits. Each reader answers with
 * the value or with a sentence that says what would be right.
 */
import { isIP } from "node:net";
import { canonicalIp, type Parsed } from "./networks.ts";

// RFC 1035 section 2.3.4: labels of 1 to 63 octets, names of at most 253. The underscore is for SRV and Kubernetes names.
const HOST_NAME =
  /^(?=.{1,253}$)[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?(?:\.[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?)*$/;
/** Names of listeners, routes, clusters and identities: they become metric labels, log fields and path parts. */
const ENTRY_NAME = /^[A-Za-z0-9_][A-Za-z0-9_.:/-]{0,127}$/;

/** What an entry of the configuration may be called. */
export function parseEntryName(text: string): Parsed<string> {
  if (text !== "__proto__" && ENTRY_NAME.test(text)) return { value: text };
  return { fault: "must be 1 to 128 letters, digits and _ . : / - and begin with a letter, a digit or _" };
}

/** A name to ask DNS for, such as `_db._tcp.example.test`. A trailing dot stays: it switches the search list off. */
export function parseHostName(text: string): Parsed<string> {
  const name = plain(text);
  if (isIP(name) === 0 && HOST_NAME.test(name)) return { value: text.toLowerCase() };
  return { fault: `must be a host name such as db.example.test${asciiAdvice(text)}` };
}

/** The name that a certificate must carry: a host name or an IP literal. */
export function parseServerName(text: string): Parsed<string> {
  const ip = canonicalIp(text);
  if (ip !== null) return { value: ip };
  const name = plain(text);
  if (HOST_NAME.test(name)) return { value: name };
  return { fault: `must be a host name or an IP address${asciiAdvice(text)}` };
}

/** A server name in a match: exact, `*.x` (exactly one label before x) or `**.x` (one or more). */
export function parseSniPattern(text: string): Parsed<string> {
  if (text === "*" || text === "**") {
    return { fault: `must name a domain: leave sni out to match every name, "${text}" alone is no pattern` };
  }
  const name = plain(text);
  const star = /^\*\*?\./.exec(name)?.[0] ?? "";
  const base = name.slice(star.length);
  if (isIP(base) !== 0) return { fault: "must be a name: clients send no server name for an IP address" };
  if (HOST_NAME.test(base)) return { value: name };
  if (base.includes("*")) {
    return { fault: 'may have a star only as the whole first label: "*.example.test" or "**.example.test"' };
  }
  return { fault: `must be a server name such as db.example.test or "*.example.test"${asciiAdvice(text)}` };
}

/** The DNS name of a peer: exact, or `*.x` for one label. An IP literal stands for an IP address in the certificate. */
export function parsePeerName(text: string): Parsed<string> {
  const ip = canonicalIp(text);
  if (ip !== null) return { value: ip };
  const name = plain(text);
  const base = name.startsWith("*.") ? name.slice(2) : name;
  if (HOST_NAME.test(base)) return { value: name };
  return { fault: `must be a DNS name such as a.example.test or "*.example.test"${asciiAdvice(text)}` };
}

/**
 * A SPIFFE ID or a pattern of them: `spiffe://trust-domain/path`, where a path segment may be `*` (any one segment)
 * and the last one `**` (one or more segments).
 */
export function parseSpiffe(text: string): Parsed<string> {
  const parts = /^spiffe:\/\/([^/]*)(\/.*)?$/.exec(text);
  if (parts === null)
    return { fault: 'must begin with "spiffe://", as in "spiffe://example.test/ns/prod/*"' };
  if (text.length > 2048) return { fault: "must have at most 2048 bytes" };
  if (!/^[a-z0-9._-]{1,255}$/.test(parts[1] ?? "")) {
    return { fault: "must name one trust domain in lower case after spiffe:// (no wildcard, port or user)" };
  }
  const segments = parts[2]?.slice(1).split("/") ?? [];
  for (const [i, segment] of segments.entries()) {
    if (segment === "*" || (segment === "**" && i === segments.length - 1)) continue;
    if (segment.includes("*")) {
      return { fault: 'may have "*" only as a whole path segment, and "**" only as the last one' };
    }
    if (segment === "" || segment === "." || segment === ".." || !/^[A-Za-z0-9._-]+$/.test(segment)) {
      return { fault: "must have path segments of letters, digits and . _ - only, none of them empty" };
    }
  }
  return { value: text };
}

/** `sha256:` and 64 hex digits, with or without colons between the bytes. */
export function parseFingerprint(text: string): Parsed<string> {
  const digits = /^sha256:((?:[0-9a-f]{2}:){31}[0-9a-f]{2}|[0-9a-f]{64})$/i.exec(text)?.[1];
  if (digits !== undefined) return { value: digits.replaceAll(":", "").toLowerCase() };
  return { fault: 'must be "sha256:" and 64 hex digits: the SHA-256 of the certificate in DER' };
}

function plain(text: string): string {
  return (text.endsWith(".") ? text.slice(0, -1) : text).toLowerCase();
}

function asciiAdvice(text: string): string {
  return /[^\x00-\x7f]/.test(text) ? "; write international names in their xn-- form" : "";
}
