/**
 * PEM texts as OpenSSL's objects. PEM_read_bio_X509(3). Invariant: a bundle is used as a whole or not at all, and the copy of a
 * text that C sees is wiped, for it may be a key.
 */
import type { Openssl } from "../../ffi/openssl.ts";
import { ERR_LIB_PEM, libraryOf, PEM_R_NO_START_LINE, reasonOf } from "../../ffi/openssl-errors.ts";

/** The certificates of a PEM text, in order; none where one cannot be read. The caller frees each with X509_free. */
export function readCertificates(lib: Openssl, pem: string): number[] {
  return readAll(lib, pem, (bio) => lib.PEM_read_bio_X509(bio, 0, 0, 0), lib.X509_free);
}

/** The revocation lists of a PEM text likewise. The caller frees each with X509_CRL_free. */
export function readLists(lib: Openssl, pem: string): number[] {
  return readAll(lib, pem, (bio) => lib.PEM_read_bio_X509_CRL(bio, 0, 0, 0), lib.X509_CRL_free);
}

/** Every object of the text; none of them where one cannot be read, so that no bundle is used in part. */
function readAll(
  lib: Openssl,
  pem: string,
  read: (bio: number) => number,
  free: (one: number) => void,
): number[] {
  return withPem(lib, pem, (bio) => {
    const found: number[] = [];
    lib.ERR_clear_error();
    for (let next = read(bio); next !== 0; next = read(bio)) found.push(next);
    const end = lib.ERR_peek_error();
    lib.ERR_clear_error();
    if (libraryOf(end) === ERR_LIB_PEM && reasonOf(end) === PEM_R_NO_START_LINE) return found;
    for (const one of found) free(one);
    return [];
  });
}

/** The private key of a PEM text; 0: it cannot be read. The caller frees it with EVP_PKEY_free. */
export function readKey(lib: Openssl, pem: string): number {
  // An empty passphrase: without one OpenSSL would ask on the terminal.
  const empty = lib.pin(1);
  empty.bytes[0] = 0;
  return withPem(lib, pem, (bio) => lib.PEM_read_bio_PrivateKey(bio, 0, 0, empty.address));
}

function withPem<T>(lib: Openssl, pem: string, use: (bio: number) => T): T {
  const length = Buffer.byteLength(pem);
  const text = lib.pin(length);
  text.bytes.write(pem);
  const bio = lib.BIO_new_mem_buf(text.address, length);
  try {
    return use(bio);
  } finally {
    lib.BIO_free(bio);
    text.bytes.fill(0);
  }
}
