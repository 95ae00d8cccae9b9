/**
 * The pieces of code that a connection passes through, each as a function to be timed. A case does `batch` operations per
 * call, so that the clock's own cost does not show, and gives its result away, so that nothing is optimised out.
 */
import { encode } from "dns-packet";
import { createBalancer } from "../lib/cluster/balancer.ts";
import { createCell, createEpoch, type Endpoint, type EndpointSet } from "../lib/cluster/endpoint.ts";
import type { ListenerConfig, RouteConfig } from "../lib/config/config.ts";
import { interpret } from "../lib/dns/answer.ts";
import { decodeMessage } from "../lib/dns/message.ts";
import { accessLine, ConnectionRecord } from "../lib/observe/record.ts";
import { compileRoutes } from "../lib/route/table.ts";
import { Wheel } from "../lib/timing/wheel.ts";
import { parseHello } from "../lib/wire/hello.ts";
import { decodeProxyHeader, encodeProxyHeader, type ProxyHeader } from "../lib/wire/proxy-header.ts";
import { REFERENCE } from "./micro-compare.ts";

export interface Case {
  readonly name: string;
  readonly batch: number;
  /** Does `batch` operations. */
  run(): unknown;
}

function repeat(name: string, batch: number, operation: (i: number) => unknown): Case {
  return {
    name,
    batch,
    run() {
      let last: unknown;
      for (let i = 0; i < batch; i++) last = operation(i);
      return last;
    },
  };
}

function u16(value: number): Buffer {
  return Buffer.from([value >> 8, value & 255]);
}

function sized(body: Buffer): Buffer {
  return Buffer.concat([u16(body.length), body]);
}

/** A ClientHello as a browser sends it; `share` is the size of the key share: 32 for X25519, 1,216 for X25519MLKEM768. */
export function clientHello(name: string, share: number): Buffer {
  const extension = (type: number, body: Buffer): Buffer => Buffer.concat([u16(type), sized(body)]);
  const host = Buffer.concat([Buffer.from([0]), sized(Buffer.from(name))]);
  const alpn = Buffer.from("\x02h2\x08http/1.1", "latin1");
  const group = share > 32 ? 0x11ec : 0x001d;
  const extensions = Buffer.concat([
    extension(0x0a0a, Buffer.alloc(0)),
    extension(0, sized(host)),
    extension(16, sized(alpn)),
    extension(10, sized(Buffer.concat([u16(group), u16(0x001d), u16(0x0017)]))),
    extension(13, sized(Buffer.from("0403080404010503080505010806", "hex"))),
    extension(43, Buffer.from("0403040303", "hex")),
    extension(45, Buffer.from("0101", "hex")),
    extension(51, sized(Buffer.concat([u16(group), sized(Buffer.alloc(share, 7))]))),
    extension(21, Buffer.alloc(260)),
  ]);
  const body = Buffer.concat([
    u16(0x0303),
    Buffer.alloc(32, 1),
    Buffer.from([32]),
    Buffer.alloc(32, 2),
    sized(Buffer.from("130113021303c02bc02fc02cc030cca9cca8", "hex")),
    Buffer.from([1, 0]),
    sized(extensions),
  ]);
  const message = Buffer.concat([Buffer.from([1, 0]), u16(body.length), body]);
  return Buffer.concat([Buffer.from([22, 3, 1]), sized(message)]);
}

/** The same message in records of `size` bytes. */
function fragmented(hello: Buffer, size: number): Buffer {
  const records: Buffer[] = [];
  for (let at = 5; at < hello.length; at += size) {
    records.push(Buffer.from([22, 3, 1]), sized(hello.subarray(at, at + size)));
  }
  return Buffer.concat(records);
}

function helloCases(): Case[] {
  const small = clientHello("web.example.test", 32);
  const large = clientHello("web.example.test", 1216);
  const pieces = fragmented(large, 200);
  const limit = 65536;
  return [
    repeat(`hello, ${small.length} B`, 100, () => parseHello(small, limit)),
    repeat(`hello, ${large.length} B, post-quantum`, 100, () => parseHello(large, limit)),
    repeat("hello, post-quantum, in records of 200 B", 100, () => parseHello(pieces, limit)),
  ];
}

function route(name: string, sni: readonly string[]): RouteConfig {
  return {
    name,
    match: { sni, alpn: [], from: [], destination: [] },
    ...{
      tls: "passthrough",
      identity: null,
      clientAuth: "none",
      allow: [],
      alpn: [],
      tlsMin: "1.2",
      cluster: "c",
    },
  } as const;
}

const TIMEOUTS = { hello: 1, handshake: 1, connect: 1, idle: 1, halfClose: 1, lifetime: 0, drain: 1 };

function routeCases(): Case[] {
  const destination = { kind: "ip", host: "127.0.0.1", port: 443 } as const;
  return [10, 1000, 100_000].map((count) => {
    const routes = Array.from({ length: count }, (_, i) =>
      route(`r${i}`, [i % 10 === 9 ? `*.w${i}.example.test` : `n${i}.example.test`]),
    );
    const listener: ListenerConfig = {
      ...{ name: "l", address: destination, transparent: "off", timeouts: TIMEOUTS, routes, default: null },
      proxyProtocol: { mode: "off", trusted: [], position: "outer" },
      limits: { connections: null, perSource: null },
    };
    const table = compileRoutes(listener);
    const query = (i: number) => ({
      serverName: `n${(i * 8) % count}.example.test`,
      alpn: [],
      from: "10.0.0.1",
      destination,
      tls: true,
    });
    const queries = Array.from({ length: 100 }, (_, i) => query(i));
    return repeat(`route lookup, ${count} names`, 100, (i) => table.match(queries[i]!));
  });
}

