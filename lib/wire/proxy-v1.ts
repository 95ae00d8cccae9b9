/**
 * Version 1 of the PROXY protocol: one line of ASCII, at most 107 bytes with its CRLF. Invariant: strict, because the line is
 * an assertion about identity: single spaces, canonical decimal ports, addresses of the family it names.
 */
import { ProxyError } from "../errors.ts";
import type { IpAddress, SocketAddress } from "./address.ts";
import { formatIp4, formatIp6, readIp } from "./ip.ts";
import type { ProxyHeader, ProxyVerdict } from "./proxy-header.ts";
import { NO_TLVS } from "./proxy-tlv.ts";

export const V1_PREFIX: Uint8Array = Buffer.from("PROXY ", "latin1");

const MAX_LINE = 107; // section 2.1: the longest UNKNOWN line with its CRLF
const MIN_LINE = 15; // "PROXY UNKNOWN\r\n"
const CR = 13;
const LF = 10;
const PORT = /^(?:0|[1-9]\d{0,4})$/;
const words = new Uint32Array(4);

/** Decodes a line; `bytes` begin with the prefix. */
export function decodeV1(bytes: Uint8Array): ProxyVerdict {
  const end = Math.min(bytes.length, MAX_LINE);
  const cr = bytes.subarray(0, end).indexOf(CR);
  for (let i = V1_PREFIX.length; i < (cr < 0 ? end : cr); i++)
    if (bytes[i]! < 32 || bytes[i]! > 126) return bad("a byte that is no printable ASCII");
  if (cr < 0) {
    if (end === MAX_LINE) return bad("no end of line within 107 bytes");
    return { kind: "more", need: Math.max(end + 2, MIN_LINE) };
  }
  if (cr + 1 >= MAX_LINE) return bad("no end of line within 107 bytes");
  if (cr + 1 >= bytes.length) return { kind: "more", need: cr + 2 };
  if (bytes[cr + 1] !== LF) return bad("a carriage return without a line feed");
  const line = Buffer.from(bytes.buffer, bytes.byteOffset, cr).toString("latin1");
  const length = cr + 2;
  // What follows UNKNOWN is to be ignored up to the CRLF.
  if (line === "PROXY UNKNOWN" || line.startsWith("PROXY UNKNOWN ")) return told(null, null, length);
  const parts = line.split(" ");
  const family = parts[1] === "TCP4" ? 4 : parts[1] === "TCP6" ? 6 : 0;
  if (family === 0) return bad("a family other than TCP4, TCP6 and UNKNOWN");
  if (parts.length !== 6) return bad("not two addresses and two ports");
  const source = readAddress(parts[2]!, parts[4]!, family);
  const destination = readAddress(parts[3]!, parts[5]!, family);
  if (source === null || destination === null) return bad("an address or port that is none");
  return told(source, destination, length);
}

function readAddress(host: string, port: string, family: 4 | 6): IpAddress | null {
  if (!PORT.test(port) || Number(port) > 65535) return null;
  // A mapped address is IPv6 on the line and IPv4 to us. A zone says nothing on another machine.
  if (host.includes(":") !== (family === 6) || host.includes("%")) return null;
  const read = readIp(host, words);
  if (read === 0) return null;
  return { kind: "ip", host: read === 4 ? formatIp4(words[0]!) : formatIp6(words), port: Number(port) };
}

function told(source: SocketAddress | null, destination: SocketAddress | null, length: number): ProxyVerdict {
  return {
    kind: "header",
    header: { version: 1, command: "proxy", source, destination, tlvs: NO_TLVS },
    length,
  };
}

function bad(why: string): ProxyVerdict {
  return { kind: "bad", why: `PROXY v1 header with ${why}` };
}

/** Encodes a line. LOCAL has no word in version 1 and becomes UNKNOWN, which means the same to a receiver. */
export function encodeV1(header: ProxyHeader): Buffer {
  const { source, destination } = header;
  if (header.command === "local" || source?.kind !== "ip" || destination?.kind !== "ip")
    return Buffer.from("PROXY UNKNOWN\r\n", "latin1");
  const six = isSix(source) || isSix(destination);
  const hosts = `${writeHost(source, six)} ${writeHost(destination, six)}`;
  return Buffer.from(`PROXY TCP${six ? 6 : 4} ${hosts} ${source.port} ${destination.port}\r\n`, "latin1");
}

function isSix(address: IpAddress): boolean {
  return readIp(address.host, words) === 6;
}

function writeHost(address: IpAddress, six: boolean): string {
  const family = readIp(address.host, words);
  if (family === 0) throw new ProxyError("INTERNAL", `PROXY header: ${address.host} is no IP address`);
  if (family === 6) return formatIp6(words);
  return six ? `::ffff:${formatIp4(words[0]!)}` : formatIp4(words[0]!);
}
