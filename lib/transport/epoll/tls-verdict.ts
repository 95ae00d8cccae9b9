/**
 * The verdict on the other side of one connection: its chain, its dates, the rules; in full and resumed handshakes alike.
 * OpenSSL calls in here while a handshake runs. SSL_CTX_set_cert_verify_callback(3), SSL_CTX_set_session_ticket_cb(3).
 * Invariant: `confirm` lets nobody in on whom `authorise` did not decide in this very handshake. A resumption that is not
 * allowed becomes a full handshake, whose refusal the other side is told by an alert.
 */
import { ProxyError } from "../../errors.ts";
import type { Peer } from "../transport.ts";
import type { EpollTlsEngine } from "./tls.ts";
import type { EpollTlsContext } from "./tls-context.ts";
import { chainFailure, resultFor } from "./tls-failure.ts";

/**
 * ms. How long one full handshake carries: every resumption brings a new ticket, so a session would else live for ever on a chain
 * that was verified once. A day, as operators rotate keys; RFC 8446 section 4.6.1 bounds a ticket by a week.
 */
const RESUMED_AT_MOST = 86_400_000;

export class Verdict {
  readonly #engine: EpollTlsEngine;
  readonly #context: EpollTlsContext;
  readonly #ssl: number;
  /** What the other side must prove to be; server side: null. */
  readonly #name: string | null;
  readonly #sessionKey: string;
  /** Whose certificate was shown and verified in this handshake. */
  #shown: Peer | null = null;
  /** Who the session to be resumed belongs to. */
  #remembered: Peer | null = null;
  /** Client side: Unix ms until which the server's chain counts, for sessions that it gives. */
  #validUntil = Number.POSITIVE_INFINITY;
  /** Why the other side was refused; null: it was not. */
  refusal: ProxyError | null = null;

  constructor(
    engine: EpollTlsEngine,
    context: EpollTlsContext,
    ssl: number,
    name: string | null,
    sessionKey: string,
  ) {
    this.#engine = engine;
    this.#context = context;
    this.#ssl = ssl;
    this.#name = name;
    this.#sessionKey = sessionKey;
  }

  /** Who it is, as far as known; also after a refusal. */
  get peer(): Peer | null {
    if (this.#shown !== null || this.#remembered === null) return this.#shown;
    // A session that was only offered proves nothing of whoever is there.
    return this.#engine.lib.SSL_session_reused(this.#ssl) === 1 ? this.#remembered : null;
  }

  /** X509_verify_cert(3) in our words, then `authorise`. 1: verified and let in. */
  verify(store: number): number {
    const { lib, peers, tickets } = this.#engine;
    const { spec, chains } = this.#context;
    const now = this.#engine.now();
    const leaf = lib.X509_STORE_CTX_get0_cert(store);
    const key = peers.chainKey(lib.X509_STORE_CTX_get0_untrusted(store));
    let chain = key === null ? null : chains.get(key, now);
    if (chain === null) {
      const peer = peers.peer(leaf);
      this.#shown = peer;
      if (lib.X509_verify_cert(store) !== 1) {
        return this.refuse(store, chainFailure(lib, spec.label, peer, lib.X509_STORE_CTX_get_error(store)));
      }
      const validUntil = now + peers.lifetime(lib.X509_STORE_CTX_get0_chain(store));
      // OpenSSL would keep the chain for as long as the connection lives, some 5 kB for each certificate.
      lib.X509_STORE_CTX_set0_verified_chain(store, 0);
      chain = { peer, validUntil: Math.min(validUntil, this.#context.listValidUntil), seen: now };
      if (key !== null) chains.add(key, chain);
    }
    this.#shown = chain.peer;
    const denial = spec.authorise(chain.peer, this.#name);
    if (denial !== null) return this.refuse(store, denial);
    this.#validUntil = Math.min(chain.validUntil, now + RESUMED_AT_MOST);
    if (spec.side === "server")
      tickets.seal(lib.SSL_get_session(this.#ssl), leaf, chain.peer, this.#validUntil);
    return 1;
  }

  /** Makes OpenSSL send the alert of `error`. */
  refuse(store: number, error: ProxyError): number {
    this.refusal = error;
    this.#engine.lib.X509_STORE_CTX_set_error(store, resultFor(error.alert));
    return 0;
  }

  /** Server side: whether a session that the client offers may be resumed. Asked for every ticket of the hello. */
  resumable(session: number): boolean {
    const { lib, tickets } = this.#engine;
    const { spec } = this.#context;
    this.#remembered = null;
    if (spec.clientAuth === "none") return true;
    const ticket = tickets.open(session);
    if (ticket === null) return spec.clientAuth === "optional" && lib.SSL_SESSION_get0_peer(session) === 0;
    if (!this.#counts(ticket.validUntil) || spec.authorise(ticket.peer, null) !== null) return false;
    this.#remembered = ticket.peer;
    return true;
  }

  /** Client side: offers a session, if there is one whose server would be let in now. */
  offerSession(): void {
    const { lib } = this.#engine;
    const { sessions, spec } = this.#context;
    const session = sessions.take(this.#sessionKey);
    if (session === null) return;
    const stands = this.#counts(session.validUntil) && spec.authorise(session.peer, this.#name) === null;
    if (!stands || lib.SSL_set_session(this.#ssl, session.pointer) !== 1) {
      lib.SSL_SESSION_free(session.pointer);
      return;
    }
    this.#remembered = session.peer;
    this.#validUntil = session.validUntil;
    sessions.done(this.#sessionKey, session);
  }

  /** Client side: keeps a session that the server gave. True: the reference was taken over. */
  keepSession(session: number): boolean {
    const { sessions, asleep } = this.#context;
    const { peer } = this;
    if (peer === null || asleep || this.#engine.lib.SSL_SESSION_is_resumable(session) !== 1) return false;
    sessions.put(this.#sessionKey, { pointer: session, peer, validUntil: this.#validUntil });
    return true;
  }

  /** The handshake stands for OpenSSL. Whether the other side is the one that was judged; else `refusal` is set. */
  confirm(): boolean {
    const { side, clientAuth, label } = this.#context.spec;
    if (side === "server" && clientAuth === "none") return true;
    const resumed = this.#engine.lib.SSL_session_reused(this.#ssl) === 1;
    if (!resumed) this.#remembered = null;
    if (resumed && this.#fingerprint() !== (this.#remembered?.fingerprint ?? null)) {
      this.refusal = new ProxyError("DENIED", `${label}: resumed a session of another peer`);
    } else if (this.peer === null && (side === "client" || clientAuth === "required")) {
      this.refusal = new ProxyError("DENIED", `${label}: the peer was not judged`);
    }
    if (side === "server" && this.refusal === null) this.#engine.tickets.settle(this.#ssl);
    return this.refusal === null;
  }

  /** Of the peer that the resumed session belongs to; null: of none. */
  #fingerprint(): string | null {
    const { lib, peers, tickets } = this.#engine;
    if (this.#context.spec.side === "server") {
      return tickets.open(lib.SSL_get_session(this.#ssl))?.peer.fingerprint ?? null;
    }
    const certificate = lib.SSL_get0_peer_certificate(this.#ssl);
    return certificate === 0 ? null : peers.fingerprint(certificate);
  }

  #counts(validUntil: number): boolean {
    return this.#engine.now() < validUntil;
  }
}
