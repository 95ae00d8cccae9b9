/**
 * One accepted configuration after parsing: defaults filled in, durations in ms, sizes in bytes, paths absolute,
 * names resolved to entries. Plain data that survives structured clone, because it travels to worker threads.
 * What a user may write is in schema.ts; this is what the rest of the program reads.
 */
import type { Address, IpAddress, SocketAddress } from "../wire/address.ts";

/** Worker threads at most: the memory that they share with control has room for so many. */
export const MAX_WORKERS = 120;

export interface Config {
  /** Absolute path of the file it came from; null for a configuration built by a program or a command line. */
  readonly file: string | null;
  readonly transport: "auto" | "epoll" | "net";
  readonly workers: "auto" | number;
  readonly log: LogConfig;
  readonly admin: { readonly listen: SocketAddress } | null;
  readonly limits: ProcessLimits;
  readonly timeouts: Timeouts;
  readonly dns: DnsConfig;
  /** By name, in file order. */
  readonly identities: Readonly<Record<string, IdentityConfig>>;
  readonly listeners: readonly ListenerConfig[];
  readonly clusters: Readonly<Record<string, ClusterConfig>>;
}

/** null: as resolv.conf says, or the default. */
export interface DnsConfig {
  readonly servers: readonly IpAddress[] | null;
  /** ms. */
  readonly timeout: number | null;
  readonly attempts: number | null;
}

export interface LogConfig {
  readonly level: "trace" | "debug" | "info" | "warn" | "error" | "fatal" | "silent";
  readonly access: boolean;
  readonly format: "json" | "pretty" | "auto";
}

export interface ProcessLimits {
  readonly connections: "auto" | number;
  /** 0: no limit. */
  readonly perSource: number;
  readonly helloBytes: number;
}

/** All in ms; 0 switches one off (only `idle`, `lifetime`, `halfClose` and `drain` may be 0). */
export interface Timeouts {
  readonly hello: number;
  readonly handshake: number;
  readonly connect: number;
  readonly idle: number;
  readonly halfClose: number;
  readonly lifetime: number;
  readonly drain: number;
}

export interface IdentityConfig {
  readonly name: string;
  /** Absolute paths. An identity may have a trust bundle only (no cert, no key). */
  readonly cert: string | null;
  readonly key: string | null;
  readonly ca: string | null;
  readonly crl: string | null;
  readonly watch: boolean;
}

export interface ListenerConfig {
  readonly name: string;
  /** `ip`, `unix` or `systemd`. */
  readonly address: Exclude<Address, { kind: "name" }>;
  readonly proxyProtocol: ProxyProtocolIn;
  readonly transparent: "off" | "redirect" | "tproxy";
  /** null: no limit of the listener's own. */
  readonly limits: { readonly connections: number | null; readonly perSource: number | null };
  /** The process timeouts with the listener's own on top. */
  readonly timeouts: Timeouts;
  /** In file order. */
  readonly routes: readonly RouteConfig[];
  /** The route without match that takes what no other takes; null refuses. */
  readonly default: RouteConfig | null;
}

export interface ProxyProtocolIn {
  readonly mode: "off" | "accept" | "require";
  /** CIDR blocks. */
  readonly trusted: readonly string[];
  readonly position: "outer" | "inner";
}

export interface RouteMatch {
  /** Lower case; `*.x` one label, `**.x` one or more labels. Empty: any, also none. */
  readonly sni: readonly string[];
  readonly alpn: readonly string[];
  /** CIDR blocks of the client. */
  readonly from: readonly string[];
  /** `CIDR:port`, `CIDR:from-to` or `[CIDR6]:port` of the address the client dialled. */
  readonly destination: readonly string[];
}

export interface RouteConfig {
  readonly name: string;
  readonly match: RouteMatch;
  /** `none`: plain bytes in, plain bytes on. */
  readonly tls: "none" | "passthrough" | "terminate";
  readonly identity: string | null;
  readonly clientAuth: "none" | "optional" | "required";
  /** Any of. Empty only where `clientAuth` is `none`. */
  readonly allow: readonly PeerRule[];
  readonly alpn: readonly string[];
  readonly tlsMin: "1.2" | "1.3";
  readonly cluster: string;
}

/** One way to name a peer. `any` lets in every peer whose certificate the trust bundle vouches for. */
export type PeerRule =
  | { readonly kind: "any" }
  | { readonly kind: "spiffe"; readonly value: string }
  | { readonly kind: "dns"; readonly value: string }
  | { readonly kind: "cn"; readonly value: string }
  | { readonly kind: "ou"; readonly value: string }
  /** 64 lower-case hex digits: SHA-256 of the certificate in DER. */
  | { readonly kind: "fingerprint"; readonly value: string };

export interface EndpointConfig {
  readonly address: Exclude<Address, { kind: "systemd" }>;
  /** 0 to 65535, as in SRV; 0 is "almost never" beside others. */
  readonly weight: number;
  /** Lower is preferred, as in SRV. */
  readonly priority: number;
}

export type ClusterSource =
  | { readonly kind: "static"; readonly endpoints: readonly EndpointConfig[] }
  | { readonly kind: "dns"; readonly host: string; readonly port: number }
  | { readonly kind: "srv"; readonly name: string }
  | { readonly kind: "original"; readonly port: number | null }
  | { readonly kind: "announced"; readonly allow: readonly string[] };

export interface ClusterConfig {
  readonly name: string;
  readonly source: ClusterSource;
  /** ms; bounds on a DNS answer's TTL. */
  readonly minTtl: number;
  readonly maxTtl: number;
  readonly keepLastGood: boolean;
  /** 0 to 1: the share of endpoints that one unconfirmed answer may remove. */
  readonly maxRemoval: number;
  readonly balance: "round_robin" | "random" | "least_connections" | "source_hash";
  readonly connect: { readonly retries: number; readonly timeout: number | null };
  readonly health: HealthConfig | null;
  readonly eject: EjectConfig | null;
  readonly tls: OriginateConfig | null;
  readonly proxyProtocol: "off" | "v1" | "v2";
  readonly sourceAddress: "proxy" | "client";
  /** ms over which a returning endpoint grows to its full share; 0: at once. */
  readonly slowStart: number;
}

export interface HealthConfig {
  readonly interval: number;
  readonly timeout: number;
  readonly rise: number;
  readonly fall: number;
  /** `tls` handshakes with the cluster's `tls` settings. */
  readonly check: "tcp" | "tls";
  /** Bytes to send after the connection stands, and bytes that the answer must begin with. */
  readonly send: string | null;
  readonly expect: string | null;
}

export interface EjectConfig {
  readonly failures: number;
  readonly for: number;
  readonly maxPercent: number;
}

export interface OriginateConfig {
  readonly identity: string | null;
  /** SNI, and what `verify` defaults to; null: the endpoint's own name. */
  readonly serverName: string | null;
  readonly verify: readonly PeerRule[];
  readonly alpn: readonly string[];
  readonly tlsMin: "1.2" | "1.3";
}
