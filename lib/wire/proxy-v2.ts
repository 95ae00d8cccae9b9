/**
 * Version 2 of the PROXY protocol: 16 fixed bytes, addresses, TLVs. Invariants: unassigned versions, commands, families and
 * transports are refused; what is valid and not for us (UNSPEC, datagrams) is no fault, its addresses are dropped; LOCAL
 * discards its block unread; a CRC32C that is there must be right. proxy-protocol.txt section 2.2.
 */
import { ProxyError } from "../errors.ts";
import type { IpAddress, SocketAddress } from "./address.ts";
import { crc32c } from "./crc32c.ts";
import { formatIp4, formatIp6, readIp } from "./ip.ts";
import type { ProxyHeader, ProxyVerdict } from "./proxy-header.ts";
import { NO_TLVS, readTlvs, type Tlvs, writeTlvs } from "./proxy-tlv.ts";

export const V2_SIGNATURE: Uint8Array = Buffer.from("\r\n\r\n\0\r\nQUIT\n", "latin1");

const FIXED = 16;
const INET = 1;
const INET6 = 2;
const UNIX = 3;
const STREAM = 1;
const ADDRESSES = [0, 12, 36, 216]; // bytes of the address block by family
const UNIX_PATH = 108;
const words = new Uint32Array(4);

/** Decodes a header of at most `limit` bytes; `bytes` begin with the signature. */
export function decodeV2(bytes: Uint8Array, limit: number): ProxyVerdict {
  if (bytes.length < 13) return { kind: "more", need: 13 };
  const version = bytes[12]! >> 4;
  const command = bytes[12]! & 15;
  if (version !== 2) return bad(`version ${version}`);
  if (command > 1) return bad(`command ${command}`);
  if (bytes.length < 14) return { kind: "more", need: 14 };
  const family = bytes[13]! >> 4;
  const transport = bytes[13]! & 15;
  // A LOCAL header's family is to be ignored, whatever it is.
  if (command === 1 && family > UNIX) return bad(`address family ${family}`);
  if (command === 1 && transport > 2) return bad(`transport ${transport}`);
  if (bytes.length < FIXED) return { kind: "more", need: FIXED };
  const end = FIXED + bytes[14]! * 256 + bytes[15]!;
  if (end > limit) return bad(`${end} bytes, the limit is ${limit}`);
  const tlvsAt = FIXED + (command === 1 && transport !== 0 ? ADDRESSES[family]! : 0);
  if (tlvsAt > end) return bad("less room than its addresses take");
  if (bytes.length < end) return { kind: "more", need: end };
  if (command === 0) return told("local", null, null, NO_TLVS, end);

  // Behind UNSPEC there may be addresses of unknown size or TLVs: they are TLVs if they read as TLVs.
  const unspec = family === 0 || transport === 0;
  const read = readTlvs(bytes, tlvsAt, end);
  if (typeof read === "string") return unspec ? told("proxy", null, null, NO_TLVS, end) : bad(read);
  if (read.crcAt >= 0 && crc32c(bytes, 0, end, read.crcAt) !== u32(bytes, read.crcAt))
    return bad("a wrong CRC32C");
  if (unspec || transport !== STREAM) return told("proxy", null, null, read.tlvs, end);
  if (family === UNIX) {
    const source = readPath(bytes, FIXED);
    const destination = readPath(bytes, FIXED + UNIX_PATH);
    return told("proxy", source, destination, read.tlvs, end);
  }
  const width = family === INET ? 4 : 16;
  const ports = FIXED + 2 * width;
  const source = readAddress(bytes, FIXED, width, ports);
  const destination = readAddress(bytes, FIXED + width, width, ports + 2);
  return told("proxy", source, destination, read.tlvs, end);
}

function readAddress(bytes: Uint8Array, at: number, width: number, portAt: number): IpAddress {
  const port = bytes[portAt]! * 256 + bytes[portAt + 1]!;
  for (let w = 0; w < width / 4; w++) words[w] = u32(bytes, at + 4 * w);
  return { kind: "ip", host: width === 4 ? formatIp4(words[0]!) : formatIp6(words), port };
}

