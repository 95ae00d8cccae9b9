/**
 * Certificates by the dozen, right, wrong and odd, each with its verdict as a client's and as a server's. All are signed truly unless
 * they say otherwise. Here is what they share: who vouches for them, and how a verdict is written. The lists are in odd-leaves.ts,
 * odd-chains.ts and odd-names.ts.
 */
import { sequence } from "./der.ts";
import {
  alternatives,
  attribute,
  below,
  constraints,
  dnsName,
  extended,
  type Key,
  keyIdentifier,
  keyOf,
  keyUsage,
  mint,
  root,
  type Shape,
  type Signer,
  uriName,
  utcTime,
} from "./mint.ts";

/** The reason, and behind a blank the alert that the other side is told in TLS 1.3. */
export type Verdict = string;

export const OK = "ok";
export const EXPIRED = "expired 45";
export const NOT_YET = "expired 42";
/** Another purpose than ours. */
export const PURPOSE = "handshake_failed 43";
/** No way to an anchor. */
export const UNKNOWN = "handshake_failed 48";
export const FORGED = "handshake_failed 51";
export const BAD = "handshake_failed 42";
/** Decided by the security level, which differs between versions of OpenSSL; the transports agree all the same. */
export const BY_LEVEL = "";

export interface Odd {
  readonly what: string;
  /** What is sent: the leaf first. */
  readonly chain: readonly Buffer[];
  readonly key: Key;
  readonly client: Verdict;
  readonly server: Verdict;
  /** What `net` says instead as to a client, where Node does not show what `epoll` sees first. */
  readonly net?: Verdict;
}

export const DAY = 86_400_000;
export const NOW = Date.now();

const SIGNER = [constraints(true), keyUsage("keyCertSign", "cRLSign")];

export const ROOT = root("mint root", "p256", { extensions: [...SIGNER, keyIdentifier(7)] });
export const RSA = root("mint RSA root", "rsa");
export const PSS = root("mint PSS root", "pss");
export const P384 = root("mint P-384 root", "p384", { digest: "sha384" });
export const ED25519 = root("mint Ed25519 root", "ed25519");
/** Allows no authority below. */
export const SHORT = root("mint short root", "p256", { extensions: [constraints(true, 0)] });
export const OLD = root("mint old root", "p256", { from: utcTime(NOW - 3 * DAY), to: utcTime(NOW - DAY) });
export const FIRST = root("mint v1 root", "p256", { version: null, extensions: null });
export const WEAK = root("mint SHA-1 root", "rsa", { digest: "sha1" });
/** Trusted by nobody. */
export const STRANGE = root("strange mint root");
/** Signed by STRANGE, and in the bundle without it. */
export const ORPHAN = below(STRANGE, "mint orphan");

/** What the proxy under test trusts. */
export const BUNDLE: readonly Buffer[] = [
  ...[ROOT, RSA, PSS, P384, ED25519, SHORT, OLD, FIRST, WEAK, ORPHAN].map(({ der }) => der),
];

/** The peer that all of them name, but for those of odd-names.ts. */
export const SUBJECT = Buffer.concat([attribute("ou", "ops"), attribute("cn", "alice")]);
export const NAMES = alternatives([
  dnsName("web.example.test"),
  uriName("spiffe://example.test/ns/prod/alice"),
]);

/** A leaf that is right but for its shape; `beside`: extensions beside its names. */
export function leaf(
  signer: Signer,
  shape: Shape & { readonly beside?: readonly Uint8Array[] } = {},
): Buffer {
  const { beside = [], ...rest } = shape;
  return mint(signer, { subject: SUBJECT, extensions: [NAMES, ...beside], ...rest });
}

/** A leaf with the authority of this shape between it and ROOT. */
export function through(what: string, authority: Shape, shape: Shape = {}): Buffer[] {
  const middle = below(ROOT, `mint ${what}`, authority);
  return [leaf(middle, shape), middle.der];
}

export interface OddOptions {
  /** Where it is not the same fault as a client's. */
  readonly server?: Verdict;
  readonly key?: Key;
  readonly net?: Verdict;
}

export function odd(
  what: string,
  chain: Buffer | readonly Buffer[],
  client: Verdict,
  options: OddOptions = {},
): Odd {
  const { server = asServer(client), key = keyOf("p256") } = options;
  const sent = Buffer.isBuffer(chain) ? [chain] : chain;
  return {
    what,
    chain: sent,
    key,
    client,
    server,
    ...(options.net === undefined ? {} : { net: options.net }),
  };
}

/** The same fault of a server: `errors.ts` has two reasons for them. */
export function asServer(verdict: Verdict): Verdict {
  if (verdict === OK || verdict === BY_LEVEL) return verdict;
  return verdict
    .replace(/^(?:expired|denied|revoked)/, "upstream_denied")
    .replace(/^handshake/, "upstream_handshake");
}

/** An extension that nobody knows. */
export function unknownExtension(critical: boolean, value: Uint8Array = sequence()): Buffer {
  return extended("1.3.6.1.4.1.99999.7", value, critical);
}
