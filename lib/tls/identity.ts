/**
 * An identity: certificate, key, trust bundle and revocation list, read and rehearsed as one unit before anything uses it, so
 * that a bad one is refused with a file name instead of failing at somebody's handshake. Invariant: an `Identity` that exists
 * can be used. No message ever quotes a file's content. Control thread only: it reads files.
 */
import { createHash, createPrivateKey, type KeyObject, X509Certificate } from "node:crypto";
import { readFile } from "node:fs/promises";
import { createSecureContext } from "node:tls";
import type { IdentityConfig } from "../config/config.ts";
import { ProxyError } from "../errors.ts";
import type { Peer } from "../transport/transport.ts";
import { namesOf } from "./authorise.ts";
import { type RevocationList, readCrl, subjectBytes } from "./crl.ts";
import { peerFromDer } from "./peer.ts";
import { pemBlocks, pemBytes, pemTexts } from "./pem.ts";

/** Plain data: it travels to workers. `cert`, `key`, `ca` and `crl` are PEM texts without anything around the blocks. */
export interface Identity {
  readonly name: string;
  readonly cert: string | null;
  readonly key: string | null;
  readonly ca: string | null;
  readonly crl: string | null;
  /** Of the leaf, in Unix ms; null without a certificate. */
  readonly notBefore: number | null;
  readonly notAfter: number | null;
  readonly subject: string | null;
  /** Alternative names with their kind, e.g. `DNS:web.example.test`. */
  readonly names: readonly string[];
  /** SHA-256 of the leaf, lower-case hex. */
  readonly fingerprint: string | null;
  /** Certificates that are sent: the leaf and its intermediates. */
  readonly chain: number;
  /** Certificates in the trust bundle. */
  readonly authorities: number;
  /** Changes with any byte of any part. */
  readonly version: string;
  /** What works but will surprise somebody. */
  readonly warnings: readonly string[];
}

type Part = "cert" | "key" | "ca" | "crl";
/** Texts as read; null where the configuration names no file. */
export type IdentityTexts = Readonly<Record<Part, string | null>>;

/** Reads and checks an identity. Rejects with ProxyError IDENTITY that names the file and what to do. */
export async function loadIdentity(config: IdentityConfig, now: number = Date.now()): Promise<Identity> {
  // One after the other, so that of several faults always the same one is told.
  const cert = await readPart(config, "cert");
  const key = await readPart(config, "key");
  const ca = await readPart(config, "ca");
  const crl = await readPart(config, "crl");
  return parseIdentity(config, { cert, key, ca, crl }, now);
}

async function readPart(config: IdentityConfig, part: Part): Promise<string | null> {
  const path = config[part];
  if (path === null) return null;
  try {
    return await readFile(path, "utf8");
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? "";
    throw fault(config, part, UNREADABLE[code] ?? `cannot be read (${code})`);
  }
}

const UNREADABLE: Readonly<Record<string, string>> = {
  ENOENT: "no such file",
  EACCES: "permission denied: let the user that runs millrace read it",
  EISDIR: "is a directory",
};

/** The checks without the reading. `config` gives the paths that messages name. Throws ProxyError IDENTITY. */
export function parseIdentity(config: IdentityConfig, texts: IdentityTexts, now: number): Identity {
  const warnings: string[] = [];
  const chain = parseCertificates(config, "cert", texts.cert);
  const authorities = parseCertificates(config, "ca", texts.ca);
  const lists = parseLists(config, texts.crl);
  const keyText = checkKey(config, texts, chain);
  const leaf = chain.length === 0 ? null : peerFromDer(chain[0]!.raw);
  if (leaf !== null) checkLeaf(config, leaf, now);
  if (leaf === null && authorities.length === 0) {
    throw new ProxyError("IDENTITY", `identity ${config.name}: has neither a certificate nor a trust bundle`);
  }
  warnAboutOrder(config, chain, warnings);
  warnAboutAuthorities(config, authorities, now, warnings);
  warnAboutLists(config, lists, authorities, now, warnings);
  const parts = {
    cert: join(texts.cert, "CERTIFICATE"),
    key: keyText,
    ca: join(texts.ca, "CERTIFICATE"),
    crl: join(texts.crl, "X509 CRL"),
  };
  rehearse(config, parts);
  return {
    name: config.name,
    ...parts,
    notBefore: leaf?.notBefore ?? null,
    notAfter: leaf?.notAfter ?? null,
    subject: leaf?.subject ?? null,
    names: leaf === null ? [] : namesOf(leaf),
    fingerprint: leaf?.fingerprint ?? null,
    chain: chain.length,
    authorities: authorities.length,
    version: createHash("sha256").update(JSON.stringify(parts)).digest("hex").slice(0, 16),
    warnings,
  };
}

