/**
 * One question to one DNS server over one fresh socket: UDP (RFC 1035 section 4.2.1) or TCP (RFC 7766). Ends exactly once,
 * with a matched response or the reason why there is none, and always closes its socket. RFC 5452 is the rule for what
 * matches: address, port, id, question, and the letters' case where the server keeps it. What does not match is counted
 * and waited past, so a forger can make noise but not end the wait; what matches too late is counted, too.
 */
import { createSocket } from "node:dgram";
import { connect, isIPv6 } from "node:net";
import { plainHost } from "../wire/address.ts";
import { RCODE } from "./answer.ts";
import { type DnsMessage, decodeMessage, type QueryType, typeNumber } from "./message.ts";
import type { Nameserver } from "./resolv-conf.ts";

export interface Exchange {
  readonly id: number;
  /** As sent, case included. */
  readonly name: string;
  readonly type: QueryType;
  readonly wire: Buffer;
  readonly timeout: number;
  readonly signal: AbortSignal | undefined;
  /** Wait past a response whose question differs in case only, instead of returning it with `caseKept: false`. */
  readonly strictCase: boolean;
}

/** Datagrams that came in and were no answer to the question. Sums over the life of a client. */
export interface Ignored {
  wrongSource: number;
  wrongId: number;
  wrongQuestion: number;
  wrongCase: number;
  /** Right in everything but time: the question had been given up. */
  late: number;
}

export type Outcome =
  | { readonly kind: "message"; readonly message: DnsMessage; readonly caseKept: boolean }
  | { readonly kind: "malformed" | "unreachable" | "timeout" | "aborted"; readonly detail: string };

export function noneIgnored(): Ignored {
  return { wrongSource: 0, wrongId: 0, wrongQuestion: 0, wrongCase: 0, late: 0 };
}

/** Asks over UDP. Counts into `ignored` what it waits past. Never rejects. */
export function exchangeUdp(server: Nameserver, exchange: Exchange, ignored: Ignored): Promise<Outcome> {
  return new Promise((resolve) => {
    const family = isIPv6(server.host) ? 6 : 4;
    // Not connected: a connected socket would hide answers from the wrong place, which are worth counting and are
    // the usual trace of a server that answers from another of its addresses.
    const socket = createSocket({
      type: family === 6 ? "udp6" : "udp4",
      lookup: (host, _options, found) => found(null, host, family),
    });
    let strangers = "";
    let over = false;
    // An answer that comes too late is never taken: by then the question is asked elsewhere, with another id. The socket stays
    // as long again to count it, because a server that is just too slow looks like a dead one otherwise.
    const linger = (): void => {
      over = true;
      socket.unref();
      const close = (): void => {
        clearTimeout(timer);
        exchange.signal?.removeEventListener("abort", close);
        socket.close();
      };
      const timer = setTimeout(close, exchange.timeout).unref();
      exchange.signal?.addEventListener("abort", close);
    };
    const silence = (): string => `no answer in ${exchange.timeout} ms${strangers}`;
    const end = once(exchange, resolve, silence, ({ kind }) => {
      if (kind === "timeout") linger();
      else socket.close();
    });
    socket.on("error", (error) => end({ kind: "unreachable", detail: error.message }));
    socket.on("message", (wire, from) => {
      if (from.port !== server.port || !sameHost(from.address, server.host)) {
        ignored.wrongSource++;
        strangers = `, but one came from ${from.address} port ${from.port}`;
        return;
      }
      if (wire.length < 2 || wire.readUInt16BE(0) !== exchange.id) {
        ignored.wrongId++;
        return;
      }
      if (over) {
        ignored.late++;
        return;
      }
      const outcome = judge(wire, exchange, ignored);
      if (outcome !== null) end(outcome);
    });
    if (exchange.signal?.aborted) return end({ kind: "aborted", detail: "aborted" });
    // The first send binds the socket to a port that the kernel draws at random.
    try {
      socket.send(exchange.wire, server.port, server.host, (error) => {
        if (error !== null) end({ kind: "unreachable", detail: error.message });
      });
    } catch (thrown) {
      end({ kind: "unreachable", detail: thrown instanceof Error ? thrown.message : String(thrown) });
    }
  });
}

