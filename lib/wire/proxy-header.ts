/**
 * The PROXY protocol header at the start of a stream, versions 1 and 2: who the client of the hop before us is. Invariants: a
 * decoder's verdict depends on the bytes alone; nothing behind the header is looked at; what an encoder cannot say exactly it
 * throws on, so that a half-true header never leaves. HAProxy's doc/proxy-protocol.txt, sections 2.1 and 2.2.
 *
 * Version 1 is proxy-v1.ts, version 2 proxy-v2.ts, its TLVs proxy-tlv.ts.
 */
import type { SocketAddress } from "./address.ts";
import type { Tlvs } from "./proxy-tlv.ts";
import { decodeV1, encodeV1, V1_PREFIX } from "./proxy-v1.ts";
import { decodeV2, encodeV2, V2_SIGNATURE } from "./proxy-v2.ts";

export type { SslFacts, Tlvs } from "./proxy-tlv.ts";

/** A decoded header, and what an encoder is given. */
export interface ProxyHeader {
  readonly version: 1 | 2;
  /** `local`: the proxy speaks for itself (a health check); the real addresses of the connection hold. */
  readonly command: "proxy" | "local";
  /** null: not told (UNKNOWN, UNSPEC, LOCAL): the real addresses hold. Both are told or none; a UNIX path may be empty. */
  readonly source: SocketAddress | null;
  readonly destination: SocketAddress | null;
  /** Empty for version 1, LOCAL and UNSPEC. */
  readonly tlvs: Tlvs;
}

export type ProxyVerdict =
  | { readonly kind: "header"; readonly header: ProxyHeader; readonly length: number }
  /**
   * `need` is more than was shown: with fewer bytes in all it can be neither a header nor found to be none. (That a header
   * which has begun is broken may show earlier.)
   */
  | { readonly kind: "more"; readonly need: number }
  /** It begins as a header does and is none. */
  | { readonly kind: "bad"; readonly why: string }
  /** The stream does not begin with a header: told at the first byte that differs. */
  | { readonly kind: "absent" };

/**
 * The longest header that is read: the fixed part, UNIX addresses and TLVs. The protocol's own bound is 16 + 65535; senders
 * stay within one segment, and 4 KiB leaves room for a certificate's name and custom TLVs.
 */
export const MAX_PROXY_HEADER = 4096;

/** Judges the first bytes of a stream, always all of them from the first. Never throws. */
export function decodeProxyHeader(bytes: Uint8Array): ProxyVerdict {
  if (bytes.length === 0) return { kind: "more", need: 1 };
  const prefix = bytes[0] === V1_PREFIX[0] ? V1_PREFIX : V2_SIGNATURE;
  const shown = Math.min(bytes.length, prefix.length);
  for (let i = 0; i < shown; i++) if (bytes[i] !== prefix[i]) return { kind: "absent" };
  if (shown < prefix.length) return { kind: "more", need: shown + 1 };
  return prefix === V1_PREFIX ? decodeV1(bytes) : decodeV2(bytes, MAX_PROXY_HEADER);
}

/**
 * The bytes of a header. Version 1 drops the TLVs and says UNKNOWN where it has no word for the addresses (UNIX, or none);
 * version 2 says UNSPEC there (none, or a UNIX path of more than 108 bytes). An IPv4 and an IPv6 address together travel as
 * IPv6, the IPv4 one mapped. Throws ProxyError INTERNAL on a TLV that cannot be encoded and on an address that is none.
 */
export function encodeProxyHeader(header: ProxyHeader): Buffer {
  return header.version === 1 ? encodeV1(header) : encodeV2(header);
}
