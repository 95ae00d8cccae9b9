/**
 * Who a certificate names. Read from the DER itself and not from anybody's printed form, so that a name which contains
 * separators, quotes or NUL bytes cannot pass for two names (CVE-2021-44532). Invariant: what lands in `commonName`,
 * `organizationalUnits`, `dns`, `uris` and `ips` is clean and may be compared byte by byte; a name in an odd encoding is
 * left out and so matches no rule. RFC 5280 section 4, RFC 4514 for the printed subject.
 */
import { createHash } from "node:crypto";
import { SocketAddress } from "node:net";
import type { Peer } from "../transport/transport.ts";
import {
  BIT_STRING,
  BOOLEAN,
  type Element,
  elementsOf,
  IA5_STRING,
  INTEGER,
  OCTET_STRING,
  OID,
  onlyElement,
  PRINTABLE_STRING,
  rawText,
  SEQUENCE,
  SET,
  timeOf,
  UTF8_STRING,
} from "./der.ts";

const VERSION = 0xa0;
const EXTENSIONS = 0xa3;
const DNS_NAME = 0x82;
const URI_NAME = 0x86;
const IP_NAME = 0x87;

// Object identifiers as their content bytes.
const SUBJECT_ALT_NAME = "\x55\x1d\x11"; // 2.5.29.17
const COMMON_NAME = "\x55\x04\x03"; // 2.5.4.3
const ORGANIZATIONAL_UNIT = "\x55\x04\x0b"; // 2.5.4.11

/** Attribute types with a short name: RFC 4514 section 3, and the two that certificates use beside them. */
const SHORT_NAMES: Readonly<Record<string, string>> = {
  [COMMON_NAME]: "CN",
  "\x55\x04\x05": "serialNumber",
  "\x55\x04\x06": "C",
  "\x55\x04\x07": "L",
  "\x55\x04\x08": "ST",
  "\x55\x04\x09": "STREET",
  "\x55\x04\x0a": "O",
  [ORGANIZATIONAL_UNIT]: "OU",
  "\x09\x92\x26\x89\x93\xf2\x2c\x64\x01\x01": "UID",
  "\x09\x92\x26\x89\x93\xf2\x2c\x64\x01\x19": "DC",
  "\x2a\x86\x48\x86\xf7\x0d\x01\x09\x01": "emailAddress",
};

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const CONTROL = /[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufffe\uffff]/;
// Host names as certificates carry them: letters, digits, hyphen, the underscore of SRV names, and a left-most `*`.
const DNS_TEXT = /^(?:\*\.)?[A-Za-z0-9_-]{1,63}(?:\.[A-Za-z0-9_-]{1,63})*$/;
const URI_TEXT = /^[\x21-\x7e]+$/;

/** The peer that a leaf certificate names. Never throws: of bytes that are no certificate it makes a peer that nothing lets in. */
export function peerFromDer(der: Uint8Array): Peer {
  const fingerprint = fingerprintOf(der);
  try {
    return read(der, fingerprint);
  } catch {
    return unreadable(fingerprint);
  }
}

/** SHA-256 of the DER certificate in lower-case hex. */
export function fingerprintOf(der: Uint8Array): string {
  return createHash("sha256").update(der).digest("hex");
}

/** True for a peer whose certificate could not be read; the authoriser refuses it before it looks at any rule. */
export function isUnreadable(peer: Peer): boolean {
  return Number.isNaN(peer.notAfter);
}

function unreadable(fingerprint: string): Peer {
  return {
    subject: "",
    commonName: null,
    organizationalUnits: [],
    dns: [],
    uris: [],
    ips: [],
    fingerprint,
    serial: "",
    notBefore: Number.NaN,
    notAfter: Number.NaN,
  };
}

function read(der: Uint8Array, fingerprint: string): Peer {
  const certificate = elementsOf(der, onlyElement(der, 0, der.length, SEQUENCE));
  const fields = elementsOf(der, expect(certificate[0], SEQUENCE));
  expect(certificate[2], BIT_STRING);
  let at = fields[0]?.tag === VERSION ? 1 : 0;
  const serial = expect(fields[at++], INTEGER);
  expect(fields[at++], SEQUENCE); // signature algorithm
  expect(fields[at++], SEQUENCE); // issuer
  const validity = elementsOf(der, expect(fields[at++], SEQUENCE));
  const subject = readName(der, expect(fields[at++], SEQUENCE));
  expect(fields[at++], SEQUENCE); // public key
  const extensions = fields.slice(at).find((field) => field.tag === EXTENSIONS);
  if (validity.length !== 2) throw new RangeError("validity without two dates");
  return {
    ...subject,
    ...readAlternativeNames(der, extensions),
    fingerprint,
    serial: hex(der, serial).replace(/^00(?=.)/, ""),
    notBefore: timeOf(der, validity[0]!),
    notAfter: timeOf(der, validity[1]!),
  };
}

function expect(element: Element | undefined, tag: number): Element {
  if (element === undefined || element.tag !== tag) throw new RangeError("certificate of another shape");
  return element;
}

function hex(der: Uint8Array, element: Element): string {
  return Buffer.from(der.subarray(element.start, element.end)).toString("hex");
}

