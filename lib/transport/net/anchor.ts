/**
 * Whether a peer's chain ends at the trust bundle. Node reports the last of several faults that OpenSSL found in a chain; on the
 * other transport the first decides, and that is an anchor that is missing. So that both name a peer that is expired and unknown
 * alike, this is looked at by itself. It only ever words a refusal: nobody gets in by it.
 */
import { X509Certificate } from "node:crypto";
import { pemTexts } from "../../tls/pem.ts";

/** OpenSSL's own words, X509_verify_cert_error_string(3). */
export const ANCHOR_WORDS: Readonly<Record<string, string>> = {
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: "unable to get local issuer certificate",
  DEPTH_ZERO_SELF_SIGNED_CERT: "self-signed certificate",
  SELF_SIGNED_CERT_IN_CHAIN: "self-signed certificate in certificate chain",
};

/** OpenSSL's name for a chain that does not end at the bundle; null where it does, or the bundle is Node's own. */
export function anchorFault(leaf: X509Certificate | null, ca: string | null): string | null {
  if (leaf === null || ca === null) return null;
  let top = leaf;
  let depth = 0;
  const anchors = pemTexts(ca, "CERTIFICATE").map((text) => new X509Certificate(text));
  const anchored = (certificate: X509Certificate): boolean =>
    anchors.some(
      (anchor) =>
        anchor.raw.equals(certificate.raw) ||
        (certificate.checkIssued(anchor) && certificate.verify(anchor.publicKey)),
    );
  while (!anchored(top)) {
    const above: X509Certificate | undefined = top.issuerCertificate;
    if (above === undefined || above.raw.equals(top.raw)) {
      if (!top.checkIssued(top)) return "UNABLE_TO_GET_ISSUER_CERT_LOCALLY";
      return depth === 0 ? "DEPTH_ZERO_SELF_SIGNED_CERT" : "SELF_SIGNED_CERT_IN_CHAIN";
    }
    top = above;
    depth += 1;
  }
  return null;
}
