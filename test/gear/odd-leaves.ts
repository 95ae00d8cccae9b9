/** Odd leaves: their dates, keys, signatures, serials, versions, purposes and extensions. RFC 5280 sections 4.1 and 4.2. */
import { element, oid, sequence, text } from "./der.ts";
import {
  algorithm,
  below,
  constraints,
  extended,
  generalizedTime,
  type Key,
  type KeyKind,
  keyIdentifier,
  keyOf,
  keyUsage,
  mailName,
  purposes,
  type Root,
  type Shape,
  utcTime,
} from "./mint.ts";
import {
  asServer,
  BAD,
  BY_LEVEL,
  DAY,
  ED25519,
  EXPIRED,
  FORGED,
  leaf,
  NAMES,
  NOT_YET,
  NOW,
  type Odd,
  type OddOptions,
  OK,
  odd,
  P384,
  PSS,
  PURPOSE,
  ROOT,
  RSA,
  through,
  UNKNOWN,
  unknownExtension,
  type Verdict,
  WEAK,
} from "./odd-certificates.ts";

const generalized = (value: string): Buffer => text(0x18, value);
const utc = (value: string): Buffer => text(0x17, value);
const year = (new Date(NOW).getUTCFullYear() % 100) + 1;

/** All of them that have one fault at most. */
export function oddLeaves(): Odd[] {
  return [...dates(), ...keys(), ...serialsAndVersions(), ...uses(), ...extensions()];
}

function dates(): Odd[] {
  const dated = (what: string, shape: Shape, verdict: Verdict) => odd(what, leaf(ROOT, shape), verdict);
  return [
    dated("valid for the usual time", {}, OK),
    dated("expired yesterday", { from: utcTime(NOW - 2 * DAY), to: utcTime(NOW - DAY) }, EXPIRED),
    dated("expired just now", { to: utcTime(NOW - 2000) }, EXPIRED),
    dated("expires in ten minutes", { to: utcTime(NOW + 600_000) }, OK),
    dated("valid from tomorrow", { from: utcTime(NOW + DAY) }, NOT_YET),
    dated("ends before it begins", { from: utcTime(NOW + DAY), to: utcTime(NOW - DAY) }, NOT_YET),
    dated("GeneralizedTime before 2050", { to: generalizedTime(NOW + DAY) }, OK),
    dated("GeneralizedTime twice", { from: generalizedTime(NOW - DAY), to: generalizedTime(NOW + DAY) }, OK),
    dated("GeneralizedTime, expired", { to: generalizedTime(NOW - DAY / 2) }, EXPIRED),
    dated("without an end (99991231235959Z)", { to: generalized("99991231235959Z") }, OK),
    dated("since 1950 in UTCTime", { from: utc("500101000000Z") }, OK),
    dated("since 1900 in GeneralizedTime", { from: generalized("19000101000000Z") }, OK),
    dated("since the year 0", { from: generalized("00000101000000Z") }, OK),
    dated("until 1999 in UTCTime", { to: utc("991231235959Z") }, EXPIRED),
    dated("until 2049, the last of UTCTime", { to: utc("491231235959Z") }, OK),
    dated("UTCTime with an offset", { to: utc(`${year}0101000000+0100`) }, BAD),
    dated("UTCTime with a small z", { to: utc(`${year}0101000000z`) }, BAD),
    dated("UTCTime of four-digit years", { to: utc("20900101000000Z") }, BAD),
    dated("GeneralizedTime with a fraction", { to: generalized("20900101000000.5Z") }, BAD),
    dated("month 13", { to: generalized("20901301000000Z") }, BAD),
    dated("30 February", { to: generalized("20900230000000Z") }, BAD),
    dated("hour 24", { to: generalized("20900101240000Z") }, BAD),
    dated("a leap second", { to: generalized("20901231235960Z") }, BAD),
    dated("a blank for a digit", { to: generalized("2090010 000000Z") }, BAD),
    dated("an odd beginning", { from: generalized("20000230000000Z") }, BAD),
  ];
}

