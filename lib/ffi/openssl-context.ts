/**
 * What connections have in common: SSL_CTX objects. SSL_CTX_new(3) and the pages named below.
 * Invariant: a context is set up before its first SSL object and then left alone. It is reference-counted: every SSL object
 * holds one reference, so that it outlives SSL_CTX_free until its last connection is gone.
 */
import { type Bind, C, type Pointer } from "./openssl-binding.ts";

/** SSL_CTX_ctrl(3) commands, openssl/ssl.h. */
export const SSL_CTRL_MODE = 33;
export const SSL_CTRL_CLEAR_MODE = 78;
export const SSL_CTRL_GET_READ_AHEAD = 40;
export const SSL_CTRL_SET_READ_AHEAD = 41;
export const SSL_CTRL_SET_SESS_CACHE_MODE = 44;
export const SSL_CTRL_GET_SESS_CACHE_MODE = 45;
export const SSL_CTRL_SET_TLSEXT_TICKET_KEYS = 59;
export const SSL_CTRL_CHAIN_CERT = 89;
/** SSL_CTX_build_cert_chain(3): larg is a sum of SSL_BUILD_CHAIN_FLAG. */
export const SSL_CTRL_BUILD_CERT_CHAIN = 105;
export const SSL_CTRL_SET_MIN_PROTO_VERSION = 123;
export const SSL_CTRL_GET_MIN_PROTO_VERSION = 130;

/** SSL_CTX_set_mode(3). */
export const SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER = 0x2;
export const SSL_MODE_AUTO_RETRY = 0x4;
export const SSL_MODE_NO_AUTO_CHAIN = 0x8;
export const SSL_MODE_RELEASE_BUFFERS = 0x10;

/** SSL_CTX_build_cert_chain(3). */
export const SSL_BUILD_CHAIN_FLAG_NO_ROOT = 0x2;
export const SSL_BUILD_CHAIN_FLAG_IGNORE_ERROR = 0x8;
export const SSL_BUILD_CHAIN_FLAG_CLEAR_ERROR = 0x10;

/** SSL_CTX_set_options(3). */
export const SSL_OP_NO_COMPRESSION = 2 ** 17;
export const SSL_OP_CIPHER_SERVER_PREFERENCE = 2 ** 22;
export const SSL_OP_NO_RENEGOTIATION = 2 ** 30;
/** Since OpenSSL 3.2: certificates are neither compressed nor asked for in compressed form (RFC 8879). */
export const SSL_OP_NO_CERTIFICATE_COMPRESSION = 2 ** 32 + 2 ** 33;
export const HAS_CERTIFICATE_COMPRESSION = 0x30200000;

/** SSL_CTX_set_session_cache_mode(3). */
export const SSL_SESS_CACHE_OFF = 0;
export const SSL_SESS_CACHE_CLIENT = 0x1;
export const SSL_SESS_CACHE_NO_INTERNAL = 0x300;

/** SSL_CTX_set_verify(3). */
export const SSL_VERIFY_NONE = 0;
export const SSL_VERIFY_PEER = 1;
export const SSL_VERIFY_FAIL_IF_NO_PEER_CERT = 2;

/** SSL_CTX_set_alpn_select_cb(3). */
export const SSL_TLSEXT_ERR_OK = 0;
export const SSL_TLSEXT_ERR_ALERT_FATAL = 2;

/** What SSL_CTRL_SET_TLSEXT_TICKET_KEYS takes: 16 bytes name, 32 bytes HMAC key, 32 bytes AES key. */
export const TICKET_KEY_BYTES = 80;

