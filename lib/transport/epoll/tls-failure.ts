/**
 * Why TLS failed: from OpenSSL's error queue and verification results to a ProxyError with the alert that was sent or
 * received. RFC 8446 section 6, SSL_get_error(3), X509_STORE_CTX_get_error(3).
 * Invariant: reading the queue empties it. libssl does not tell which alert it sent; for chains the one we choose is forced on
 * it, for the rest a table mirrors it.
 */
import { ProxyError } from "../../errors.ts";
import { errnoName } from "../../ffi/errno.ts";
import type { Openssl } from "../../ffi/openssl.ts";
import { ERR_LIB_SSL, libraryOf, reasonOf, SSL_R } from "../../ffi/openssl-errors.ts";
import { TLS1_3_VERSION } from "../../ffi/openssl-ssl.ts";
import { missingCertificate, verifyFailure } from "../../tls/verify.ts";
import { ALERT, alertName } from "../../wire/alert.ts";
import type { Peer } from "../transport.ts";

/** Names of verification results that tls/verify.ts has words for; openssl/x509_vfy.h. */
const RESULTS: Readonly<Record<number, string>> = {
  2: "UNABLE_TO_GET_ISSUER_CERT",
  3: "UNABLE_TO_GET_CRL",
  7: "CERT_SIGNATURE_FAILURE",
  8: "CRL_SIGNATURE_FAILURE",
  9: "CERT_NOT_YET_VALID",
  10: "CERT_HAS_EXPIRED",
  11: "CRL_NOT_YET_VALID",
  12: "CRL_HAS_EXPIRED",
  18: "DEPTH_ZERO_SELF_SIGNED_CERT",
  19: "SELF_SIGNED_CERT_IN_CHAIN",
  20: "UNABLE_TO_GET_ISSUER_CERT_LOCALLY",
  21: "UNABLE_TO_VERIFY_LEAF_SIGNATURE",
  22: "CERT_CHAIN_TOO_LONG",
  23: "CERT_REVOKED",
  79: "INVALID_CA",
  25: "PATH_LENGTH_EXCEEDED",
  26: "INVALID_PURPOSE",
};

/** For each alert a verification result that libssl answers with it; ssl_x509err2alert in ssl/statem/statem_lib.c. */
const RESULT_OF_ALERT: Readonly<Record<number, number>> = {
  [ALERT.bad_certificate]: 28, // CERT_REJECTED
  [ALERT.unsupported_certificate]: 26, // INVALID_PURPOSE
  [ALERT.certificate_revoked]: 23, // CERT_REVOKED
  [ALERT.certificate_expired]: 10, // CERT_HAS_EXPIRED
  [ALERT.unknown_ca]: 20, // UNABLE_TO_GET_ISSUER_CERT_LOCALLY
  [ALERT.decrypt_error]: 7, // CERT_SIGNATURE_FAILURE
  [ALERT.handshake_failure]: 50, // APPLICATION_VERIFICATION
  [ALERT.internal_error]: 1, // UNSPECIFIED
};

/** PERMITTED_VIOLATION: not in libssl's table, and what is not in it is answered with certificate_unknown. */
const RESULT_OF_UNKNOWN = 47;

