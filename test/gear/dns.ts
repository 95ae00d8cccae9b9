/**
 * A DNS responder whose answers are a script: for each query the script says what goes back, when, from where and how
 * often. UDP and TCP on one loopback port. Loss is an answer of nothing, a late or reordered answer is a promise, a forged
 * one names another id or another port. `zone` is the script of an honest small server.
 */
import { createSocket, type Socket } from "node:dgram";
import { once } from "node:events";
import { createServer, type Server } from "node:net";
import dnsPacket, { type Answer } from "dns-packet";
import type { Nameserver } from "../../lib/dns/resolv-conf.ts";

export interface Query {
  readonly id: number;
  /** As sent, case included. */
  readonly name: string;
  readonly type: string;
  readonly edns: boolean;
  readonly transport: "udp" | "tcp";
  readonly fromPort: number;
  /** How many queries came before, all transports. */
  readonly turn: number;
}

export interface Reply {
  readonly wire: Buffer;
  /** UDP: from another port of the same address, or from another address. */
  readonly from?: "other port" | "other address";
  /** TCP: bytes per write; default all at once. */
  readonly chunk?: number;
}

type Said = Reply | Buffer | null | readonly (Reply | Buffer)[];
/** null: no answer. An array: several answers. A promise: later. */
export type Script = (query: Query) => Said | Promise<Said>;

export interface Responder extends Nameserver {
  readonly key: string;
  readonly queries: Query[];
  /** Replaces the script. */
  say(script: Script): void;
  /** Ends it before the test does: nobody is at its port any more. */
  close(): Promise<void>;
}

/** A test, or anything else that has an end. */
export interface Lasting {
  after(release: () => void | Promise<void>): void;
}

export interface ResponderOptions {
  readonly udp?: boolean;
  readonly tcp?: boolean;
  readonly host?: string;
  /** Where one was closed before, on a host of its own, or somebody else may have it by now; any free one when left out. */
  readonly port?: number;
}

