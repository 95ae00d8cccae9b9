/**
 * Hand-made DER for tests: certificates that no authority would issue. The signatures in here are void; whoever checks one
 * refuses. mint.ts signs.
 */

export function element(tag: number, ...contents: Uint8Array[]): Buffer {
  const content = Buffer.concat(contents);
  const { length } = content;
  const head = length < 128 ? [length] : length < 256 ? [0x81, length] : [0x82, length >> 8, length & 255];
  return Buffer.concat([Buffer.from([tag, ...head]), content]);
}

export function sequence(...contents: Uint8Array[]): Buffer {
  return element(0x30, ...contents);
}

/** An object identifier in dots. */
export function oid(dotted: string): Buffer {
  const [first = 0, second = 0, ...rest] = dotted.split(".").map(BigInt);
  const bytes: number[] = [];
  for (const arc of [BigInt(first) * 40n + BigInt(second), ...rest]) {
    const groups = [Number(arc & 127n)];
    for (let left = arc >> 7n; left > 0n; left >>= 7n) groups.unshift(Number(left & 127n) | 128);
    bytes.push(...groups);
  }
  return element(0x06, Buffer.from(bytes));
}

/** A string type or a context tag, one byte per character. */
export function text(tag: number, value: string): Buffer {
  return element(tag, Buffer.from(value, "latin1"));
}

/** One relative distinguished name: `oid` without its header. */
export function name(oid: readonly number[], value: Uint8Array): Buffer {
  return element(0x31, sequence(element(0x06, Buffer.from(oid)), value));
}

export function extension(oid: readonly number[], value: Uint8Array): Buffer {
  return sequence(element(0x06, Buffer.from(oid)), element(0x04, value));
}

export interface CertificateParts {
  /** Relative distinguished names, joined. */
  readonly subject?: Uint8Array;
  readonly extensions?: readonly Uint8Array[];
}

/** A certificate of the right shape, valid from 2020 to 2040. */
export function certificate(parts: CertificateParts): Buffer {
  const algorithm = sequence(element(0x06, Buffer.from([0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02])));
  const bits = element(0x03, Buffer.from([0, 1, 2, 3]));
  const fields = [
    element(0xa0, element(0x02, Buffer.from([2]))),
    element(0x02, Buffer.from([1])),
    algorithm,
    sequence(),
    sequence(text(0x17, "200101000000Z"), text(0x17, "400101000000Z")),
    sequence(parts.subject ?? Buffer.alloc(0)),
    sequence(algorithm, bits),
  ];
  if (parts.extensions !== undefined) fields.push(element(0xa3, sequence(...parts.extensions)));
  return sequence(sequence(...fields), algorithm, bits);
}