/** What libssl sends for its reasons, where operators meet them; ssl/statem in its source. */
const ALERT_OF_REASON: Readonly<Record<number, number>> = {
  [SSL_R.UNEXPECTED_MESSAGE]: ALERT.unexpected_message,
  [SSL_R.DECRYPTION_FAILED_OR_BAD_RECORD_MAC]: ALERT.bad_record_mac,
  [SSL_R.LENGTH_MISMATCH]: ALERT.decode_error,
  [SSL_R.BAD_SIGNATURE]: ALERT.decrypt_error,
  [SSL_R.NO_SHARED_CIPHER]: ALERT.handshake_failure,
  [SSL_R.NO_SHARED_GROUPS]: ALERT.handshake_failure,
  [SSL_R.NO_SUITABLE_KEY_SHARE]: ALERT.handshake_failure,
  [SSL_R.NO_SUITABLE_SIGNATURE_ALGORITHM]: ALERT.handshake_failure,
  [SSL_R.NO_SHARED_SIGNATURE_ALGORITHMS]: ALERT.handshake_failure,
  [SSL_R.UNSUPPORTED_PROTOCOL]: ALERT.protocol_version,
  [SSL_R.VERSION_TOO_LOW]: ALERT.protocol_version,
  [SSL_R.WRONG_SSL_VERSION]: ALERT.protocol_version,
  [SSL_R.WRONG_VERSION_NUMBER]: ALERT.protocol_version,
  [SSL_R.INAPPROPRIATE_FALLBACK]: ALERT.inappropriate_fallback,
  [SSL_R.NO_APPLICATION_PROTOCOL]: ALERT.no_application_protocol,
};

/** The refusal of a chain with this X509_STORE_CTX_get_error(3). Its `alert` is to be forced with `resultFor`. */
export function chainFailure(lib: Openssl, label: string, peer: Peer, result: number): ProxyError {
  const detail = lib.X509_verify_cert_error_string(result);
  return verifyFailure(label, peer, RESULTS[result] ?? `error ${result}`, detail);
}

/** What to tell X509_STORE_CTX_set_error(3) so that libssl sends this alert. */
export function resultFor(alert: number | undefined): number {
  return (alert === undefined ? undefined : RESULT_OF_ALERT[alert]) ?? RESULT_OF_UNKNOWN;
}

// Behind the alerts' reasons come those that all libraries share (ERR_R_ASN1_LIB and so on, err.h).
const ALERTS = 256;

/** What a failed call left in the queue, which is emptied. `doing`: `TLS handshake`. `version`: SSL_version(3). */
export function queueFailure(lib: Openssl, label: string, doing: string, version: number): ProxyError {
  let words: string | null = null;
  let sent: number | undefined;
  let received: number | undefined;
  let missing = false;
  for (let code = lib.ERR_get_error(); code !== 0; code = lib.ERR_get_error()) {
    const reason = libraryOf(code) === ERR_LIB_SSL ? reasonOf(code) : 0;
    if (reason >= SSL_R.ALERT && reason < SSL_R.ALERT + ALERTS) received = reason - SSL_R.ALERT;
    else if (reason === SSL_R.PEER_DID_NOT_RETURN_A_CERTIFICATE) missing = true;
    else sent ??= ALERT_OF_REASON[reason];
    // The oldest entry is the cause; what follows are the callers that passed it on.
    words ??= lib.ERR_reason_error_string(code) ?? `error ${code.toString(16)}`;
  }
  if (missing) {
    // certificate_required exists since TLS 1.3.
    return missingCertificate(
      label,
      version >= TLS1_3_VERSION ? ALERT.certificate_required : ALERT.handshake_failure,
    );
  }
  const told = received === undefined ? "" : `; the peer sent alert ${received}, ${alertName(received)}`;
  return new ProxyError("HANDSHAKE", `${label}: ${doing} failed: ${words ?? "no reason given"}${told}`, {
    alert: received ?? sent,
  });
}

/** Whether this entry of the queue says that the input ended without close_notify. */
export function isTruncation(code: number): boolean {
  return libraryOf(code) === ERR_LIB_SSL && reasonOf(code) === SSL_R.UNEXPECTED_EOF_WHILE_READING;
}

/** The other side left before the handshake stood. `errno` 0: by an ordinary FIN. */
export function goneFailure(label: string, errno: number): ProxyError {
  const how = errno === 0 ? "" : ` (${errnoName(errno)})`;
  return new ProxyError("RESET", `${label}: the peer went away in the handshake${how}`);
}

/** FIN without close_notify: the other side may have had more to say, or somebody else cut it off. */
export function truncation(label: string): ProxyError {
  return new ProxyError("RESET", `${label}: the peer ended without close_notify, so its data may be cut off`);
}
