/**
 * Builds ClientHellos byte by byte, right ones and wrong ones, and cuts them into TLS records. Nothing here is taken from
 * lib/wire: what the parser must read is written down a second time.
 */

export interface HelloShape {
  readonly legacyVersion?: number;
  readonly sessionId?: Uint8Array;
  readonly ciphers?: readonly number[];
  readonly compression?: Uint8Array;
  /** In order. `null`: no extension block at all. */
  readonly extensions?: readonly Uint8Array[] | null;
}

export function u16(value: number): Uint8Array {
  return Uint8Array.of((value >> 8) & 255, value & 255);
}

export function join(...parts: readonly Uint8Array[]): Buffer {
  return Buffer.concat(parts);
}

/** A vector with a length of one or two bytes in front. `lie` is added to the length. */
export function vector(width: 1 | 2, body: Uint8Array, lie = 0): Uint8Array {
  const length = body.length + lie;
  return join(width === 1 ? Uint8Array.of(length) : u16(length), body);
}

export function extension(type: number, body: Uint8Array, lie = 0): Uint8Array {
  return join(u16(type), vector(2, body, lie));
}

export function sni(name: string | Uint8Array, nameType = 0): Uint8Array {
  const bytes = typeof name === "string" ? Buffer.from(name, "latin1") : name;
  return extension(0, vector(2, join(Uint8Array.of(nameType), vector(2, bytes))));
}

export function alpn(...protocols: readonly string[]): Uint8Array {
  return extension(16, vector(2, join(...protocols.map((name) => vector(1, Buffer.from(name, "latin1"))))));
}

export function versions(...numbers: readonly number[]): Uint8Array {
  return extension(43, vector(1, join(...numbers.map(u16))));
}

export function groups(...numbers: readonly number[]): Uint8Array {
  return extension(10, vector(2, join(...numbers.map(u16))));
}

/** Shares of the given sizes: 32 for x25519, 1216 for X25519MLKEM768. */
export function keyShares(...shares: readonly (readonly [group: number, size: number])[]): Uint8Array {
  const entries = shares.map(([group, size]) => join(u16(group), vector(2, new Uint8Array(size).fill(7))));
  return extension(51, vector(2, join(...entries)));
}

/** An ECH extension of type outer as RFC 9849 section 5 has it; GREASE looks the same. */
export function echOuter(payload = 144): Uint8Array {
  const body = join(
    Uint8Array.of(0),
    u16(1),
    u16(1),
    Uint8Array.of(42),
    vector(2, new Uint8Array(32).fill(9)),
  );
  return extension(0xfe0d, join(body, vector(2, new Uint8Array(payload).fill(5))));
}

export const echInner: Uint8Array = extension(0xfe0d, Uint8Array.of(1));

export function psk(): Uint8Array {
  const identity = join(vector(2, new Uint8Array(16).fill(3)), new Uint8Array(4));
  return extension(41, join(vector(2, identity), vector(2, vector(1, new Uint8Array(32).fill(4)))));
}

/** A handshake message, header included. */
export function helloMessage(shape: HelloShape = {}): Uint8Array {
  const extensions = shape.extensions === undefined ? [sni("db.example.test")] : shape.extensions;
  const body = join(
    u16(shape.legacyVersion ?? 0x0303),
    new Uint8Array(32).fill(0xaa),
    vector(1, shape.sessionId ?? new Uint8Array(32).fill(0xbb)),
    vector(2, join(...(shape.ciphers ?? [0x1301, 0x1302, 0xc02f]).map(u16))),
    vector(1, shape.compression ?? Uint8Array.of(0)),
    extensions === null ? new Uint8Array(0) : vector(2, join(...extensions)),
  );
  return handshake(1, body);
}

export function handshake(type: number, body: Uint8Array, lie = 0): Uint8Array {
  const length = body.length + lie;
  return join(Uint8Array.of(type, length >> 16, (length >> 8) & 255, length & 255), body);
}

export function record(payload: Uint8Array, version = 0x0301, type = 22): Uint8Array {
  return join(Uint8Array.of(type), u16(version), vector(2, payload));
}

/** Cuts a message into records of the given payload sizes; the last size repeats, 0 makes an empty record once. */
export function records(message: Uint8Array, sizes: readonly number[] = [16384]): Buffer {
  const parts: Uint8Array[] = [];
  let at = 0;
  for (let i = 0; at < message.length; i++) {
    const size = i < sizes.length ? sizes[i]! : Math.max(1, sizes.at(-1)!);
    parts.push(record(message.subarray(at, at + size)));
    at += size;
  }
  return join(...parts);
}

/** The stream of a hello in one record. */
export function helloStream(shape: HelloShape = {}): Buffer {
  return records(helloMessage(shape));
}

/** What a current browser sends, near enough: GREASE everywhere, ECH, a post-quantum share; about 1.8 KiB. */
export function browserHello(name: string): Uint8Array {
  return helloMessage({
    ciphers: [0x3a3a, 0x1301, 0x1302, 0x1303, 0xc02b, 0xc02f],
    extensions: [
      extension(0x5a5a, new Uint8Array(0)),
      sni(name),
      extension(23, new Uint8Array(0)),
      groups(0x8a8a, 0x11ec, 29, 23, 24),
      alpn("h2", "http/1.1"),
      versions(0xeaea, 0x0304, 0x0303),
      echOuter(),
      keyShares([0x8a8a, 1], [0x11ec, 1216], [29, 32]),
      extension(0x2a2a, Uint8Array.of(0)),
    ],
  });
}

/** A hello that a TLS 1.3 server answers with its first flight; its client has no keys and can say nothing more. */
export function answerableHello(name: string, ...more: readonly Uint8Array[]): Uint8Array {
  return helloMessage({
    ciphers: [0x1301],
    extensions: [
      sni(name),
      groups(29),
      // ECDSA with P-256, RSA-PSS, RSA with SHA-256
      extension(13, vector(2, join(u16(0x0403), u16(0x0804), u16(0x0401)))),
      versions(0x0304),
      keyShares([29, 32]),
      ...more,
    ],
  });
}