function endpoints(count: number): EndpointSet {
  const list = Array.from({ length: count }, (_, i): Endpoint => {
    const address = { kind: "ip", host: `10.${i >> 16}.${(i >> 8) & 255}.${i & 255}`, port: 80 } as const;
    return {
      key: `${address.host}:80`,
      address,
      name: null,
      weight: 1 + (i % 3),
      priority: 0,
      cell: createCell(),
    };
  });
  return { cluster: "c", version: 1, resolved: true, endpoints: list, epoch: createEpoch() };
}

function balancerCases(): Case[] {
  const policies = ["round_robin", "random", "least_connections", "source_hash"] as const;
  return policies.flatMap((policy) =>
    [3, 100, 10_000].map((count) => {
      const balancer = createBalancer(policy, endpoints(count), Math.random);
      return repeat(`pick ${policy}, ${count} endpoints`, 100, (i) => balancer.pick(`10.1.0.${i}`, null));
    }),
  );
}

function headerCases(): Case[] {
  const header = (version: 1 | 2): ProxyHeader => ({
    version,
    command: "proxy",
    source: { kind: "ip", host: "192.0.2.1", port: 41000 },
    destination: { kind: "ip", host: "192.0.2.2", port: 443 },
    tlvs: version === 2 ? { uniqueId: Buffer.alloc(16, 5), authority: "web.example.test" } : {},
  });
  return ([1, 2] as const).flatMap((version) => {
    const bytes = encodeProxyHeader(header(version));
    return [
      repeat(`PROXY v${version} encode`, 100, () => encodeProxyHeader(header(version))),
      repeat(`PROXY v${version} decode`, 100, () => decodeProxyHeader(bytes)),
    ];
  });
}

function recordCases(): Case[] {
  const make = (): ConnectionRecord => {
    const client = { kind: "ip", host: "192.0.2.1", port: 41000 } as const;
    const edge = { kind: "ip", host: "192.0.2.2", port: 443 } as const;
    const record = new ConnectionRecord("edge", 1, "epoll", client, edge, 0);
    record.route = "web";
    record.cluster = "web";
    record.endpoint = "10.0.0.7:8080";
    record.sni = "web.example.test";
    record.reason = "ok";
    record.bytesUp = record.bytesDown = 100;
    return record;
  };
  return [repeat("record and its access line", 100, () => accessLine(make(), 1_790_000_000_000))];
}

function wheelCases(): Case[] {
  let now = 0;
  const wheel = new Wheel(() => now);
  const timers = Array.from({ length: 10_000 }, (_, i) => {
    const timer = wheel.createTimer({ expired: () => timer.start(1000 + i) });
    timer.start(1000 + i);
    return timer;
  });
  return [
    repeat("timer restart among 10,000", 100, (i) => timers[i * 97]!.start(60_000)),
    repeat("wheel turn of 8 ms, 10,000 timers", 10, () => {
      now += 8;
      wheel.advance(now);
    }),
  ];
}

function dnsCases(): Case[] {
  const targets = Array.from({ length: 8 }, (_, i) => `node-${i}.example.test`);
  const wire = encode({
    type: "response",
    id: 7,
    flags: 0x180,
    questions: [{ type: "SRV", class: "IN", name: "_db._tcp.example.test" }],
    answers: targets.map((target, i) => ({
      ...{ type: "SRV" as const, class: "IN" as const, name: "_db._tcp.example.test", ttl: 30 },
      data: { priority: 0, weight: 1 + i, port: 5432, target },
    })),
    additionals: targets.map((name, i) => ({
      type: "A" as const,
      class: "IN" as const,
      name,
      ttl: 30,
      data: `10.0.0.${i}`,
    })),
  });
  return [
    repeat("DNS answer with 8 SRV records, decoded and read", 10, () => {
      const decoded = decodeMessage(wire);
      return "message" in decoded ? interpret(decoded.message, "_db._tcp.example.test", "SRV") : decoded;
    }),
  ];
}

/** Empty, with the reason, where the FFI does not load. */
async function ffiCases(): Promise<{ cases: Case[]; reason: string | null }> {
  try {
    const libc = await import("../lib/ffi/libc.ts");
    const memory = await import("../lib/ffi/memory.ts");
    const { F_GETFL } = await import("../lib/ffi/layout.ts");
    const { address } = memory.allocate(4096);
    const cases = [
      repeat("FFI call without a system call (memcpy of 8 B)", 100, () =>
        memory.copy(address, address + 64, 8),
      ),
      repeat("FFI call with a system call (fcntl)", 100, () => libc.fcntl(2, F_GETFL, 0)),
    ];
    return { cases, reason: null };
  } catch (error) {
    return { cases: [], reason: (error as Error).message };
  }
}

/** What every other case is measured in: a fixed piece of work that no change of ours makes slower. */
function reference(): Case {
  const bytes = Buffer.alloc(4096, 3);
  const names = new Map(Array.from({ length: 1000 }, (_, i) => [`name-${i}`, i]));
  return repeat(REFERENCE, 10, (i) => {
    let hash = 2166136261;
    for (const byte of bytes) hash = Math.imul(hash ^ byte, 16777619);
    return hash + (names.get(`name-${i}`) ?? 0);
  });
}

export async function allCases(): Promise<{ cases: Case[]; missing: string | null }> {
  const ffi = await ffiCases();
  const pure = [helloCases, routeCases, balancerCases, headerCases, recordCases, wheelCases, dnsCases];
  return { cases: [reference(), ...pure.flatMap((make) => make()), ...ffi.cases], missing: ffi.reason };
}
