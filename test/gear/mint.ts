/**
 * Certificates of any shape, right or wrong, with true signatures. What the development CA of lib/tls would never issue is built
 * here byte by byte and shares no code with what reads it. RFC 5280 section 4, RFC 4055 and RFC 5758 (algorithms).
 */
import { constants, generateKeyPairSync, type KeyObject, sign } from "node:crypto";
import { pemText } from "../../lib/tls/pem.ts";
import { element, oid, sequence, text } from "./der.ts";

export type KeyKind = "p256" | "p384" | "p521" | "rsa" | "rsa1024" | "pss" | "ed25519" | "ed448";

export interface Key {
  readonly kind: KeyKind;
  readonly private: KeyObject;
  /** PKCS #8. */
  readonly pem: string;
  readonly spki: Buffer;
}

const keys = new Map<string, Key>();

/** A key of this kind; the same one for the same name, so that a thousand certificates cost a handful of keys. */
export function keyOf(kind: KeyKind, name = ""): Key {
  const id = `${kind} ${name}`;
  const known = keys.get(id);
  if (known !== undefined) return known;
  const { privateKey, publicKey } = generate(kind);
  const key: Key = {
    kind,
    private: privateKey,
    pem: privateKey.export({ type: "pkcs8", format: "pem" }).toString(),
    spki: publicKey.export({ type: "spki", format: "der" }),
  };
  keys.set(id, key);
  return key;
}

function generate(kind: KeyKind): { privateKey: KeyObject; publicKey: KeyObject } {
  switch (kind) {
    case "rsa":
    case "rsa1024":
      return generateKeyPairSync("rsa", { modulusLength: kind === "rsa" ? 2048 : 1024 });
    case "pss": {
      // The types of Node 20 have an older name for one of them.
      const options = {
        modulusLength: 2048,
        hashAlgorithm: "sha256",
        mgf1HashAlgorithm: "sha256",
        saltLength: 32,
      };
      return generateKeyPairSync("rsa-pss", options as object as { modulusLength: number });
    }
    case "ed25519":
      return generateKeyPairSync("ed25519");
    case "ed448":
      return generateKeyPairSync("ed448");
    default:
      return generateKeyPairSync("ec", {
        namedCurve: { p256: "prime256v1", p384: "secp384r1", p521: "secp521r1" }[kind],
      });
  }
}

export type Digest = "sha1" | "sha256" | "sha384" | "sha512";

const NULL = Buffer.from([5, 0]);
const RSA_OIDS: Readonly<Record<Digest, string>> = {
  sha1: "1.2.840.113549.1.1.5",
  sha256: "1.2.840.113549.1.1.11",
  sha384: "1.2.840.113549.1.1.12",
  sha512: "1.2.840.113549.1.1.13",
};
const ECDSA_OIDS: Readonly<Record<Digest, string>> = {
  sha1: "1.2.840.10045.4.1",
  sha256: "1.2.840.10045.4.3.2",
  sha384: "1.2.840.10045.4.3.3",
  sha512: "1.2.840.10045.4.3.4",
};

/** AlgorithmIdentifier of a signature. */
export function algorithm(kind: KeyKind, digest: Digest): Buffer {
  switch (kind) {
    case "ed25519":
      return sequence(oid("1.3.101.112"));
    case "ed448":
      return sequence(oid("1.3.101.113"));
    case "rsa":
    case "rsa1024":
      return sequence(oid(RSA_OIDS[digest]), NULL);
    case "pss": {
      const sha256 = sequence(oid("2.16.840.1.101.3.4.2.1"), NULL);
      const mgf1 = sequence(oid("1.2.840.113549.1.1.8"), sha256);
      return sequence(
        oid("1.2.840.113549.1.1.10"),
        sequence(element(0xa0, sha256), element(0xa1, mgf1), element(0xa2, integer(32))),
      );
    }
    default:
      return sequence(oid(ECDSA_OIDS[digest]));
  }
}

function signature(key: Key, digest: Digest, bytes: Buffer): Buffer {
  if (key.kind === "ed25519" || key.kind === "ed448") return sign(null, bytes, key.private);
  if (key.kind !== "pss") return sign(digest, bytes, key.private);
  const padding = constants.RSA_PKCS1_PSS_PADDING;
  return sign(digest, bytes, { key: key.private, padding, saltLength: 32 });
}

