/**
 * Certificates, keys, revocation lists and their verification. x509(7), PEM_read_bio_X509(3), X509_verify_cert(3).
 * Invariant: a "get0" or "value" result belongs to what it was taken from; what a PEM function returns is the caller's.
 */
import { type Bind, C, type Pointer } from "./openssl-binding.ts";

/** X509_VERIFY_PARAM_set_flags(3): the leaf, and every certificate of the chain. */
export const X509_V_FLAG_CRL_CHECK = 0x4;
export const X509_V_FLAG_CRL_CHECK_ALL = 0x8;

export interface X509Functions {
  /** PEM_read_bio_X509(3). The next certificate of the BIO; 0: none left, or unreadable. Caller frees with X509_free. */
  PEM_read_bio_X509(bio: Pointer, into: Pointer, callback: Pointer, user: Pointer): Pointer;
  /** PEM_read_bio_X509_CRL(3). Caller frees with X509_CRL_free. */
  PEM_read_bio_X509_CRL(bio: Pointer, into: Pointer, callback: Pointer, user: Pointer): Pointer;
  /**
   * PEM_read_bio_PrivateKey(3). Caller frees with EVP_PKEY_free. `user` is the passphrase (NUL-terminated) where `callback` is
   * NULL; without it OpenSSL would ask on the terminal.
   */
  PEM_read_bio_PrivateKey(bio: Pointer, into: Pointer, callback: Pointer, user: Pointer): Pointer;
  X509_free(certificate: Pointer): void;
  X509_CRL_free(list: Pointer): void;
  EVP_PKEY_free(key: Pointer): void;
  /** X509_STORE_add_cert(3). Takes a reference of its own. 1: done, also where it is there already. */
  X509_STORE_add_cert(store: Pointer, certificate: Pointer): number;
  /** X509_STORE_add_cert(3). Takes a reference of its own. 1: done. */
  X509_STORE_add_crl(store: Pointer, list: Pointer): number;
  /** X509_STORE_set_flags(3). 1: done. */
  X509_STORE_set_flags(store: Pointer, flags: number): number;
  /** X509_verify_cert(3). 1: verified; else X509_STORE_CTX_get_error says why. */
  X509_verify_cert(context: Pointer): number;
  /** X509_STORE_CTX_get_error(3). An X509_V number, openssl/x509_vfy.h; 0: none. */
  X509_STORE_CTX_get_error(context: Pointer): number;
  /** X509_STORE_CTX_get_error(3). */
  X509_STORE_CTX_set_error(context: Pointer, error: number): void;
  /** X509_STORE_CTX_get_error(3). The verified chain from leaf to trust anchor, owned by the context. */
  X509_STORE_CTX_get0_chain(context: Pointer): Pointer;
  /** X509_STORE_CTX_get_error(3). Takes over `chain` and frees the one before; 0: there is none. */
  X509_STORE_CTX_set0_verified_chain(context: Pointer, chain: Pointer): void;
  /** X509_STORE_CTX_new(3). What the other side sent, leaf first, owned by the context. */
  X509_STORE_CTX_get0_untrusted(context: Pointer): Pointer;
  /** X509_STORE_CTX_new(3). The leaf, owned by the context. */
  X509_STORE_CTX_get0_cert(context: Pointer): Pointer;
  /** DEFINE_STACK_OF(3). -1 for NULL. */
  OPENSSL_sk_num(stack: Pointer): number;
  /** DEFINE_STACK_OF(3). Owned by the stack; 0 beyond its end. */
  OPENSSL_sk_value(stack: Pointer, index: number): Pointer;
  /** The last entry, which is the caller's from now on; 0: there is none, or no stack. */
  OPENSSL_sk_pop(stack: Pointer): Pointer;
  /** X509_digest(3). Stores the digest of the DER form; `length` may be NULL. 1: done. */
  X509_digest(certificate: Pointer, digest: Pointer, out: Pointer, length: Pointer): number;
  /** d2i_X509(3). Length of the DER form; where `out` is not NULL, *out is written to and moved behind. < 0: failure. */
  i2d_X509(certificate: Pointer, out: Pointer): number;
  /** X509_get0_notBefore(3). Owned by the certificate. */
  X509_get0_notAfter(certificate: Pointer): Pointer;
  /** X509_CRL_get0_nextUpdate(3). Owned by the list; 0 where it names none. */
  X509_CRL_get0_nextUpdate(list: Pointer): Pointer;
  /** ASN1_TIME_set(3). Stores days and seconds (int each) from the first time to the second; NULL is now. 1: done. */
  ASN1_TIME_diff(days: Pointer, seconds: Pointer, from: Pointer, to: Pointer): number;
  /** EVP_MD_fetch(3). Caller frees with EVP_MD_free. Fetched once it spares a look-up per digest. */
  EVP_MD_fetch(library: Pointer, algorithm: string, properties: Pointer): Pointer;
  EVP_MD_free(digest: Pointer): void;
}

