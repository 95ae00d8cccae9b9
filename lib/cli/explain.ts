/** `millrace explain`: which route a client would take, by the table that the running proxy uses. */
import { readFileSync } from "node:fs";
import type { ClusterConfig, ListenerConfig, RouteConfig } from "../config/config.ts";
import { canonicalIp } from "../config/networks.ts";
import { loadConfig } from "../config/parse.ts";
import { formatDuration } from "../config/units.ts";
import { printable } from "../dns/name.ts";
import { ProxyError } from "../errors.ts";
import { explainRoute } from "../route/explain.ts";
import { compileRoutes } from "../route/table.ts";
import { formatAddress, parseAddress, type SocketAddress } from "../wire/address.ts";
import { parseHello } from "../wire/hello.ts";
import { parseMessage } from "../wire/hello-message.ts";

interface Question {
  readonly config: string;
  readonly listener: string;
  readonly sni: string | undefined;
  readonly alpn: readonly string[];
  readonly from: string | undefined;
  readonly destination: string | undefined;
  readonly hello: string | undefined;
  readonly plain: boolean;
  readonly json: boolean;
}

export function explain(question: Question): number {
  const config = loadConfig(question.config);
  const listener = config.listeners.find((one) => one.name === question.listener);
  if (listener === undefined) {
    const names = config.listeners.map((one) => one.name).join(", ");
    throw new ProxyError("USAGE", `--listener ${question.listener}: no such listener; there are ${names}`);
  }
  const client = clientOf(question, config.limits.helloBytes);
  const from = question.from === undefined ? null : canonicalIp(question.from);
  if (question.from !== undefined && from === null) {
    throw new ProxyError("USAGE", `--from ${printable(question.from)}: must be an IP address`);
  }
  const { hit, steps } = explainRoute(compileRoutes(listener), {
    ...client,
    from,
    destination: destinationOf(question, listener),
  });
  const cluster = hit === null ? null : config.clusters[hit.cluster]!;
  const { hello, handshake, connect, idle, halfClose, lifetime, drain } = listener.timeouts;
  const timeouts = { hello, handshake, connect, idle, half_close: halfClose, lifetime, drain };
  if (question.json) {
    console.log(
      JSON.stringify(
        {
          listener: listener.name,
          sni: client.serverName,
          alpn: client.alpn,
          route: hit?.name ?? null,
          tls: hit?.tls ?? null,
          cluster: cluster?.name ?? null,
          endpoints: cluster === null ? [] : endpointsOf(cluster),
          timeouts,
          steps: steps.map(({ route, verdict, why }) => ({ route: route.name, verdict, why })),
        },
        null,
        2,
      ),
    );
    return hit === null ? 3 : 0;
  }
  for (const { route, verdict, why } of steps)
    console.log(`${verdict === "hit" ? "→" : " "} ${route.name}: ${why}`);
  if (hit === null || cluster === null) {
    console.log(`\nno route: refused${client.tls ? " with the TLS alert unrecognized_name" : ""}`);
    return 3;
  }
  console.log(`\nroute      ${hit.name}`);
  console.log(`tls        ${tlsOf(hit)}`);
  console.log(
    `cluster    ${cluster.name}, ${cluster.balance}${cluster.tls === null ? "" : ", originates TLS"}`,
  );
  for (const endpoint of endpointsOf(cluster)) console.log(`           ${endpoint}`);
  console.log(
    `timeouts   ${Object.entries(timeouts)
      .map(([name, ms]) => `${name} ${ms === 0 ? "off" : formatDuration(ms)}`)
      .join(", ")}`,
  );
  return 0;
}

function clientOf(
  question: Question,
  limit: number,
): { serverName: string | null; alpn: readonly string[]; tls: boolean } {
  if (question.hello === undefined) {
    const serverName = question.sni === undefined ? null : serverNameOf(question.sni);
    return { serverName, alpn: question.alpn, tls: !question.plain };
  }
  let bytes: Buffer;
  try {
    bytes = readFileSync(question.hello);
  } catch (cause) {
    throw new ProxyError("USAGE", `--hello ${question.hello}: ${(cause as Error).message}`, { cause });
  }
  const verdict = parseHello(bytes, limit);
  switch (verdict.kind) {
    case "hello":
      return { serverName: verdict.hello.serverName, alpn: verdict.hello.alpn, tls: true };
    case "not_tls":
      return { serverName: null, alpn: [], tls: false };
    case "more":
      throw new ProxyError(
        "USAGE",
        `--hello ${question.hello}: incomplete, ${verdict.need} bytes wanted at least`,
      );
    default:
      throw new ProxyError("USAGE", `--hello ${question.hello}: refused as bad_hello: ${verdict.why}`);
  }
}

/** What the proxy reads out of a ClientHello with this name: null for none and for an IP literal. */
function serverNameOf(written: string): string | null {
  // What is longer than the 255 bytes that a name may have is refused, cut or whole; whole it may not fit into 16 bits.
  const name = Buffer.from(written).subarray(0, 256);
  const entry = Buffer.concat([Buffer.from([0, ...u16(name.length)]), name]);
  const list = Buffer.concat([Buffer.from([0, 0, ...u16(entry.length + 2), ...u16(entry.length)]), entry]);
  const head = Buffer.alloc(34 + 1 + 4 + 2); // version and random, no session; one cipher, no compression
  head.set([3, 3]);
  head.set([0, 2, 0x13, 1, 1, 0], 35);
  const message = Buffer.concat([head, Buffer.from(u16(list.length)), list]);
  const read = parseMessage(message, 0, message.length, message.length);
  if ("kind" in read) {
    throw new ProxyError("USAGE", `--sni ${printable(written)}: refused as bad_hello: ${read.why}`);
  }
  return read.serverName;
}

function u16(value: number): [number, number] {
  return [value >> 8, value & 0xff];
}

function destinationOf(question: Question, listener: ListenerConfig): SocketAddress {
  const text = question.destination ?? formatAddress(listener.address);
  const address = parseAddress(text);
  if (address?.kind === "ip" || address?.kind === "unix") return address;
  throw new ProxyError("USAGE", `--destination ${text}: must be IP:PORT`);
}

function tlsOf(route: RouteConfig): string {
  if (route.tls !== "terminate") return route.tls;
  const rules = route.allow.map((rule) => (rule.kind === "any" ? "any" : `${rule.kind} ${rule.value}`));
  const clients =
    route.clientAuth === "none" ? "asks no certificate" : `client certificate ${route.clientAuth}`;
  return `terminate as ${route.identity}, ${clients}${rules.length > 0 ? `, allows ${rules.join("; ")}` : ""}`;
}

function endpointsOf({ source }: ClusterConfig): string[] {
  switch (source.kind) {
    case "static":
      return source.endpoints.map(
        ({ address, weight, priority }) => `${formatAddress(address)} weight ${weight} priority ${priority}`,
      );
    case "dns":
      return [`${source.host}:${source.port} by DNS (A and AAAA)`];
    case "srv":
      return [`${source.name} by DNS (SRV)`];
    case "original":
      return ["the address that the client dialled"];
    default:
      return ["the address in the PROXY header"];
  }
}
