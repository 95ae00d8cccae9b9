/**
 * Sessions: what a resumption needs. SSL_get_session(3), SSL_SESSION_free(3), SSL_CTX_set_session_ticket_cb(3).
 * Invariant: a session is reference-counted and not changed once a ticket was made of it.
 */
import { type Bind, C, type Pointer } from "./openssl-binding.ts";

/** SSL_CTX_set_session_ticket_cb(3): how a ticket was read, and what to do with it. */
export const SSL_TICKET_SUCCESS = 5;
export const SSL_TICKET_SUCCESS_RENEW = 6;
export const SSL_TICKET_RETURN_IGNORE_RENEW = 2;
export const SSL_TICKET_RETURN_USE = 3;
export const SSL_TICKET_RETURN_USE_RENEW = 4;

/** RFC 6066 section 4: 512, 1,024, 2,048 and 4,096 bytes. OpenSSL has other numbers for "none" and "not asked". */
export const MAX_FRAGMENT_MODES: readonly number[] = [1, 2, 3, 4];

export interface SessionFunctions {
  /** SSL_get_session(3). Owned by the SSL object; 0: none. */
  SSL_get_session(ssl: Pointer): Pointer;
  /** SSL_set_session(3). Takes a reference of its own. 1: done. */
  SSL_set_session(ssl: Pointer, session: Pointer): number;
  /** SSL_session_reused(3). 1: the handshake resumed a session. */
  SSL_session_reused(ssl: Pointer): number;
  /** SSL_SESSION_free(3). Drops one reference. */
  SSL_SESSION_free(session: Pointer): void;
  /** SSL_SESSION_get0_peer(3). The other side's certificate, owned by the session; 0: none. */
  SSL_SESSION_get0_peer(session: Pointer): Pointer;
  /** SSL_SESSION_is_resumable(3). */
  SSL_SESSION_is_resumable(session: Pointer): number;
  /** SSL_SESSION_get_protocol_version(3). */
  SSL_SESSION_get_protocol_version(session: Pointer): number;
  /** SSL_CTX_set_tlsext_max_fragment_length(3). MAX_FRAGMENT_MODES: records of so many bytes at most were agreed on. */
  SSL_SESSION_get_max_fragment_length(session: Pointer): number;
  /** SSL_CTX_set_session_ticket_cb(3). Copies the bytes; they travel inside the encrypted ticket. 1: done. */
  SSL_SESSION_set1_ticket_appdata(session: Pointer, data: Pointer, length: number): number;
  /** SSL_CTX_set_session_ticket_cb(3). Stores address and length (size_t) of bytes that the session owns. 1: done. */
  SSL_SESSION_get0_ticket_appdata(session: Pointer, address: Pointer, length: Pointer): number;
}

/** The first version of which nobody has looked yet whether SSL_SESSION_get0_peer(3) is still one load. */
const NOT_LOOKED_AT = 0x30600000;
const SESSION_BYTES = 1024;

/**
 * Where in a session the pointer lies that SSL_SESSION_get0_peer(3) returns, in bytes; null: not known. There is no function
 * that takes a peer out of a session. The accessor is asked about memory in which every word says where it lies.
 */
export function findPeerSlot(
  lib: Pick<SessionFunctions, "SSL_SESSION_get0_peer">,
  version: number,
  block: { readonly bytes: Buffer; readonly address: Pointer },
): number | null {
  if (version >= NOT_LOOKED_AT) return null;
  for (let at = 0; at < SESSION_BYTES; at += 8) block.bytes.writeBigUInt64LE(BigInt(SESSION_BYTES + at), at);
  const slot = lib.SSL_SESSION_get0_peer(block.address) - SESSION_BYTES;
  return slot >= 0 && slot < SESSION_BYTES && slot % 8 === 0 ? slot : null;
}

export function bindSession(bind: Bind): SessionFunctions {
  const { int, size, pointer } = C;
  return {
    SSL_SESSION_get_max_fragment_length: bind("SSL_SESSION_get_max_fragment_length", "uint8_t", [pointer]),
    SSL_get_session: bind("SSL_get_session", pointer, [pointer]),
    SSL_set_session: bind("SSL_set_session", int, [pointer, pointer]),
    SSL_session_reused: bind("SSL_session_reused", int, [pointer]),
    SSL_SESSION_free: bind("SSL_SESSION_free", C.void, [pointer]),
    SSL_SESSION_get0_peer: bind("SSL_SESSION_get0_peer", pointer, [pointer]),
    SSL_SESSION_is_resumable: bind("SSL_SESSION_is_resumable", int, [pointer]),
    SSL_SESSION_get_protocol_version: bind("SSL_SESSION_get_protocol_version", int, [pointer]),
    SSL_SESSION_set1_ticket_appdata: bind("SSL_SESSION_set1_ticket_appdata", int, [pointer, pointer, size]),
    SSL_SESSION_get0_ticket_appdata: bind("SSL_SESSION_get0_ticket_appdata", int, [
      pointer,
      pointer,
      pointer,
    ]),
  };
}
