/**
 * Where OpenSSL writes: one ring of memory for all connections of a worker, so that the records of one operation leave in one
 * send(2) and an idle connection owns no output buffer. BIO_s_bio(3).
 * Invariant: a ring without owner is empty. Whoever leaves bytes in it (the socket was full) owns it until they are gone; the
 * others then use another ring. So what is encrypted is never copied before the socket takes it.
 */

import { ProxyError } from "../../errors.ts";
import { MSG_NOSIGNAL } from "../../ffi/layout.ts";
import { send } from "../../ffi/libc.ts";
import { viewOf } from "../../ffi/library.ts";
import type { Openssl } from "../../ffi/openssl.ts";
import { BIO_C_SET_WRITE_BUF_SIZE, BIO_CTRL_RESET, makePair, ringAddress } from "../../ffi/openssl-bio.ts";
import { WOULD_BLOCK } from "./channel.ts";

/** Plaintext that one write encrypts: four full records, what the relay's scratch memory holds. */
export const WRITE_BYTES = 65_536;

/**
 * WRITE_BYTES as records, and what may stand before them: a client may ask for records of 512 bytes (RFC 6066 section 4), and 128
 * of them add 128 × 29 bytes at most (header 5, in TLS 1.2 nonce 8, tag 16; tls/ciphers.ts has no CBC); an alert or a KeyUpdate has
 * some 40. Also room for a handshake flight; a longer one takes turns.
 */
const RING_BYTES = WRITE_BYTES + 4096;

/** Empty rings kept for the next slow reader; more are freed. */
const SPARE_RINGS = 16;

export class Ring {
  /** The BIO that SSL objects write to. */
  readonly bio: number;
  readonly #other: number;
  /** Where its bytes begin, always: it is emptied as a whole. */
  readonly #address: number;
  /** How many bytes are in it, in OpenSSL's own memory, which lives until `free`; null: OpenSSL must be asked. */
  readonly #waiting: Uint32Array | null;
  readonly #lib: Openssl;
  /** How many of its bytes the socket has taken. */
  #sent = 0;
  /** Who left bytes in it; null: it is empty and anybody's. */
  owner: object | null = null;

  constructor(lib: Openssl) {
    const scratch = lib.pin(16);
    const pair = makePair(lib, RING_BYTES, scratch);
    if (pair === null) throw new ProxyError("INTERNAL", "no memory for TLS output");
    this.#lib = lib;
    this.bio = pair.near;
    this.#other = pair.far;
    this.#address = ringAddress(lib, pair, scratch);
    this.#waiting = lib.waitingAt === null ? null : wordAt(lib.BIO_get_data(this.bio) + lib.waitingAt);
  }

  /** Hands its bytes to the socket. 0: it is empty; negative: WOULD_BLOCK or -errno, and bytes are left. */
  flush(descriptor: number): number {
    const length = this.#waiting === null ? this.#lib.BIO_ctrl_wpending(this.bio) : this.#waiting[0]!;
    if (length === 0) return 0;
    const rest = length - this.#sent;
    const sent = send(descriptor, this.#address + this.#sent, rest, MSG_NOSIGNAL);
    if (sent === rest) {
      this.empty();
      return 0;
    }
    if (sent < 0) return sent;
    this.#sent += sent;
    return WOULD_BLOCK;
  }

  /** Forgets what is in it. */
  empty(): void {
    this.#lib.BIO_ctrl(this.bio, BIO_CTRL_RESET, 0, 0);
    this.#sent = 0;
    this.owner = null;
  }

  /** Gives its memory back. SSL objects still bound to it keep an empty shell until they move on. */
  free(): void {
    this.owner = this;
    this.#lib.BIO_free(this.#other);
    // Without its other half the ring can be made small, which frees the large one.
    this.#lib.BIO_ctrl(this.bio, BIO_C_SET_WRITE_BUF_SIZE, 1, 0);
    this.#lib.BIO_free(this.bio);
  }
}

function wordAt(address: number): Uint32Array {
  const view = viewOf(address, 4);
  return new Uint32Array(view.buffer, view.byteOffset, 1);
}

/** The rings of one worker. An SSL object writes to the one it owns, else to the current one, and to no other. */
export class Rings {
  readonly #lib: Openssl;
  readonly #spare: Ring[] = [];
  #current: Ring;

  constructor(lib: Openssl) {
    this.#lib = lib;
    this.#current = new Ring(lib);
  }

  /** An empty ring without owner, the same one as long as it stays so. */
  current(): Ring {
    if (this.#current.owner !== null) this.#current = this.#spare.pop() ?? new Ring(this.#lib);
    return this.#current;
  }

  /** Takes back a ring that had an owner and is empty now. */
  put(ring: Ring): void {
    if (ring === this.#current) return;
    if (this.#spare.length < SPARE_RINGS) this.#spare.push(ring);
    else ring.free();
  }

  /** After the last SSL object is gone. */
  release(): void {
    this.#current.free();
    for (const ring of this.#spare.splice(0)) ring.free();
  }
}