function keys(): Odd[] {
  const keyed = (kind: KeyKind, verdict: Verdict) => {
    const key: Key = keyOf(kind);
    return odd(`${kind} key`, leaf(ROOT, { key }), verdict, { key });
  };
  const signed = (what: string, signer: Root, shape: Shape, verdict: Verdict) =>
    odd(`signed with ${what}`, leaf(signer, shape), verdict);
  const sha1 = below(RSA, "mint SHA-1 middle", { digest: "sha1" });
  return [
    keyed("p384", OK),
    keyed("p521", OK),
    keyed("rsa", OK),
    keyed("rsa1024", BY_LEVEL),
    keyed("pss", OK),
    keyed("ed25519", OK),
    keyed("ed448", OK),
    signed("RSA and SHA-256", RSA, {}, OK),
    signed("RSA and SHA-384", RSA, { digest: "sha384" }, OK),
    signed("RSA and SHA-512", RSA, { digest: "sha512" }, OK),
    signed("RSA and SHA-1", RSA, { digest: "sha1" }, BAD),
    signed("RSA-PSS", PSS, {}, OK),
    signed("P-384 and SHA-384", P384, { digest: "sha384" }, OK),
    signed("P-256 and SHA-512", ROOT, { digest: "sha512" }, OK),
    signed("P-256 and SHA-1", ROOT, { digest: "sha1" }, BAD),
    signed("Ed25519", ED25519, {}, OK),
    signed("a root that is signed with SHA-1", WEAK, {}, OK),
    odd("an authority of 1024 bits", through("weak middle", { key: keyOf("rsa1024", "weak") }), BY_LEVEL),
    odd("an authority signed with SHA-1", [leaf(sha1), sha1.der], BAD),
    odd("forged", leaf(ROOT, { forged: true }), FORGED),
    odd("another algorithm inside", leaf(ROOT, { inner: algorithm("p256", "sha384") }), FORGED),
    odd("a forged authority", through("forged middle", { forged: true }), FORGED),
  ];
}

// issuerUniqueID and subjectUniqueID: implicit tags over BIT STRINGs.
const IDENTIFIERS = Buffer.concat([element(0x81, Buffer.from([0, 1])), element(0x82, Buffer.from([0, 2]))]);

function serialsAndVersions(): Odd[] {
  const shaped = (what: string, shape: Shape) => odd(what, leaf(ROOT, shape), OK);
  const serial = (what: string, bytes: readonly number[]) =>
    shaped(`serial ${what}`, { serial: Buffer.from(bytes) });
  return [
    serial("0", [0]),
    serial("-1", [255]),
    serial("-32768", [128, 0]),
    serial("of 20 bytes", Array(20).fill(0x7f)),
    serial("of 21 bytes", [0, ...Array(20).fill(0xff)]),
    serial("of 200 bytes", Array(200).fill(1)),
    shaped("version 1 without extensions", { version: null, extensions: null }),
    shaped("version 1 with extensions", { version: null }),
    shaped("version 1, written out", { version: 0, extensions: null }),
    shaped("version 2 with unique identifiers", { version: 1, extensions: null, more: IDENTIFIERS }),
    shaped("version 3 with unique identifiers", { more: IDENTIFIERS }),
    shaped("version 4", { version: 3 }),
    shaped("version 3 without extensions", { extensions: null }),
    shaped("version 3 with an empty list of extensions", { extensions: [] }),
  ];
}

