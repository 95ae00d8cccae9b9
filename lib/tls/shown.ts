/**
 * The certificates that the other side of a node:tls socket has shown. Not by getPeerX509Certificate: before Node 26 each call of it
 * leaks the certificate, some 5 KB that no garbage collection finds again.
 */
import { X509Certificate } from "node:crypto";
import type { DetailedPeerCertificate, TLSSocket } from "node:tls";

/** The leaf in DER; null where none was shown, or not again in a resumed session. */
export function shownLeaf(socket: TLSSocket): Buffer | null {
  // An empty object where there is none, null on a socket that is gone: the types know neither.
  const shown = socket.getPeerCertificate() as { readonly raw?: Buffer } | null;
  return shown?.raw ?? null;
}

/** The leaf and what issued it, as far as it was sent or is trusted. Costs some parsing: for refusals. */
export function shownChain(socket: TLSSocket): X509Certificate[] {
  const chain: X509Certificate[] = [];
  let shown = socket.getPeerCertificate(true) as Partial<DetailedPeerCertificate> | null | undefined;
  while (shown?.raw !== undefined) {
    const { raw } = shown;
    // One that vouches for itself is its own issuer.
    if (chain.some((certificate) => certificate.raw.equals(raw))) break;
    chain.push(new X509Certificate(raw));
    shown = shown.issuerCertificate;
  }
  return chain;
}
