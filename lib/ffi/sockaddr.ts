/**
 * Socket addresses as the kernel has them (ip(7), ipv6(7), unix(7)) and as Millrace has them. An IPv4-mapped IPv6 address
 * is IPv4 in Millrace. Ports are in network order, everything else in the order of the machine, which is little-endian.
 */
import { ProxyError } from "../errors.ts";
import type { SocketAddress } from "../wire/address.ts";
import { formatIp4, formatIp6, readIp } from "../wire/ip.ts";
import { remembered } from "../wire/texts.ts";
import { AF_INET, AF_INET6, AF_UNIX, SOCKADDR_IN, SOCKADDR_IN6, SOCKADDR_UN } from "./layout.ts";
import { interfaceIndex } from "./libc.ts";
import { allocate, type Memory } from "./memory.ts";

const words = new Uint32Array(4);
let nameMemory: Memory | null = null;

/**
 * The bytes of a `sockaddr` for `address`. A UNIX path that begins with `@` is in the abstract namespace, as in systemd and
 * socat. Throws CONFIG when the path does not fit, when the zone of a link-local address is unknown, or when it is no address.
 */
export function encodeSockaddr(address: SocketAddress): Buffer {
  if (address.kind === "unix") return encodePath(address.path);
  const family = readIp(address.host, words);
  if (family === 4) {
    const bytes = Buffer.alloc(SOCKADDR_IN.size);
    bytes.writeUInt16LE(AF_INET, SOCKADDR_IN.family);
    bytes.writeUInt16BE(address.port, SOCKADDR_IN.port);
    bytes.writeUInt32BE(words[0]!, SOCKADDR_IN.address);
    return bytes;
  }
  if (family === 0) throw new ProxyError("CONFIG", `${address.host} is not an IP address`);
  const bytes = Buffer.alloc(SOCKADDR_IN6.size);
  bytes.writeUInt16LE(AF_INET6, SOCKADDR_IN6.family);
  bytes.writeUInt16BE(address.port, SOCKADDR_IN6.port);
  for (let w = 0; w < 4; w++) bytes.writeUInt32BE(words[w]!, SOCKADDR_IN6.address + 4 * w);
  const zone = address.host.indexOf("%");
  if (zone >= 0) bytes.writeUInt32LE(zoneIndex(address.host.slice(zone + 1)), SOCKADDR_IN6.scope);
  return bytes;
}

/** Reads a `sockaddr` of `length` bytes at `offset`. */
export function decodeSockaddr(bytes: Buffer, offset: number, length: number): SocketAddress {
  // An unnamed UNIX client has a family and nothing else; some kernels give no address at all.
  const family = length < 2 ? AF_UNIX : bytes[offset]!;
  if (family === AF_INET) {
    const at = offset + SOCKADDR_IN.address;
    const host = hostOf((bytes[at]! << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!);
    return { kind: "ip", host, port: portAt(bytes, offset + SOCKADDR_IN.port) };
  }
  if (family === AF_INET6) {
    for (let w = 0; w < 4; w++) words[w] = bytes.readUInt32BE(offset + SOCKADDR_IN6.address + 4 * w);
    return { kind: "ip", host: formatIp6(words), port: portAt(bytes, offset + SOCKADDR_IN6.port) };
  }
  const path = bytes.subarray(offset + SOCKADDR_UN.path, offset + length);
  if (path.length === 0) return { kind: "unix", path: "" };
  if (path[0] === 0) return { kind: "unix", path: `@${path.subarray(1).toString()}` };
  const end = path.indexOf(0);
  return { kind: "unix", path: (end < 0 ? path : path.subarray(0, end)).toString() };
}

function portAt(bytes: Uint8Array, at: number): number {
  return bytes[at]! * 256 + bytes[at + 1]!;
}

// Clients come back, and one text for all their connections spares each its own.
const hostOf = remembered(formatIp4);

function encodePath(path: string): Buffer {
  const text = Buffer.from(path);
  const room = SOCKADDR_UN.pathBytes - 1;
  if (text.length > room) {
    const fault = `the path has ${text.length} bytes, the system allows ${room} (unix(7)); choose a shorter one`;
    throw new ProxyError("CONFIG", `unix:${path}: ${fault}`);
  }
  const abstract = text[0] === 0x40;
  // A path ends with a zero; a name in the abstract namespace begins with one and ends where the length says.
  const bytes = Buffer.alloc(SOCKADDR_UN.path + text.length + (abstract ? 0 : 1));
  bytes.writeUInt16LE(AF_UNIX, SOCKADDR_UN.family);
  text.copy(bytes, SOCKADDR_UN.path);
  if (abstract) bytes[SOCKADDR_UN.path] = 0;
  return bytes;
}

function zoneIndex(zone: string): number {
  if (/^\d+$/.test(zone)) return Number(zone);
  nameMemory ??= allocate(256);
  nameMemory.bytes.write(`${zone.slice(0, 200)}\0`, 0);
  const index = interfaceIndex(nameMemory.address);
  if (index === 0) throw new ProxyError("CONFIG", `there is no network interface ${zone}`);
  return index;
}
