/**
 * What a session ticket of ours says about the client, beside OpenSSL's own part: until when its chain counts, and its certificate
 * as plain bytes. SSL_CTX_set_session_ticket_cb(3). The ticket is encrypted and authenticated with keys that only our workers have.
 *
 * OpenSSL would carry the certificate itself and parse it once when it makes a ticket and twice when it takes one and makes
 * the next: measured, a tenth of a full handshake and half of a resumed one on OpenSSL 3.0. As bytes it is parsed when a
 * worker sees it for the first time. Where the session's peer cannot be taken out (`peerSlot`), it stays and only costs time.
 */
import { copy } from "../../ffi/memory.ts";
import type { Openssl } from "../../ffi/openssl.ts";
import type { Pinned } from "../../ffi/openssl-binding.ts";
import type { Peer } from "../transport.ts";
import { type Peers, SHA256_BYTES } from "./tls-peers.ts";

// The layout of our part: a double, a digest, and the certificate in DER to the end.
const FINGERPRINT_AT = 8;
const DER_AT = FINGERPRINT_AT + SHA256_BYTES;

export interface Ticket {
  readonly peer: Peer;
  /** Unix ms. */
  readonly validUntil: number;
}

export class Tickets {
  readonly #lib: Openssl;
  readonly #peers: Peers;
  /** Address and length as OpenSSL gives them, eight zeros, and what was read. */
  readonly #block: Pinned;

  constructor(lib: Openssl, peers: Peers) {
    this.#lib = lib;
    this.#peers = peers;
    this.#block = lib.pin(24 + DER_AT);
    this.#block.bytes.fill(0);
  }

  /** Puts what `open` returns into a session, to be called before its first ticket is made. */
  seal(session: number, certificate: number, peer: Peer, validUntil: number): void {
    const head = Buffer.allocUnsafe(DER_AT);
    head.writeDoubleLE(validUntil, 0);
    head.write(peer.fingerprint, FINGERPRINT_AT, "hex");
    const part = this.#peers.der(certificate, head);
    this.#lib.SSL_SESSION_set1_ticket_appdata(session, part.address, part.bytes.length);
  }

  /** What a session says that came out of a ticket; null: nothing, as for a client without a certificate. */
  open(session: number): Ticket | null {
    const [address, length] = this.#find(session);
    if (length <= DER_AT) return null;
    const { bytes } = this.#block;
    const validUntil = bytes.readDoubleLE(24);
    const fingerprint = bytes.toString("hex", 24 + FINGERPRINT_AT, 24 + DER_AT);
    const peer =
      this.#peers.known(fingerprint) ?? this.#peers.add(this.#lib.copy(address + DER_AT, length - DER_AT));
    return { peer, validUntil };
  }

  /** Takes the certificate out of a session of which a ticket is about to be made. */
  strip(session: number): void {
    const { peerSlot } = this.#lib;
    const certificate = this.#lib.SSL_SESSION_get0_peer(session);
    if (peerSlot === null || certificate === 0 || this.#find(session)[1] <= DER_AT) return;
    copy(session + peerSlot, this.#block.address + 16, 8);
    this.#lib.X509_free(certificate);
  }

  /**
   * Server side, when the handshake stands and its tickets are made: frees what nobody asks for any more, the certificates that came
   * with the client's own and our part. An idle connection would keep them, some 5 kB for each certificate.
   */
  settle(ssl: number): void {
    const lib = this.#lib;
    const chain = lib.SSL_get_peer_cert_chain(ssl);
    if (chain !== 0) {
      for (let last = lib.OPENSSL_sk_pop(chain); last !== 0; last = lib.OPENSSL_sk_pop(chain))
        lib.X509_free(last);
    }
    lib.SSL_SESSION_set1_ticket_appdata(lib.SSL_get_session(ssl), 0, 0);
  }

  /** Our part's address and length; its fixed fields are copied to the block. */
  #find(session: number): [number, number] {
    const { bytes, address } = this.#block;
    if (this.#lib.SSL_SESSION_get0_ticket_appdata(session, address, address + 8) !== 1) return [0, 0];
    const part = Number(bytes.readBigUInt64LE(0));
    const length = Number(bytes.readBigUInt64LE(8));
    if (length > DER_AT) copy(address + 24, part, DER_AT);
    return [part, length];
  }
}
