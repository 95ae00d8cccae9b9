/**
 * The error queue and the words for what is in it. err(7), ERR_get_error(3), X509_STORE_CTX_get_error(3).
 * Invariant: the queue belongs to the thread and not to a connection. What one operation leaves there turns the next one's
 * "want read" into a failure, so it is cleared before each operation that is judged by SSL_get_error(3).
 */
import { type Bind, C } from "./openssl-binding.ts";

/** Library numbers, openssl/err.h. */
export const ERR_LIB_SSL = 20;

/** Reason codes of the SSL library, openssl/sslerr.h. */
export const SSL_R = {
  INAPPROPRIATE_FALLBACK: 373,
  BAD_PROTOCOL_VERSION_NUMBER: 116,
  CERTIFICATE_VERIFY_FAILED: 134,
  HTTPS_PROXY_REQUEST: 155,
  HTTP_REQUEST: 156,
  NO_SHARED_CIPHER: 193,
  NO_SUITABLE_SIGNATURE_ALGORITHM: 118,
  NO_SUITABLE_KEY_SHARE: 101,
  NO_SHARED_SIGNATURE_ALGORITHMS: 376,
  PEER_DID_NOT_RETURN_A_CERTIFICATE: 199,
  NO_APPLICATION_PROTOCOL: 235,
  UNKNOWN_PROTOCOL: 252,
  UNSUPPORTED_PROTOCOL: 258,
  WRONG_SSL_VERSION: 266,
  WRONG_VERSION_NUMBER: 267,
  UNEXPECTED_EOF_WHILE_READING: 294,
  VERSION_TOO_LOW: 396,
  /** SSL_AD_REASON_OFFSET: an alert that was received, as this plus its number. */
  ALERT: 1000,
} as const;

/** Verification results, openssl/x509_vfy.h. */
export const X509_V = {
  OK: 0,
  UNABLE_TO_GET_CRL: 3,
  CERT_NOT_YET_VALID: 9,
  CERT_HAS_EXPIRED: 10,
  CRL_NOT_YET_VALID: 11,
  CRL_HAS_EXPIRED: 12,
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: 20,
  CERT_REVOKED: 23,
  CERT_REJECTED: 28,
  /** Not in libssl's table, so the alert is certificate_unknown. */
  PERMITTED_VIOLATION: 47,
  UNSPECIFIED: 1,
} as const;

export interface ErrorFunctions {
  /** ERR_clear_error(3). */
  ERR_clear_error(): void;
  /** ERR_get_error(3). The oldest entry, removed; 0: none. */
  ERR_get_error(): number;
  /** ERR_error_string(3). Words for an entry's reason; null where unknown. */
  ERR_reason_error_string(code: number): string | null;
  /** X509_STORE_CTX_get_error(3). Words for a verification result. */
  X509_verify_cert_error_string(result: number): string;
  /** SSL_alert_type_string(3). Words for an alert number; "unknown" where there are none. */
  SSL_alert_desc_string_long(alert: number): string;
}

export function bindErrors(bind: Bind): ErrorFunctions {
  const { int, long, ulong, text } = C;
  return {
    ERR_clear_error: bind("ERR_clear_error", C.void, []),
    ERR_get_error: bind("ERR_get_error", ulong, []),
    ERR_reason_error_string: bind("ERR_reason_error_string", text, [ulong]),
    X509_verify_cert_error_string: bind("X509_verify_cert_error_string", text, [long]),
    SSL_alert_desc_string_long: bind("SSL_alert_desc_string_long", text, [int]),
  };
}

/** ERR_GET_LIB(3). */
export function libraryOf(code: number): number {
  return (code >>> 23) & 0xff;
}

/** ERR_GET_REASON(3). */
export function reasonOf(code: number): number {
  return code & 0x7fffff;
}
