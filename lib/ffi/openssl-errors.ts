/**
 * The error queue and the words for what is in it. err(7), ERR_get_error(3), X509_STORE_CTX_get_error(3).
 * Invariant: the queue belongs to the thread and not to a connection. What one operation leaves there turns the next one's
 * "want read" into a failure, so it is cleared before each operation that is judged by SSL_get_error(3).
 */
import { type Bind, C } from "./openssl-binding.ts";

/** Library numbers, openssl/err.h. */
export const ERR_LIB_PEM = 9;
export const ERR_LIB_SSL = 20;

/** openssl/pemerr.h. Nothing more of the kind asked for in the text. */
export const PEM_R_NO_START_LINE = 108;

/** Reason codes of the SSL library, openssl/sslerr.h. */
export const SSL_R = {
  NO_SUITABLE_KEY_SHARE: 101,
  NO_SUITABLE_SIGNATURE_ALGORITHM: 118,
  BAD_SIGNATURE: 123,
  LENGTH_MISMATCH: 159,
  NO_SHARED_CIPHER: 193,
  PEER_DID_NOT_RETURN_A_CERTIFICATE: 199,
  NO_APPLICATION_PROTOCOL: 235,
  UNEXPECTED_MESSAGE: 244,
  UNSUPPORTED_PROTOCOL: 258,
  WRONG_SSL_VERSION: 266,
  WRONG_VERSION_NUMBER: 267,
  DECRYPTION_FAILED_OR_BAD_RECORD_MAC: 281,
  UNEXPECTED_EOF_WHILE_READING: 294,
  INAPPROPRIATE_FALLBACK: 373,
  NO_SHARED_SIGNATURE_ALGORITHMS: 376,
  VERSION_TOO_LOW: 396,
  NO_SHARED_GROUPS: 410,
  /** SSL_AD_REASON_OFFSET: an alert that was received is this plus its number. */
  ALERT: 1000,
} as const;

export interface ErrorFunctions {
  /** ERR_clear_error(3). */
  ERR_clear_error(): void;
  /** ERR_get_error(3). The oldest entry, removed; 0: none. */
  ERR_get_error(): number;
  /** ERR_get_error(3). The oldest entry, left in place; 0: none. */
  ERR_peek_error(): number;
  /** ERR_error_string(3). Words for an entry's reason; null where unknown. */
  ERR_reason_error_string(code: number): string | null;
  /** X509_STORE_CTX_get_error(3). Words for a verification result. */
  X509_verify_cert_error_string(result: number): string;
}

export function bindErrors(bind: Bind): ErrorFunctions {
  const { long, ulong, text } = C;
  return {
    ERR_clear_error: bind("ERR_clear_error", C.void, []),
    ERR_get_error: bind("ERR_get_error", ulong, []),
    ERR_peek_error: bind("ERR_peek_error", ulong, []),
    ERR_reason_error_string: bind("ERR_reason_error_string", text, [ulong]),
    X509_verify_cert_error_string: bind("X509_verify_cert_error_string", text, [long]),
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
