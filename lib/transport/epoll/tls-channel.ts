/**
 * TLS straight on a descriptor: OpenSSL reads from the socket itself and writes into a ring that is sent once per operation.
 * channel.ts says what is promised; SSL_read(3), SSL_write(3), SSL_shutdown(3), SSL_get_error(3).
 *
 *   new ── handshake() ──> standing ── end() ──> output ended ── release() ──> gone
 *               └──> failed ──────────────────────────────────── release() ──────┘
 *
 * Invariant: the SSL object is freed by `release` and used by nobody after it; the error queue is empty before a call that is
 * judged by SSL_get_error, which is asked right after it. Whoever leaves something in the queue clears it.
 */
import { isIP } from "node:net";
import { ProxyError } from "../../errors.ts";
import { EAGAIN } from "../../ffi/errno.ts";
import { SHUT_WR } from "../../ffi/layout.ts";
import { shutdown } from "../../ffi/libc.ts";
import { BIO_NOCLOSE } from "../../ffi/openssl-bio.ts";
import { MAX_FRAGMENT_MODES } from "../../ffi/openssl-session.ts";
import {
  SSL_CTRL_SET_TLSEXT_HOSTNAME,
  SSL_ERROR_SYSCALL,
  SSL_ERROR_WANT_READ,
  SSL_ERROR_WANT_WRITE,
  SSL_ERROR_ZERO_RETURN,
  SSL_SENT_SHUTDOWN,
} from "../../ffi/openssl-ssl.ts";
import type { SecureOptions, TlsFacts } from "../transport.ts";
import { FAILED, type TlsChannel, TRUNCATED, WOULD_BLOCK } from "./channel.ts";
import type { EpollTlsEngine } from "./tls.ts";
import type { EpollTlsContext } from "./tls-context.ts";
import { goneFailure, isTruncation, queueFailure, truncation } from "./tls-failure.ts";
import { type Ring, WRITE_BYTES } from "./tls-ring.ts";
import { Verdict } from "./tls-verdict.ts";

/**
 * Bytes. An OpenSSL that holds nothing asks read(2) for all that its buffer has room for, which is a whole record and more. So if
 * less than this has come since a call began that way, that read was a short one: it found the socket empty, and what comes
 * later makes an edge. (A record begun earlier it completes with exactly the bytes that are missing, which says nothing.)
 * ssl3_read_n and ssl3_setup_read_buffer in its source. Where a client has asked for smaller records (RFC 6066 section 4), newer
 * versions make the buffer smaller, too, and nothing is concluded.
 */
const READ_ROOM = 16_384;

/**
 * Bytes that a TLS 1.3 record adds to its data at least: header, content type, tag (RFC 8446 section 5.2, for the ciphers of
 * tls/ciphers.ts). If just these and the data came since OpenSSL held nothing, it holds nothing again.
 */
const TLS13_FRAMING = 5 + 1 + 16;

/** As `read` and `write` return it: nothing has ended. */
const OPEN = 1;

export class EpollTlsChannel implements TlsChannel {
  readonly plain = false;
  readonly context: EpollTlsContext;
  readonly #engine: EpollTlsEngine;
  readonly #descriptor: number;
  readonly verdict: Verdict;
  /** 0 once released. */
  #ssl: number;
  #ring: Ring;
  #standing = false;
  #failure: ProxyError | null = null;
  #facts: TlsFacts | null = null;
  /** What every further `read` returns, once the input has ended. */
  #input = OPEN;
  #drained = false;
  /** The BIO on the descriptor, owned by the SSL object. */
  readonly #source: number;
  /** OpenSSL held nothing after the last call, when `#received` bytes had come through the BIO. */
  #empty = false;
  #received = 0;
  /** READ_ROOM; 0: no read is known to have been a short one. */
  #room = READ_ROOM;
  /** TLS13_FRAMING; 0, which no record has: not known. */
  #framing = 0;
  /** What every further `write` returns, once the output has failed. */
  #output = OPEN;
  /** The last byte of what was encrypted has not been reported as taken, because its record is still in the ring. */
  #owed = false;
  #closeNotified = false;
  #ended = false;

