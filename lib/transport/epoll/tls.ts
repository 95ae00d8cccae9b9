/**
 * TLS for one worker: Node's own OpenSSL with what all its connections share. C calls back into this thread while a handshake or
 * a read runs; which connection it is about is known without a look-up, because only one call runs at a time.
 * Invariant: the C callbacks never throw, and outlive every context that knows their address.
 */
import { ProxyError } from "../../errors.ts";
import { copy } from "../../ffi/memory.ts";
import { type Callback, type Openssl, openssl } from "../../ffi/openssl.ts";
import type { Pinned } from "../../ffi/openssl-binding.ts";
import { C } from "../../ffi/openssl-binding.ts";
import { SSL_TLSEXT_ERR_ALERT_FATAL, SSL_TLSEXT_ERR_OK } from "../../ffi/openssl-context.ts";
import {
  SSL_TICKET_RETURN_IGNORE_RENEW,
  SSL_TICKET_RETURN_USE,
  SSL_TICKET_RETURN_USE_RENEW,
  SSL_TICKET_SUCCESS,
  SSL_TICKET_SUCCESS_RENEW,
} from "../../ffi/openssl-session.ts";
import type { SecureOptions, TlsContext, TlsContextSpec } from "../transport.ts";
import type { TlsEngine } from "./channel.ts";
import { EpollTlsChannel } from "./tls-channel.ts";
import { type Callbacks, compile } from "./tls-compile.ts";
import { EpollTlsContext } from "./tls-context.ts";
import { FactsReader } from "./tls-facts.ts";
import { Peers } from "./tls-peers.ts";
import { Rings } from "./tls-ring.ts";
import { Tickets } from "./tls-tickets.ts";

/** Bytes: the longest protocol list of a hello (RFC 7301 section 3.1), and more than any other single call needs. */
const SCRATCH_BYTES = 65_535;

/** OpenSSL for this thread. `now`: wall clock in ms. Throws ProxyError TRANSPORT where it cannot be reached (`probeOpenssl`). */
export function createTlsEngine(now: () => number = Date.now): EpollTlsEngine {
  return new EpollTlsEngine(openssl(), now);
}

export class EpollTlsEngine implements TlsEngine {
  readonly lib: Openssl;
  readonly now: () => number;
  readonly rings: Rings;
  readonly peers: Peers;
  readonly facts: FactsReader;
  readonly tickets: Tickets;
  /** For arguments and results of single calls; nothing in it outlives one. */
  readonly scratch: Pinned;
  /** Whose call into OpenSSL is running. */
  active: EpollTlsChannel | null = null;
  readonly #callbacks: Readonly<Record<keyof Callbacks, Callback>>;
  /** Those that have an SSL_CTX. */
  readonly #awake = new Set<EpollTlsContext>();
  #released = false;

  constructor(lib: Openssl, now: () => number) {
    this.lib = lib;
    this.now = now;
    this.rings = new Rings(lib);
    this.peers = new Peers(lib);
    this.facts = new FactsReader(lib);
    this.tickets = new Tickets(lib, this.peers);
    this.scratch = lib.pin(SCRATCH_BYTES);
    const { pointer, size, int, uint } = C;
    this.#callbacks = {
      verify: lib.register([pointer, pointer], this.#verify),
      seal: lib.register([pointer, pointer], this.#seal),
      ticket: lib.register([pointer, pointer, pointer, size, int, pointer], this.#ticket),
      session: lib.register([pointer, pointer], this.#session),
      alpn: lib.register([pointer, pointer, pointer, pointer, uint, pointer], this.#alpn),
    };
  }

  context(spec: TlsContextSpec): EpollTlsContext {
    const { verify, seal, ticket, session, alpn } = this.#callbacks;
    const callbacks = {
      verify: verify.address,
      seal: seal.address,
      ticket: ticket.address,
      session: session.address,
      alpn: alpn.address,
    };
    const context = new EpollTlsContext(this.lib, spec, () =>
      compile(this.lib, callbacks, this.peers, spec, this.now()),
    );
    this.#awake.add(context);
    return context;
  }

  channel(descriptor: number, context: TlsContext, options: SecureOptions): EpollTlsChannel {
    if (this.#released) throw new ProxyError("INTERNAL", "TLS has ended in this worker");
    const known = context as EpollTlsContext;
    // It may have slept.
    this.#awake.add(known);
    return new EpollTlsChannel(this, descriptor, known, options);
  }

  keep(contexts: ReadonlySet<TlsContext>): void {
    for (const context of this.#awake) {
      if (contexts.has(context)) continue;
      context.sleep();
      this.#awake.delete(context);
    }
  }

  release(): void {
    this.#released = true;
    for (const context of this.#awake) context.sleep();
    this.#awake.clear();
    this.rings.release();
    this.peers.release();
    for (const callback of Object.values(this.#callbacks)) callback.unregister();
  }

  readonly #verify = (store: number): number => {
    const channel = this.active;
    if (channel === null) return 0;
    try {
      return channel.verdict.verify(store);
    } catch (cause) {
      return channel.verdict.refuse(store, fault(channel, cause));
    }
  };

  readonly #seal = (ssl: number): number => {
    try {
      this.tickets.strip(this.lib.SSL_get_session(ssl));
    } catch {
      // The ticket is only dearer.
    }
    return 1;
  };

  readonly #ticket = (
    _ssl: number,
    session: number,
    _name: number,
    _length: number,
    status: number,
  ): number => {
    const opened = status === SSL_TICKET_SUCCESS || status === SSL_TICKET_SUCCESS_RENEW;
    try {
      if (opened && this.active?.verdict.resumable(session) === true) {
        // RENEW is what OpenSSL says of every ticket in TLS 1.3, where each is good for one use.
        return status === SSL_TICKET_SUCCESS ? SSL_TICKET_RETURN_USE : SSL_TICKET_RETURN_USE_RENEW;
      }
    } catch {
      // A full handshake judges anew.
    }
    return SSL_TICKET_RETURN_IGNORE_RENEW;
  };

  readonly #session = (_ssl: number, session: number): number => {
    try {
      return this.active?.verdict.keepSession(session) === true ? 1 : 0;
    } catch {
      return 0;
    }
  };

  /** The first of our protocols that the client offers; none in common is fatal, RFC 7301 section 3.2. */
  readonly #alpn = (
    _ssl: number,
    out: number,
    outLength: number,
    offered: number,
    length: number,
  ): number => {
    const protocols = this.active?.context.protocols;
    if (protocols === undefined || length > SCRATCH_BYTES) return SSL_TLSEXT_ERR_ALERT_FATAL;
    const { bytes, address } = this.scratch;
    copy(address, offered, length);
    const names = new Set<string>();
    for (let at = 0; at < length; at += 1 + bytes[at]!) {
      names.add(bytes.toString("latin1", at + 1, at + 1 + bytes[at]!));
    }
    for (const [name, slot] of protocols) {
      if (!names.has(name)) continue;
      copy(out, slot, 8);
      copy(outLength, slot + 8, 1);
      return SSL_TLSEXT_ERR_OK;
    }
    return SSL_TLSEXT_ERR_ALERT_FATAL;
  };
}

function fault(channel: EpollTlsChannel, cause: unknown): ProxyError {
  return new ProxyError("INTERNAL", `${channel.context.spec.label}: a fault while judging a peer`, { cause });
}
