/**
 * One TLS connection: SSL objects. ssl(7), SSL_new(3), SSL_read(3), SSL_write(3), SSL_shutdown(3).
 * Invariant: an SSL object is used by one thread and freed once; it holds references to its context, its BIOs and its
 * session, and SSL_free drops them. After a call that returned <= 0 SSL_get_error tells why, before anything else is called.
 */
import { type Bind, C, type Pointer } from "./openssl-binding.ts";

/** SSL_get_error(3). */
export const SSL_ERROR_WANT_READ = 2;
export const SSL_ERROR_WANT_WRITE = 3;
export const SSL_ERROR_SYSCALL = 5;
export const SSL_ERROR_ZERO_RETURN = 6;

/** SSL_ctrl(3), openssl/ssl.h. */
export const SSL_CTRL_SET_TLSEXT_HOSTNAME = 55;

/** SSL_set_shutdown(3). */
export const SSL_SENT_SHUTDOWN = 1;

/** SSL_version(3). */
export const TLS1_2_VERSION = 0x0303;
export const TLS1_3_VERSION = 0x0304;

export interface SslFunctions {
  /** SSL_new(3). Takes a reference to the context. Caller frees with SSL_free. 0: no memory. */
  SSL_new(context: Pointer): Pointer;
  /** SSL_free(3). Frees the object and drops its references. Never closes a descriptor behind BIO_NOCLOSE. */
  SSL_free(ssl: Pointer): void;
  /** SSL_set0_rbio(3). Takes over one reference to the BIO and drops the old one. */
  SSL_set0_rbio(ssl: Pointer, bio: Pointer): void;
  /** SSL_set0_wbio(3). Takes over one reference to the BIO and drops the old one. */
  SSL_set0_wbio(ssl: Pointer, bio: Pointer): void;
  /** SSL_set_accept_state(3). */
  SSL_set_accept_state(ssl: Pointer): void;
  /** SSL_set_connect_state(3). */
  SSL_set_connect_state(ssl: Pointer): void;
  /** SSL_do_handshake(3). 1: it stands; <= 0: SSL_get_error. */
  SSL_do_handshake(ssl: Pointer): number;
  /** SSL_read(3). At most one record's bytes; <= 0: SSL_get_error. */
  SSL_read(ssl: Pointer, data: Pointer, length: number): number;
  /** SSL_pending(3). 1: the object holds bytes from the socket, be it a part of a record. */
  SSL_has_pending(ssl: Pointer): number;
  /** SSL_write(3). All bytes, unless SSL_MODE_ENABLE_PARTIAL_WRITE is set; <= 0: SSL_get_error. */
  SSL_write(ssl: Pointer, data: Pointer, length: number): number;
  /** SSL_shutdown(3). Sends close_notify once. 0: sent; 1: both sides have; < 0: SSL_get_error. */
  SSL_shutdown(ssl: Pointer): number;
  /** SSL_in_init(3). 1: in the middle of a handshake message, those behind the handshake included. */
  SSL_in_init(ssl: Pointer): number;
  /** SSL_set_shutdown(3). Says what was sent and received without doing it. */
  SSL_set_shutdown(ssl: Pointer, mode: number): void;
  /** SSL_get_error(3). Must follow the failed call at once, on the same thread. */
  SSL_get_error(ssl: Pointer, result: number): number;
  /** SSL_version(3). */
  SSL_version(ssl: Pointer): number;
  /** SSL_get_current_cipher(3). Static; 0 before one is agreed. */
  SSL_get_current_cipher(ssl: Pointer): Pointer;
  /** SSL_CIPHER_get_name(3). */
  SSL_CIPHER_get_name(cipher: Pointer): string;
  /** SSL_get0_alpn_selected(3). Stores the address and the length (32 bits) of what the SSL object owns. */
  SSL_get0_alpn_selected(ssl: Pointer, address: Pointer, length: Pointer): void;
  /** SSL_get_peer_cert_chain(3). The session's own stack of what came with the leaf (client side: with the leaf); 0: none. */
  SSL_get_peer_cert_chain(ssl: Pointer): Pointer;
  /** SSL_get0_peer_certificate(3). Owned by the SSL object; 0: none. */
  SSL_get0_peer_certificate(ssl: Pointer): Pointer;
  /** SSL_export_keying_material(3), RFC 5705 and RFC 8446 section 7.5. 1: done. */
  SSL_export_keying_material(
    ssl: Pointer,
    out: Pointer,
    length: number,
    label: Pointer,
    labelLength: number,
    context: Pointer,
    contextLength: number,
    useContext: number,
  ): number;
  /** SSL_ctrl(3). SSL_CTRL_SET_TLSEXT_HOSTNAME with larg 0 copies the name at parg; 1: done. */
  SSL_ctrl(ssl: Pointer, command: number, larg: number, parg: Pointer): number;
}

export function bindSsl(bind: Bind): SslFunctions {
  const { int, long, size, pointer, text } = C;
  return {
    SSL_new: bind("SSL_new", pointer, [pointer]),
    SSL_free: bind("SSL_free", C.void, [pointer]),
    SSL_set0_rbio: bind("SSL_set0_rbio", C.void, [pointer, pointer]),
    SSL_set0_wbio: bind("SSL_set0_wbio", C.void, [pointer, pointer]),
    SSL_set_accept_state: bind("SSL_set_accept_state", C.void, [pointer]),
    SSL_set_connect_state: bind("SSL_set_connect_state", C.void, [pointer]),
    SSL_do_handshake: bind("SSL_do_handshake", int, [pointer]),
    SSL_read: bind("SSL_read", int, [pointer, pointer, int]),
    SSL_has_pending: bind("SSL_has_pending", int, [pointer]),
    SSL_write: bind("SSL_write", int, [pointer, pointer, int]),
    SSL_shutdown: bind("SSL_shutdown", int, [pointer]),
    SSL_in_init: bind("SSL_in_init", int, [pointer]),
    SSL_set_shutdown: bind("SSL_set_shutdown", C.void, [pointer, int]),
    SSL_get_error: bind("SSL_get_error", int, [pointer, int]),
    SSL_version: bind("SSL_version", int, [pointer]),
    SSL_get_current_cipher: bind("SSL_get_current_cipher", pointer, [pointer]),
    SSL_CIPHER_get_name: bind("SSL_CIPHER_get_name", text, [pointer]),
    SSL_get0_alpn_selected: bind("SSL_get0_alpn_selected", C.void, [pointer, pointer, pointer]),
    SSL_get_peer_cert_chain: bind("SSL_get_peer_cert_chain", pointer, [pointer]),
    SSL_get0_peer_certificate: bind("SSL_get0_peer_certificate", pointer, [pointer]),
    SSL_export_keying_material: bind("SSL_export_keying_material", int, [
      pointer,
      pointer,
      size,
      pointer,
      size,
      pointer,
      size,
      int,
    ]),
    SSL_ctrl: bind("SSL_ctrl", long, [pointer, int, long, pointer]),
  };
}
