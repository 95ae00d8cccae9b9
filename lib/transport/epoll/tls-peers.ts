/**
 * Who certificates belong to, and which chains have been verified already. X509_verify_cert(3), RFC 5280 section 6.
 * Invariant: a chain is skipped only if exactly these certificates were verified against this context's trust bundle and
 * revocation list, none of them nor the list has run out since, and that was not long ago. That the other side owns the key
 * (CertificateVerify) is never remembered; OpenSSL checks it in every full handshake.
 */
import type { Openssl } from "../../ffi/openssl.ts";
import type { Pinned } from "../../ffi/openssl-binding.ts";
import { peerFromDer } from "../../tls/peer.ts";
import type { Peer } from "../transport.ts";

/** Both caches are keyed by what clients send, so both are bounded; the oldest entry goes first. */
const PEERS = 1024;
const CHAINS = 1024;

/** ms. How long a verified chain stays so: a fleet that reconnects comes back within minutes. */
const CHAIN_AGE = 600_000;

/** Certificates that the other side may send before its chain is not looked up but always verified. */
const LONGEST_CHAIN = 8;

export const SHA256_BYTES = 32;
const NOTHING = Buffer.alloc(0);
const DAY = 86_400_000;

/** Peers by certificate, for all contexts of a worker. */
export class Peers {
  readonly #lib: Openssl;
  readonly #block: Pinned;
  /** Fetched once: that spares OpenSSL a search per digest. */
  readonly #sha256: number;
  readonly #peers = new Map<string, Peer>();

  constructor(lib: Openssl) {
    this.#lib = lib;
    this.#block = lib.pin(LONGEST_CHAIN * SHA256_BYTES);
    this.#sha256 = lib.EVP_MD_fetch(0, "SHA256", 0);
  }

  /** SHA-256 of the certificate at this address, in hex. */
  fingerprint(certificate: number): string {
    this.#digest(certificate, 0);
    return this.#block.bytes.toString("hex", 0, SHA256_BYTES);
  }

  /** Who the certificate at this address names. */
  peer(certificate: number): Peer {
    return this.known(this.fingerprint(certificate)) ?? this.add(this.der(certificate, NOTHING).bytes);
  }

  /** The peer with this fingerprint, if it was seen lately. */
  known(fingerprint: string): Peer | null {
    return this.#peers.get(fingerprint) ?? null;
  }

  /** Who this certificate names, from now on known. */
  add(der: Buffer): Peer {
    const peer = peerFromDer(der);
    bounded(this.#peers, PEERS);
    this.#peers.set(peer.fingerprint, peer);
    return peer;
  }

  /** The bytes of the certificate at this address, behind those of `head`. */
  der(certificate: number, head: Buffer): Pinned {
    const length = this.#lib.i2d_X509(certificate, 0);
    if (length <= 0) throw new Error("i2d_X509 failed");
    const block = this.#lib.pin(head.length + length);
    block.bytes.set(head);
    const { address, bytes } = this.#block;
    bytes.writeBigUInt64LE(BigInt(block.address + head.length), 0);
    this.#lib.i2d_X509(certificate, address);
    return block;
  }

  /** A key for exactly these certificates in this order; null for too many. `stack` holds the leaf first. */
  chainKey(stack: number): string | null {
    const count = this.#lib.OPENSSL_sk_num(stack);
    if (count < 1 || count > LONGEST_CHAIN) return null;
    for (let index = 0; index < count; index++) {
      this.#digest(this.#lib.OPENSSL_sk_value(stack, index), index * SHA256_BYTES);
    }
    return this.#block.bytes.toString("latin1", 0, count * SHA256_BYTES);
  }

  /** ms from now to the first notAfter in a verified chain. */
  lifetime(stack: number): number {
    let shortest = Number.POSITIVE_INFINITY;
    for (let index = this.#lib.OPENSSL_sk_num(stack) - 1; index >= 0; index--) {
      const certificate = this.#lib.OPENSSL_sk_value(stack, index);
      shortest = Math.min(shortest, this.until(this.#lib.X509_get0_notAfter(certificate)));
    }
    return shortest;
  }

  /** ms from now to an ASN1_TIME; negative once it has passed, and where it cannot be read. */
  until(time: number): number {
    const { address, bytes } = this.#block;
    if (this.#lib.ASN1_TIME_diff(address, address + 4, 0, time) !== 1) return -1;
    return bytes.readInt32LE(0) * DAY + bytes.readInt32LE(4) * 1000;
  }

  release(): void {
    this.#lib.EVP_MD_free(this.#sha256);
  }

  #digest(certificate: number, offset: number): void {
    if (this.#lib.X509_digest(certificate, this.#sha256, this.#block.address + offset, 0) !== 1) {
      throw new Error("X509_digest failed");
    }
  }
}

/** A chain that was verified: whose, and until when (Unix ms) every certificate in it is valid. */
export interface Chain {
  readonly peer: Peer;
  readonly validUntil: number;
  readonly seen: number;
}

/** The chains that one context has verified. */
export class VerifiedChains {
  readonly #chains = new Map<string, Chain>();

  get(key: string, now: number): Chain | null {
    const chain = this.#chains.get(key);
    if (chain === undefined) return null;
    if (now < chain.validUntil && now - chain.seen < CHAIN_AGE && now >= chain.seen) return chain;
    this.#chains.delete(key);
    return null;
  }

  add(key: string, chain: Chain): void {
    bounded(this.#chains, CHAINS);
    this.#chains.set(key, chain);
  }

  clear(): void {
    this.#chains.clear();
  }

  get size(): number {
    return this.#chains.size;
  }
}

/** Makes room for one more. */
function bounded<V>(map: Map<string, V>, limit: number): void {
  if (map.size >= limit) map.delete(map.keys().next().value!);
}
