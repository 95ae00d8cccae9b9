/**
 * The port: what a data plane offers to the story (connection.ts). Two implementations, `net` and `epoll`, must be
 * indistinguishable through it: same bytes, same reasons, same refusals.
 *
 * Everything here is synchronous or calls back; no promise crosses the port, because the epoll loop never returns
 * to Node's event loop. A callback is called at most once unless it says otherwise, never before the call that
 * registered it has returned, and never after the stream was closed.
 */
import type { ProxyError } from "../errors.ts";
import type { Task, Timer } from "../timing/wheel.ts";
import type { SocketAddress } from "../wire/address.ts";

export interface Transport {
  readonly name: "net" | "epoll";
  /** Monotonic ms. Cheap; may stand still within one turn of the loop. */
  now(): number;
  /** A stopped timer that tells its task each time it fires. Made once per connection and started again for each phase. */
  timer(task: Task): Timer;
  /** Listens, then calls `ready`, then `accepted` for every client. Errors of single accepts never end it. */
  listen(options: ListenOptions, accepted: Accepted, ready: (error: ProxyError | null) => void): Listening;
  /**
   * Begins to connect and returns the stream at once. `dialled(null)` when it stands, `dialled(error)` (code DIAL) when it
   * failed; the stream is then released already. `reset()` before that cancels, and nobody is told.
   */
  dial(target: SocketAddress, options: DialOptions, dialler: Dialler): Stream;
  /** Compiles what TLS needs. Throws ProxyError IDENTITY. Lives as long as anything refers to it. */
  context(spec: TlsContextSpec): TlsContext;
  /**
   * New connections ask for these contexts. Of others what is compiled and remembered may be given up; who asks for one of them
   * nevertheless has it compiled again.
   */
  keep(contexts: ReadonlySet<TlsContext>): void;
  /**
   * Moves bytes both ways until both directions ended or one side failed; then says `relayed` once. It closes neither
   * stream: the story does. What was peeked and not skipped goes first.
   */
  relay(downstream: Stream, upstream: Stream, flow: Flow, owner: RelayOwner): void;
}

// Who is told of what comes to every connection is an object: a closure for each would be a fifth of what an idle one keeps.

export interface Dialler {
  dialled(error: ProxyError | null): void;
}

export interface StreamOwner {
  /** The other side reset, or the socket failed, outside of a dial and a relay. Told once. */
  failed(stream: Stream, error: ProxyError): void;
}

export interface RelayOwner {
  relayed(end: RelayEnd): void;
}

export type Accepted = (downstream: Stream) => void;

export interface ListenOptions {
  readonly address: SocketAddress;
  /** A descriptor that listens already (epoll: always; net: only inherited). */
  readonly descriptor: number | null;
}

export interface Listening {
  /** The bound address (port 0 resolved). */
  readonly address: SocketAddress;
  /** Stops accepting at once: who waits in the kernel's queue is reset. Streams already accepted live on. */
  close(): void;
  /**
   * The orderly end: who waits in the queue is accepted still, because for him the connection stands already; then it closes and
   * calls `finished`. Who comes behind the last of them is refused.
   */
  finish(finished: () => void): void;
}

export interface DialOptions {
  /** Local address to dial from, without port; null: the kernel chooses. */
  readonly from: string | null;
  /** Something is sent as soon as the stream stands. A transport may then spare the packet that would say only that it does. */
  readonly speaksFirst: boolean;
}

/**
 * Peeks: returns 0 when it has decided, else how many bytes in all it wants to see before it is called again. The bytes hold
 * only until it returns.
 */
export type Look = (bytes: Buffer, ended: boolean) => number;