/** Who signs: a name and a key. */
export interface Signer {
  /** The whole Name, as it stands in certificates. */
  readonly name: Buffer;
  readonly key: Key;
}

export interface Shape {
  /** Relative distinguished names, joined. */
  readonly subject?: Uint8Array;
  /** `null`: no extensions field at all. */
  readonly extensions?: readonly Uint8Array[] | null;
  /** Content of the INTEGER. */
  readonly serial?: Uint8Array;
  /** As encoded: 2 is v3; `null` leaves it out, which means v1. */
  readonly version?: number | null;
  /** Time elements. */
  readonly from?: Uint8Array;
  readonly to?: Uint8Array;
  readonly key?: Key;
  readonly digest?: Digest;
  /** The algorithm inside the signed part, where it is to differ from the one outside. */
  readonly inner?: Buffer;
  /** Fields between the public key and the extensions: unique identifiers. */
  readonly more?: Uint8Array;
  /** Spoils the signature. */
  readonly forged?: boolean;
}

const DAY = 86_400_000;
let serial = 0x1000;

/** A certificate in DER; v3, valid from yesterday for a month, unless the shape says otherwise. */
export function mint(signer: Signer, shape: Shape): Buffer {
  const { digest = "sha256", version = 2, extensions = [], key = keyOf("p256") } = shape;
  const outer = algorithm(signer.key.kind, digest);
  const fields = [
    ...(version === null ? [] : [element(0xa0, integer(version))]),
    element(0x02, shape.serial ?? Buffer.from([++serial >> 8, serial & 255])),
    shape.inner ?? outer,
    signer.name,
    sequence(shape.from ?? utcTime(Date.now() - DAY), shape.to ?? utcTime(Date.now() + 30 * DAY)),
    sequence(shape.subject ?? Buffer.alloc(0)),
    key.spki,
    shape.more ?? Buffer.alloc(0),
    ...(extensions === null ? [] : [element(0xa3, sequence(...extensions))]),
  ];
  const signed = sequence(...fields);
  const seal = signature(signer.key, digest, signed);
  if (shape.forged === true) seal[seal.length - 1]! ^= 1;
  return sequence(signed, outer, element(0x03, Buffer.from([0]), seal));
}

function integer(value: number): Buffer {
  return element(0x02, integerOf(value));
}

/** The content of an INTEGER below 2^15. */
export function integerOf(value: number): Buffer {
  return Buffer.from(value < 128 ? [value] : [value >> 8, value & 255]);
}

/** A UTCTime of these Unix ms. */
export function utcTime(ms: number): Buffer {
  return text(0x17, stamp(ms).slice(2));
}

/** A GeneralizedTime of these Unix ms. */
export function generalizedTime(ms: number): Buffer {
  return text(0x18, stamp(ms));
}

function stamp(ms: number): string {
  return `${new Date(ms).toISOString().slice(0, 19).replaceAll(/[-:T]/g, "")}Z`;
}

/** An extension; the value is DER already. */
export function extended(dotted: string, value: Uint8Array, critical = false): Buffer {
  const flag = critical ? [element(0x01, Buffer.from([255]))] : [];
  return sequence(oid(dotted), ...flag, element(0x04, value));
}

/** basicConstraints. */
export function constraints(authority: boolean, pathLength: number | null = null): Buffer {
  const parts = authority ? [element(0x01, Buffer.from([255]))] : [];
  if (pathLength !== null) parts.push(integer(pathLength));
  return extended("2.5.29.19", sequence(...parts), true);
}

/** subjectKeyIdentifier of twenty such bytes. */
export function keyIdentifier(byte: number): Buffer {
  return extended("2.5.29.14", element(0x04, Buffer.alloc(20, byte)));
}

/** Bits of keyUsage by number, RFC 5280 section 4.2.1.3. */
const USAGE = {
  digitalSignature: 0,
  keyEncipherment: 2,
  keyAgreement: 4,
  keyCertSign: 5,
  cRLSign: 6,
} as const;

export function keyUsage(...names: readonly (keyof typeof USAGE)[]): Buffer {
  let bits = 0;
  for (const name of names) bits |= 0x80 >> USAGE[name];
  let unused = 0;
  while (unused < 7 && ((bits >> unused) & 1) === 0) unused++;
  return extended("2.5.29.15", element(0x03, Buffer.from([unused, bits])), true);
}

