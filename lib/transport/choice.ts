/**
 * Which transport runs, and why: `epoll` where it loads, `net` everywhere else. Said once at start, by `/status` and by
 * `millrace doctor`.
 */
import type { Config } from "../config/config.ts";
import { ProxyError } from "../errors.ts";
import { probeEpoll, probeEpollTls, probeIoUring } from "./epoll/probe.ts";

export interface Choice {
  readonly transport: "net" | "epoll";
  /** Why not the other one, in the operator's words; null when there is nothing to explain. */
  readonly why: string | null;
  /** Whether `epoll` makes system calls together, by io_uring(7). */
  readonly ioUring: boolean;
}

/** Throws ProxyError TRANSPORT when the configuration insists on `epoll` and it cannot run here. */
export function chooseTransport(config: Config): Choice {
  if (config.transport === "net") return { transport: "net", why: null, ioUring: false };
  const obstacle = probeEpoll() ?? (speaksTls(config) ? probeEpollTls() : null);
  if (obstacle === null) return { transport: "epoll", why: null, ioUring: probeIoUring() };
  if (config.transport === "epoll") {
    throw new ProxyError(
      "TRANSPORT",
      `transport: epoll cannot run here: ${obstacle}; use \`transport: auto\``,
    );
  }
  return { transport: "net", why: `epoll cannot run here: ${obstacle}`, ioUring: false };
}

/** Whether any connection of this configuration is terminated or originated here; passthrough needs no OpenSSL. */
function speaksTls(config: Config): boolean {
  const terminates = config.listeners.some((listener) =>
    [...listener.routes, listener.default].some((route) => route?.tls === "terminate"),
  );
  return terminates || Object.values(config.clusters).some((cluster) => cluster.tls !== null);
}