export function bindX509(bind: Bind): X509Functions {
  const { int, ulong, pointer, text } = C;
  const four = [pointer, pointer, pointer, pointer];
  return {
    PEM_read_bio_X509: bind("PEM_read_bio_X509", pointer, four),
    PEM_read_bio_X509_CRL: bind("PEM_read_bio_X509_CRL", pointer, four),
    PEM_read_bio_PrivateKey: bind("PEM_read_bio_PrivateKey", pointer, four),
    X509_free: bind("X509_free", C.void, [pointer]),
    X509_CRL_free: bind("X509_CRL_free", C.void, [pointer]),
    EVP_PKEY_free: bind("EVP_PKEY_free", C.void, [pointer]),
    X509_STORE_add_cert: bind("X509_STORE_add_cert", int, [pointer, pointer]),
    X509_STORE_add_crl: bind("X509_STORE_add_crl", int, [pointer, pointer]),
    X509_STORE_set_flags: bind("X509_STORE_set_flags", int, [pointer, ulong]),
    X509_verify_cert: bind("X509_verify_cert", int, [pointer]),
    X509_STORE_CTX_get_error: bind("X509_STORE_CTX_get_error", int, [pointer]),
    X509_STORE_CTX_set_error: bind("X509_STORE_CTX_set_error", C.void, [pointer, int]),
    X509_STORE_CTX_get0_chain: bind("X509_STORE_CTX_get0_chain", pointer, [pointer]),
    X509_STORE_CTX_set0_verified_chain: bind("X509_STORE_CTX_set0_verified_chain", C.void, [
      pointer,
      pointer,
    ]),
    X509_STORE_CTX_get0_untrusted: bind("X509_STORE_CTX_get0_untrusted", pointer, [pointer]),
    X509_STORE_CTX_get0_cert: bind("X509_STORE_CTX_get0_cert", pointer, [pointer]),
    OPENSSL_sk_num: bind("OPENSSL_sk_num", int, [pointer]),
    OPENSSL_sk_value: bind("OPENSSL_sk_value", pointer, [pointer, int]),
    OPENSSL_sk_pop: bind("OPENSSL_sk_pop", pointer, [pointer]),
    X509_digest: bind("X509_digest", int, four),
    i2d_X509: bind("i2d_X509", int, [pointer, pointer]),
    X509_get0_notAfter: bind("X509_get0_notAfter", pointer, [pointer]),
    X509_CRL_get0_nextUpdate: bind("X509_CRL_get0_nextUpdate", pointer, [pointer]),
    ASN1_TIME_diff: bind("ASN1_TIME_diff", int, four),
    EVP_MD_fetch: bind("EVP_MD_fetch", pointer, [pointer, text, pointer]),
    EVP_MD_free: bind("EVP_MD_free", C.void, [pointer]),
  };
}
