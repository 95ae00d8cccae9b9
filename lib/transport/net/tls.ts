/**
 * TLS for the portable transport: handshakes on a socket that exists already, judges the peer in full and resumed handshakes
 * alike, and refuses with the alert that says why. Invariant: `done` is told of success only after the chain was verified and
 * `authorise` has let the peer in; whatever fails before leaves the socket open, so that the alert can arrive before the close.
 * Node's tls module; RFC 8446 sections 4.6.1 and 6.2.
 */
import { X509Certificate } from "node:crypto";
import type { Socket } from "node:net";
import { constants } from "node:crypto";
import { isIP } from "node:net";
import { connect, createSecureContext, type SecureContext, TLSSocket } from "node:tls";
import { ProxyError } from "../../errors.ts";
import { PeerCache } from "../../tls/peer.ts";
import { pemTexts } from "../../tls/pem.ts";
import type { SecureOptions, TlsContext, TlsContextSpec } from "../transport.ts";
import { Handshake } from "./handshake.ts";

/** What a context of this transport is made of. */
export interface NetTlsContext extends TlsContext {
  readonly secure: SecureContext;
  readonly peers: PeerCache;
  /** Client side: the newest session by key. */
  readonly sessions: SessionCache;
}
