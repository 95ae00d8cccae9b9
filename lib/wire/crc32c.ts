/** CRC-32C (Castagnoli), RFC 9260 appendix A, as the PROXY protocol asks for: reflected, initial value and final XOR all ones. */

const POLYNOMIAL = 0x82f63b78; // 0x1edc6f41 reflected

const TABLE = new Uint32Array(256);
for (let i = 0; i < 256; i++) {
  let value = i;
  for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ POLYNOMIAL : value >>> 1;
  TABLE[i] = value;
}

/** The checksum of `bytes` from `from` to `end` with the four bytes at `hole` taken as zero; no hole: -1. */
export function crc32c(bytes: Uint8Array, from: number, end: number, hole = -1): number {
  let crc = 0xffffffff;
  for (let i = from; i < end; i++) {
    const byte = hole >= 0 && i >= hole && i < hole + 4 ? 0 : bytes[i]!;
    crc = TABLE[(crc ^ byte) & 255]! ^ (crc >>> 8);
  }
  return ~crc >>> 0;
}
