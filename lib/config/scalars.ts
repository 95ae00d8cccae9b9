/**
 * The words that a configuration is made of, as zod schemas: each takes what a user writes and gives what the program
 * reads (ms, bytes, addresses, canonical names). Every message is a clause that follows a path: "must be ...".
 */
import { z } from "zod";
import { type Address, parseAddress } from "../wire/address.ts";
import {
  parseEntryName,
  parseFingerprint,
  parseHostName,
  parsePeerName,
  parseServerName,
  parseSniPattern,
  parseSpiffe,
} from "./names.ts";
import { canonicalIp, type Parsed, parseCidr, parseDestination } from "./networks.ts";
import { MAX_DURATION, parseDuration, parseSize } from "./units.ts";

/** A string that `parse` turns into a value; `what` says what it is, for a value that is no string at all. */
function word<T>(what: string, parse: (text: string) => Parsed<T>) {
  return z.string({ error: () => `must be ${what}` }).transform((text, context) => {
    const parsed = parse(text);
    if ("value" in parsed) return parsed.value;
    context.issues.push({ code: "custom", message: parsed.fault, input: text });
    return z.NEVER;
  });
}

/** A mapping with these keys and no others. Its message for an unknown key is the list of the known ones. */
export function mapping<S extends z.core.$ZodLooseShape>(shape: S) {
  const known = Object.keys(shape).join(" ");
  return z.strictObject(shape, {
    error: (issue) => (issue.code === "unrecognized_keys" ? known : "must be a mapping"),
  });
}

/** A list, whose faults name the index. */
export function list<S extends z.ZodType>(item: S) {
  return z.array(item, { error: () => "must be a list" });
}

/** Entries by name. */
export function entries<S extends z.ZodType>(item: S) {
  return z.record(z.string(), item, { error: () => "must be a mapping from names to entries" });
}

export function choice<const V extends readonly [string, ...string[]]>(values: V) {
  return z.enum(values, { error: () => `must be ${either(values)}` });
}

export function integer(from: number, to: number) {
  const message = () => `must be a whole number from ${from} to ${to}`;
  return z.int({ error: message }).min(from, { error: message }).max(to, { error: message });
}

export function autoOr(from: number, to: number) {
  return z.union([z.literal("auto"), integer(from, to)], {
    error: () => `must be auto or a whole number from ${from} to ${to}`,
  });
}

export const boolean = z.boolean({ error: () => "must be true or false" });
export const share = z
  .number({ error: () => "must be a number from 0 to 1" })
  .refine((n) => n >= 0 && n <= 1, {
    error: () => "must be a number from 0 to 1",
  });

/** The name of an entry elsewhere, such as "a cluster". */
export function reference(kind: string) {
  return z.string({ error: () => `must be the name of ${kind}` });
}

export const text = z.string({ error: () => "must be a string" });

/** A duration that may be 0, which switches off what it bounds. */
export const durationOrOff = word("a duration such as 500ms, 5s, 2m or 1h, or 0s", (written) => {
  const ms = parseDuration(written);
  return ms === null ? { fault: durationFault(written, ", or 0s for never") } : { value: ms };
}).meta({ pattern: "^[0-9]+(ms|s|m|h)$|\\$\\{" });

/** A duration that must be longer than 0. */
export const duration = word("a duration such as 500ms, 5s, 2m or 1h", (written) => {
  const ms = parseDuration(written);
  if (ms === 0) return { fault: "must be longer than 0: it cannot be switched off" };
  return ms === null ? { fault: durationFault(written, "") } : { value: ms };
}).meta({ pattern: "^[0-9]+(ms|s|m|h)$|\\$\\{" });

function durationFault(written: string, also: string): string {
  if (/^\d+$/.test(written)) return `must have a unit: ${written}ms, ${written}s, ${written}m or ${written}h`;
  if (/^\d+(ms|s|m|h)$/.test(written)) return `must be at most ${Math.floor(MAX_DURATION / 3_600_000)}h`;
  return `must be a duration such as 500ms, 5s, 2m or 1h${also}`;
}

/** A size in bytes. */
export function size(from: number, to: number, range: string) {
  return word("a size such as 512B, 64KiB or 1MiB", (written) => {
    const bytes = parseSize(written);
    if (bytes === null) return { fault: "must be a size such as 512B, 64KiB or 1MiB" };
    return bytes < from || bytes > to ? { fault: `must be from ${range}` } : { value: bytes };
  }).meta({ pattern: "^[0-9]+(B|KiB|MiB|GiB)$|\\$\\{" });
}

