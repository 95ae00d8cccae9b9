/** `millrace explain`: which route a client would take, by the table that the running proxy uses. */
import { readFileSync } from "node:fs";
import type { ClusterConfig, ListenerConfig, RouteConfig } from "../config/config.ts";
import { loadConfig } from "../config/parse.ts";
import { formatDuration } from "../config/units.ts";
import { ProxyError } from "../errors.ts";
import { explainRoute } from "../route/explain.ts";
import { compileRoutes } from "../route/table.ts";
import { formatAddress, parseAddress, type SocketAddress } from "../wire/address.ts";
import { parseHello } from "../wire/hello.ts";

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
  const { hit, steps } = explainRoute(compileRoutes(listener), {
    ...client,
    from: question.from ?? null,
    destination: destinationOf(question, listener),
  });
  const cluster = hit === null ? null : config.clusters[hit.cluster]!;
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
          timeouts: listener.timeouts,
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
  const { hello, handshake, connect, idle, halfClose, lifetime } = listener.timeouts;
  const times = { hello, handshake, connect, idle, half_close: halfClose, lifetime };
  console.log(
    `timeouts   ${Object.entries(times)
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
    const name = question.sni?.toLowerCase().replace(/\.$/, "") ?? null;
    return { serverName: name, alpn: question.alpn, tls: !question.plain };
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