function uses(): Odd[] {
  const beside = (what: string, list: readonly Uint8Array[], client: Verdict, server?: Verdict) =>
    odd(what, leaf(ROOT, { beside: list }), client, server === undefined ? {} : { server });
  const bits = (...bytes: number[]) => extended("2.5.29.15", element(0x03, Buffer.from(bytes)), true);
  const netscape = (mask: number) => extended("2.16.840.1.113730.1.1", element(0x03, Buffer.from([0, mask])));
  const one = (purpose: string) => extended("2.5.29.37", sequence(oid(purpose)));
  const negative = sequence(element(1, Buffer.from([255])), element(2, Buffer.from([255])));
  const notServer = asServer(PURPOSE);
  return [
    beside("purpose: server", [purposes(["server"])], PURPOSE, OK),
    beside("purpose: client", [purposes(["client"])], OK, notServer),
    beside("purpose: both", [purposes(["client", "server"])], OK),
    beside("purpose: server, critical", [purposes(["server"], true)], PURPOSE, OK),
    beside("purpose: client, critical", [purposes(["client"], true)], OK, notServer),
    beside("purpose: any", [purposes(["any"])], PURPOSE),
    beside("purpose: any and client", [purposes(["any", "client"])], OK, notServer),
    beside("purpose: mail", [purposes(["email"])], PURPOSE),
    beside("purpose: code and mail, critical", [purposes(["code", "email"], true)], PURPOSE),
    beside("purpose: an empty list", [purposes([])], PURPOSE),
    beside("purpose: unknown", [one("1.3.6.1.4.1.99999.1")], PURPOSE),
    beside("purpose: Microsoft's server", [one("1.3.6.1.4.1.311.10.3.3")], PURPOSE, OK),
    beside("purpose: two lists", [purposes(["client"]), purposes(["server"])], UNKNOWN),
    beside("purpose: no list at all", [extended("2.5.29.37", text(0x0c, "client"))], UNKNOWN),
    beside("usage: signature", [keyUsage("digitalSignature")], OK),
    beside("usage: key agreement", [keyUsage("keyAgreement")], OK),
    beside("usage: encipherment", [keyUsage("keyEncipherment")], PURPOSE, OK),
    beside("usage: certificates", [keyUsage("keyCertSign")], PURPOSE),
    beside("usage: revocation lists", [keyUsage("cRLSign")], PURPOSE),
    beside("usage: nothing", [bits(7, 0)], UNKNOWN),
    beside("usage: an empty string", [bits(0)], UNKNOWN),
    beside("usage: decipher only", [bits(7, 0, 128)], PURPOSE),
    beside("usage: no bits at all", [extended("2.5.29.15", text(0x0c, "sign"), true)], UNKNOWN),
    beside("Netscape type: client", [netscape(0x80)], OK, notServer),
    beside("Netscape type: server", [netscape(0x40)], PURPOSE, OK),
    beside("an authority as leaf", [constraints(true)], OK),
    beside("an authority as leaf, for certificates", [constraints(true), keyUsage("keyCertSign")], PURPOSE),
    beside("no authority, said so", [constraints(false)], OK),
    beside("no authority, with a path length", [constraints(false, 0)], OK),
    beside("two basic constraints", [constraints(false), constraints(true)], UNKNOWN),
    beside("basic constraints of another shape", [extended("2.5.29.19", text(0x0c, "no"), true)], UNKNOWN),
    beside("a negative path length", [extended("2.5.29.19", negative, true)], UNKNOWN),
  ];
}

