/**
 * TLS alerts: their numbers, the plaintext record that refuses a client before any key exists, and the sealed record that
 * refuses a peer after a TLS 1.3 handshake where the TLS library offers no call for it. Invariant: an alert written here is
 * always fatal, close_notify and user_canceled excepted. RFC 8446 sections 5.2, 5.3, 6 and 7.1; RFC 5869.
 */
import { createCipheriv, createHmac } from "node:crypto";

/** By name, RFC 8446 section 6 and the IANA registry (older numbers that a peer may still send included). */
export const ALERT = {
  close_notify: 0,
  unexpected_message: 10,
  bad_record_mac: 20,
  decryption_failed: 21,
  record_overflow: 22,
  decompression_failure: 30,
  handshake_failure: 40,
  no_certificate: 41,
  bad_certificate: 42,
  unsupported_certificate: 43,
  certificate_revoked: 44,
  certificate_expired: 45,
  certificate_unknown: 46,
  illegal_parameter: 47,
  unknown_ca: 48,
  access_denied: 49,
  decode_error: 50,
  decrypt_error: 51,
  export_restriction: 60,
  protocol_version: 70,
  insufficient_security: 71,
  internal_error: 80,
  inappropriate_fallback: 86,
  user_canceled: 90,
  no_renegotiation: 100,
  missing_extension: 109,
  unsupported_extension: 110,
  certificate_unobtainable: 111,
  unrecognized_name: 112,
  bad_certificate_status_response: 113,
  bad_certificate_hash_value: 114,
  unknown_psk_identity: 115,
  certificate_required: 116,
  no_application_protocol: 120,
  ech_required: 121,
} as const;

export type AlertName = keyof typeof ALERT;

const NAMES = new Map<number, AlertName>(
  Object.entries(ALERT).map(([name, number]) => [number, name as AlertName]),
);

/** The registered name of an alert number, or `alert 200` where there is none. */
export function alertName(number: number): string {
  return NAMES.get(number) ?? `alert ${number}`;
}

const RECORD_ALERT = 21;
const RECORD_DATA = 23; // what every sealed TLS 1.3 record claims to be, RFC 8446 section 5.2

function level(alert: number): number {
  return alert === ALERT.close_notify || alert === ALERT.user_canceled ? 1 : 2;
}

/** An alert in the clear, 7 bytes. Record version 0x0303 as RFC 8446 section 5.1 has it. */
export function plainAlert(alert: number): Uint8Array {
  return Uint8Array.of(RECORD_ALERT, 3, 3, 0, 2, level(alert), alert);
}

interface Suite {
  readonly hash: "sha256" | "sha384";
  readonly aead: "aes-128-gcm" | "aes-256-gcm" | "chacha20-poly1305";
  readonly key: number;
}

/** TLS 1.3 suites by the name that OpenSSL gives them (RFC 8446 section B.4). All have 12-byte nonces and 16-byte tags. */
const SUITES: Readonly<Record<string, Suite>> = {
  TLS_AES_128_GCM_SHA256: { hash: "sha256", aead: "aes-128-gcm", key: 16 },
  TLS_AES_256_GCM_SHA384: { hash: "sha384", aead: "aes-256-gcm", key: 32 },
  TLS_CHACHA20_POLY1305_SHA256: { hash: "sha256", aead: "chacha20-poly1305", key: 32 },
};

export interface SealOptions {
  /** The application traffic secret of the direction in which the alert goes. Not kept. */
  readonly secret: Uint8Array;
  /** As OpenSSL names it: `TLS_AES_128_GCM_SHA256`. */
  readonly cipher: string;
  /** Records already sent under this secret: session tickets count, handshake records do not. */
  readonly sequence: number;
  readonly alert: number;
}

/**
 * An alert as an encrypted TLS 1.3 record (24 bytes). It must reach the socket behind everything the TLS library has written
 * under the secret: `node:tls` reports a finished handshake before that handshake's last flight is on its way, so wait a turn
 * of the loop. `null` for a cipher that is not known, so that a caller falls back to closing without an alert.
 */
export function sealAlert13(options: SealOptions): Uint8Array | null {
  const suite = SUITES[options.cipher];
  if (suite === undefined) return null;
  const key = expandLabel(suite.hash, options.secret, "key", suite.key);
  const nonce = expandLabel(suite.hash, options.secret, "iv", 12);
  // Section 5.3: the sequence number, 64 bits padded to the left, is XORed into the IV.
  nonce.writeUInt32BE((nonce.readUInt32BE(8) ^ (options.sequence >>> 0)) >>> 0, 8);
  const high = Math.floor(options.sequence / 2 ** 32);
  nonce.writeUInt32BE((nonce.readUInt32BE(4) ^ high) >>> 0, 4);
  const inner = Uint8Array.of(level(options.alert), options.alert, RECORD_ALERT);
  const header = Uint8Array.of(RECORD_DATA, 3, 3, 0, inner.length + 16);
  // One call shape for GCM and ChaCha20 alike; the types know them apart.
  const cipher = createCipheriv(suite.aead as "aes-128-gcm", key, nonce, { authTagLength: 16 });
  cipher.setAAD(header);
  return Buffer.concat([header, cipher.update(inner), cipher.final(), cipher.getAuthTag()]);
}

/** HKDF-Expand-Label with an empty context, RFC 8446 section 7.1. Never longer than one hash here, so one HMAC does. */
function expandLabel(hash: Suite["hash"], secret: Uint8Array, label: string, length: number): Buffer {
  const full = `tls13 ${label}`;
  const info = Buffer.alloc(2 + 1 + full.length + 1 + 1);
  info.writeUInt16BE(length, 0);
  info.writeUInt8(full.length, 2);
  info.write(full, 3, "latin1");
  info.writeUInt8(1, info.length - 1); // the counter of HKDF-Expand's first block
  return createHmac(hash, secret).update(info).digest().subarray(0, length);
}