/** Asks over TCP: one connection, one question. Never rejects. */
export function exchangeTcp(server: Nameserver, exchange: Exchange, ignored: Ignored): Promise<Outcome> {
  return new Promise((resolve) => {
    const socket = connect({ host: server.host, port: server.port, autoSelectFamily: false, noDelay: true });
    const silence = (): string => `no answer over TCP in ${exchange.timeout} ms`;
    const end = once(exchange, resolve, silence, () => socket.destroy());
    let received = Buffer.alloc(0);
    socket.on("error", (error) => end({ kind: "unreachable", detail: error.message }));
    socket.on("end", () => end({ kind: "unreachable", detail: "TCP connection closed before the answer" }));
    socket.on("connect", () => {
      // RFC 7766 section 8: length and message in one write, else some servers answer half a question.
      const length = Buffer.alloc(2);
      length.writeUInt16BE(exchange.wire.length);
      socket.write(Buffer.concat([length, exchange.wire]));
    });
    socket.on("data", (chunk) => {
      received = Buffer.concat([received, chunk]);
      if (received.length < 2) return;
      const length = received.readUInt16BE(0);
      if (received.length < 2 + length) return;
      const wire = received.subarray(2, 2 + length);
      if (wire.length < 2 || wire.readUInt16BE(0) !== exchange.id) {
        ignored.wrongId++;
        return end({ kind: "malformed", detail: "the TCP answer has another id" });
      }
      // One question on one connection: an answer to another one will not be followed by ours.
      end(
        judge(wire, exchange, ignored) ?? {
          kind: "malformed",
          detail: "the TCP answer is to another question",
        },
      );
    });
    if (exchange.signal?.aborted) end({ kind: "aborted", detail: "aborted" });
  });
}

/** The outcome that a response with the right id means; null where it must be waited past. */
function judge(wire: Buffer, exchange: Exchange, ignored: Ignored): Outcome | null {
  const decoded = decodeMessage(wire);
  if ("fault" in decoded) return { kind: "malformed", detail: `malformed answer: ${decoded.fault}` };
  const { message } = decoded;
  if (message.question === null) {
    // Servers that cannot read a query answer with a bare header.
    if (message.rcode === RCODE.FORMERR || message.rcode === RCODE.NOTIMP) {
      return { kind: "message", message, caseKept: true };
    }
    ignored.wrongQuestion++;
    return null;
  }
  const { name, type } = message.question;
  if (type !== typeNumber(exchange.type) || name.toLowerCase() !== exchange.name.toLowerCase()) {
    ignored.wrongQuestion++;
    return null;
  }
  const caseKept = name === exchange.name;
  if (!caseKept && exchange.strictCase) {
    ignored.wrongCase++;
    return null;
  }
  return { kind: "message", message, caseKept };
}

/** A function that ends the exchange the first time it is called, and is called by the clock and the signal, too. */
function once(
  exchange: Exchange,
  resolve: (outcome: Outcome) => void,
  silence: () => string,
  release: (outcome: Outcome) => void,
): (outcome: Outcome) => void {
  let ended = false;
  const onAbort = (): void => end({ kind: "aborted", detail: "aborted" });
  const timer = setTimeout(() => end({ kind: "timeout", detail: silence() }), exchange.timeout);
  const end = (outcome: Outcome): void => {
    if (ended) return;
    ended = true;
    clearTimeout(timer);
    exchange.signal?.removeEventListener("abort", onAbort);
    release(outcome);
    resolve(outcome);
  };
  exchange.signal?.addEventListener("abort", onAbort);
  return end;
}

/** True where both texts are the same address: IPv6 has many spellings, and mapped IPv4 is IPv4. */
function sameHost(left: string, right: string): boolean {
  return left === right || canonicalHost(left) === canonicalHost(right);
}

function canonicalHost(host: string): string {
  const plain = plainHost(host);
  if (!isIPv6(plain)) return plain;
  const [address = "", zone] = plain.split("%");
  const canonical = new URL(`http://[${address}]`).hostname;
  return zone === undefined ? canonical : `${canonical}%${zone}`;
}
