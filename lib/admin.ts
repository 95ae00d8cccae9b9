/**
 * The admin door, read-only part: HTTP on its own address, never on a data port, answered by the control thread. Anybody who
 * can reach it can read it, so it belongs on a UNIX socket (mode 0600) or on loopback. Paths: interface.md section 5.
 * Invariant: whoever comes is served, however many others hold connections without using them.
 */
import { chmodSync } from "node:fs";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { Socket } from "node:net";
import { isMainThread } from "node:worker_threads";
import type { Cluster } from "./cluster/membership.ts";
import type { Config } from "./config/config.ts";
import { ProxyError } from "./errors.ts";
import { countDescriptors } from "./listen/descriptors.ts";
import { listenFailure } from "./listen/failure.ts";
import { claimPath } from "./listen/unix.ts";
import { sumListener } from "./observe/counters.ts";
import type { DnsAnswers } from "./observe/dns-answers.ts";
import { METRICS_TYPE, type MetricsView, metricsText } from "./observe/metrics.ts";
import { version } from "./observe/version.ts";
import { describeIdentity, type Identity } from "./tls/identity.ts";
import type { Choice } from "./transport/choice.ts";
import { formatAddress, type SocketAddress } from "./wire/address.ts";
import { CONNECTION_LIMIT, CONNECTIONS, DROPPED_LINES } from "./worker.ts";

// An admin client that sends nothing or reads nothing is no reason to keep a descriptor.
const REQUEST_MS = 10_000;
// Descriptors that the door may cost; past it the connection that was opened first has to go.
const MAX_CLIENTS = 128;
// Rows of /connections per worker; `?limit=` asks for fewer or more, but control does nothing else while it writes them out.
const DEFAULT_ROWS = 1_000;
const MAX_ROWS = 100_000;

const PATHS = ["/live", "/ready", "/metrics", "/status", "/connections", "/clusters"];
/** Part of the interface, and not there yet. */
const LATER = /^(GET \/config|POST \/(reload|drain)|DELETE \/connections\/[^/]+)$/;

/** What is shown: the proxy, as far as it can be read. */
export interface Shown {
  readonly state: string;
  readonly config: Config;
  readonly generation: number;
  readonly startedAt: number;
  readonly addresses: ReadonlyMap<string, SocketAddress>;
  readonly choice: Choice | null;
  readonly workers: number;
  readonly gauges: Int32Array;
  readonly reloads: Readonly<{ ok: number; failed: number }>;
  readonly identities: Readonly<Record<string, Identity>>;
  readonly clusters: ReadonlyMap<string, Cluster>;
  readonly dnsAnswers: DnsAnswers;
  listenerRows(): ReadonlyMap<string, readonly Float64Array[]>;
  clusterRows(): ReadonlyMap<string, readonly Float64Array[]>;
  connections(limit: number): Promise<readonly Record<string, unknown>[]>;
}

export interface Admin {
  /** As bound; port 0 is resolved. */
  readonly address: SocketAddress;
  close(): Promise<void>;
}

/** Opens the door at an address. Rejects with ProxyError LISTEN. */
export async function openAdmin(proxy: Shown, listen: SocketAddress): Promise<Admin> {
  const http = createServer(
    { requestTimeout: REQUEST_MS, headersTimeout: REQUEST_MS },
    (request, response) => {
      answer(proxy, request, response).catch((error: Error) =>
        reply(response, 500, { error: error.message }),
      );
    },
  );
  http.timeout = REQUEST_MS; // no byte either way for so long
  // A client that asks and never reads costs one answer, however much it asks.
  http.maxRequestsPerSocket = 1;
  const clients = new Set<Socket>();
  http.on("connection", (socket: Socket) => {
    clients.add(socket);
    socket.once("close", () => clients.delete(socket));
    const [first] = clients;
    if (clients.size > MAX_CLIENTS && first !== undefined) {
      clients.delete(first);
      first.destroy();
    }
  });
  if (listen.kind === "unix") await claimPath(listen.path, "admin");
  await new Promise<void>((resolve, reject) => {
    http.once("error", (cause: NodeJS.ErrnoException) => {
      const { code, message } = listenFailure(listen, cause.code ?? cause.message);
      reject(new ProxyError(code, `admin: ${message}`, { cause }));
    });
    if (listen.kind === "ip") http.listen({ host: listen.host, port: listen.port }, resolve);
    else {
      // The path is made before listen() returns; with this mask nobody else can connect even then. Threads have no mask.
      const mask = isMainThread ? process.umask(0o177) : null;
      http.listen({ path: listen.path }, resolve);
      if (mask !== null) process.umask(mask);
      else if (http.listening) chmodSync(listen.path, 0o600);
    }
  });
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
        for (const socket of clients) socket.destroy();
      }),
  };
}

