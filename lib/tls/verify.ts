/**
 * What OpenSSL's verdict on a chain means to the story: a code, the alert that the other side is told, and words for the
 * operator. Numbers and names are those of X509_STORE_CTX_get_error(3); the alerts are the ones OpenSSL itself would send.
 */
import { type Code, ProxyError } from "../errors.ts";
import type { Peer } from "../transport/transport.ts";
import { ALERT } from "../wire/alert.ts";
import { describePeer } from "./authorise.ts";

interface Verdict {
  readonly code: Code;
  readonly alert: number;
  readonly words: string;
}

const CONSTRAINED = "has a name that its issuer may not vouch for (name constraints)";
const UNTRUSTED = "is not vouched for by the trust bundle";

function verdict(code: Code, alert: number, words: string): Verdict {
  return { code, alert, words };
}

const VERDICTS: Readonly<Record<string, Verdict>> = {
  UNABLE_TO_GET_ISSUER_CERT: verdict("HANDSHAKE", ALERT.unknown_ca, UNTRUSTED),
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: verdict("HANDSHAKE", ALERT.unknown_ca, UNTRUSTED),
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: verdict("HANDSHAKE", ALERT.unknown_ca, UNTRUSTED),
  DEPTH_ZERO_SELF_SIGNED_CERT: verdict("HANDSHAKE", ALERT.unknown_ca, "vouches for itself only"),
  SELF_SIGNED_CERT_IN_CHAIN: verdict(
    "HANDSHAKE",
    ALERT.unknown_ca,
    "comes from an authority outside the trust bundle",
  ),
  CERT_CHAIN_TOO_LONG: verdict("HANDSHAKE", ALERT.unknown_ca, "has too long a chain"),
  INVALID_CA: verdict("HANDSHAKE", ALERT.unknown_ca, "was issued by a certificate that is no authority"),
  PATH_LENGTH_EXCEEDED: verdict(
    "HANDSHAKE",
    ALERT.unknown_ca,
    "has a chain longer than its authority allows",
  ),
  INVALID_PURPOSE: verdict(
    "HANDSHAKE",
    ALERT.unsupported_certificate,
    "has a certificate for another purpose (key usage or extended key usage)",
  ),
  UNHANDLED_CRITICAL_EXTENSION: verdict(
    "HANDSHAKE",
    ALERT.bad_certificate,
    "has a certificate with a critical extension that nobody here understands",
  ),
  PERMITTED_VIOLATION: verdict("HANDSHAKE", ALERT.bad_certificate, CONSTRAINED),
  EXCLUDED_VIOLATION: verdict("HANDSHAKE", ALERT.bad_certificate, CONSTRAINED),
  CA_MD_TOO_WEAK: verdict(
    "HANDSHAKE",
    ALERT.bad_certificate,
    "has a chain that is signed with too weak a digest",
  ),
  EE_KEY_TOO_SMALL: verdict("HANDSHAKE", ALERT.bad_certificate, "has too small a key"),
  CA_KEY_TOO_SMALL: verdict("HANDSHAKE", ALERT.bad_certificate, "has an issuer with too small a key"),
  CERT_SIGNATURE_FAILURE: verdict(
    "HANDSHAKE",
    ALERT.decrypt_error,
    "has a certificate with a false signature",
  ),
  CERT_HAS_EXPIRED: verdict(
    "EXPIRED",
    ALERT.certificate_expired,
    "has a certificate that has expired, or an issuer that has",
  ),
  CERT_NOT_YET_VALID: verdict(
    "EXPIRED",
    ALERT.bad_certificate,
    "has a certificate that is not valid yet; compare the clocks",
  ),
  CERT_REVOKED: verdict("REVOKED", ALERT.certificate_revoked, "has a certificate on the revocation list"),
  UNABLE_TO_GET_CRL: verdict(
    "HANDSHAKE",
    ALERT.unknown_ca,
    "cannot be checked: its issuer is not in the trust bundle or has no revocation list",
  ),
  CRL_HAS_EXPIRED: verdict(
    "HANDSHAKE",
    ALERT.certificate_expired,
    "cannot be checked: the revocation list has expired; renew it",
  ),
  CRL_NOT_YET_VALID: verdict(
    "HANDSHAKE",
    ALERT.bad_certificate,
    "cannot be checked: the revocation list is not valid yet",
  ),
  CRL_SIGNATURE_FAILURE: verdict(
    "HANDSHAKE",
    ALERT.decrypt_error,
    "cannot be checked: the revocation list has a false signature",
  ),
};

/** What is not in the table, as far as it matters: no verdict lets anybody in. */
const OTHER = verdict("HANDSHAKE", ALERT.bad_certificate, "has a certificate that does not verify");

/**
 * Names by OpenSSL's words, X509_verify_cert_error_string(3). Node calls most errors UNSPECIFIED and numbers differ between
 * versions of OpenSSL (INVALID_CA was 24 and is 79); the words tell.
 */
const NAMES: Readonly<Record<string, string>> = {
  "invalid CA certificate": "INVALID_CA",
  "unhandled critical extension": "UNHANDLED_CRITICAL_EXTENSION",
  "permitted subtree violation": "PERMITTED_VIOLATION",
  "excluded subtree violation": "EXCLUDED_VIOLATION",
  "CA signature digest algorithm too weak": "CA_MD_TOO_WEAK",
  "EE certificate key too weak": "EE_KEY_TOO_SMALL",
  "CA certificate key too weak": "CA_KEY_TOO_SMALL",
};

/**
 * The refusal of a peer whose chain did not verify. `name` is OpenSSL's error without `X509_V_ERR_`, where the transport knows it;
 * `detail` its own words.
 */
export function verifyFailure(label: string, peer: Peer, name: string, detail: string): ProxyError {
  const known = name in VERDICTS ? name : NAMES[detail];
  const { code, alert, words } = known === undefined ? OTHER : VERDICTS[known]!;
  const why = known === undefined ? detail : `${known}: ${detail}`;
  return new ProxyError(code, `${label}: ${describePeer(peer)} ${words} (${why})`, { alert });
}

/** The refusal of a peer that showed no certificate where one is required. */
export function missingCertificate(label: string, alert: number): ProxyError {
  return new ProxyError("DENIED", `${label}: the peer showed no certificate, and one is required`, {
    alert,
  });
}
