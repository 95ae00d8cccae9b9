/** What a PROXY v2 header tells the upstream of the client's TLS. proxy-protocol.txt section 2.2.6. */
import type { TlsFacts } from "../transport/transport.ts";
import type { SslFacts, Tlvs } from "../wire/proxy-header.ts";

/** The TLVs of one connection; `sni` as offered in the hello. */
export function announcement(uniqueId: Uint8Array, sni: string | null, tls: TlsFacts | null): Tlvs {
  return {
    uniqueId,
    ...(sni === null ? {} : { authority: sni }),
    ...(tls === null ? {} : { ssl: sslFacts(tls) }),
    ...(tls === null || tls.alpn === null ? {} : { alpn: tls.alpn }),
  };
}

function sslFacts({ version, cipher, peer, resumed }: TlsFacts): SslFacts {
  return {
    tls: true,
    certificate: peer !== null && !resumed,
    sessionCertificate: peer !== null,
    // A peer that was not verified has been refused.
    verified: peer !== null,
    version,
    cipher,
    ...(peer === null || peer.commonName === null ? {} : { commonName: peer.commonName }),
  };
}
