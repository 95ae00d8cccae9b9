/** Hellos that a terminating route answers with its own flight, or refuses in OpenSSL's words. RFC 8446 section 4.1.2, RFC 5246. */
import {
  answerableHello,
  extension,
  groups,
  helloMessage,
  join,
  keyShares,
  psk,
  records,
  sni,
  u16,
  vector,
  versions,
} from "./hellos.ts";
import { type OddHello, WEB } from "./odd-hellos.ts";

/** It goes on, and the client goes away. */
const GOES_ON = "client_reset web";
const FAILS = "handshake_failed web";

// ECDSA with P-256, RSA-PSS, RSA with SHA-256
const SIGNATURES = extension(13, vector(2, join(u16(0x0403), u16(0x0804), u16(0x0401))));
const X25519 = 29;
const P256 = 23;
const SHARE = keyShares([X25519, 32]);

export function firstFlights(): OddHello[] {
  const named = (what: string, message: Uint8Array, verdict: string): OddHello => ({
    what: `terminated: ${what}`,
    bytes: records(message),
    verdict,
  });
  const tls13 = (what: string, extensions: readonly Uint8Array[], verdict: string) =>
    named(
      what,
      helloMessage({ ciphers: [0x1301], extensions: [sni(WEB), ...extensions, versions(0x0304)] }),
      verdict,
    );
  const tls12 = (what: string, ciphers: readonly number[], more: readonly Uint8Array[], verdict: string) =>
    named(
      what,
      helloMessage({ ciphers, extensions: [sni(WEB), groups(X25519, P256), SIGNATURES, ...more] }),
      verdict,
    );
  const sound = (what: string, more: readonly Uint8Array[], verdict: string) =>
    named(what, answerableHello(WEB, ...more), verdict);
  const x25519 = groups(X25519);
  return [
    sound("TLS 1.3", [], GOES_ON),
    tls13("no share", [x25519, SIGNATURES, keyShares()], GOES_ON),
    tls13("a share of the wrong size", [x25519, SIGNATURES, keyShares([X25519, 31])], FAILS),
    tls13("a share twice", [x25519, SIGNATURES, keyShares([X25519, 32], [X25519, 32])], GOES_ON),
    tls13("unknown groups", [groups(0x1a1a), SIGNATURES, keyShares([0x1a1a, 32])], FAILS),
    tls13("no signatures", [x25519, SHARE], FAILS),
    tls13("unknown signatures", [x25519, extension(13, vector(2, u16(0x0999))), SHARE], FAILS),
    tls13("a pre-shared key that is not last", [psk(), x25519, SIGNATURES, SHARE], FAILS),
    sound("a false pre-shared key", [extension(45, Uint8Array.of(1, 1)), psk()], GOES_ON),
    sound("early data", [extension(42, new Uint8Array(0))], GOES_ON),
    sound("a cookie nobody gave", [extension(44, vector(2, Buffer.alloc(8)))], GOES_ON),
    sound("compressed certificates", [extension(27, vector(1, u16(2)))], GOES_ON),
    sound("an unknown fragment length", [extension(1, Uint8Array.of(9))], FAILS),
    sound("a heartbeat", [extension(15, Uint8Array.of(1))], GOES_ON),
    tls12("TLS 1.2", [0xc02b, 0xc02f], [extension(23, new Uint8Array(0))], GOES_ON),
    tls12("TLS 1.2 and RC4", [0x0005], [], FAILS),
    tls12("a downgrade (SCSV)", [0xc02b, 0x5600], [], FAILS),
    tls12("renegotiation with data", [0xc02b], [extension(0xff01, vector(1, Buffer.alloc(12)))], FAILS),
  ];
}
