/**
 * Which peers a list of rules lets in. A rule names one kind of proof and only that: a common name is never taken for a
 * DNS name, nor a DNS name for a URI. An empty list lets nobody in.
 *
 * Patterns: `dns` is exact or `*.x` for exactly one label; an IP literal there is compared with the certificate's IP
 * addresses. `spiffe` compares path segments: `*` stands for exactly one whole segment, `**` as the last segment for one or more.
 * RFC 9525 (names), the SPIFFE-ID and X.509-SVID standards (one URI per certificate).
 */
import { isIP } from "node:net";
import type { PeerRule } from "../config/config.ts";
import type { Peer } from "../transport/transport.ts";
import { canonicalIp } from "./peer.ts";

/** Which certificate names may be wildcards: `servers` follow RFC 9525 section 6.3, of `clients` a wildcard names nobody. */
export type Subjects = "clients" | "servers";

type Test = (peer: Peer) => boolean;

const LABEL = /^[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?$/;
const TRUST_DOMAIN = /^[a-z0-9._-]{1,255}$/;
const SEGMENT = /^[A-Za-z0-9._-]+$/;
const FINGERPRINT = /^[0-9a-f]{64}$/;
const SPIFFE = "spiffe://";
const SPIFFE_BYTES = 2048; // SPIFFE-ID standard, section 2.3

/** What is wrong with a rule and what would be right; null when it is sound. */
export function validateRule(rule: PeerRule): string | null {
  switch (rule.kind) {
    case "any":
      return null;
    case "dns":
      return validateDns(rule.value);
    case "spiffe":
      return validateSpiffe(rule.value);
    case "fingerprint":
      return FINGERPRINT.test(rule.value)
        ? null
        : "a fingerprint is the SHA-256 of the certificate: sha256: and 64 hex digits";
    default:
      if (rule.value.trim() === "") return `${rule.kind} is empty`;
      return rule.value.includes("*") ? `${rule.kind} is compared exactly: it has no wildcards` : null;
  }
}

function validateDns(value: string): string | null {
  if (isIP(value) !== 0) return null;
  const labels = dnsText(value).split(".");
  if (labels[0] === "*") labels.shift();
  if (labels.length === 0) return "* alone names everybody: write any";
  if (value.length <= 253 && labels.every((label) => LABEL.test(label))) return null;
  return value.includes("*")
    ? `${JSON.stringify(value)}: a wildcard is the whole first label, as in *.clients.example.test`
    : `${JSON.stringify(value)} is no DNS name`;
}

function validateSpiffe(value: string): string | null {
  const example = "as in spiffe://example.test/ns/prod/*";
  if (!value.startsWith(SPIFFE)) return `a SPIFFE ID begins with spiffe://, ${example}`;
  const [domain, ...segments] = value.slice(SPIFFE.length).split("/");
  if (!TRUST_DOMAIN.test(domain!)) {
    return `the trust domain is lower-case letters, digits, dots, hyphens and underscores, never a pattern, ${example}`;
  }
  for (const [index, segment] of segments.entries()) {
    if (segment === "*") continue;
    if (segment === "**") {
      if (index === segments.length - 1) continue;
      return "** may only be the last segment";
    }
    if (segment === "") return "the path has an empty segment or ends in a slash";
    if (segment === "." || segment === "..") return "the path may not contain . or ..";
    if (segment.includes("*")) return `a wildcard is a whole segment, ${example}`;
    if (!SEGMENT.test(segment))
      return `segment ${JSON.stringify(segment)} has characters no SPIFFE ID may have`;
  }
  return value.length > SPIFFE_BYTES ? `a SPIFFE ID has at most ${SPIFFE_BYTES} bytes` : null;
}

/** Compiles rules once; the result returns the first rule that lets a peer in, or null. Never throws. */
export function compileRules(
  rules: readonly PeerRule[],
  subjects: Subjects = "clients",
): (peer: Peer) => PeerRule | null {
  const tests = rules.map((rule) => compile(rule, subjects));
  return (peer) => {
    for (let index = 0; index < tests.length; index++) {
      if (tests[index]!(peer)) return rules[index]!;
    }
    return null;
  };
}

function compile(rule: PeerRule, subjects: Subjects): Test {
  if (validateRule(rule) !== null) return () => false;
  switch (rule.kind) {
    case "any":
      return () => true;
    case "cn":
      return (peer) => peer.commonName === rule.value;
    case "ou":
      return (peer) => peer.organizationalUnits.includes(rule.value);
    case "fingerprint":
      return (peer) => peer.fingerprint === rule.value;
    case "dns":
      return compileDns(rule.value, subjects);
    case "spiffe":
      return compileSpiffe(rule.value);
  }
}

function compileDns(value: string, subjects: Subjects): Test {
  if (isIP(value) !== 0) return (peer) => provesName(peer, value);
  const name = dnsText(value);
  if (!name.startsWith("*.")) {
    return subjects === "servers" ? (peer) => provesName(peer, name) : (peer) => peer.dns.includes(name);
  }
  const suffix = name.slice(1);
  return (peer) => {
    for (const dns of peer.dns) {
      if (dns === name && subjects === "servers") return true;
      const label = dns.length - suffix.length;
      if (label > 0 && dns.endsWith(suffix) && dns.indexOf(".") === label && dns[0] !== "*") return true;
    }
    return false;
  };
}

function compileSpiffe(value: string): Test {
  const wanted = value.slice(SPIFFE.length).split("/");
  const deep = wanted.at(-1) === "**";
  if (!value.includes("*")) return (peer) => peer.uris.length === 1 && peer.uris[0] === value;
  return (peer) => {
    const id = peer.uris.length === 1 ? peer.uris[0]! : "";
    // What is no SPIFFE ID (a query, an empty segment, a port) has a segment that no pattern may stand for.
    if (!id.startsWith(SPIFFE) || validateSpiffe(id) !== null || id.includes("*")) return false;
    const given = id.slice(SPIFFE.length).split("/");
    if (deep ? given.length < wanted.length : given.length !== wanted.length) return false;
    const fixed = deep ? wanted.length - 1 : wanted.length;
    for (let index = 0; index < fixed; index++) {
      if (wanted[index] !== "*" && wanted[index] !== given[index]) return false;
    }
    return true;
  };
}

function dnsText(value: string): string {
  return value.toLowerCase().replace(/\.$/, "");
}

/**
 * Whether a certificate proves a name as RFC 9525 wants it: an IP literal by an IP address, a name by a DNS name, of which a
 * left-most `*` stands for one label above at least two others. The common name proves nothing.
 */
export function provesName(peer: Peer, name: string): boolean {
  if (isIP(name) !== 0) return peer.ips.includes(canonicalIp(name));
  const wanted = dnsText(name);
  const dot = wanted.indexOf(".");
  const parent = dot > 0 ? wanted.slice(dot) : null;
  for (const dns of peer.dns) {
    if (dns === wanted) return true;
    if (parent === null || dns.charCodeAt(0) !== 0x2a || dns.length !== parent.length + 1) continue;
    if (dns.endsWith(parent) && parent.indexOf(".", 1) !== -1) return true;
  }
  return false;
}

/** A rule as a user writes it. */
export function formatRule(rule: PeerRule): string {
  if (rule.kind === "any") return "any";
  return `{ ${rule.kind}: ${JSON.stringify(rule.kind === "fingerprint" ? `sha256:${rule.value}` : rule.value)} }`;
}