const PURPOSES = {
  server: "1.3.6.1.5.5.7.3.1",
  client: "1.3.6.1.5.5.7.3.2",
  email: "1.3.6.1.5.5.7.3.4",
  code: "1.3.6.1.5.5.7.3.3",
  any: "2.5.29.37.0",
} as const;

export function purposes(names: readonly (keyof typeof PURPOSES)[], critical = false): Buffer {
  return extended("2.5.29.37", sequence(...names.map((name) => oid(PURPOSES[name]))), critical);
}

/** subjectAltName of GeneralNames. */
export function alternatives(names: readonly Uint8Array[], critical = false): Buffer {
  return extended("2.5.29.17", sequence(...names), critical);
}

export const dnsName = (value: string): Buffer => text(0x82, value);
export const uriName = (value: string): Buffer => text(0x86, value);
export const mailName = (value: string): Buffer => text(0x81, value);
export const ipName = (...bytes: readonly number[]): Buffer => element(0x87, Buffer.from(bytes));

const ATTRIBUTES = { cn: "2.5.4.3", ou: "2.5.4.11", o: "2.5.4.10", c: "2.5.4.6" } as const;

/** One relative distinguished name. Tag 12 is UTF8String. */
export function attribute(kind: keyof typeof ATTRIBUTES, value: string, tag = 12): Buffer {
  return element(0x31, sequence(oid(ATTRIBUTES[kind]), text(tag, value)));
}

/** A self-signed root: signer and certificate. */
export interface Root extends Signer {
  readonly der: Buffer;
}

export function root(commonName: string, kind: KeyKind = "p256", shape: Shape = {}): Root {
  const key = keyOf(kind, commonName);
  const subject = attribute("cn", commonName);
  const signer = { name: sequence(subject), key };
  const extensions = [constraints(true), keyUsage("keyCertSign", "cRLSign")];
  return { ...signer, der: mint(signer, { subject, key, extensions, ...shape }) };
}

/** An authority below another one; its certificate is to be sent along. */
export function below(signer: Signer, commonName: string, shape: Shape = {}): Root {
  const key = shape.key ?? keyOf("p256", commonName);
  const subject = attribute("cn", commonName);
  const extensions = [constraints(true), keyUsage("keyCertSign", "cRLSign")];
  return { name: sequence(subject), key, der: mint(signer, { subject, key, extensions, ...shape }) };
}

export interface ListShape {
  /** Serial numbers, contents of their INTEGERs. */
  readonly revoked?: readonly Uint8Array[];
  readonly from?: Uint8Array;
  /** `null`: it does not say when the next one comes. */
  readonly next?: Uint8Array | null;
  readonly extensions?: readonly Uint8Array[];
  readonly forged?: boolean;
}

/** A revocation list in DER, version 2; since yesterday and for a month unless the shape says otherwise. RFC 5280 section 5. */
export function list(signer: Signer, shape: ListShape = {}): Buffer {
  const { revoked = [], extensions = [], next = utcTime(Date.now() + 30 * DAY) } = shape;
  const from = shape.from ?? utcTime(Date.now() - DAY);
  const entries = revoked.map((one) => sequence(element(0x02, one), from));
  const outer = algorithm(signer.key.kind, "sha256");
  const signed = sequence(
    integer(1),
    outer,
    signer.name,
    from,
    next ?? Buffer.alloc(0),
    entries.length === 0 ? Buffer.alloc(0) : sequence(...entries),
    extensions.length === 0 ? Buffer.alloc(0) : element(0xa0, sequence(...extensions)),
  );
  const seal = signature(signer.key, "sha256", signed);
  if (shape.forged === true) seal[seal.length - 1]! ^= 1;
  return sequence(signed, outer, element(0x03, Buffer.from([0]), seal));
}

/** As PEM, one block each. */
export function pem(...certificates: readonly Uint8Array[]): string {
  return certificates.map((der) => pemText("CERTIFICATE", new Uint8Array(der).buffer)).join("");
}

/** The same for revocation lists. */
export function listPem(...lists: readonly Uint8Array[]): string {
  return lists.map((der) => pemText("X509 CRL", new Uint8Array(der).buffer)).join("");
}