function extensions(): Odd[] {
  const beside = (what: string, list: readonly Uint8Array[], verdict: Verdict) =>
    odd(what, leaf(ROOT, { beside: list }), verdict);
  const far = `1.3.6.1.4.1.${Array.from({ length: 60 }, (_, arc) => arc + 1).join(".")}`;
  const falseFlag = sequence(
    oid("1.3.6.1.4.1.99999.8"),
    element(1, Buffer.from([0])),
    element(4, sequence()),
  );
  const policy = (...oids: string[]) => sequence(...oids.map((one) => sequence(oid(one))));
  const staple = sequence(element(2, Buffer.from([5])));
  const issuer = sequence(element(0xa1, element(0xa4, ROOT.name)), element(0x82, Buffer.from([77])));
  const byKey = (byte: number) => extended("2.5.29.35", sequence(element(0x80, Buffer.alloc(20, byte))));
  return [
    beside("unknown extension", [unknownExtension(false)], OK),
    beside("unknown critical extension", [unknownExtension(true)], BAD),
    beside("unknown extension twice", [unknownExtension(false), unknownExtension(false)], OK),
    beside("FALSE written out", [falseFlag], OK),
    beside("an identifier of sixty arcs", [extended(far, sequence())], OK),
    beside("an identifier with an arc of 128 bits", [extended(`2.25.${2n ** 127n}`, sequence())], OK),
    beside("20 KiB of extension", [unknownExtension(false, text(0x0c, "x".repeat(20_000)))], OK),
    beside("60 KiB of extension", [unknownExtension(false, text(0x0c, "x".repeat(60_000)))], OK),
    beside("names twice", [NAMES], UNKNOWN),
    beside("critical policies", [extended("2.5.29.32", policy("1.3.6.1.4.1.99999.2"), true)], OK),
    beside("a policy twice", [extended("2.5.29.32", policy("2.5.29.32.0", "2.5.29.32.0"))], OK),
    beside("a policy required", [extended("2.5.29.36", sequence(element(0x80, Buffer.from([0]))), true)], OK),
    beside("any policy inhibited", [extended("2.5.29.54", element(2, Buffer.from([0])), true)], OK),
    beside("status must be stapled", [extended("1.3.6.1.5.5.7.1.24", staple)], OK),
    beside("status must be stapled, critical", [extended("1.3.6.1.5.5.7.1.24", staple, true)], BAD),
    beside(
      "a proxy certificate",
      [extended("1.3.6.1.5.5.7.1.14", sequence(policy("1.3.6.1.5.5.7.21.1")), true)],
      UNKNOWN,
    ),
    beside("a pre-certificate", [extended("1.3.6.1.4.1.11129.2.4.3", Buffer.from([5, 0]), true)], BAD),
    beside("the issuer's key identifier", [byKey(7)], OK),
    beside("another key identifier of the issuer", [byKey(8)], UNKNOWN),
    beside("another serial of the issuer", [extended("2.5.29.35", issuer)], UNKNOWN),
    beside("a key identifier of its own", [keyIdentifier(2)], OK),
    beside("a key identifier of another shape", [extended("2.5.29.14", text(0x0c, "key"))], UNKNOWN),
    beside("names of the issuer", [extended("2.5.29.18", sequence(mailName("ca@example.test")))], OK),
    beside("a distribution point without a place", [extended("2.5.29.31", sequence(sequence()))], UNKNOWN),
  ];
}

/**
 * Of several faults OpenSSL finds the first on `epoll`; Node tells the last, and what it does not show of a certificate cannot be
 * put in front of it. Refused is refused; the words may differ.
 */
export function severalFaults(): Odd[] {
  const past = { from: utcTime(NOW - 2 * DAY), to: utcTime(NOW - DAY) };
  const beside = (what: string, list: readonly Uint8Array[], client: Verdict, options: OddOptions = {}) =>
    odd(`expired, and ${what}`, leaf(ROOT, { ...past, beside: list }), client, options);
  const seen = { net: EXPIRED };
  return [
    beside("for mail", [purposes(["email"])], PURPOSE),
    beside("an unknown critical extension", [unknownExtension(true)], BAD, seen),
    beside("for certificates only", [keyUsage("keyCertSign")], PURPOSE, seen),
    odd("expired, and signed with SHA-1", leaf(RSA, { ...past, digest: "sha1" }), BAD, seen),
    odd("expired, and forged", leaf(ROOT, { ...past, forged: true }), FORGED),
    odd("expired, below no authority", through("no authority", { extensions: [] }, past), UNKNOWN),
    odd("expired, below an expired authority", through("expired", past, past), EXPIRED),
    odd("not yet valid, below an expired one", through("old", past, { from: utcTime(NOW + DAY) }), EXPIRED),
  ];
}
