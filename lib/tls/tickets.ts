/**
 * The key under which session tickets are sealed, shared by all workers so that a client resumes wherever it lands. Fresh
 * random, never stored, replaced every period. Neither node:tls nor OpenSSL's simple interface holds more than one key
 * (SSL_CTX_set_tlsext_ticket_keys(3)), and a callback into JavaScript per ticket costs more than what it saves. So a rotation
 * ends all older tickets: each returning client pays one full handshake per period, and a stolen key opens no older period.
 * RFC 5077 section 5.5, RFC 8446 appendix C.4.
 */
import { randomBytes } from "node:crypto";

/** Key name, HMAC key and AES key, 16 bytes each: the form of node:tls `ticketKeys`. */
export const TICKET_KEY_BYTES = 48;
/** ms. An hour: a tenth of a per cent of the handshakes of a client that comes every few seconds. */
export const TICKET_PERIOD = 3_600_000;

export interface TicketKeysOptions {
  /** Any clock in ms. */
  readonly now: () => number;
  readonly period?: number;
  readonly random?: (bytes: number) => Uint8Array;
}

export class TicketKeys {
  readonly #now: () => number;
  readonly #period: number;
  readonly #random: (bytes: number) => Uint8Array;
  #key: Uint8Array;
  #born: number;

  constructor(options: TicketKeysOptions) {
    this.#now = options.now;
    this.#period = options.period ?? TICKET_PERIOD;
    this.#random = options.random ?? randomBytes;
    this.#key = this.#random(TICKET_KEY_BYTES);
    this.#born = this.#now();
  }

  /** The key to use now. Send it to the workers whenever it is another object than before. */
  current(): Uint8Array {
    if (this.due() <= 0) this.rotate();
    return this.#key;
  }

  /** ms until the next rotation; 0 or less when it is overdue. */
  due(): number {
    return this.#born + this.#period - this.#now();
  }

  /** Replaces the key before its time; no ticket sealed until now opens any more. */
  rotate(): void {
    this.#key = this.#random(TICKET_KEY_BYTES);
    this.#born = this.#now();
  }
}