  constructor(engine: EpollTlsEngine, descriptor: number, context: EpollTlsContext, options: SecureOptions) {
    this.#engine = engine;
    this.#descriptor = descriptor;
    this.context = context;
    const { lib } = engine;
    const ssl = lib.SSL_new(context.pointer);
    const source = ssl === 0 ? 0 : lib.BIO_new_socket(descriptor, BIO_NOCLOSE);
    if (source === 0) {
      if (ssl !== 0) lib.SSL_free(ssl);
      throw new ProxyError("INTERNAL", `${context.spec.label}: no memory for a TLS connection`);
    }
    this.#ssl = ssl;
    this.verdict = new Verdict(engine, context, ssl, options.serverName, options.sessionKey);
    lib.SSL_set0_rbio(ssl, source);
    this.#source = source;
    this.#ring = engine.rings.current();
    lib.BIO_up_ref(this.#ring.bio);
    lib.SSL_set0_wbio(ssl, this.#ring.bio);
    if (context.spec.side === "server") lib.SSL_set_accept_state(ssl);
    else this.#prepareClient(options.serverName);
  }

  handshake(): number {
    if (this.#failure !== null || this.#ssl === 0) return FAILED;
    const { lib } = this.#engine;
    for (;;) {
      this.#bind();
      this.#engine.active = this;
      lib.ERR_clear_error();
      const result = lib.SSL_do_handshake(this.#ssl);
      const errno = result === 1 ? 0 : lib.errno();
      const why = result === 1 ? 0 : lib.SSL_get_error(this.#ssl, result);
      this.#engine.active = null;
      if (result === 1) return this.#stand();
      if (why !== SSL_ERROR_WANT_READ && why !== SSL_ERROR_WANT_WRITE) return this.#fail(why, errno);
      const flushed = this.#flush();
      if (flushed < 0 && flushed !== WOULD_BLOCK) return this.#failSocket(-flushed);
      // A flight longer than the ring: what it held is gone, so there is room for more.
      if (why === SSL_ERROR_WANT_READ || flushed === WOULD_BLOCK) return WOULD_BLOCK;
    }
  }

  facts(): TlsFacts {
    if (this.#ssl === 0 && this.#facts === null)
      throw new ProxyError("INTERNAL", "facts of a released channel");
    this.#facts ??= this.#engine.facts.read(this.#ssl, this.verdict.peer, this.#standing);
    return this.#facts;
  }

  read(address: number, length: number): number {
    if (this.#input !== OPEN) return this.#input;
    const { lib } = this.#engine;
    if (this.#ring.owner === this) this.#flush();
    this.#bind();
    this.#engine.active = this;
    if (lib.ERR_peek_error() !== 0) lib.ERR_clear_error();
    this.#drained = false;
    let empty = this.#empty;
    let count = 0;
    do {
      const got = lib.SSL_read(this.#ssl, address + count, length - count);
      if (got > 0) {
        count += got;
        const before = this.#received;
        if (!this.#mark(got, empty)) continue;
        this.#drained = empty && this.#received - before < this.#room;
        if (this.#drained) break;
        empty = true;
        continue;
      }
      const errno = lib.errno();
      const why = lib.SSL_get_error(this.#ssl, got);
      // Else it has worked through what it had, without data, and looks at the socket again only when it is asked again.
      if (why === SSL_ERROR_WANT_READ) this.#drained = errno === EAGAIN;
      else if (why !== SSL_ERROR_WANT_WRITE) this.#endInput(why, errno);
      // What came and was no data may be the header of a record, which OpenSSL does not count among what it holds.
      this.#empty = empty && lib.BIO_number_read(this.#source) === this.#received;
      break;
    } while (count < length);
    this.#engine.active = null;
    // A KeyUpdate is answered, a broken record is answered with an alert.
    this.#flush();
    if (count > 0) return count;
    return this.#input === OPEN ? WOULD_BLOCK : this.#input;
  }

  write(address: number, length: number): number {
    if (this.#output !== OPEN) return this.#output;
    if (this.#ring.owner === this) {
      const left = this.#flush();
      if (left < 0) return left;
    }
    let taken = 0;
    if (this.#owed) {
      // This byte is the first of what is offered again, and its record has gone.
      this.#owed = false;
      taken = 1;
      if (length === 1) return 1;
    }
    const { lib } = this.#engine;
    this.#bind();
    const count = lib.SSL_write(this.#ssl, address + taken, Math.min(length - taken, WRITE_BYTES));
    if (count <= 0) {
      const why = lib.SSL_get_error(this.#ssl, count);
      // Of a message behind the handshake (a ticket) only the beginning has come, and OpenSSL wants the rest first.
      if (why === SSL_ERROR_WANT_READ) return taken > 0 ? taken : WOULD_BLOCK;
      return this.#failWrite(why, taken);
    }
    taken += count;
    const left = this.#flush();
    if (left === 0) return taken;
    if (left !== WOULD_BLOCK) return left;
    // The ring holds what the socket did not take. One byte is kept back, so that the caller waits for the socket and offers
    // that byte again: what it must remember is one byte and not what is encrypted already.
    this.#owed = true;
    return taken === 1 ? WOULD_BLOCK : taken - 1;
  }

  end(): number {
    if (this.#ended || !this.#standing) return 0;
    const { lib } = this.#engine;
    if (this.#ring.owner === this) {
      const left = this.#flush();
      if (left < 0) return left;
    }
    if (!this.#closeNotified && this.#output === OPEN && this.#input !== FAILED) {
      this.#bind();
      lib.ERR_clear_error();
      if (lib.SSL_shutdown(this.#ssl) < 0) {
        lib.ERR_clear_error();
        // As in `write`: without the rest of that message no close_notify leaves, and a bare FIN would look like a truncation.
        if (this.#input === OPEN && lib.SSL_in_init(this.#ssl) === 1) return WOULD_BLOCK;
      }
      this.#closeNotified = true;
      const left = this.#flush();
      if (left === WOULD_BLOCK || (left < 0 && this.#input !== 0)) return left;
    }
    this.#ended = true;
    const result = shutdown(this.#descriptor, SHUT_WR);
    // Who has said close_notify may have closed for good (RFC 8446 section 6.1): then ours is answered by a reset, and nothing is lost.
    return this.#input === 0 ? 0 : result;
  }

  unsent(): boolean {
    return this.#ring.owner === this;
  }

  drained(): boolean {
    return this.#drained;
  }

  failure(): ProxyError | null {
    return this.#failure;
  }

  release(): void {
    if (this.#ssl === 0) return;
    const ssl = this.#ssl;
    this.#ssl = 0;
    this.#input = this.#output = FAILED;
    this.#ended = true;
    if (this.#ring.owner === this) this.#abandon();
    const { lib } = this.#engine;
    // OpenSSL spoils the session of a connection that ends without close_notify, as TLS 1.0 had it; a reset is no such reason.
    if (this.#standing && this.#failure === null) lib.SSL_set_shutdown(ssl, SSL_SENT_SHUTDOWN);
    lib.SSL_free(ssl);
  }

  #prepareClient(name: string | null): void {
    const { lib, scratch } = this.#engine;
    lib.SSL_set_connect_state(this.#ssl);
    // RFC 6066 section 3 has no IP literals and no trailing dot.
    if (name !== null && isIP(name) === 0) {
      scratch.bytes.fill(0, scratch.bytes.write(name.replace(/\.$/, ""), 0, 255, "latin1"), 256);
      lib.SSL_ctrl(this.#ssl, SSL_CTRL_SET_TLSEXT_HOSTNAME, 0, scratch.address);
    }
    this.verdict.offerSession();
  }

  /** Has the ring that this SSL object writes to be one that it may write to. */
  #bind(): void {
    if (this.#ring.owner === this) return;
    const ring = this.#engine.rings.current();
    if (ring === this.#ring) return;
    this.#engine.lib.BIO_up_ref(ring.bio);
    this.#engine.lib.SSL_set0_wbio(this.#ssl, ring.bio);
    this.#ring = ring;
  }

  /**
   * Right behind `got` bytes of data: whether OpenSSL holds nothing more; if so, notes how much has come. `empty`: it held nothing
   * when that was noted last.
   */
  #mark(got: number, empty: boolean): boolean {
    const { lib } = this.#engine;
    const received = lib.BIO_number_read(this.#source);
    const exact = empty && received - this.#received === got + this.#framing;
    this.#empty = exact || lib.SSL_has_pending(this.#ssl) === 0;
    if (this.#empty) this.#received = received;
    return this.#empty;
  }

  /** Hands the ring to the socket. 0: it is empty; WOULD_BLOCK: this channel owns what is left; -errno: the output has failed. */
  #flush(): number {
    const ring = this.#ring;
    const owned = ring.owner === this;
    const left = ring.flush(this.#descriptor);
    if (left === 0) {
      if (owned) this.#engine.rings.put(ring);
    } else if (left === WOULD_BLOCK) {
      ring.owner = this;
    } else {
      this.#abandon();
      this.#output = left;
    }
    return left;
  }

  /** Forgets what the socket did not take. */
  #abandon(): void {
    const owned = this.#ring.owner === this;
    this.#ring.empty();
    if (owned) this.#engine.rings.put(this.#ring);
  }

  /** The handshake stands for OpenSSL. 1: for us too. */
  #stand(): number {
    const flushed = this.#flush();
    if (flushed < 0 && flushed !== WOULD_BLOCK) return this.#failSocket(-flushed);
    if (!this.verdict.confirm()) {
      this.#failure = this.verdict.refusal;
      return FAILED;
    }
    this.#standing = true;
    if (this.facts().version === "TLSv1.3") this.#framing = TLS13_FRAMING;
    const { lib } = this.#engine;
    const fragment = lib.SSL_SESSION_get_max_fragment_length(lib.SSL_get_session(this.#ssl));
    if (MAX_FRAGMENT_MODES.includes(fragment)) this.#room = 0;
    return 1;
  }

  #fail(why: number, errno: number): number {
    const { lib } = this.#engine;
    const { label } = this.context.spec;
    const gone =
      why === SSL_ERROR_SYSCALL || why === SSL_ERROR_ZERO_RETURN || isTruncation(lib.ERR_peek_error());
    // Of a refusal of ours the queue only says that there was one.
    this.#failure =
      this.verdict.refusal ??
      (gone
        ? goneFailure(label, why === SSL_ERROR_SYSCALL ? errno : 0)
        : queueFailure(lib, label, "TLS handshake", lib.SSL_version(this.#ssl)));
    lib.ERR_clear_error();
    this.#flush();
    return FAILED;
  }

  #failSocket(errno: number): number {
    this.#failure ??= goneFailure(this.context.spec.label, errno);
    return FAILED;
  }

  #endInput(why: number, errno: number): void {
    const { lib } = this.#engine;
    const { label } = this.context.spec;
    if (why === SSL_ERROR_ZERO_RETURN) this.#input = 0;
    else if (why === SSL_ERROR_SYSCALL && errno !== 0) this.#input = -errno;
    else if (why === SSL_ERROR_SYSCALL || isTruncation(lib.ERR_peek_error())) {
      this.#input = TRUNCATED;
      this.#failure = truncation(label);
    } else {
      this.#input = FAILED;
      this.#failure = queueFailure(lib, label, "TLS", lib.SSL_version(this.#ssl));
    }
    lib.ERR_clear_error();
  }

  /** A write that encrypted nothing. `taken`: what of an earlier one is to be reported. */
  #failWrite(why: number, taken: number): number {
    const { lib } = this.#engine;
    this.#failure = queueFailure(
      lib,
      this.context.spec.label,
      `TLS write (${why})`,
      lib.SSL_version(this.#ssl),
    );
    this.#output = FAILED;
    this.#flush();
    return taken > 0 ? taken : FAILED;
  }
}
