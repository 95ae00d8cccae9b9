/**
 * The admin door, read-only part: HTTP on its own address, never on a data port, answered by the control thread. Anybody who
 * can reach it can read it, so it belongs on a UNIX socket (mode 0600) or on loopback. Paths: interface.md section 5.
 */
import { chmodSync, readFileSync } from "node:fs";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { Socket } from "node:net";
import type { DnsTargetsState } from "./dns/source.ts";
import { ProxyError } from "./errors.ts";
import { countDescriptors } from "./listen/descriptors.ts";
import { claimPath } from "./listen/unix.ts";
import { sumListener } from "./observe/counters.ts";
import { METRICS_TYPE, metricsText } from "./observe/metrics.ts";
import type { Proxy } from "./proxy.ts";
import { describeIdentity } from "./tls/identity.ts";
import { formatAddress, type SocketAddress } from "./wire/address.ts";
import { CONNECTION_LIMIT, CONNECTIONS, DROPPED_LINES } from "./worker.ts";

const { version } = JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8")) as {
  version: string;
};

// An admin client that sends nothing or reads nothing is no reason to keep a descriptor.
const REQUEST_MS = 10_000;
const MAX_CLIENTS = 128;
// Rows of /connections per worker; `?limit=` asks for fewer or more.
const DEFAULT_ROWS = 1_000;

export interface Admin {
  readonly address: SocketAddress;
  close(): Promise<void>;
}

/** Opens the admin address of the proxy's configuration. Rejects with ProxyError LISTEN. */
export async function openAdmin(proxy: Proxy): Promise<Admin> {
  const listen = proxy.config.admin!.listen;
  const started = Date.now();
  const http = createServer(
    { requestTimeout: REQUEST_MS, headersTimeout: REQUEST_MS },
    (request, response) => {
      answer(proxy, started, request, response).catch((error: Error) =>
        reply(response, 500, { error: error.message }),
      );
    },
  );
  http.maxConnections = MAX_CLIENTS;
  http.on("connection", (socket: Socket) => socket.setTimeout(REQUEST_MS, () => socket.destroy()));
  if (listen.kind === "unix") await claimPath(listen.path);
  await new Promise<void>((resolve, reject) => {
    http.once("error", (error) =>
      reject(new ProxyError("LISTEN", `admin ${formatAddress(listen)}: ${error.message}`, { cause: error })),
    );
    http.listen(
      listen.kind === "unix" ? { path: listen.path } : { host: listen.host, port: listen.port },
      resolve,
    );
  });
  if (listen.kind === "unix") chmodSync(listen.path, 0o600);
  const bound = http.address();
  return {
    address:
      bound !== null && typeof bound === "object"
        ? { kind: "ip", host: bound.address, port: bound.port }
        : listen,
    close: () =>
      new Promise((resolve) => {
        http.close(() => resolve());
        http.closeAllConnections();
      }),
  };
}

async function answer(
  proxy: Proxy,
  started: number,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const url = new URL(request.url ?? "/", "http://admin");
  if (request.method !== "GET" && request.method !== "HEAD") {
    return reply(response, 405, { error: `${request.method} is not available in this version` });
  }
  switch (url.pathname) {
    case "/live":
      return reply(response, 200, { live: true });
    case "/ready":
      return reply(response, proxy.state === "running" ? 200 : 503, {
        ready: proxy.state === "running",
        state: proxy.state,
      });
    case "/metrics":
      response.writeHead(200, { "content-type": METRICS_TYPE });
      response.end(await metricsText(metricsView(proxy)));
      return;
    case "/status":
      return reply(response, 200, statusOf(proxy, started));
    case "/connections": {
      const limit = Number(url.searchParams.get("limit") ?? DEFAULT_ROWS);
      if (!Number.isInteger(limit) || limit < 1)
        return reply(response, 400, { error: "limit must be a positive integer" });
      return reply(response, 200, await proxy.connections(limit));
    }
    case "/clusters":
      return reply(
        response,
        200,
        [...proxy.clusters.values()].map((cluster) => cluster.describe()),
      );
    default:
      return reply(response, 404, {
        error: `no such path: ${url.pathname}`,
        paths: ["/live", "/ready", "/metrics", "/status", "/connections", "/clusters"],
      });
  }
}

function statusOf(proxy: Proxy, started: number): Record<string, unknown> {
  const gauges = proxy.gauges;
  return {
    version,
    node: process.versions.node,
    openssl: process.versions.openssl,
    pid: process.pid,
    state: proxy.state,
    uptime_s: Math.round((Date.now() - started) / 1000),
    generation: proxy.generation,
    transport: proxy.choice?.transport,
    transport_why: proxy.choice?.why ?? undefined,
    workers: proxy.workers,
    connections: { active: gauges[CONNECTIONS], limit: gauges[CONNECTION_LIMIT] },
    descriptors: countDescriptors(),
    log_dropped: gauges[DROPPED_LINES],
    listeners: proxy.config.listeners.map((listener) => {
      const totals = sumListener(proxy.listenerRows().get(listener.name) ?? []);
      return {
        name: listener.name,
        address: formatAddress(proxy.addresses.get(listener.name) ?? listener.address),
        active: totals.active,
        total: totals.reasons.reduce((sum, { total }) => sum + total, 0),
        bytes_up: totals.bytesUp,
        bytes_down: totals.bytesDown,
      };
    }),
    clusters: [...proxy.clusters.values()].map((cluster) => {
      const { name, resolved, endpoints } = cluster.describe();
      return {
        name,
        state: resolved ? "resolved" : "unresolved",
        endpoints: endpoints.length,
        up: endpoints.filter((endpoint) => endpoint.health === "up").length,
      };
    }),
    identities: Object.values(proxy.identities).map(describeIdentity),
  };
}

function metricsView(proxy: Proxy) {
  const clusters = [...proxy.clusters.values()].map((cluster) => cluster.describe());
  return {
    listeners: proxy.listenerRows(),
    clusters: proxy.clusterRows(),
    endpoints: clusters.flatMap(({ name, endpoints }) =>
      endpoints.map(({ key, health, active }) => ({
        cluster: name,
        endpoint: key,
        up: health === "up",
        active,
      })),
    ),
    dnsAnswers: clusters.flatMap(({ sources }) =>
      (sources as readonly DnsTargetsState[]).flatMap(({ name, answers }) =>
        Object.entries(answers).map(([result, total]) => ({ name, result, total })),
      ),
    ),
    certificates: Object.values(proxy.identities).flatMap(({ name, notAfter }) =>
      notAfter === null ? [] : [{ identity: name, notAfter }],
    ),
    generation: proxy.generation,
    reloads: proxy.reloads,
    logDropped: proxy.gauges[DROPPED_LINES]!,
    descriptors: countDescriptors(),
    build: {
      version,
      node: process.versions.node,
      openssl: process.versions.openssl,
      transport: proxy.choice?.transport ?? "none",
    },
  };
}

function reply(response: ServerResponse, status: number, body: unknown): void {
  if (response.headersSent) {
    response.destroy();
    return;
  }
  response.writeHead(status, { "content-type": "application/json" });
  response.end(`${JSON.stringify(body)}\n`);
}
