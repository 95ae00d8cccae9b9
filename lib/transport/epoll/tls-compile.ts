/**
 * A TlsContextSpec compiled into an SSL_CTX: certificate chain, key, trust bundle, revocation list, versions, ciphers, tickets.
 * SSL_CTX_new(3) and its kin. Invariant: an SSL_CTX is set up here, completely, and never changed afterwards.
 */
import { hkdfSync } from "node:crypto";
import { rootCertificates } from "node:tls";
import { ProxyError } from "../../errors.ts";
import type { Openssl } from "../../ffi/openssl.ts";
import {
  HAS_CERTIFICATE_COMPRESSION,
  SSL_BUILD_CHAIN_FLAG_CLEAR_ERROR,
  SSL_BUILD_CHAIN_FLAG_IGNORE_ERROR,
  SSL_BUILD_CHAIN_FLAG_NO_ROOT,
  SSL_CTRL_BUILD_CERT_CHAIN,
  SSL_CTRL_CHAIN_CERT,
  SSL_CTRL_CLEAR_MODE,
  SSL_CTRL_MODE,
  SSL_CTRL_SET_MIN_PROTO_VERSION,
  SSL_CTRL_SET_READ_AHEAD,
  SSL_CTRL_SET_SESS_CACHE_MODE,
  SSL_CTRL_SET_TLSEXT_TICKET_KEYS,
  SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER,
  SSL_MODE_AUTO_RETRY,
  SSL_MODE_NO_AUTO_CHAIN,
  SSL_MODE_RELEASE_BUFFERS,
  SSL_OP_CIPHER_SERVER_PREFERENCE,
  SSL_OP_NO_CERTIFICATE_COMPRESSION,
  SSL_OP_NO_COMPRESSION,
  SSL_OP_NO_RENEGOTIATION,
  SSL_SESS_CACHE_CLIENT,
  SSL_SESS_CACHE_NO_INTERNAL,
  SSL_SESS_CACHE_OFF,
  SSL_VERIFY_FAIL_IF_NO_PEER_CERT,
  SSL_VERIFY_NONE,
  SSL_VERIFY_PEER,
  TICKET_KEY_BYTES,
} from "../../ffi/openssl-context.ts";
import { TLS1_2_VERSION, TLS1_3_VERSION } from "../../ffi/openssl-ssl.ts";
import { X509_V_FLAG_CRL_CHECK, X509_V_FLAG_CRL_CHECK_ALL } from "../../ffi/openssl-x509.ts";
import { TLS12_CIPHERS, TLS13_CIPHERS } from "../../tls/ciphers.ts";
import type { TlsContextSpec } from "../transport.ts";
import type { Peers } from "./tls-peers.ts";
import { readCertificates, readKey, readLists } from "./tls-pem.ts";

/** Tickets per full TLS 1.3 handshake. OpenSSL sends two; the second costs 5 % of a handshake and is rarely used. */
const TICKETS = 1;

/** Seconds. OpenSSL's own default, named because `net` has it too. */
const SESSION_SECONDS = 7200;

/**
 * A certificate without a chain gets the one that the trust bundle holds, as node:tls has it: but once, where OpenSSL would build
 * and verify it in every handshake, and without the root, which the other side must have anyway.
 */
const FROM_THE_BUNDLE =
  SSL_BUILD_CHAIN_FLAG_NO_ROOT | SSL_BUILD_CHAIN_FLAG_IGNORE_ERROR | SSL_BUILD_CHAIN_FLAG_CLEAR_ERROR;

/** C functions that every context of a worker shares; tls.ts makes them. */
export interface Callbacks {
  readonly verify: number;
  readonly seal: number;
  readonly ticket: number;
  readonly session: number;
  readonly alpn: number;
}

/** What a spec was compiled into. The caller frees `pointer` with SSL_CTX_free. */
export interface Compiled {
  readonly pointer: number;
  /** Unix ms until which the revocation list counts; infinite where there is none. */
  readonly listValidUntil: number;
}

/** Throws ProxyError IDENTITY where the spec's PEM texts cannot be used. `now`: Unix ms. */
export function compile(
  lib: Openssl,
  callbacks: Callbacks,
  peers: Peers,
  spec: TlsContextSpec,
  now: number,
): Compiled {
  const server = spec.side === "server";
  const pointer = lib.SSL_CTX_new(server ? lib.TLS_server_method() : lib.TLS_client_method());
  if (pointer === 0) throw new ProxyError("INTERNAL", `${spec.label}: no memory for a TLS context`);
  try {
    const listValidUntil = new Compilation(lib, spec, pointer).run(callbacks, peers, now);
    return { pointer, listValidUntil };
  } catch (thrown) {
    lib.SSL_CTX_free(pointer);
    throw thrown;
  } finally {
    lib.ERR_clear_error();
  }
}

