/**
 * A certificate authority for development: makes a root, issues leaves that work as client and as server, revokes. P-256 and
 * SHA-256 throughout; keys leave it as PKCS #8 PEM. Not for production: no policy, no audit, the root key lies beside the rest.
 * RFC 5280; SPIFFE IDs as the X.509-SVID standard wants them (one URI per leaf).
 */
import "reflect-metadata";
import { randomBytes, webcrypto } from "node:crypto";
import { isIP } from "node:net";
import * as x509 from "@peculiar/x509";
import { ProxyError } from "../errors.ts";
import { canonicalIp } from "./peer.ts";
import { pemBytes, pemText } from "./pem.ts";

const P256 = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" } as const;
const RSA = {
  name: "RSASSA-PKCS1-v1_5",
  hash: "SHA-256",
  publicExponent: new Uint8Array([1, 0, 1]),
  modulusLength: 2048,
} as const;
export const DAY = 86_400_000;
/** ms by which a certificate begins earlier, for clocks that run behind. */
const BACKDATE = 300_000;

const CLIENT_AUTH = "1.3.6.1.5.5.7.3.2";
const SERVER_AUTH = "1.3.6.1.5.5.7.3.1";

/** A certificate with its key, both PEM. */
export interface Pair {
  readonly cert: string;
  readonly key: string;
}

export interface AuthorityOptions {
  readonly commonName?: string;
  readonly days?: number;
  /** Wall clock in ms. */
  readonly now?: number;
}

export interface LeafOptions {
  readonly commonName?: string;
  readonly organizationalUnit?: string;
  readonly dns?: readonly string[];
  readonly ips?: readonly string[];
  /** At most one; `spiffe://…`. */
  readonly uris?: readonly string[];
  /** Both where omitted. */
  readonly purposes?: readonly ("client" | "server")[];
  readonly keyType?: "p256" | "rsa";
  readonly days?: number;
  /** Unix ms; instead of `days`. */
  readonly notBefore?: number;
  readonly notAfter?: number;
  readonly now?: number;
}

export interface CrlOptions {
  readonly now?: number;
  readonly days?: number;
}

/** A development CA in memory. */
export class Authority {
  /** Certificate in PEM. */
  readonly cert: string;
  /** Private key in PEM. */
  readonly key: string;
  readonly #certificate: x509.X509Certificate;
  readonly #signingKey: webcrypto.CryptoKey;

  private constructor(cert: string, key: string, signingKey: webcrypto.CryptoKey) {
    this.cert = cert;
    this.key = key;
    this.#certificate = new x509.X509Certificate(cert);
    this.#signingKey = signingKey;
  }

  /** A new self-signed root; ten years unless told otherwise. */
  static async create(options: AuthorityOptions = {}): Promise<Authority> {
    const { commonName = "Millrace development CA", days = 3650, now = Date.now() } = options;
    const keys = await webcrypto.subtle.generateKey(P256, true, ["sign", "verify"]);
    const certificate = await x509.X509CertificateGenerator.createSelfSigned(
      {
        serialNumber: serial(),
        name: new x509.Name([{ CN: [commonName] }]),
        notBefore: new Date(now - BACKDATE),
        notAfter: new Date(now + days * DAY),
        signingAlgorithm: P256,
        keys,
        extensions: [
          new x509.BasicConstraintsExtension(true, undefined, true),
          new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
          await x509.SubjectKeyIdentifierExtension.create(keys.publicKey, false, webcrypto),
        ],
      },
      webcrypto,
    );
    return new Authority(
      pemText("CERTIFICATE", certificate.rawData),
      await exportKey(keys.privateKey),
      keys.privateKey,
    );
  }

  /** One that was made before. Throws ProxyError IDENTITY where the texts are no such thing. */
  static async open(pair: Pair): Promise<Authority> {
    try {
      const signingKey = await webcrypto.subtle.importKey("pkcs8", pemBytes(pair.key), P256, true, ["sign"]);
      return new Authority(pair.cert, pair.key, signingKey);
    } catch {
      throw new ProxyError(
        "IDENTITY",
        "this is no development CA made by millrace pki init (P-256, PKCS #8 key)",
      );
    }
  }

