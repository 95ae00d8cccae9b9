/**
 * What the portable transport compiles of a TLS spec: Node's context, and what outlives single handshakes beside it (known peers,
 * a client's sessions), both bounded.
 */
import { constants, X509Certificate } from "node:crypto";
import { createSecureContext, type SecureContext } from "node:tls";
import { ProxyError } from "../../errors.ts";
import { TLS12_CIPHERS, TLS13_CIPHERS } from "../../tls/ciphers.ts";
import { PeerCache } from "../../tls/peer.ts";
import { pemTexts } from "../../tls/pem.ts";
import type { Peer, TlsContext, TlsContextSpec } from "../transport.ts";

/** A context of this transport. */
export interface NetTlsContext extends TlsContext {
  readonly secure: SecureContext;
  readonly peers: PeerCache;
  /** The trust bundle, parsed when the first chain is refused; null: Node's own roots, which it does not show. */
  readonly anchors: () => readonly X509Certificate[] | null;
  /** Client side: the newest session by `SecureOptions.sessionKey`, bounded by the handshakes that fill it. */
  readonly sessions: Map<string, KeptSession>;
}

/** A session with the peer it was made with: to a client that resumes, Node does not show the certificate any more. */
export interface KeptSession {
  readonly session: Buffer;
  readonly peer: Peer;
}

// OpenSSL takes 32 bytes of session context (SSL_MAX_SID_CTX_LENGTH) and Node passes text: 24 bytes of the hash in base64.
const CONTEXT_TEXT = 32;

/** Compiles a context. Throws ProxyError IDENTITY where OpenSSL refuses what the spec holds. */
export function createNetContext(spec: TlsContextSpec): NetTlsContext {
  const server = spec.side === "server";
  try {
    const secure = createSecureContext({
      ...(spec.cert === null ? {} : { cert: spec.cert }),
      ...(spec.key === null ? {} : { key: spec.key }),
      // Without a bundle a client trusts Node's own roots; a server asks nobody, and its empty list keeps them out.
      ...(spec.ca === null ? (server ? { ca: [] } : {}) : { ca: spec.ca }),
      // Node reads one list from each text and would ignore the others.
      ...(spec.crl === null ? {} : { crl: pemTexts(spec.crl, "X509 CRL") }),
      ...(server && spec.ticketKeys !== null ? { ticketKeys: Buffer.from(spec.ticketKeys) } : {}),
      ...(server
        ? { sessionIdContext: sessionContextText(spec.sessionContext), honorCipherOrder: true }
        : {}),
      minVersion: spec.minVersion === "1.3" ? "TLSv1.3" : "TLSv1.2",
      ciphers: `${TLS13_CIPHERS}:${TLS12_CIPHERS}`,
      secureOptions: constants.SSL_OP_NO_RENEGOTIATION,
    });
    return { spec, secure, peers: new PeerCache(), anchors: bundle(spec.ca), sessions: new Map() };
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    throw new ProxyError("IDENTITY", `${spec.label}: OpenSSL refuses the certificates: ${code ?? message}`);
  }
}

function bundle(ca: string | null): () => readonly X509Certificate[] | null {
  let anchors: readonly X509Certificate[] | null = null;
  return () => {
    if (ca !== null) anchors ??= pemTexts(ca, "CERTIFICATE").map((text) => new X509Certificate(text));
    return anchors;
  };
}

function sessionContextText(sessionContext: Uint8Array): string {
  return Buffer.from(sessionContext).toString("base64url").slice(0, CONTEXT_TEXT);
}
