/**
 * A throw-away CA with one certificate for the proxy or the service and one for the client, all of one kind of key:
 * P-256 with ECDSA-SHA256, the common terms of the TLS runs, or RSA-2048 with SHA-256.
 */
import "reflect-metadata";
import { randomBytes, webcrypto } from "node:crypto";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import * as x509 from "@peculiar/x509";

export interface Certificates {
  /** The name in the proxy's certificate, and the SNI that clients send. */
  readonly name: string;
  readonly ca: string;
  readonly cert: string;
  readonly key: string;
  /** Certificate, then key, as HAProxy and hitch want it. */
  readonly both: string;
  readonly clientCert: string;
  readonly clientKey: string;
  readonly clientBoth: string;
}

export type Keys = "ecdsa" | "rsa";

const ALGORITHMS = {
  ecdsa: { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" },
  rsa: {
    name: "RSASSA-PKCS1-v1_5",
    modulusLength: 2048,
    publicExponent: new Uint8Array([1, 0, 1]),
    hash: "SHA-256",
  },
} as const;
const DAY = 86_400_000;

function pem(key: ArrayBuffer): string {
  const lines = Buffer.from(key)
    .toString("base64")
    .match(/.{1,64}/g)!;
  return `-----BEGIN PRIVATE KEY-----\n${lines.join("\n")}\n-----END PRIVATE KEY-----\n`;
}

/** Writes PEM files into `folder`, which is made if need be. */
export async function makeCertificates(folder: string, kind: Keys = "ecdsa"): Promise<Certificates> {
  mkdirSync(folder, { recursive: true });
  const algorithm = ALGORITHMS[kind];
  const name = "bench.example.test";
  x509.cryptoProvider.set(webcrypto as unknown as Parameters<typeof x509.cryptoProvider.set>[1]);
  const validity = {
    notBefore: new Date(Date.now() - DAY),
    notAfter: new Date(Date.now() + 30 * DAY),
    signingAlgorithm: algorithm,
  };
  const serialNumber = (): string => `01${randomBytes(8).toString("hex")}`;
  const newKeys = () => webcrypto.subtle.generateKey(algorithm, true, ["sign", "verify"]);
  const caKeys = await newKeys();
  const ca = await x509.X509CertificateGenerator.createSelfSigned({
    ...validity,
    serialNumber: serialNumber(),
    name: "CN=bench CA",
    keys: caKeys,
    extensions: [
      new x509.BasicConstraintsExtension(true, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
      await x509.SubjectKeyIdentifierExtension.create(caKeys.publicKey),
    ],
  });
  const write = (file: string, text: string): string => {
    const path = join(folder, file);
    writeFileSync(path, text, { mode: 0o600 });
    return path;
  };
  const leaf = async (file: string, dns: string) => {
    const keys = await newKeys();
    const certificate = await x509.X509CertificateGenerator.create({
      ...validity,
      serialNumber: serialNumber(),
      subject: `CN=${dns}`,
      issuer: ca.subject,
      publicKey: keys.publicKey,
      signingKey: caKeys.privateKey,
      extensions: [
        new x509.BasicConstraintsExtension(false, undefined, true),
        new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
        new x509.ExtendedKeyUsageExtension([
          x509.ExtendedKeyUsage.serverAuth,
          x509.ExtendedKeyUsage.clientAuth,
        ]),
        new x509.SubjectAlternativeNameExtension([{ type: "dns", value: dns }]),
        await x509.AuthorityKeyIdentifierExtension.create(caKeys.publicKey),
      ],
    });
    const cert = `${certificate.toString("pem")}\n`;
    const key = pem(await webcrypto.subtle.exportKey("pkcs8", keys.privateKey));
    return {
      cert: write(`${file}.crt`, cert),
      key: write(`${file}.key`, key),
      both: write(`${file}.pem`, cert + key),
    };
  };
  const proxy = await leaf("proxy", name);
  const client = await leaf("client", "client.example.test");
  return {
    name,
    ca: write("ca.crt", `${ca.toString("pem")}\n`),
    ...proxy,
    clientCert: client.cert,
    clientKey: client.key,
    clientBoth: client.both,
  };
}