function fault(config: IdentityConfig, part: Part, problem: string, cause?: unknown): ProxyError {
  return new ProxyError("IDENTITY", `identity ${config.name}: ${part} ${config[part]}: ${problem}`, {
    cause,
  });
}

function join(text: string | null, label: string): string | null {
  return text === null ? null : pemTexts(text, label).join("");
}

function parseCertificates(
  config: IdentityConfig,
  part: "cert" | "ca",
  text: string | null,
): X509Certificate[] {
  if (text === null) return [];
  const blocks = pemTexts(text, "CERTIFICATE");
  if (blocks.length === 0) {
    if (text.trim() === "") throw fault(config, part, "is empty");
    const other = pemBlocks(text)[0]?.label;
    const found = other === undefined ? "is not PEM" : `has a ${other} but no CERTIFICATE`;
    throw fault(config, part, `${found}; expected -----BEGIN CERTIFICATE-----`);
  }
  return blocks.map((block, index) => {
    try {
      return new X509Certificate(block);
    } catch (error) {
      throw fault(config, part, `certificate ${index + 1} of ${blocks.length} cannot be parsed`, error);
    }
  });
}

function parseLists(config: IdentityConfig, text: string | null): RevocationList[] {
  if (text === null) return [];
  const blocks = pemTexts(text, "X509 CRL");
  if (blocks.length === 0) {
    const problem = text.trim() === "" ? "is empty" : "has no revocation list";
    throw fault(config, "crl", `${problem}; expected -----BEGIN X509 CRL-----`);
  }
  return blocks.map((block, index) => {
    try {
      return readCrl(pemBytes(block));
    } catch {
      throw fault(config, "crl", `list ${index + 1} of ${blocks.length} cannot be parsed`);
    }
  });
}

/** Returns the key's own block. */
function checkKey(
  config: IdentityConfig,
  texts: IdentityTexts,
  chain: readonly X509Certificate[],
): string | null {
  if (texts.key === null && texts.cert === null) return null;
  if (texts.key === null) throw new ProxyError("IDENTITY", `identity ${config.name}: has a cert but no key`);
  if (texts.cert === null) throw new ProxyError("IDENTITY", `identity ${config.name}: has a key but no cert`);
  if (texts.key.trim() === "") throw fault(config, "key", "is empty");
  const block = pemBlocks(texts.key).find(({ label }) => label.endsWith("PRIVATE KEY"));
  if (block === undefined)
    throw fault(config, "key", "has no private key; expected -----BEGIN PRIVATE KEY-----");
  if (block.label === "ENCRYPTED PRIVATE KEY" || /^Proc-Type:.*ENCRYPTED/m.test(block.text)) {
    throw fault(
      config,
      "key",
      "is encrypted, and there is nobody to ask for its pass phrase; decrypt it with: openssl pkey -in FILE -out NEW",
    );
  }
  let key: KeyObject;
  try {
    key = createPrivateKey(block.text);
  } catch {
    // OpenSSL's own words may quote the input, so they are not passed on.
    throw fault(config, "key", "cannot be parsed");
  }
  if (chain[0]!.checkPrivateKey(key)) return block.text;
  const place = chain.findIndex((certificate) => certificate.checkPrivateKey(key));
  if (place > 0) {
    throw fault(
      config,
      "cert",
      `the key belongs to certificate ${place + 1} of the file; put that one first`,
    );
  }
  throw fault(config, "key", `does not belong to the certificate in ${config.cert}`);
}