/** A path up to its NUL; an abstract name (unix(7)) begins with one and has none behind: it is written with an `@` there. */
function readPath(bytes: Uint8Array, at: number): SocketAddress {
  let length = 0;
  if (bytes[at] === 0) {
    length = UNIX_PATH;
    while (length > 0 && bytes[at + length - 1] === 0) length--;
  } else {
    while (length < UNIX_PATH && bytes[at + length] !== 0) length++;
  }
  const path = Buffer.from(bytes.buffer, bytes.byteOffset + at, length).toString("utf8");
  return { kind: "unix", path: path.startsWith("\0") ? `@${path.slice(1)}` : path };
}

function u32(bytes: Uint8Array, at: number): number {
  return (bytes[at]! * 0x1000000 + (bytes[at + 1]! << 16) + (bytes[at + 2]! << 8) + bytes[at + 3]!) >>> 0;
}

function told(
  command: "proxy" | "local",
  source: SocketAddress | null,
  destination: SocketAddress | null,
  tlvs: Tlvs,
  length: number,
): ProxyVerdict {
  return { kind: "header", header: { version: 2, command, source, destination, tlvs }, length };
}

function bad(why: string): ProxyVerdict {
  return { kind: "bad", why: `PROXY v2 header with ${why}` };
}

/** Encodes a header. TLVs are kept for UNSPEC too: a receiver that reads them there gains, others skip them. */
export function encodeV2(header: ProxyHeader): Buffer {
  const local = header.command === "local";
  const addresses = local ? null : addressBlock(header.source, header.destination);
  const tlvs = local ? Buffer.alloc(0) : writeTlvs(header.tlvs);
  const fixed = Buffer.alloc(FIXED);
  fixed.set(V2_SIGNATURE, 0);
  fixed[12] = local ? 0x20 : 0x21;
  fixed[13] = addresses === null ? 0 : addresses.family * 16 + STREAM;
  const block = addresses?.bytes ?? Buffer.alloc(0);
  const length = block.length + tlvs.length;
  if (length > 65535) throw new ProxyError("INTERNAL", `PROXY header: ${length} bytes of TLVs and addresses`);
  fixed.writeUInt16BE(length, 14);
  const bytes = Buffer.concat([fixed, block, tlvs]);
  if (tlvs.length > 0) bytes.writeUInt32BE(crc32c(bytes, 0, bytes.length), bytes.length - 4);
  return bytes;
}

/** The addresses in the one family that both have; null (UNSPEC) where they have none in common, or a path has no room. */
function addressBlock(
  source: SocketAddress | null,
  destination: SocketAddress | null,
): { family: number; bytes: Buffer } | null {
  if (source === null || destination === null) return null;
  if (source.kind === "ip" && destination.kind === "ip") {
    const six = familyOf(source) === 6 || familyOf(destination) === 6;
    const width = six ? 16 : 4;
    const bytes = Buffer.alloc(2 * width + 4);
    writeAddress(source, bytes, 0, six);
    writeAddress(destination, bytes, width, six);
    bytes.writeUInt16BE(source.port, 2 * width);
    bytes.writeUInt16BE(destination.port, 2 * width + 2);
    return { family: six ? INET6 : INET, bytes };
  }
  if (source.kind === "unix" && destination.kind === "unix") {
    const bytes = Buffer.alloc(2 * UNIX_PATH);
    const fit = writePath(source.path, bytes, 0) && writePath(destination.path, bytes, UNIX_PATH);
    return fit ? { family: UNIX, bytes } : null;
  }
  return null;
}

function familyOf(address: IpAddress): 4 | 6 {
  const family = readIp(address.host, words);
  if (family === 0) throw new ProxyError("INTERNAL", `PROXY header: ${address.host} is no IP address`);
  return family;
}

function writeAddress(address: IpAddress, into: Buffer, at: number, six: boolean): void {
  const family = familyOf(address);
  if (six && family === 4) {
    into.writeUInt16BE(0xffff, at + 10);
    into.writeUInt32BE(words[0]!, at + 12);
  } else {
    for (let w = 0; w < (six ? 4 : 1); w++) into.writeUInt32BE(words[w]!, at + 4 * w);
  }
}

/** False where there is no room: a path that is not UTF-8 has grown when it was read, and anyone may choose one. */
function writePath(path: string, into: Buffer, at: number): boolean {
  if (Buffer.byteLength(path) > UNIX_PATH) return false;
  into.write(path, at, "utf8");
  if (path.startsWith("@")) into[at] = 0;
  return true;
}
