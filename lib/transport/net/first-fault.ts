/**
 * The first fault of a chain that did not verify. Where a chain has several, Node tells the last that OpenSSL found and the other
 * transport the first. So that both name a peer that is, say, expired and unknown alike, the order of X509_verify_cert(3) is walked
 * here once more, as far as Node shows certificates: the way to an anchor, who may be an authority, for which purpose, then from
 * the anchor down signatures and dates. It only ever words a refusal: nobody gets in by it.
 */
import type { X509Certificate } from "node:crypto";

/** OpenSSL's own words, X509_verify_cert_error_string(3). */
const WORDS = {
  UNABLE_TO_GET_ISSUER_CERT: "unable to get issuer certificate",
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: "unable to get local issuer certificate",
  DEPTH_ZERO_SELF_SIGNED_CERT: "self-signed certificate",
  SELF_SIGNED_CERT_IN_CHAIN: "self-signed certificate in certificate chain",
  INVALID_CA: "invalid CA certificate",
  INVALID_PURPOSE: "unsuitable certificate purpose",
  CERT_SIGNATURE_FAILURE: "certificate signature failure",
  CERT_NOT_YET_VALID: "certificate is not yet valid",
  CERT_HAS_EXPIRED: "certificate has expired",
} as const;

export interface Fault {
  /** OpenSSL's name without `X509_V_ERR_`. */
  readonly name: keyof typeof WORDS;
  readonly detail: string;
}

// Extended key usage, as X509Certificate.keyUsage lists it. Microsoft's and Netscape's older ways to say "server".
const CLIENT = ["1.3.6.1.5.5.7.3.2"];
const SERVER = ["1.3.6.1.5.5.7.3.1", "1.3.6.1.4.1.311.10.3.3", "2.16.840.1.113730.4.1"];

/** Node does not list an issuer that may not sign; OpenSSL finds it nevertheless, and says so last. */
const MAY_NOT_SIGN = "key usage does not include certificate signing";

/** OpenSSL's bound is 100; a chain that is longer has been refused for its bytes. */
const DEEPEST = 100;

/**
 * Null where it is one that Node does not show, and then `told`, OpenSSL's own words, are to be believed. `shown`: the leaf, and
 * what was sent with it; `side`: ours; `now`: Unix ms.
 */
export function firstFault(
  shown: readonly X509Certificate[],
  anchors: readonly X509Certificate[],
  side: "server" | "client",
  told: string,
  now: number,
): Fault | null {
  const [leaf, ...sent] = shown;
  if (leaf === undefined) return null;
  const chain = [leaf];
  const name =
    told === MAY_NOT_SIGN
      ? "INVALID_CA"
      : (climb(chain, sent, anchors) ?? misused(chain, side) ?? spent(chain, now));
  return name === null ? null : { name, detail: WORDS[name] };
}

/** Completes the chain up to an anchor that vouches for itself; what stops it is the fault. */
function climb(
  chain: X509Certificate[],
  sent: readonly X509Certificate[],
  anchors: readonly X509Certificate[],
): Fault["name"] | null {
  while (chain.length <= DEEPEST) {
    const top = chain.at(-1)!;
    const trusted = anchors.some((anchor) => anchor.raw.equals(top.raw));
    if (top.issuer === top.subject) {
      if (trusted) return null;
      return chain.length === 1 ? "DEPTH_ZERO_SELF_SIGNED_CERT" : "SELF_SIGNED_CERT_IN_CHAIN";
    }
    // What is trusted hangs from what is trusted.
    const above = issuerOf(top, anchors) ?? (trusted ? undefined : issuerOf(top, sent));
    if (above === undefined)
      return trusted ? "UNABLE_TO_GET_ISSUER_CERT" : "UNABLE_TO_GET_ISSUER_CERT_LOCALLY";
    chain.push(above);
  }
  return null;
}

/** By name and key identifiers. Signatures are looked at later, and so is whether it may sign, which `checkIssued` mixes in. */
function issuerOf(
  certificate: X509Certificate,
  candidates: readonly X509Certificate[],
): X509Certificate | undefined {
  return candidates.find(
    (candidate) =>
      candidate.subject === certificate.issuer && (certificate.checkIssued(candidate) || !candidate.ca),
  );
}

/** From the leaf up: somebody signed who is no authority, or a certificate is for other purposes. */
function misused(chain: readonly X509Certificate[], side: "server" | "client"): Fault["name"] | null {
  const wanted = side === "server" ? CLIENT : SERVER;
  for (const [depth, certificate] of chain.entries()) {
    // An anchor may be of version 1, which has no way to say that it is an authority.
    if (depth > 0 && depth < chain.length - 1 && !certificate.ca) return "INVALID_CA";
    const purposes = certificate.keyUsage as string[] | undefined;
    if (purposes !== undefined && !wanted.some((purpose) => purposes.includes(purpose)))
      return "INVALID_PURPOSE";
  }
  return null;
}

/** From the anchor down: a false signature, or a certificate outside its dates. */
function spent(chain: readonly X509Certificate[], now: number): Fault["name"] | null {
  for (let depth = chain.length - 1; depth >= 0; depth--) {
    const certificate = chain[depth]!;
    const issuer = chain[depth + 1];
    if (issuer !== undefined && !certificate.verify(issuer.publicKey)) return "CERT_SIGNATURE_FAILURE";
    if (now < Date.parse(certificate.validFrom)) return "CERT_NOT_YET_VALID";
    if (now > Date.parse(certificate.validTo)) return "CERT_HAS_EXPIRED";
  }
  return null;
}