/** Starts a responder on a free port; it ends with the test. */
export async function startResponder(
  t: Lasting,
  script: Script,
  options: ResponderOptions = {},
): Promise<Responder> {
  const host = options.host ?? "127.0.0.1";
  const kind = host.includes(":") ? "udp6" : "udp4";
  const { socket, listener, port } = await bindBoth(kind, host, options.port ?? 0, options.tcp !== false);
  const stray = createSocket(kind);
  if (host === "127.0.0.1") stray.bind(port, "127.0.0.2");
  else stray.bind(0, host);
  const beside = createSocket(kind);
  beside.bind(0, host);
  await Promise.all([once(stray, "listening"), once(beside, "listening")]);
  const streams = new Set<import("node:net").Socket>();
  let closing: Promise<unknown> | null = null;
  const close = async (): Promise<void> => {
    if (closing === null) {
      const parts = [socket, stray, beside, ...(listener === null ? [] : [listener])];
      closing = Promise.all(parts.map((one) => once(one, "close")));
      for (const one of parts) one.close();
      for (const stream of streams) stream.destroy();
    }
    await closing;
  };
  t.after(close);

  let current = script;
  const queries: Query[] = [];
  const take = async (
    wire: Buffer,
    transport: "udp" | "tcp",
    fromPort: number,
  ): Promise<readonly Reply[]> => {
    const query = readQuery(wire, transport, fromPort, queries.length);
    queries.push(query);
    const said = await current(query);
    const list = said === null ? [] : Array.isArray(said) ? said : [said as Reply | Buffer];
    return list.map((one) => (Buffer.isBuffer(one) ? { wire: one } : one));
  };

  socket.on("message", async (wire, from) => {
    if (options.udp === false) return;
    for (const reply of await take(wire, "udp", from.port)) {
      const sender = reply.from === "other port" ? beside : reply.from === "other address" ? stray : socket;
      try {
        sender.send(reply.wire, from.port, from.address, () => {});
      } catch {
        // The test is over and the socket closed: a late answer that nobody waits for.
      }
    }
  });
  listener?.on("connection", (stream) => {
    streams.add(stream);
    stream.setNoDelay(true);
    stream.on("error", () => {});
    stream.on("close", () => streams.delete(stream));
    let received = Buffer.alloc(0);
    stream.on("data", async (bytes) => {
      received = Buffer.concat([received, bytes]);
      while (received.length >= 2 && received.length >= 2 + received.readUInt16BE(0)) {
        const length = received.readUInt16BE(0);
        const wire = received.subarray(2, 2 + length);
        received = received.subarray(2 + length);
        const replies = await take(wire, "tcp", stream.remotePort ?? 0);
        if (replies.length === 0) stream.destroy();
        for (const reply of replies) await writeInChunks(stream, framed(reply.wire), reply.chunk ?? 65537);
      }
    });
  });
  return {
    host,
    port,
    key: host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`,
    queries,
    say: (next) => {
      current = next;
    },
    close,
  };
}

/** A loopback port where nothing answers, neither UDP nor TCP. */
export async function deadServer(t: Lasting): Promise<Nameserver> {
  const { host, port } = await startResponder(t, () => null, { tcp: false });
  return { host, port };
}

export interface AnswerOptions {
  readonly rcode?: number;
  readonly flags?: number;
  readonly authorities?: Answer[];
  readonly additionals?: Answer[];
  readonly id?: number;
  readonly name?: string;
  readonly type?: string;
}

/** A response to `query`, well-formed unless the options say otherwise. */
export function respond(query: Query, answers: Answer[], options: AnswerOptions = {}): Buffer {
  const question = { name: options.name ?? query.name, type: (options.type ?? query.type) as "A" };
  return dnsPacket.encode({
    type: "response",
    id: options.id ?? query.id,
    flags: (options.rcode ?? 0) | dnsPacket.RECURSION_AVAILABLE | (options.flags ?? 0),
    questions: [question],
    answers,
    authorities: options.authorities ?? [],
    additionals: options.additionals ?? [],
  });
}

/** An empty answer with TC. */
export function truncated(query: Query): Buffer {
  return respond(query, [], { flags: dnsPacket.TRUNCATED_RESPONSE });
}

export function a(name: string, address: string, ttl = 60): Answer {
  return { type: "A", name, ttl, data: address };
}
export function aaaa(name: string, address: string, ttl = 60): Answer {
  return { type: "AAAA", name, ttl, data: address };
}
export function cname(name: string, target: string, ttl = 60): Answer {
  return { type: "CNAME", name, ttl, data: target };
}
export function srv(
  name: string,
  [priority, weight, port, target]: readonly [number, number, number, string],
  ttl = 60,
): Answer {
  return { type: "SRV", name, ttl, data: { priority, weight, port, target } };
}
export function soa(name: string, minimum: number, ttl = 3600): Answer {
  return { type: "SOA", name, ttl, data: { mname: `ns.${name}`, rname: `op.${name}`, minimum } };
}

/** An honest server for the records: aliases followed, NODATA and NXDOMAIN with SOA, TC where UDP is too small. */
export function zone(records: readonly Answer[], negative: Answer | null = soa("test", 5)): Script {
  return (query) => {
    const answers: Answer[] = [];
    let at = query.name.toLowerCase();
    for (let hop = 0; hop < 20; hop++) {
      const alias = records.find((record) => record.type === "CNAME" && record.name === at);
      if (alias === undefined || answers.includes(alias)) break;
      answers.push(alias);
      at = (alias as { data: string }).data;
    }
    const found = records.filter((record) => record.name === at && record.type === query.type);
    const known = records.some((record) => record.name === at || record.name.endsWith(`.${at}`));
    const wire = respond(query, [...answers, ...found], {
      rcode: known ? 0 : 3,
      authorities: found.length === 0 && negative !== null ? [negative] : [],
    });
    return query.transport === "udp" && wire.length > (query.edns ? 1232 : 512) ? truncated(query) : wire;
  };
}

/** A message with its TCP length prefix. */
export function framed(wire: Buffer): Buffer {
  const length = Buffer.alloc(2);
  length.writeUInt16BE(wire.length);
  return Buffer.concat([length, wire]);
}

function readQuery(wire: Buffer, transport: "udp" | "tcp", fromPort: number, turn: number): Query {
  const packet = dnsPacket.decode(wire);
  const question = packet.questions?.[0];
  const edns = packet.additionals?.some((record) => record.type === "OPT") ?? false;
  const { name = "", type = "" } = question ?? {};
  return { id: packet.id ?? 0, name, type, edns, transport, fromPort, turn };
}

async function writeInChunks(stream: import("node:net").Socket, wire: Buffer, chunk: number): Promise<void> {
  for (let at = 0; at < wire.length && !stream.destroyed; at += chunk) {
    stream.write(wire.subarray(at, at + chunk));
    await new Promise(setImmediate);
  }
}

async function bindBoth(
  kind: "udp4" | "udp6",
  host: string,
  wanted: number,
  tcp: boolean,
): Promise<{ socket: Socket; listener: Server | null; port: number }> {
  for (;;) {
    const socket = createSocket(kind);
    socket.bind(wanted, host);
    await once(socket, "listening");
    const { port } = socket.address();
    if (!tcp) return { socket, listener: null, port };
    const listener = createServer();
    listener.listen(port, host);
    try {
      await once(listener, "listening");
      return { socket, listener, port };
    } catch (error) {
      socket.close();
      // Somebody has this TCP port. One that was drawn is drawn again.
      if (wanted !== 0) throw error;
    }
  }
}
