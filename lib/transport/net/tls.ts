/**
 * TLS for the portable transport: wraps a socket that exists already, as server or as client, and lets a handshake decide who
 * may speak through it. The one door to TLS in this room. Node's tls module.
 */
import { isIP, type Socket } from "node:net";
import { connect, TLSSocket } from "node:tls";
import { ProxyError } from "../../errors.ts";
import type { SecureOptions } from "../transport.ts";
import { Handshake, type Secured, type Wrapped } from "./handshake.ts";
import type { KeptSession, NetTlsContext } from "./tls-context.ts";

export { receivedAlert } from "./handshake.ts";
export { createNetContext, type NetTlsContext } from "./tls-context.ts";

/**
 * Handshakes on `raw`, which must be connected and paused, and returns the socket through which plaintext goes from now on.
 * `prefix`: bytes already read from `raw` that belong to the handshake. Call it once per socket; `done` is never called before
 * it has returned.
 */
export function secureSocket(
  raw: Socket,
  prefix: Buffer | null,
  context: NetTlsContext,
  options: SecureOptions,
  done: Secured,
): Socket {
  if (raw.destroyed || raw.readableEnded) {
    process.nextTick(
      done,
      new ProxyError("RESET", `${context.spec.label}: the peer went away before the handshake`),
      null,
    );
    return raw;
  }
  if (prefix !== null) raw.unshift(prefix);
  const kept = context.sessions.get(options.sessionKey) ?? null;
  const server = context.spec.side === "server";
  const wrapped = server ? accept(raw, context) : originate(raw, context, options.serverName, kept);
  new Handshake(raw, wrapped as Wrapped, context, options, kept, done).begin();
  return wrapped;
}

function accept(raw: Socket, { spec, secure }: NetTlsContext): TLSSocket {
  return new TLSSocket(raw, {
    isServer: true,
    secureContext: secure,
    requestCert: spec.clientAuth !== "none",
    // Makes OpenSSL itself refuse a client without a certificate. Nothing else: Node judges chains in tls.Server only.
    rejectUnauthorized: spec.clientAuth === "required",
    ...(spec.alpn.length === 0 ? {} : { ALPNProtocols: [...spec.alpn] }),
  });
}

function originate(
  raw: Socket,
  context: NetTlsContext,
  name: string | null,
  kept: KeptSession | null,
): TLSSocket {
  const { spec, secure } = context;
  return connect({
    socket: raw,
    secureContext: secure,
    // RFC 6066 section 3 has no IP literals and no trailing dot.
    ...(name === null || isIP(name) !== 0 ? {} : { servername: name.replace(/\.$/, "") }),
    ...(kept === null ? {} : { session: kept.session }),
    ...(spec.alpn.length === 0 ? {} : { ALPNProtocols: [...spec.alpn] }),
    rejectUnauthorized: false,
    checkServerIdentity: () => undefined,
  });
}
