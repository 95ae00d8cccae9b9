/**
 * The type-length-value extensions of PROXY protocol version 2. Invariants: decoding fills the space exactly or fails; a known
 * type appears once; encoding throws on what does not fit or would be read differently. proxy-protocol.txt section 2.2.
 */
import { ProxyError } from "../errors.ts";

/** What TLVs say. Texts are UTF-8 where they can be, else latin1, so that no byte is lost and none is trusted. */
export interface Tlvs {
  /** The agreed protocol, each byte one character (latin1). */
  readonly alpn?: string;
  /** The name the client asked for (SNI). */
  readonly authority?: string;
  /** Up to 128 bytes. */
  readonly uniqueId?: Uint8Array;
  readonly ssl?: SslFacts;
  /** Types 0xE0 to 0xEF, by type. */
  readonly custom?: ReadonlyMap<number, Uint8Array>;
}

/** What the sender knows about its client's TLS. Presence means the client spoke TLS, if `tls` says so. */
export interface SslFacts {
  readonly tls: boolean;
  /** A certificate was presented on this connection. */
  readonly certificate: boolean;
  /** A certificate was presented in this connection's session. */
  readonly sessionCertificate: boolean;
  /** The certificate was presented and verified: `verify` is 0. */
  readonly verified: boolean;
  /** `TLSv1.3`. */
  readonly version?: string;
  readonly commonName?: string;
  readonly cipher?: string;
  readonly signatureAlgorithm?: string;
  readonly keyAlgorithm?: string;
}

export const NO_TLVS: Tlvs = {};

const ALPN = 0x01;
const AUTHORITY = 0x02;
const CRC32C = 0x03;
const UNIQUE_ID = 0x05;
const SSL = 0x20;
const SSL_VERSION = 0x21;
const SSL_CN = 0x22;
const SSL_CIPHER = 0x23;
const SSL_SIG_ALG = 0x24;
const SSL_KEY_ALG = 0x25;
const MIN_CUSTOM = 0xe0;
const MAX_CUSTOM = 0xef;

const CLIENT_SSL = 1;
const CLIENT_CERT_CONN = 2;
const CLIENT_CERT_SESS = 4;
const MAX_UNIQUE_ID = 128; // section 2.2.5

type Writable<T> = { -readonly [K in keyof T]: T[K] };

/** The TLVs from `at` to `end`, and where the value of a CRC32C lies (-1: none). A string says what is wrong. */
export function readTlvs(bytes: Uint8Array, at: number, end: number): { tlvs: Tlvs; crcAt: number } | string {
  if (at === end) return { tlvs: NO_TLVS, crcAt: -1 };
  const tlvs: Writable<Tlvs> = {};
  let custom: Map<number, Uint8Array> | null = null;
  let crcAt = -1;
  while (at < end) {
    if (at + 3 > end) return "TLVs that do not fill it exactly";
    const type = bytes[at]!;
    const from = at + 3;
    at = from + bytes[at + 1]! * 256 + bytes[at + 2]!;
    if (at > end) return "a TLV past its end";
    switch (type) {
      case ALPN:
        if (tlvs.alpn !== undefined) return "two ALPN TLVs";
        tlvs.alpn = latin1(bytes, from, at);
        break;
      case AUTHORITY:
        if (tlvs.authority !== undefined) return "two AUTHORITY TLVs";
        tlvs.authority = text(bytes, from, at);
        break;
      case CRC32C:
        if (crcAt >= 0) return "two CRC32C TLVs";
        if (at - from !== 4) return "a CRC32C that is not 4 bytes";
        crcAt = from;
        break;
      case UNIQUE_ID:
        if (tlvs.uniqueId !== undefined) return "two UNIQUE_ID TLVs";
        if (at - from > MAX_UNIQUE_ID) return "a UNIQUE_ID of more than 128 bytes";
        tlvs.uniqueId = new Uint8Array(bytes.subarray(from, at));
        break;
      case SSL: {
        if (tlvs.ssl !== undefined) return "two SSL TLVs";
        const ssl = readSsl(bytes, from, at);
        if (typeof ssl === "string") return ssl;
        tlvs.ssl = ssl;
        break;
      }
      default:
        // NETNS, NOOP, experiments and the future are none of our business.
        if (type >= MIN_CUSTOM && type <= MAX_CUSTOM) {
          custom ??= new Map();
          if (custom.has(type)) return `two TLVs of type 0x${type.toString(16)}`;
          custom.set(type, new Uint8Array(bytes.subarray(from, at)));
        }
    }
  }
  if (custom !== null) tlvs.custom = custom;
  return { tlvs, crcAt };
}

