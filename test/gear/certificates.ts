/**
 * Throw-away certificates for tests: one CA, one that nobody trusts, and every leaf that a test may want to be refused or let
 * in. All in memory as PEM; made on first use and kept for the life of the test process.
 */
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { IdentityConfig } from "../../lib/config/config.ts";
import { Authority, DAY, type LeafOptions, type Pair } from "../../lib/tls/authority.ts";

const LEAVES = {
  /** The server most tests dial: `localhost`, 127.0.0.1, ::1, `web.example.test`. */
  server: {
    commonName: "server",
    dns: ["localhost", "web.example.test"],
    ips: ["127.0.0.1", "::1"],
    uris: ["spiffe://example.test/ns/prod/server"],
  },
  /** The client most rules let in. */
  alice: {
    commonName: "alice",
    organizationalUnit: "ops",
    dns: ["alice.clients.example.test"],
    uris: ["spiffe://example.test/ns/prod/alice"],
  },
  /** A client of the same CA that the usual rules do not name. */
  mallory: { commonName: "mallory", dns: ["mallory.elsewhere.test"] },
  expired: {
    commonName: "expired",
    dns: ["localhost"],
    notBefore: Date.now() - 2 * DAY,
    notAfter: Date.now() - DAY,
  },
  future: {
    commonName: "future",
    dns: ["localhost"],
    notBefore: Date.now() + DAY,
    notAfter: Date.now() + 2 * DAY,
  },
  cnOnly: { commonName: "localhost" },
  wildcard: { commonName: "wildcard", dns: ["*.example.test"] },
  ipOnly: { ips: ["127.0.0.1"] },
  spiffe: { uris: ["spiffe://example.test/ns/prod/web"] },
  clientPurpose: { commonName: "client purpose", dns: ["localhost"], purposes: ["client"] },
  serverPurpose: { commonName: "server purpose", dns: ["localhost"], purposes: ["server"] },
  /** On the list that `crl()` returns. */
  revoked: { commonName: "revoked", dns: ["localhost"] },
  rsa: { commonName: "rsa", dns: ["localhost"], keyType: "rsa" },
} as const satisfies Record<string, LeafOptions>;

export type LeafName = keyof typeof LEAVES;

const made = new Map<string, Promise<unknown>>();

function once<T>(name: string, make: () => Promise<T>): Promise<T> {
  const known = made.get(name) as Promise<T> | undefined;
  if (known !== undefined) return known;
  const making = make();
  made.set(name, making);
  return making;
}

/** The CA that tests trust. */
export function authority(): Promise<Authority> {
  return once("ca", () => Authority.create({ commonName: "test CA" }));
}

/** A CA that tests do not trust. */
export function strangeAuthority(): Promise<Authority> {
  return once("strange ca", () => Authority.create({ commonName: "strange CA" }));
}

/** One of the usual leaves. */
export function leaf(name: LeafName): Promise<Pair> {
  return once(`leaf ${name}`, async () => (await authority()).issue(LEAVES[name]));
}

/** A leaf of one's own, not kept. */
export async function issue(options: LeafOptions): Promise<Pair> {
  return (await authority()).issue(options);
}

/** `alice`, but from the CA that nobody trusts. */
export function strange(): Promise<Pair> {
  return once("strange", async () => (await strangeAuthority()).issue(LEAVES.alice));
}

/** A certificate that vouches for itself. */
export function selfSigned(): Promise<Pair> {
  return once("self", () => Authority.create({ commonName: "localhost", days: 1 }));
}

/** A list from the CA that revokes `revoked` and nobody else. */
export function crl(): Promise<string> {
  return once("crl", async () => (await authority()).revoke([(await leaf("revoked")).cert]));
}

/** The key of a pair, encrypted with the pass phrase `secret`. */
export function encryptedKey(pair: Pair): string {
  const made = spawnSync("openssl", ["pkcs8", "-topk8", "-passout", "pass:secret"], {
    input: pair.key,
    encoding: "utf8",
  });
  if (made.status !== 0) throw new Error(`openssl pkcs8: ${made.stderr}`);
  return made.stdout;
}

/** A temporary directory with these files in it; remove it with `remove`. */
export function directoryWith(files: Readonly<Record<string, string>>): { path: string; remove: () => void } {
  const path = mkdtempSync(join(tmpdir(), "millrace-test-"));
  for (const [name, text] of Object.entries(files)) writeFileSync(join(path, name), text, { mode: 0o600 });
  return { path, remove: () => rmSync(path, { recursive: true, force: true }) };
}

/** Writes `NAME.crt`, `NAME.key`, `ca.crt` (and `ca.crl`) into a temporary directory and returns the identity over them. */
export async function identityFiles(
  name: LeafName,
  options: { readonly crl?: boolean } = {},
): Promise<{ config: IdentityConfig; path: string; remove: () => void }> {
  const { cert, key } = await leaf(name);
  const ca = (await authority()).cert;
  const list = options.crl === true ? { "ca.crl": await crl() } : {};
  const directory = directoryWith({ [`${name}.crt`]: cert, [`${name}.key`]: key, "ca.crt": ca, ...list });
  const file = (base: string) => join(directory.path, base);
  const config: IdentityConfig = {
    name,
    cert: file(`${name}.crt`),
    key: file(`${name}.key`),
    ca: file("ca.crt"),
    crl: options.crl === true ? file("ca.crl") : null,
    watch: true,
  };
  return { config, ...directory };
}