async function answer(proxy: Shown, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const { method = "GET", url = "/" } = request;
  if (!URL.canParse(url, "http://admin")) return reply(response, 400, { error: "not a path" });
  const { pathname, searchParams } = new URL(url, "http://admin");
  if (LATER.test(`${method} ${pathname}`)) {
    return reply(response, 501, { error: `${method} ${pathname} is not available in this version` });
  }
  if (method !== "GET" && method !== "HEAD") {
    response.setHeader("allow", "GET, HEAD");
    return reply(response, 405, { error: `${method} ${pathname} is not available: this door is read-only` });
  }
  switch (pathname) {
    case "/live":
      return reply(response, 200, { live: true });
    case "/ready": {
      const ready = proxy.state === "running";
      return reply(response, ready ? 200 : 503, { ready, state: proxy.state });
    }
    case "/metrics":
      return send(response, 200, METRICS_TYPE, await metricsText(metricsView(proxy)));
    case "/status":
      return reply(response, 200, statusOf(proxy));
    case "/connections": {
      const limit = Number(searchParams.get("limit") ?? DEFAULT_ROWS);
      if (!Number.isInteger(limit) || limit < 1)
        return reply(response, 400, { error: "limit must be a positive integer" });
      return reply(response, 200, await proxy.connections(Math.min(limit, MAX_ROWS)));
    }
    case "/clusters":
      return reply(
        response,
        200,
        [...proxy.clusters.values()].map((cluster) => cluster.describe()),
      );
    default:
      return reply(response, 404, { error: `no such path: ${pathname}`, paths: PATHS });
  }
}

function statusOf(proxy: Shown): Record<string, unknown> {
  const gauges = proxy.gauges;
  return {
    version,
    node: process.versions.node,
    openssl: process.versions.openssl,
    pid: process.pid,
    state: proxy.state,
    uptime_s: Math.round((Date.now() - proxy.startedAt) / 1000),
    generation: proxy.generation,
    transport: proxy.choice?.transport,
    transport_why: proxy.choice?.why ?? undefined,
    io_uring: proxy.choice?.transport === "epoll" ? proxy.choice.ioUring : undefined,
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
      const { name, resolved, panic, endpoints } = cluster.describe();
      const members = endpoints.filter((endpoint) => endpoint.health !== "draining");
      return {
        name,
        state: !resolved ? "unresolved" : panic ? "panic" : "resolved",
        endpoints: members.length,
        up: members.filter((endpoint) => endpoint.health === "up").length,
        draining: endpoints.length - members.length,
      };
    }),
    identities: Object.values(proxy.identities).map(describeIdentity),
  };
}

function metricsView(proxy: Shown): MetricsView {
  return {
    listeners: proxy.listenerRows(),
    clusters: proxy.clusterRows(),
    endpoints: [...proxy.clusters.values()].flatMap((cluster) => {
      const { name, endpoints } = cluster.describe();
      return endpoints.map(({ key, health, active }) => ({
        cluster: name,
        endpoint: key,
        up: health === "up",
        active,
      }));
    }),
    dnsAnswers: proxy.dnsAnswers.totals(),
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
  send(response, status, "application/json", `${JSON.stringify(body)}\n`);
}

function send(response: ServerResponse, status: number, type: string, body: string): void {
  if (response.headersSent) {
    response.destroy();
    return;
  }
  response.writeHead(status, { "content-type": type, "content-length": Buffer.byteLength(body) });
  response.end(body);
}