  /** A leaf with a key of its own; a year unless told otherwise. Throws ProxyError USAGE for names that no certificate may have. */
  async issue(options: LeafOptions = {}): Promise<Pair> {
    const algorithm = options.keyType === "rsa" ? RSA : P256;
    const keys = await webcrypto.subtle.generateKey(algorithm, true, ["sign", "verify"]);
    const { purposes = ["client", "server"], now = Date.now() } = options;
    const extensions: x509.Extension[] = [
      new x509.BasicConstraintsExtension(false, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
      new x509.ExtendedKeyUsageExtension(
        purposes.map((purpose) => (purpose === "client" ? CLIENT_AUTH : SERVER_AUTH)),
      ),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey, false, webcrypto),
      await x509.AuthorityKeyIdentifierExtension.create(this.#certificate, false, webcrypto),
    ];
    const names = alternativeNames(options);
    if (names.length > 0) extensions.push(new x509.SubjectAlternativeNameExtension(names));
    const certificate = await x509.X509CertificateGenerator.create(
      {
        serialNumber: serial(),
        subject: subject(options),
        issuer: this.#certificate.subjectName,
        notBefore: new Date(options.notBefore ?? now - BACKDATE),
        notAfter: new Date(options.notAfter ?? now + (options.days ?? 365) * DAY),
        signingAlgorithm: P256,
        publicKey: keys.publicKey,
        signingKey: this.#signingKey,
        extensions,
      },
      webcrypto,
    );
    return { cert: pemText("CERTIFICATE", certificate.rawData), key: await exportKey(keys.privateKey) };
  }

  /** A revocation list in PEM that names these certificates (PEM). */
  async revoke(certs: readonly string[], options: CrlOptions = {}): Promise<string> {
    const { now = Date.now(), days = 30 } = options;
    const list = await x509.X509CrlGenerator.create(
      {
        issuer: this.#certificate.subjectName,
        thisUpdate: new Date(now - BACKDATE),
        nextUpdate: new Date(now + days * DAY),
        signingAlgorithm: P256,
        signingKey: this.#signingKey,
        entries: certs.map((cert) => ({
          serialNumber: new x509.X509Certificate(cert).serialNumber,
          revocationDate: new Date(now - BACKDATE),
        })),
      },
      webcrypto,
    );
    return pemText("X509 CRL", list.rawData);
  }
}

function subject(options: LeafOptions): x509.Name {
  const parts: x509.JsonName = [];
  if (options.organizationalUnit !== undefined) parts.push({ OU: [options.organizationalUnit] });
  if (options.commonName !== undefined) parts.push({ CN: [options.commonName] });
  return new x509.Name(parts);
}

function alternativeNames(options: LeafOptions): x509.JsonGeneralName[] {
  const { dns = [], ips = [], uris = [] } = options;
  for (const name of dns) {
    if (!/^(?:\*\.)?[A-Za-z0-9_-]{1,63}(?:\.[A-Za-z0-9_-]{1,63})*$/.test(name)) {
      throw new ProxyError("USAGE", `${JSON.stringify(name)} is no DNS name`);
    }
  }
  for (const ip of ips) {
    if (isIP(ip) === 0) throw new ProxyError("USAGE", `${JSON.stringify(ip)} is no IP address`);
  }
  for (const uri of uris) {
    if (!/^[a-z][a-z0-9+.-]*:[\x21-\x7e]+$/.test(uri)) {
      throw new ProxyError("USAGE", `${JSON.stringify(uri)} is no URI`);
    }
  }
  if (uris.length > 1 && uris.some((uri) => uri.startsWith("spiffe:"))) {
    throw new ProxyError("USAGE", "a SPIFFE ID must be the only URI of its certificate");
  }
  return [
    ...dns.map((value) => ({ type: "dns" as const, value })),
    ...ips.map((value) => ({ type: "ip" as const, value: canonicalIp(value) })),
    ...uris.map((value) => ({ type: "url" as const, value })),
  ];
}

/** RFC 5280 section 4.1.2.2: positive, at most 20 octets; 16 random ones with the top bit off, and never a leading zero octet. */
function serial(): string {
  const bytes = randomBytes(16);
  bytes[0] = (bytes[0]! & 0x3f) | 0x40;
  return bytes.toString("hex");
}

async function exportKey(key: webcrypto.CryptoKey): Promise<string> {
  return pemText("PRIVATE KEY", await webcrypto.subtle.exportKey("pkcs8", key));
}