/** The subject. Where several common names are given the last, most specific one counts; an odd one there counts as none. */
function readName(
  der: Uint8Array,
  name: Element,
): Pick<Peer, "subject" | "commonName" | "organizationalUnits"> {
  const printed: string[] = [];
  const organizationalUnits: string[] = [];
  let commonName: string | null = null;
  for (const set of elementsOf(der, name)) {
    const attributes = elementsOf(der, expect(set, SET)).map((attribute) => {
      const [type, value] = elementsOf(der, expect(attribute, SEQUENCE));
      const oid = rawText(der, expect(type, OID));
      if (value === undefined) throw new RangeError("attribute without value");
      const text = cleanText(der, value);
      if (oid === COMMON_NAME) commonName = text;
      if (oid === ORGANIZATIONAL_UNIT && text !== null) organizationalUnits.push(text);
      const label = SHORT_NAMES[oid] ?? dotted(oid);
      return `${label}=${text === null ? `#${hex(der, value)}` : escapeValue(text)}`;
    });
    printed.push(attributes.join("+"));
  }
  // RFC 4514 section 2.1: the last name component comes first.
  return { subject: printed.reverse().join(","), commonName, organizationalUnits };
}

/** The text of a directory string in one of the three encodings in use; null where it is odd or would not print as itself. */
function cleanText(der: Uint8Array, value: Element): string | null {
  const bytes = der.subarray(value.start, value.end);
  let text: string;
  if (value.tag === UTF8_STRING) {
    try {
      text = utf8.decode(bytes);
    } catch {
      return null;
    }
  } else if (value.tag === PRINTABLE_STRING || value.tag === IA5_STRING) {
    if (bytes.some((byte) => byte > 0x7e)) return null;
    text = rawText(der, value);
  } else {
    return null;
  }
  return text === "" || CONTROL.test(text) ? null : text;
}

/** RFC 4514 section 2.4. */
function escapeValue(text: string): string {
  return text.replace(/[\\,+"<>;=]/g, "\\$&").replace(/^[# ]|(?<!^) $/g, "\\$&");
}

function dotted(oid: string): string {
  const arcs: number[] = [];
  let arc = 0;
  for (let index = 0; index < oid.length; index++) {
    const byte = oid.charCodeAt(index);
    arc = arc * 128 + (byte & 0x7f);
    if (byte < 0x80) {
      arcs.push(arc);
      arc = 0;
    }
  }
  const first = arcs.shift() ?? 0;
  const top = Math.min(2, Math.floor(first / 40));
  return [top, first - top * 40, ...arcs].join(".");
}

function readAlternativeNames(
  der: Uint8Array,
  extensions: Element | undefined,
): Pick<Peer, "dns" | "uris" | "ips"> {
  const dns: string[] = [];
  const ips: string[] = [];
  let uris: string[] = [];
  let oddUri = false;
  const names = extensions === undefined ? null : findAlternativeNames(der, extensions);
  for (const name of names === null ? [] : elementsOf(der, names)) {
    const text = rawText(der, name);
    if (name.tag === DNS_NAME && text.length <= 253 && DNS_TEXT.test(text)) dns.push(text.toLowerCase());
    if (name.tag === IP_NAME) {
      const address = addressText(der.subarray(name.start, name.end));
      if (address !== null) ips.push(address);
    }
    if (name.tag !== URI_NAME) continue;
    if (URI_TEXT.test(text)) uris.push(text);
    else oddUri = true;
  }
  // A SPIFFE ID must be the only URI of its certificate. Were an odd one left out, the rest would pass for the only one.
  if (oddUri) uris = [];
  return { dns, uris, ips };
}

/** RFC 5280 section 4.2: an extension may appear once only, so a second list of names makes the certificate unreadable. */
function findAlternativeNames(der: Uint8Array, extensions: Element): Element | null {
  let found: Element | null = null;
  for (const extension of elementsOf(der, onlyElement(der, extensions.start, extensions.end, SEQUENCE))) {
    const parts = elementsOf(der, expect(extension, SEQUENCE));
    if (rawText(der, expect(parts[0], OID)) !== SUBJECT_ALT_NAME) continue;
    if (found !== null) throw new RangeError("two lists of alternative names");
    const value = expect(parts[parts[1]?.tag === BOOLEAN ? 2 : 1], OCTET_STRING);
    found = onlyElement(der, value.start, value.end, SEQUENCE);
  }
  return found;
}

function addressText(bytes: Uint8Array): string | null {
  if (bytes.length === 4) return bytes.join(".");
  if (bytes.length !== 16) return null;
  const groups: string[] = [];
  for (let index = 0; index < 16; index += 2) {
    groups.push(((bytes[index]! << 8) | bytes[index + 1]!).toString(16));
  }
  return canonicalIp(groups.join(":"));
}

/** An IP literal in the one form that is compared here: RFC 5952 for IPv6. */
export function canonicalIp(literal: string): string {
  if (!literal.includes(":")) return literal;
  return new SocketAddress({ address: literal.replace(/%.*$/, ""), family: "ipv6" }).address;
}

/** Peers by certificate, so that a client which comes back costs a hash and no parse. Holds at most `limit`; the oldest goes first. */
export class PeerCache {
  readonly #limit: number;
  readonly #peers = new Map<string, Peer>();

  constructor(limit = 1024) {
    this.#limit = limit;
  }

  get size(): number {
    return this.#peers.size;
  }

  get(der: Uint8Array): Peer {
    const fingerprint = fingerprintOf(der);
    const known = this.#peers.get(fingerprint);
    if (known !== undefined) return known;
    const peer = peerFromDer(der);
    if (this.#peers.size >= this.#limit) this.#peers.delete(this.#peers.keys().next().value!);
    this.#peers.set(fingerprint, peer);
    return peer;
  }
}