/** One side of a connection. Owned by the connection; released by exactly one of `finish` and `reset`. */
export interface Stream {
  readonly remote: SocketAddress;
  readonly local: SocketAddress;
  /** What TLS agreed on; null before `secure` is done. After a refusal: what was learned until then, so that the peer is logged. */
  readonly tls: TlsFacts | null;
  /** Who is told when it fails. Set it before anything else. A relay takes it over. */
  owner: StreamOwner | null;
  /**
   * Shows what has arrived, from the first unconsumed byte, now and whenever more came, until `look` returns 0. Never
   * holds more than `limit` bytes: a `look` that sees `limit` bytes must decide. `ended`: the other side will send no more.
   * On a TLS stream it shows plaintext.
   */
  peek(limit: number, look: Look): void;
  /** Consumes `count` bytes that were peeked. */
  skip(count: number): void;
  /**
   * Handshakes in place. `done(null)` when it stands AND `context.authorise` let the peer in; else `done(error)` with
   * code HANDSHAKE, DENIED, EXPIRED, REVOKED or RESET after the alert has been queued; the story then calls `finish`.
   */
  secure(context: TlsContext, options: SecureOptions, done: (error: ProxyError | null) => void): void;
  /** Bytes for it wait, because the other side does not take them. */
  readonly stuck: boolean;
  /** Queues bytes ahead of anything a relay sends (a PROXY header, a plaintext alert). At most 4 KiB in all. */
  send(bytes: Uint8Array): void;
  /** Orderly close: delivers what is queued, says FIN (TLS: close_notify), drains input within a bound, releases. */
  finish(): void;
  /** Sends a reset, drops what is queued, releases. */
  reset(): void;
}

/** Counted by the relay while it runs; read by the story, the live listing and the idle rule. */
export interface Flow {
  bytesUp: number;
  bytesDown: number;
  /** `now()` of the last byte moved in either direction, or of the last half-close. */
  lastActive: number;
  /** The client has ended its direction and that end was passed on; likewise the upstream. */
  endedUp: boolean;
  endedDown: boolean;
}

/**
 * How a relay ended. `ok`: both directions ended in order. `reset`: `side` reset or failed; everything read from it before
 * has been handed to the other side's socket. `error` explains where it is more than a reset (e.g. TLS truncation).
 */
export interface RelayEnd {
  readonly how: "ok" | "reset";
  readonly side: "downstream" | "upstream" | null;
  readonly error: ProxyError | null;
}

/** Everything a TLS context is made of. PEM texts, no paths. */
export interface TlsContextSpec {
  readonly side: "server" | "client";
  /** For messages: `identity edge` or `cluster db`. */
  readonly label: string;
  readonly cert: string | null;
  readonly key: string | null;
  readonly ca: string | null;
  readonly crl: string | null;
  /** Server side: whether a client certificate is asked for. Client side: always "required" (of the server). */
  readonly clientAuth: "none" | "optional" | "required";
  readonly alpn: readonly string[];
  readonly minVersion: "1.2" | "1.3";
  /** Server side: sessions resume only within the same value (at most 32 bytes): route, bundle, CRL and rules hashed. */
  readonly sessionContext: Uint8Array;
  /** Server side: 48 bytes shared by all workers; null: tickets of this context only. */
  readonly ticketKeys: Uint8Array | null;
  /**
   * Decides on a peer whose chain was verified, in full and resumed handshakes alike. `name` is `SecureOptions.serverName`
   * (null on the server side). Returns null to let it in, or the denial. Never throws. Not called where no certificate
   * was presented (then `clientAuth` has decided).
   */
  readonly authorise: (peer: Peer, name: string | null) => ProxyError | null;
}

/** Opaque; made by `context`, understood only by the transport that made it. */
export interface TlsContext {
  readonly spec: TlsContextSpec;
}

export interface SecureOptions {
  /** Client side: the name the other side must prove; sent as SNI unless it is an IP literal. Server side: null. */
  readonly serverName: string | null;
  /** Client side: the key under which sessions are kept for resumption. */
  readonly sessionKey: string;
}

/** What a handshake agreed on. */
export interface TlsFacts {
  /** `TLSv1.2` or `TLSv1.3`. */
  readonly version: string;
  readonly cipher: string;
  readonly alpn: string | null;
  readonly resumed: boolean;
  readonly peer: Peer | null;
  /** 16 bytes in hex from the TLS exporter (RFC 8446 section 7.5), equal at both ends of this leg. */
  readonly link: string | null;
}

/** Who the other side proved to be, from its leaf certificate. */
export interface Peer {
  /** RFC 4514-like, e.g. `CN=alice,OU=ops`. */
  readonly subject: string;
  readonly commonName: string | null;
  readonly organizationalUnits: readonly string[];
  readonly dns: readonly string[];
  readonly uris: readonly string[];
  readonly ips: readonly string[];
  /** SHA-256 of the DER certificate, lower-case hex. */
  readonly fingerprint: string;
  readonly serial: string;
  /** Unix ms. */
  readonly notBefore: number;
  readonly notAfter: number;
}

/** The label of the exporter value in `TlsFacts.link`. */
export const LINK_LABEL = "EXPORTER-millrace-link";
export const LINK_BYTES = 16;
