/**
 * Networks and destination patterns of a configuration in one canonical spelling, so that two ways to write the same
 * network compare equal as text: RFC 5952, host bits cleared, IPv4-mapped IPv6 as IPv4. The reading itself is wire/cidr.ts;
 * here is what to tell the one who wrote something else.
 */
import { isIP } from "node:net";
import { formatCidr, parseCidr as readCidr, parseDestination as readDestination } from "../wire/cidr.ts";

/** What a reader of text gives back: the value, or a clause that says what would be right. */
export type Parsed<T> = { readonly value: T } | { readonly fault: string };

/** An IP literal in canonical spelling, or null when it is none. A zone (`%eth0`) is kept as it is. */
export function canonicalIp(text: string): string | null {
  if (isIP(text) !== 6 || text.includes("%")) return isIP(text) === 0 ? null : text;
  const block = readCidr(text);
  return block === null ? text : formatCidr(block).replace(/\/\d+$/, "");
}

/** `10.0.0.0/8`, `fd77::/64`, or one address, which stands for itself alone. */
export function parseCidr(text: string): Parsed<string> {
  const block = readCidr(text);
  if (block !== null) return { value: formatCidr(block) };
  const slash = text.indexOf("/");
  const family = slash < 0 ? 0 : isIP(text.slice(0, slash));
  if (family === 0) return { fault: "must be an IP network such as 10.0.0.0/8 or fd77::/64" };
  return { fault: `must have a prefix length from 0 to ${family === 4 ? 32 : 128} after the slash` };
}

/** `CIDR:port`, `CIDR:from-to` or `[CIDR6]:port`. */
export function parseDestination(text: string): Parsed<string> {
  const destination = readDestination(text);
  if (destination !== null) {
    const { block, from, to } = destination;
    const network = formatCidr(block);
    const ports = from === to ? `${from}` : `${from}-${to}`;
    return { value: block.family === 6 ? `[${network}]:${ports}` : `${network}:${ports}` };
  }
  const parts = /^(?:\[([^\]]*)\]|([^[\]:]*)):(\d{1,5})(?:-(\d{1,5}))?$/.exec(text);
  if (parts === null) {
    const examples = '"10.0.0.0/8:5432", "10.0.0.0/8:1-65535" or "[fd77::/64]:5432"';
    return { fault: `must be NETWORK:PORT such as ${examples}` };
  }
  const network = parseCidr(parts[1] ?? parts[2] ?? "");
  if ("fault" in network) return network;
  const [from, to] = [Number(parts[3]), Number(parts[4] ?? parts[3])];
  return from <= to
    ? { fault: "must have ports from 1 to 65535" }
    : { fault: `must have the lower port first: ${to}-${from}` };
}
