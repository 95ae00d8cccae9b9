/**
 * The record: the one mutable description of a connection. The access line, the metrics and the live listing are all folds
 * of it, so they cannot disagree. The story writes it; nothing else does. Field names and their meaning: interface.md
 * section 3; `null` means "not reached" and is left out of every fold.
 */
import { randomFillSync } from "node:crypto";
import type { Reason } from "../errors.ts";
import type { Flow, Peer, TlsFacts } from "../transport/transport.ts";
import { formatAddress, type SocketAddress } from "../wire/address.ts";
import { remembered } from "../wire/texts.ts";

/** Where in its life a connection is; shown by the live listing. Who is refused at once is never more than accepted. */
export type Phase = "accepted" | "sniff" | "handshake" | "pick" | "dial" | "originate" | "relay" | "ended";

export class ConnectionRecord implements Flow {
  readonly id: string = randomId();
  readonly listener: string;
  readonly generation: number;
  readonly transport: string;
  /** Monotonic ms of the transport's clock. */
  readonly started: number;
  /** Client address; from a trusted PROXY header where there was one. */
  source: SocketAddress;
  destination: SocketAddress;
  phase: Phase = "accepted";
  /** Id that the hop before gave to this call (PROXY v2 UNIQUE_ID from a trusted source). */
  parent: string | null = null;
  route: string | null = null;
  cluster: string | null = null;
  endpoint: string | null = null;
  /** As offered in the hello; of the protocols the first. Where TLS ends here, what was agreed on is told instead. */
  sni: string | null = null;
  alpn: string | null = null;
  downstreamTls: TlsFacts | null = null;
  upstreamTls: TlsFacts | null = null;
  reason: Reason | null = null;
  error: string | null = null;
  durationMs = 0;
  sniffMs: number | null = null;
  handshakeMs: number | null = null;
  dialMs: number | null = null;

  bytesUp = 0;
  bytesDown = 0;
  lastActive: number;
  endedUp = false;
  endedDown = false;

  constructor(
    listener: string,
    generation: number,
    transport: string,
    source: SocketAddress,
    destination: SocketAddress,
    now: number,
  ) {
    this.listener = listener;
    this.generation = generation;
    this.transport = transport;
    this.source = source;
    this.destination = destination;
    this.started = now;
    this.lastActive = now;
  }
}

/** Reasons that say the fault lies with us or behind us, not with the client: logged as `warn`. */
const OUR_SIDE: ReadonlySet<Reason> = new Set<Reason>([
  "no_endpoint",
  "dial_failed",
  "dial_timeout",
  "upstream_handshake_failed",
  "upstream_denied",
  "limit",
  "internal",
]);

/** The access line, one JSON object with a newline: the fields of interface.md section 3 in that order. `ended` is in Unix ms. */
export function accessLine(record: ConnectionRecord, ended: number): string {
  const reason = record.reason ?? "internal";
  const tls = record.downstreamTls;
  const upstreamTls = record.upstreamTls;
  let line = `${OUR_SIDE.has(reason) ? warnAt(ended) : infoAt(ended)},"msg":"connection","id":"${record.id}"`;
  if (record.parent !== null) line += `,"parent":${JSON.stringify(record.parent)}`;
  if (tls !== null || upstreamTls !== null) line += linksJson(tls, upstreamTls);
  line += `${placeJson(record)}${addressJson(record.source)}${destinationJson(record.destination)}`;
  // Nothing in it can need an escape: see hello-message.ts.
  if (record.sni !== null) line += `,"sni":"${record.sni}"`;
  const alpn = tls === null ? record.alpn : tls.alpn;
  if (alpn !== null) line += alpnJson(alpn);
  if (tls !== null || upstreamTls !== null) line += tlsJson(tls, upstreamTls);
  line += `,"reason":"${reason}"`;
  if (record.error !== null) line += `,"error":${JSON.stringify(record.error)}`;
  line += `,"bytes_up":${record.bytesUp},"bytes_down":${record.bytesDown},"duration_ms":${tenths(record.durationMs)}`;
  if (record.sniffMs !== null) line += `,"sniff_ms":${tenths(record.sniffMs)}`;
  if (record.handshakeMs !== null) line += `,"handshake_ms":${tenths(record.handshakeMs)}`;
  if (record.dialMs !== null) line += `,"dial_ms":${tenths(record.dialMs)}`;
  return line + originJson(record);
}

/** One row of the live listing (`GET /connections`): the same names as the access line, with what holds now. */
export function liveRow(record: ConnectionRecord, now: number): Record<string, unknown> {
  return {
    id: record.id,
    phase: record.phase,
    listener: record.listener,
    route: record.route ?? undefined,
    cluster: record.cluster ?? undefined,
    endpoint: record.endpoint ?? undefined,
    source: formatAddress(record.source),
    destination: formatAddress(record.destination),
    sni: record.sni ?? undefined,
    alpn: (record.downstreamTls === null ? record.alpn : record.downstreamTls.alpn) ?? undefined,
    tls: record.downstreamTls?.version,
    peer: record.downstreamTls?.peer?.subject,
    bytes_up: record.bytesUp,
    bytes_down: record.bytesDown,
    age_ms: Math.round(now - record.started),
    idle_ms: Math.round(now - record.lastActive),
    half_closed: record.endedUp !== record.endedDown ? (record.endedUp ? "up" : "down") : undefined,
    generation: record.generation,
    transport: record.transport,
  };
}