export const entryName = word("a name", parseEntryName);
export const hostName = word("a host name", parseHostName);
export const serverName = word("a host name or an IP address", parseServerName);
export const sniPattern = word("a server name", parseSniPattern);
export const peerName = word("a DNS name", parsePeerName);
export const spiffe = word("a SPIFFE ID or pattern", parseSpiffe);
export const fingerprint = word('"sha256:" and 64 hex digits', parseFingerprint);
export const cidr = word("an IP network such as 10.0.0.0/8", parseCidr);
export const destination = word('NETWORK:PORT such as "10.0.0.0/8:5432"', parseDestination);

export const filePath = word("a file name", (written) =>
  written === "" || written.includes("\0") ? { fault: "must be a file name" } : { value: written },
);

/** Common name or organisational unit of a certificate, compared exactly. */
export const subjectPart = word("a string", (written) => {
  if (written.trim() === "" || written.length > 256) return { fault: "must have 1 to 256 characters" };
  return written.includes("*")
    ? { fault: "must be written out: it is compared exactly and has no wildcards" }
    : { value: written };
});

/** RFC 7301 section 3.1: a protocol name has 1 to 255 bytes. */
export const alpnName = word("a protocol name such as h2 or http/1.1", (written) =>
  written === "" || Buffer.byteLength(written) > 255
    ? { fault: "must have 1 to 255 bytes" }
    : { value: written },
);

export const tlsVersion = z
  .literal(["1.2", "1.3", 1.2, 1.3], { error: () => 'must be "1.2" or "1.3"' })
  .transform((version) => (String(version) === "1.3" ? "1.3" : "1.2"));

/** Where a listener listens. */
export const listenAddress = word('an address such as "127.0.0.1:443"', (written): Parsed<ListenAddress> => {
  const address = canonicalAddress(written);
  if (address === null)
    return { fault: addressFault("127.0.0.1:443, [::1]:443, :443, unix:/path or systemd:NAME") };
  if (address.kind !== "name") return { value: address };
  const local =
    address.host === "localhost" ? `127.0.0.1:${address.port} or [::1]:${address.port}` : "0.0.0.0:443";
  return { fault: `must be an IP address, names are for targets only: write one such as ${local}` };
});

/** Where the admin room listens: a socket of its own, never inherited. */
export const adminAddress = word('an address such as "unix:/run/millrace/admin.sock"', (written) => {
  const address = canonicalAddress(written);
  if (address?.kind === "ip" || address?.kind === "unix") return { value: address };
  return { fault: addressFault("unix:/run/millrace/admin.sock or 127.0.0.1:9901") };
});

/** What a cluster may dial. */
export const targetAddress = word('an address such as "10.0.0.7:8080"', (written): Parsed<TargetAddress> => {
  const address = canonicalAddress(written);
  if (address === null || address.kind === "systemd") {
    return { fault: addressFault("10.0.0.7:8080, [fd77::7]:8080, name:8080 or unix:/path") };
  }
  if (written.startsWith(":")) return { fault: `must say whom to dial before ${quoteShort(written)}` };
  if (address.kind !== "unix" && address.port === 0) return { fault: "must have a port from 1 to 65535" };
  return { value: address };
});

/** A name and a port, to be looked up over time. */
export const nameAddress = word('NAME:PORT such as "api.internal:443"', (written) => {
  const address = canonicalAddress(written);
  if (address?.kind === "name" && address.port > 0) return { value: address };
  const advice = address?.kind === "ip" ? "; an IP address belongs in endpoints" : "";
  return { fault: `must be NAME:PORT such as "api.internal:443"${advice}` };
});

/** A name server. Port 53 where none is written. */
export const nameServer = word('an address such as "127.0.0.1:53"', (written) => {
  const bare = canonicalIp(written);
  if (bare !== null) return { value: { kind: "ip" as const, host: bare, port: 53 } };
  const address = canonicalAddress(written);
  if (address?.kind === "ip" && address.port > 0 && !written.startsWith(":")) return { value: address };
  return { fault: 'must be the address of a name server such as "127.0.0.1:53"' };
});

export type ListenAddress = Exclude<Address, { kind: "name" }>;
export type TargetAddress = Exclude<Address, { kind: "systemd" }>;

function canonicalAddress(written: string): Address | null {
  const address = written.includes("\0") ? null : parseAddress(written);
  if (address?.kind === "ip") return { ...address, host: canonicalIp(address.host) ?? address.host };
  return address;
}

function addressFault(forms: string): string {
  return `must be an address: ${forms}`;
}

function quoteShort(written: string): string {
  return JSON.stringify(written.slice(0, 60));
}

/** `a, b or c`. */
export function either(values: readonly string[]): string {
  return values.length < 2 ? values.join("") : `${values.slice(0, -1).join(", ")} or ${values.at(-1)}`;
}