function checkLeaf(config: IdentityConfig, leaf: Peer, now: number): void {
  if (now > leaf.notAfter) {
    throw fault(config, "cert", `expired at ${new Date(leaf.notAfter).toISOString()}; renew it`);
  }
  if (now < leaf.notBefore) {
    throw fault(
      config,
      "cert",
      `is not valid before ${new Date(leaf.notBefore).toISOString()}; check the clock`,
    );
  }
}

function warnAboutOrder(config: IdentityConfig, chain: readonly X509Certificate[], warnings: string[]): void {
  for (let index = 1; index < chain.length; index++) {
    if (chain[index - 1]!.checkIssued(chain[index]!)) continue;
    warnings.push(
      `identity ${config.name}: cert ${config.cert}: certificate ${index + 1} did not issue certificate ${index}; ` +
        "some clients need leaf first, then each issuer",
    );
  }
}

function warnAboutAuthorities(
  config: IdentityConfig,
  authorities: readonly X509Certificate[],
  now: number,
  warnings: string[],
): void {
  for (const authority of authorities) {
    const { subject, notAfter } = peerFromDer(authority.raw);
    const where = `identity ${config.name}: ca ${config.ca}: ${subject}`;
    if (now > notAfter) warnings.push(`${where} expired at ${new Date(notAfter).toISOString()}`);
    if (!authority.ca) warnings.push(`${where} is no certificate authority, so it vouches for nobody`);
  }
}

/** With a list, OpenSSL wants one for every authority of a chain: what lacks one is refused. */
function warnAboutLists(
  config: IdentityConfig,
  lists: readonly RevocationList[],
  authorities: readonly X509Certificate[],
  now: number,
  warnings: string[],
): void {
  if (lists.length === 0) return;
  const where = `identity ${config.name}: crl ${config.crl}`;
  for (const { nextUpdate } of lists) {
    if (nextUpdate === null || now <= nextUpdate) continue;
    warnings.push(
      `${where}: expired at ${new Date(nextUpdate).toISOString()}; peers are refused until it is renewed`,
    );
  }
  for (const authority of authorities) {
    const issuer = subjectBytes(authority);
    if (!authority.ca || lists.some((list) => list.issuer === issuer)) continue;
    warnings.push(
      `${where}: has no list from ${peerFromDer(authority.raw).subject}; its certificates are refused`,
    );
  }
}

/** What only OpenSSL knows: keys too small, digests too weak, bundles it cannot load. */
function rehearse(config: IdentityConfig, parts: IdentityTexts): void {
  const { cert, key, ca } = parts;
  try {
    createSecureContext({
      ...(cert === null ? {} : { cert }),
      ...(key === null ? {} : { key }),
      // An empty list, since without any Node would add its own roots.
      ca: ca ?? [],
      ...(parts.crl === null ? {} : { crl: pemTexts(parts.crl, "X509 CRL") }),
    });
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    throw new ProxyError("IDENTITY", `identity ${config.name}: OpenSSL refuses it: ${code ?? message}`);
  }
}

/** For logs, `/config` and `doctor`: all there is to show, and never the key. */
export function describeIdentity(identity: Identity): Record<string, unknown> {
  const date = (time: number | null) => (time === null ? null : new Date(time).toISOString());
  return {
    name: identity.name,
    subject: identity.subject,
    names: identity.names,
    fingerprint: identity.fingerprint,
    not_before: date(identity.notBefore),
    not_after: date(identity.notAfter),
    chain: identity.chain,
    authorities: identity.authorities,
    revocation: identity.crl !== null,
    version: identity.version,
    warnings: identity.warnings,
  };
}
