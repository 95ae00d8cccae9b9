/**
 * Addresses as Millrace writes them: `127.0.0.1:443`, `[::1]:443`, `:443` (all), `name:443`, `unix:/path`,
 * `systemd:NAME`. Pure: nothing is resolved here.
 */
import { isIP } from "node:net";

/** An address that a socket can have. `host` is an IP literal without brackets; IPv4-mapped IPv6 is written as IPv4. */
export interface IpAddress {
  readonly kind: "ip";
  readonly host: string;
  readonly port: number;
}
export interface UnixAddress {
  readonly kind: "unix";
  /** A name in the abstract namespace (unix(7)) begins with `@` in place of its NUL. */
  readonly path: string;
}
export type SocketAddress = IpAddress | UnixAddress;

/** A target by host name, to be resolved over time. */
export interface NameAddress {
  readonly kind: "name";
  readonly host: string;
  readonly port: number;
}
/** A listening socket inherited from systemd, by its FileDescriptorName. */
export interface SystemdAddress {
  readonly kind: "systemd";
  readonly name: string;
}
export type Address = SocketAddress | NameAddress | SystemdAddress;

const HOST_PORT = /^(?:\[([0-9A-Fa-f:.%A-Za-z]+)\]|([^[\]:/\s]*)):(\d{1,5})$/;
// RFC 1035 labels, and the underscore that SRV and Kubernetes names use.
const HOST_NAME =
  /^(?=.{1,253}\.?$)(?:[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?)(?:\.[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?)*\.?$/;

/** Parses an address as written in a configuration; `null` when it is none. An empty host means all (`::`). */
export function parseAddress(text: string): Address | null {
  if (text.startsWith("unix:")) return text.length > 5 ? { kind: "unix", path: text.slice(5) } : null;
  if (text.startsWith("systemd:")) return text.length > 8 ? { kind: "systemd", name: text.slice(8) } : null;
  const parts = HOST_PORT.exec(text);
  if (parts === null) return null;
  const port = Number(parts[3]);
  if (port > 65535) return null;
  const bracketed = parts[1];
  if (bracketed !== undefined) return isIP(bracketed) === 6 ? { kind: "ip", host: bracketed, port } : null;
  const host = parts[2] ?? "";
  if (host === "") return { kind: "ip", host: "::", port };
  if (isIP(host) === 4) return { kind: "ip", host, port };
  if (/^[\d.]+$/.test(host)) return null; // 1.2.3 or 300.1.1.1: a mistyped address, not a name
  return HOST_NAME.test(host) ? { kind: "name", host: host.toLowerCase(), port } : null;
}

/** The inverse of `parseAddress`, and the form that logs, metrics and keys use. */
export function formatAddress(address: Address): string {
  switch (address.kind) {
    case "unix":
      return `unix:${address.path}`;
    case "systemd":
      return `systemd:${address.name}`;
    default:
      return address.host.includes(":")
        ? `[${address.host}]:${address.port}`
        : `${address.host}:${address.port}`;
  }
}

/** IPv4-mapped IPv6 (`::ffff:10.0.0.1`, RFC 4291 section 2.5.5.2) as plain IPv4; anything else unchanged. */
export function plainHost(host: string): string {
  return host.startsWith("::ffff:") && host.includes(".") ? host.slice(7) : host;
}