export interface ContextFunctions {
  /** SSL_CTX_new(3). Static. */
  TLS_server_method(): Pointer;
  /** SSL_CTX_new(3). Static. */
  TLS_client_method(): Pointer;
  /** SSL_CTX_new(3). Caller frees with SSL_CTX_free. 0: the error queue says why. */
  SSL_CTX_new(method: Pointer): Pointer;
  /** SSL_CTX_free(3). Drops one reference; SSL objects keep theirs. */
  SSL_CTX_free(context: Pointer): void;
  /** SSL_CTX_ctrl(3). What the commands above return differs: see the macro's page. */
  SSL_CTX_ctrl(context: Pointer, command: number, larg: number, parg: Pointer): number;
  /** SSL_CTX_set_options(3). Adds bits; returns all. */
  SSL_CTX_set_options(context: Pointer, options: number): number;
  /** SSL_CTX_set_cipher_list(3). TLS 1.2. 1: at least one cipher is known. */
  SSL_CTX_set_cipher_list(context: Pointer, list: string): number;
  /** SSL_CTX_set_cipher_list(3). TLS 1.3. 1: done. */
  SSL_CTX_set_ciphersuites(context: Pointer, list: string): number;
  /** SSL_CTX_use_certificate(3). Takes a reference of its own. 1: done. */
  SSL_CTX_use_certificate(context: Pointer, certificate: Pointer): number;
  /** SSL_CTX_use_PrivateKey(3). Takes a reference of its own. 1: done; 0 also where it does not fit the certificate. */
  SSL_CTX_use_PrivateKey(context: Pointer, key: Pointer): number;
  /** SSL_CTX_use_certificate(3). 1: key and certificate belong together. */
  SSL_CTX_check_private_key(context: Pointer): number;
  /** SSL_CTX_set_cert_store(3). Owned by the context. */
  SSL_CTX_get_cert_store(context: Pointer): Pointer;
  /** SSL_CTX_set0_CA_list(3). Adds the certificate's subject (copied) to the names sent to clients. 1: done. */
  SSL_CTX_add_client_CA(context: Pointer, certificate: Pointer): number;
  /** SSL_CTX_set_verify(3). `callback` may be NULL. */
  SSL_CTX_set_verify(context: Pointer, mode: number, callback: Pointer): void;
  /** SSL_CTX_set_cert_verify_callback(3). `int (*)(X509_STORE_CTX *, void *)`, called instead of X509_verify_cert. */
  SSL_CTX_set_cert_verify_callback(context: Pointer, callback: Pointer, argument: Pointer): void;
  /**
   * SSL_CTX_set_session_ticket_cb(3). `decrypt`: `int (*)(SSL *, SSL_SESSION *, const unsigned char *, size_t, int, void *)`,
   * called for every ticket that a client offers. `generate` may be NULL. 1: done.
   */
  SSL_CTX_set_session_ticket_cb(
    context: Pointer,
    generate: Pointer,
    decrypt: Pointer,
    argument: Pointer,
  ): number;
  /** SSL_CTX_sess_set_get_cb(3). `int (*)(SSL *, SSL_SESSION *)`: 1 takes over the reference, 0 leaves it. */
  SSL_CTX_sess_set_new_cb(context: Pointer, callback: Pointer): void;
  /** SSL_CTX_set_session_id_context(3). At most 32 bytes, copied. 1: done. */
  SSL_CTX_set_session_id_context(context: Pointer, id: Pointer, length: number): number;
  /** SSL_CTX_set_timeout(3). Seconds for which sessions may be resumed; returns the old value. */
  SSL_CTX_set_timeout(context: Pointer, seconds: number): number;
  /** SSL_CTX_set_num_tickets(3). TLS 1.3 tickets after a full handshake. 1: done. */
  SSL_CTX_set_num_tickets(context: Pointer, count: number): number;
  /** SSL_CTX_set_alpn_select_cb(3). `int (*)(SSL *, const unsigned char **, unsigned char *, const unsigned char *, unsigned, void *)`. */
  SSL_CTX_set_alpn_select_cb(context: Pointer, callback: Pointer, argument: Pointer): void;
  /** SSL_CTX_set_alpn_protos(3). Length-prefixed names, copied. 0 (not 1): done. */
  SSL_CTX_set_alpn_protos(context: Pointer, protocols: Pointer, length: number): number;
}

export function bindContext(bind: Bind): ContextFunctions {
  const { int, long, uint, uint64, size, pointer, text } = C;
  return {
    TLS_server_method: bind("TLS_server_method", pointer, []),
    TLS_client_method: bind("TLS_client_method", pointer, []),
    SSL_CTX_new: bind("SSL_CTX_new", pointer, [pointer]),
    SSL_CTX_free: bind("SSL_CTX_free", C.void, [pointer]),
    SSL_CTX_ctrl: bind("SSL_CTX_ctrl", long, [pointer, int, long, pointer]),
    SSL_CTX_set_options: bind("SSL_CTX_set_options", uint64, [pointer, uint64]),
    SSL_CTX_set_cipher_list: bind("SSL_CTX_set_cipher_list", int, [pointer, text]),
    SSL_CTX_set_ciphersuites: bind("SSL_CTX_set_ciphersuites", int, [pointer, text]),
    SSL_CTX_use_certificate: bind("SSL_CTX_use_certificate", int, [pointer, pointer]),
    SSL_CTX_use_PrivateKey: bind("SSL_CTX_use_PrivateKey", int, [pointer, pointer]),
    SSL_CTX_check_private_key: bind("SSL_CTX_check_private_key", int, [pointer]),
    SSL_CTX_get_cert_store: bind("SSL_CTX_get_cert_store", pointer, [pointer]),
    SSL_CTX_add_client_CA: bind("SSL_CTX_add_client_CA", int, [pointer, pointer]),
    SSL_CTX_set_verify: bind("SSL_CTX_set_verify", C.void, [pointer, int, pointer]),
    SSL_CTX_set_cert_verify_callback: bind("SSL_CTX_set_cert_verify_callback", C.void, [
      pointer,
      pointer,
      pointer,
    ]),
    SSL_CTX_set_session_ticket_cb: bind("SSL_CTX_set_session_ticket_cb", int, [
      pointer,
      pointer,
      pointer,
      pointer,
    ]),
    SSL_CTX_sess_set_new_cb: bind("SSL_CTX_sess_set_new_cb", C.void, [pointer, pointer]),
    SSL_CTX_set_session_id_context: bind("SSL_CTX_set_session_id_context", int, [pointer, pointer, uint]),
    SSL_CTX_set_timeout: bind("SSL_CTX_set_timeout", long, [pointer, long]),
    SSL_CTX_set_num_tickets: bind("SSL_CTX_set_num_tickets", int, [pointer, size]),
    SSL_CTX_set_alpn_select_cb: bind("SSL_CTX_set_alpn_select_cb", C.void, [pointer, pointer, pointer]),
    SSL_CTX_set_alpn_protos: bind("SSL_CTX_set_alpn_protos", int, [pointer, pointer, uint]),
  };
}
