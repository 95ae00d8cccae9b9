/**
 * Sessions that servers gave us, kept for the next connection to the same place. RFC 8446 section 4.6.1 and appendix C.4.
 * Invariant: every session in here holds one reference, dropped when it is taken, replaced, crowded out or cleared. A TLS 1.3
 * session is used once; a TLS 1.2 session stays until its successor comes.
 */
import type { Openssl } from "../../ffi/openssl.ts";
import { TLS1_3_VERSION } from "../../ffi/openssl-ssl.ts";
import type { Peer } from "../transport.ts";

/** Sessions per key: as many as connections that commonly run side by side and each bring one back. */
const PER_KEY = 32;
/** Sessions in all. Each holds the server's certificate, some 5 to 10 KiB. */
const IN_ALL = 512;

export interface Session {
  readonly pointer: number;
  /** The server that proved itself in the full handshake. */
  readonly peer: Peer;
  /** Unix ms. Beyond it the chain has to be verified again. */
  readonly validUntil: number;
}

export class Sessions {
  readonly #lib: Openssl;
  /** Newest last. The keys themselves are in order of their last `put`. */
  readonly #byKey = new Map<string, Session[]>();
  #count = 0;

  constructor(lib: Openssl) {
    this.#lib = lib;
  }

  get size(): number {
    return this.#count;
  }

  /** Takes over the reference. */
  put(key: string, session: Session): void {
    const kept = this.#byKey.get(key) ?? [];
    this.#byKey.delete(key);
    this.#byKey.set(key, kept);
    if (kept.length === PER_KEY || (kept.length > 0 && !this.#usedOnce(session))) this.#drop(kept.shift()!);
    kept.push(session);
    this.#count++;
    while (this.#count > IN_ALL) this.#dropOldest();
  }

  /** The newest session under a key, which the caller uses and then gives to `done`; null: there is none. */
  take(key: string): Session | null {
    const kept = this.#byKey.get(key);
    const session = kept?.at(-1);
    if (kept === undefined || session === undefined) return null;
    kept.pop();
    this.#count--;
    if (kept.length === 0) this.#byKey.delete(key);
    return session;
  }

  /** After `take`: back under its key where it may be used again, else its reference is dropped. */
  done(key: string, session: Session): void {
    if (this.#usedOnce(session)) this.#lib.SSL_SESSION_free(session.pointer);
    else this.put(key, session);
  }

  clear(): void {
    for (const kept of this.#byKey.values()) for (const session of kept) this.#drop(session);
    this.#byKey.clear();
  }

  #usedOnce(session: Session): boolean {
    return this.#lib.SSL_SESSION_get_protocol_version(session.pointer) >= TLS1_3_VERSION;
  }

  #dropOldest(): void {
    const [key, kept] = this.#byKey.entries().next().value!;
    this.#drop(kept.shift()!);
    if (kept.length === 0) this.#byKey.delete(key);
  }

  #drop(session: Session): void {
    this.#count--;
    this.#lib.SSL_SESSION_free(session.pointer);
  }
}
