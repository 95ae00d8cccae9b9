/**
 * What a handshake agreed on, read from an SSL object. SSL_get_version(3), SSL_get0_alpn_selected(3),
 * SSL_export_keying_material(3). Invariant: the link exists only for a handshake that stands, and is equal at both ends.
 */
import type { Openssl } from "../../ffi/openssl.ts";
import type { Pinned } from "../../ffi/openssl-binding.ts";
import { TLS1_3_VERSION } from "../../ffi/openssl-ssl.ts";
import { LINK_BYTES, LINK_LABEL, type Peer, type TlsFacts } from "../transport.ts";

// Results come to the beginning, the exporter's label stands behind them.
const LABEL_AT = 64;

/** For all connections of a worker. */
export class FactsReader {
  readonly #lib: Openssl;
  readonly #block: Pinned;
  readonly #cipherNames = new Map<number, string>([[0, ""]]);

  constructor(lib: Openssl) {
    this.#lib = lib;
    this.#block = lib.pin(LABEL_AT + LINK_LABEL.length);
    this.#block.bytes.write(LINK_LABEL, LABEL_AT, "latin1");
  }

  /** `standing`: the handshake is over, and well; else they are what was learned until now. */
  read(ssl: number, peer: Peer | null, standing: boolean): TlsFacts {
    const lib = this.#lib;
    return {
      version: lib.SSL_version(ssl) === TLS1_3_VERSION ? "TLSv1.3" : "TLSv1.2",
      cipher: this.#cipherName(lib.SSL_get_current_cipher(ssl)),
      alpn: this.#protocol(ssl),
      resumed: lib.SSL_session_reused(ssl) === 1,
      peer,
      link: standing ? this.#link(ssl) : null,
    };
  }

  /** Asked once per cipher. */
  #cipherName(cipher: number): string {
    let name = this.#cipherNames.get(cipher);
    if (name === undefined) {
      name = this.#lib.SSL_CIPHER_get_name(cipher);
      this.#cipherNames.set(cipher, name);
    }
    return name;
  }

  #protocol(ssl: number): string | null {
    const { bytes, address } = this.#block;
    this.#lib.SSL_get0_alpn_selected(ssl, address, address + 8);
    const length = bytes.readUInt32LE(8);
    if (length === 0) return null;
    return this.#lib.copy(Number(bytes.readBigUInt64LE(0)), length).toString("latin1");
  }

  #link(ssl: number): string | null {
    const { bytes, address } = this.#block;
    const [label, length] = [address + LABEL_AT, LINK_LABEL.length];
    // Without a context: an empty one is another value in TLS 1.2 (RFC 5705 section 4).
    const done = this.#lib.SSL_export_keying_material(ssl, address, LINK_BYTES, label, length, 0, 0, 0);
    return done === 1 ? bytes.toString("hex", 0, LINK_BYTES) : null;
  }
}