function readSsl(bytes: Uint8Array, from: number, end: number): SslFacts | string {
  if (end - from < 5) return "an SSL TLV of less than 5 bytes";
  const client = bytes[from]!;
  const ssl: Writable<SslFacts> = {
    tls: (client & CLIENT_SSL) !== 0,
    certificate: (client & CLIENT_CERT_CONN) !== 0,
    sessionCertificate: (client & CLIENT_CERT_SESS) !== 0,
    verified: bytes[from + 1]! + bytes[from + 2]! + bytes[from + 3]! + bytes[from + 4]! === 0,
  };
  // Without a certificate nothing was verified, whatever the field says (HAProxy leaves it 0 there).
  if (!ssl.certificate && !ssl.sessionCertificate) ssl.verified = false;
  for (let at = from + 5; at < end; ) {
    if (at + 3 > end) return "an SSL TLV that its parts do not fill exactly";
    const type = bytes[at]!;
    const value = at + 3;
    at = value + bytes[at + 1]! * 256 + bytes[at + 2]!;
    if (at > end) return "a part of the SSL TLV past its end";
    const key = SSL_TEXTS.get(type);
    if (key === undefined) continue;
    if (ssl[key] !== undefined) return "two parts of one type in the SSL TLV";
    ssl[key] = text(bytes, value, at);
  }
  return ssl;
}

type SslText = "version" | "commonName" | "cipher" | "signatureAlgorithm" | "keyAlgorithm";

const SSL_TEXTS: ReadonlyMap<number, SslText> = new Map([
  [SSL_VERSION, "version"],
  [SSL_CN, "commonName"],
  [SSL_CIPHER, "cipher"],
  [SSL_SIG_ALG, "signatureAlgorithm"],
  [SSL_KEY_ALG, "keyAlgorithm"],
]);

/** Writes TLVs, a CRC32C of zeros last. Throws ProxyError INTERNAL on a value that cannot be encoded. */
export function writeTlvs(tlvs: Tlvs): Buffer {
  const parts: Buffer[] = [];
  if (tlvs.alpn !== undefined) parts.push(tlv(ALPN, bytesOf("ALPN", tlvs.alpn, "latin1"), 1, 255));
  if (tlvs.authority !== undefined)
    parts.push(tlv(AUTHORITY, bytesOf("AUTHORITY", tlvs.authority, "utf8"), 1, 65535));
  if (tlvs.uniqueId !== undefined) parts.push(tlv(UNIQUE_ID, tlvs.uniqueId, 1, MAX_UNIQUE_ID));
  if (tlvs.ssl !== undefined) parts.push(tlv(SSL, writeSsl(tlvs.ssl), 5, 65535));
  for (const [type, value] of tlvs.custom ?? []) {
    if (type < MIN_CUSTOM || type > MAX_CUSTOM) throw unencodable(type, "is no custom type");
    parts.push(tlv(type, value, 0, 65535));
  }
  if (parts.length > 0) parts.push(tlv(CRC32C, new Uint8Array(4), 4, 4));
  return Buffer.concat(parts);
}

function writeSsl(ssl: SslFacts): Buffer {
  const client =
    (ssl.tls ? CLIENT_SSL : 0) |
    (ssl.certificate ? CLIENT_CERT_CONN : 0) |
    (ssl.sessionCertificate ? CLIENT_CERT_SESS : 0);
  if (ssl.verified && !ssl.certificate && !ssl.sessionCertificate)
    throw unencodable(SSL, "says that no certificate was verified");
  const parts: Buffer[] = [Buffer.of(client, 0, 0, 0, ssl.verified ? 0 : 1)];
  for (const [type, key] of SSL_TEXTS) {
    const value = ssl[key];
    if (value !== undefined) parts.push(tlv(type, bytesOf(key, value, "utf8"), 0, 65535));
  }
  return Buffer.concat(parts);
}

function tlv(type: number, value: Uint8Array, min: number, max: number): Buffer {
  if (value.length < min || value.length > max) throw unencodable(type, `has ${value.length} bytes`);
  return Buffer.concat([Buffer.of(type, value.length >> 8, value.length & 255), value]);
}

/** The bytes of a text; a text that would not come back as it went in is refused. */
function bytesOf(what: string, value: string, encoding: "utf8" | "latin1"): Buffer {
  const bytes = Buffer.from(value, encoding);
  if (bytes.toString(encoding) !== value)
    throw new ProxyError("INTERNAL", `PROXY header: the ${what} is not ${encoding}`);
  return bytes;
}

function unencodable(type: number, why: string): ProxyError {
  return new ProxyError("INTERNAL", `PROXY header: TLV 0x${type.toString(16).padStart(2, "0")} ${why}`);
}

function latin1(bytes: Uint8Array, from: number, end: number): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset + from, end - from).toString("latin1");
}

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

function text(bytes: Uint8Array, from: number, end: number): string {
  try {
    return utf8.decode(bytes.subarray(from, end));
  } catch {
    return latin1(bytes, from, end);
  }
}