/** What joins the line to those of the hops before and behind; both only where TLS ends and begins here. */
function linksJson(tls: TlsFacts | null, upstreamTls: TlsFacts | null): string {
  const link = tls?.link ?? upstreamTls?.link ?? null;
  let json = link === null ? "" : `,"link":"${link}"`;
  if (tls !== null && upstreamTls !== null && upstreamTls.link !== null) {
    json += `,"upstream_link":"${upstreamTls.link}"`;
  }
  return json;
}

function tlsJson(tls: TlsFacts | null, upstreamTls: TlsFacts | null): string {
  let json = "";
  if (tls !== null) {
    json += `,"tls":"${tls.version}","resumed":${tls.resumed}`;
    if (tls.peer !== null) json += `,"peer":${peerJson(tls.peer)}`;
  }
  if (upstreamTls !== null) {
    json += `,"upstream_tls":"${upstreamTls.version}","upstream_resumed":${upstreamTls.resumed}`;
    if (upstreamTls.peer !== null) json += `,"upstream_peer":${peerJson(upstreamTls.peer)}`;
  }
  return json;
}

function peerJson(peer: Peer): string {
  const san = [...peer.uris, ...peer.dns, ...peer.ips];
  return `{"subject":${JSON.stringify(peer.subject)},"san":${JSON.stringify(san)},"fingerprint":"sha256:${peer.fingerprint}"}`;
}

/** Paths may need escapes, IP literals do not. */
function addressJson(address: SocketAddress): string {
  const text = formatAddress(address);
  return address.kind === "ip" ? `"${text}"` : JSON.stringify(text);
}

/** ms with one decimal: finer is noise, coarser hides a loopback hop. From integers, which print faster than doubles. */
function tenths(ms: number): string {
  const all = Math.round(ms * 10);
  return SMALL[all] ?? decimal(all);
}

function decimal(tenths: number): string {
  const whole = Math.trunc(tenths / 10);
  return `${whole}.${tenths - whole * 10}`;
}

// Up to 50 ms: the steps of a short connection.
const SMALL = Array.from({ length: 500 }, (_, tenths) => decimal(tenths));

// What lines have in common is put together once: a line is 50 texts else, and costs as many joins.

const infoAt = beginning("info");
const warnAt = beginning("warn");
const MILLISECONDS = Array.from({ length: 1000 }, (_, ms) => String(ms).padStart(3, "0"));

/** How a line of that level begins, up to its time in Unix ms: all but three digits are those of the line before. */
function beginning(level: string): (ms: number) => string {
  let last = -1;
  let json = "";
  return (ms) => {
    const seconds = Math.floor(ms / 1000);
    if (seconds !== last) {
      last = seconds;
      json = `{"level":"${level}","time":${seconds}`;
    }
    return json + MILLISECONDS[ms - seconds * 1000];
  };
}

const alpnJson = remembered<string>((alpn) => `,"alpn":${JSON.stringify(alpn)}`);

/** Where a connection came in and went. */
type Place = Pick<ConnectionRecord, "listener" | "route" | "cluster" | "endpoint">;

interface PlaceJson extends Place {
  readonly json: string;
}

// Endpoints come and go with DNS. Beyond so many of them it begins anew.
const PLACES = 4096;
const places = new Map<string | null, PlaceJson>();

/** Up to the name of the address that follows. */
function placeJson({ listener, route, cluster, endpoint }: Place): string {
  const known = places.get(endpoint);
  if (known?.listener === listener && known.route === route && known.cluster === cluster) return known.json;
  let json = `,"listener":${JSON.stringify(listener)}`;
  if (route !== null) json += `,"route":${JSON.stringify(route)}`;
  if (cluster !== null) json += `,"cluster":${JSON.stringify(cluster)}`;
  if (endpoint !== null) json += `,"endpoint":${JSON.stringify(endpoint)}`;
  json += ',"source":';
  if (places.size === PLACES) places.clear();
  places.set(endpoint, { listener, route, cluster, endpoint, json });
  return json;
}

let last: { readonly address: SocketAddress | null; readonly json: string } = { address: null, json: "" };

/** On `epoll` the clients of a listener share one address object, unless it listens on a wildcard. */
function destinationJson(address: SocketAddress): string {
  if (address !== last.address) last = { address, json: `,"destination":${addressJson(address)}` };
  return last.json;
}

let origin = { generation: -1, transport: "", json: "" };

function originJson({ generation, transport }: ConnectionRecord): string {
  if (generation !== origin.generation || transport !== origin.transport) {
    origin = { generation, transport, json: `,"generation":${generation},"transport":"${transport}"}\n` };
  }
  return origin.json;
}

// One call into C for 256 ids: an id of its own would cost more than all the rest of a record.
const ID_BYTES = 16;
const ID_CHARS = ID_BYTES * 2;
const pool = Buffer.allocUnsafeSlow(ID_BYTES * 256);
let ids = "";
let taken = 0;

function randomId(): string {
  if (taken === ids.length) {
    ids = randomFillSync(pool).toString("hex");
    taken = 0;
  }
  taken += ID_CHARS;
  return ids.slice(taken - ID_CHARS, taken);
}
