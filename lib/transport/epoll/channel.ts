/**
 * What a stream moves its bytes through: the bare descriptor (`PlainChannel`) or TLS on top of it (tls.ts). One
 * channel belongs to one stream, and the stream owns the descriptor: a channel never closes it.
 * Addresses are absolute, of off-heap memory that stays where it is (the worker's scratch or a pooled chunk).
 * Every call is non-blocking. What cannot go on says WOULD_BLOCK; after any edge on the descriptor the stream tries
 * everything it waits for again, so a channel need not say whether it waits to read or to write.
 */
import type { ProxyError } from "../../errors.ts";
import type { SecureOptions, TlsContext, TlsContextSpec, TlsFacts } from "../transport.ts";

/** -EAGAIN on every Linux architecture that Node runs on: nothing moved, wait for the next edge. */
export const WOULD_BLOCK = -11;
/** The input ended without close_notify. `failure()` tells more. Beyond any errno (the kernel's end at 4095). */
export const TRUNCATED = -10_001;
/** The protocol on top of the socket failed for good. `failure()` tells more. */
export const FAILED = -10_002;

export interface Channel {
  /** True when the descriptor's bytes are the stream's bytes, so that splice(2) and MSG_PEEK may go round the channel. */
  readonly plain: boolean;
  /**
   * Up to `length` bytes to `address`. > 0: bytes; 0: the orderly end (FIN, or close_notify); negative: WOULD_BLOCK,
   * TRUNCATED, FAILED or -errno. May return less than was asked for and less than there is: only WOULD_BLOCK means "empty".
   */
  read(address: number, length: number): number;
  /**
   * Takes bytes from `address`. > 0: how many were taken, which may be fewer than `length` although more would go at once
   * (one TLS record): only WOULD_BLOCK means "full". After WOULD_BLOCK the caller offers the same bytes first, perhaps
   * from another address, perhaps with more behind them. Negative: as for `read`.
   */
  write(address: number, length: number): number;
  /** Half-close: shutdown(SHUT_WR), or close_notify. 0: done (also when done before); negative: as for `write`. */
  end(): number;
  /** What explains the last TRUNCATED or FAILED; null where there is nothing to say. */
  failure(): ProxyError | null;
  /** Frees what the channel holds. Called once, before the descriptor is closed. */
  release(): void;
}

/** TLS on a descriptor. Begins unhandshaked: `read`, `write` and `end` are not called before `handshake` gave 1. */
export interface TlsChannel extends Channel {
  readonly plain: false;
  /**
   * Drives the handshake as far as it goes. 1: it stands and `context.spec.authorise` let the peer in; WOULD_BLOCK: call
   * again on the next edge; other negative: it failed, `failure()` is the ProxyError for `Stream.secure`'s `done`, and the
   * alert has been handed to the socket. After a failure only `end` (does nothing, 0) and `release` are called.
   */
  handshake(): number;
  /** Whether the last `read` left nothing, neither inside nor in the socket. An end behind the bytes it has not looked for. */
  drained(): boolean;
  /** Whether what was encrypted waits for room in the socket. It leaves with the next call that moves bytes. */
  unsent(): boolean;
  /** After `handshake` gave 1. */
  facts(): TlsFacts;
}

/** OpenSSL for one worker: makes contexts and channels. Implemented by tls.ts. */
export interface TlsEngine {
  /** See Transport.context. Throws ProxyError IDENTITY. */
  context(spec: TlsContextSpec): TlsContext;
  /** See Transport.keep. */
  keep(contexts: ReadonlySet<TlsContext>): void;
  /** A channel on a connected, non-blocking descriptor. The SSL object is freed by `release`, the descriptor never. */
  channel(descriptor: number, context: TlsContext, options: SecureOptions): TlsChannel;
  /** Ends the engine, after every channel was released. */
  release(): void;
}