class Compilation {
  readonly #lib: Openssl;
  readonly #pointer: number;
  readonly spec: TlsContextSpec;

  constructor(lib: Openssl, spec: TlsContextSpec, pointer: number) {
    this.#lib = lib;
    this.spec = spec;
    this.#pointer = pointer;
  }

  /** Returns until when the revocation list counts. */
  run(callbacks: Callbacks, peers: Peers, now: number): number {
    const server = this.spec.side === "server";
    this.#setUp(server);
    const alone = this.#present();
    const listValidUntil = this.#trust(server, peers, now, alone);
    this.#lib.SSL_CTX_set_cert_verify_callback(this.#pointer, callbacks.verify, 0);
    if (server) this.#serve(callbacks);
    else this.#call(callbacks);
    return listValidUntil;
  }

  #setUp(server: boolean): void {
    const { spec } = this;
    const lib = this.#lib;
    const context = this.#pointer;
    lib.SSL_CTX_ctrl(
      context,
      SSL_CTRL_SET_MIN_PROTO_VERSION,
      spec.minVersion === "1.3" ? TLS1_3_VERSION : TLS1_2_VERSION,
      0,
    );
    // Writes are whole (no PARTIAL_WRITE): one call encrypts four records, and the ring has room for them.
    lib.SSL_CTX_ctrl(
      context,
      SSL_CTRL_MODE,
      SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS | SSL_MODE_NO_AUTO_CHAIN,
      0,
    );
    // One SSL_read works through what it has already got and comes back: else a peer that sends KeyUpdates without end, which
    // OpenSSL does not count, would keep the whole worker inside of it.
    lib.SSL_CTX_ctrl(context, SSL_CTRL_CLEAR_MODE, SSL_MODE_AUTO_RETRY, 0);
    lib.SSL_CTX_ctrl(context, SSL_CTRL_SET_READ_AHEAD, 1, 0);
    lib.SSL_CTX_set_options(
      context,
      SSL_OP_NO_RENEGOTIATION +
        SSL_OP_NO_COMPRESSION +
        (server ? SSL_OP_CIPHER_SERVER_PREFERENCE : 0) +
        // OpenSSL compresses a client's certificate with Brotli anew in every handshake, for more than a millisecond.
        (lib.version < HAS_CERTIFICATE_COMPRESSION ? 0 : SSL_OP_NO_CERTIFICATE_COMPRESSION),
    );
    if (lib.SSL_CTX_set_ciphersuites(context, TLS13_CIPHERS) !== 1) throw this.#unusable("no TLS 1.3 cipher");
    if (lib.SSL_CTX_set_cipher_list(context, TLS12_CIPHERS) !== 1) throw this.#unusable("no TLS 1.2 cipher");
    lib.SSL_CTX_set_timeout(context, SESSION_SECONDS);
  }

  /** Certificate, chain and key. True: the certificate came without a chain. */
  #present(): boolean {
    const { cert, key } = this.spec;
    const lib = this.#lib;
    if (cert === null || key === null) {
      if (this.spec.side === "server" || cert !== key)
        throw this.#unusable("needs both a certificate and a key");
      return false;
    }
    const chain = readCertificates(lib, cert);
    try {
      if (chain.length === 0) throw this.#unusable("holds no certificate that can be read");
      if (lib.SSL_CTX_use_certificate(this.#pointer, chain[0]!) !== 1) {
        throw this.#unusable(`has a certificate that cannot be used: ${this.#reason()}`);
      }
      for (const certificate of chain.slice(1)) {
        lib.SSL_CTX_ctrl(this.#pointer, SSL_CTRL_CHAIN_CERT, 1, certificate);
      }
    } finally {
      for (const certificate of chain) lib.X509_free(certificate);
    }
    lib.ERR_clear_error();
    const pointer = readKey(lib, key);
    if (pointer === 0) throw this.#unusable("has a key that cannot be read (encrypted, or no PEM)");
    const fits =
      lib.SSL_CTX_use_PrivateKey(this.#pointer, pointer) === 1 &&
      lib.SSL_CTX_check_private_key(this.#pointer) === 1;
    lib.EVP_PKEY_free(pointer);
    if (!fits) throw this.#unusable(`has a key that does not belong to its certificate: ${this.#reason()}`);
    return chain.length === 1;
  }

  /** Trust bundle and revocation list. Returns until when the list counts. `alone`: our certificate came without a chain. */
  #trust(server: boolean, peers: Peers, now: number, alone: boolean): number {
    const lib = this.#lib;
    const { ca, crl, clientAuth } = this.spec;
    const store = lib.SSL_CTX_get_cert_store(this.#pointer);
    const mode = server ? clientAuth : "required";
    lib.SSL_CTX_set_verify(
      this.#pointer,
      mode === "none"
        ? SSL_VERIFY_NONE
        : mode === "optional"
          ? SSL_VERIFY_PEER
          : SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT,
      0,
    );
    const anchors = readCertificates(lib, ca ?? (server ? "" : rootCertificates.join("\n")));
    for (const certificate of anchors) {
      lib.X509_STORE_add_cert(store, certificate);
      // So that a client with several certificates knows which one is meant.
      if (server && mode !== "none") lib.SSL_CTX_add_client_CA(this.#pointer, certificate);
      lib.X509_free(certificate);
    }
    if (mode !== "none" && anchors.length === 0)
      throw this.#unusable("has a trust bundle without certificates");
    if (alone) lib.SSL_CTX_ctrl(this.#pointer, SSL_CTRL_BUILD_CERT_CHAIN, FROM_THE_BUNDLE, 0);
    if (crl === null) return Number.POSITIVE_INFINITY;
    let validUntil = Number.POSITIVE_INFINITY;
    const lists = readLists(lib, crl);
    for (const list of lists) {
      lib.X509_STORE_add_crl(store, list);
      const next = lib.X509_CRL_get0_nextUpdate(list);
      if (next !== 0) validUntil = Math.min(validUntil, now + peers.until(next));
      lib.X509_CRL_free(list);
    }
    if (lists.length === 0) throw this.#unusable("has a revocation list that cannot be read");
    // For the whole chain, as node:tls does it: a certificate whose issuer published no list is refused.
    lib.X509_STORE_set_flags(store, X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL);
    return validUntil;
  }

  #serve(callbacks: Callbacks): void {
    const lib = this.#lib;
    const { sessionContext, ticketKeys, alpn } = this.spec;
    const block = lib.pin(TICKET_KEY_BYTES);
    // Tickets only: they work on every worker that has the keys, and nothing is kept here.
    lib.SSL_CTX_ctrl(this.#pointer, SSL_CTRL_SET_SESS_CACHE_MODE, SSL_SESS_CACHE_OFF, 0);
    lib.SSL_CTX_set_num_tickets(this.#pointer, TICKETS);
    block.bytes.set(sessionContext);
    if (lib.SSL_CTX_set_session_id_context(this.#pointer, block.address, sessionContext.length) !== 1) {
      throw new ProxyError(
        "INTERNAL",
        `${this.spec.label}: session context of ${sessionContext.length} bytes`,
      );
    }
    if (ticketKeys !== null) {
      block.bytes.set(spreadTicketKeys(ticketKeys));
      lib.SSL_CTX_ctrl(this.#pointer, SSL_CTRL_SET_TLSEXT_TICKET_KEYS, TICKET_KEY_BYTES, block.address);
      block.bytes.fill(0);
    }
    lib.SSL_CTX_set_session_ticket_cb(this.#pointer, callbacks.seal, callbacks.ticket, 0);
    if (alpn.length > 0) lib.SSL_CTX_set_alpn_select_cb(this.#pointer, callbacks.alpn, 0);
  }

  #call(callbacks: Callbacks): void {
    const lib = this.#lib;
    lib.SSL_CTX_ctrl(
      this.#pointer,
      SSL_CTRL_SET_SESS_CACHE_MODE,
      SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL,
      0,
    );
    lib.SSL_CTX_sess_set_new_cb(this.#pointer, callbacks.session);
    if (this.spec.alpn.length === 0) return;
    const wire = lib.pin(65_535);
    let length = 0;
    for (const name of this.spec.alpn) {
      wire.bytes[length] = name.length;
      length += 1 + wire.bytes.write(name, length + 1, "latin1");
    }
    if (lib.SSL_CTX_set_alpn_protos(this.#pointer, wire.address, length) !== 0) {
      throw new ProxyError("INTERNAL", `${this.spec.label}: ALPN list refused`);
    }
  }

  #unusable(what: string): ProxyError {
    return new ProxyError("IDENTITY", `${this.spec.label}: ${what}`);
  }

  /** Words for the oldest error; never more than OpenSSL's fixed texts, so no key material. */
  #reason(): string {
    return this.#lib.ERR_reason_error_string(this.#lib.ERR_peek_error()) ?? "no reason given";
  }
}

/**
 * OpenSSL wants 16 bytes of name, 32 of HMAC key and 32 of AES key where Node and the spec have 48 in all: the name stays, both
 * keys are derived from the other 32.
 */
function spreadTicketKeys(keys: Uint8Array): Uint8Array {
  const spread = new Uint8Array(TICKET_KEY_BYTES);
  spread.set(keys.subarray(0, 16));
  spread.set(new Uint8Array(hkdfSync("sha256", keys.subarray(16), "", "millrace ticket keys", 64)), 16);
  return spread;
}
