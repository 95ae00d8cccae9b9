/** Why a dial failed, in one set of words for both transports. */
import { ProxyError } from "../errors.ts";
import { formatAddress, type SocketAddress } from "../wire/address.ts";

/** By errno name: what it means for the operator. */
const ENDPOINT: Readonly<Record<string, string>> = {
  ECONNREFUSED: "connection refused; nothing listens there",
  EHOSTUNREACH: "no route (EHOSTUNREACH)",
  ENETUNREACH: "no route (ENETUNREACH)",
  ENOENT: "no such socket",
  ENODEV: "this machine has no network interface of that name (ENODEV)",
  EAGAIN: "its queue of connections is full (EAGAIN)",
};

/** Faults of this process: they say nothing about the endpoint. */
const OURS: Readonly<Record<string, string>> = {
  EADDRNOTAVAIL:
    "no local port is free (EADDRNOTAVAIL); widen net.ipv4.ip_local_port_range or set net.ipv4.tcp_tw_reuse",
  EMFILE: "no descriptor is left (EMFILE); raise LimitNOFILE",
  ENFILE: "no descriptor is left on this machine (ENFILE)",
  ENOBUFS: "no memory for sockets (ENOBUFS)",
  ENOMEM: "no memory for sockets (ENOMEM)",
};

/**
 * `code`: errno by name. Code DIAL where the endpoint is to blame, TRANSPORT where this process is, RESET where the endpoint
 * accepted and broke off before we heard of the first: a race between two events that must not decide about the reason.
 */
export function dialFailure(target: SocketAddress, code: string): ProxyError {
  // EPIPE is what Linux calls a reset behind a FIN.
  if (code === "ECONNRESET" || code === "EPIPE") {
    return new ProxyError("RESET", `${formatAddress(target)}: accepted the connection and reset it at once`);
  }
  if (code === "ETIMEDOUT") {
    return new ProxyError("DIAL_TIMEOUT", `${formatAddress(target)}: no answer (ETIMEDOUT)`);
  }
  const ours = OURS[code];
  return new ProxyError(
    ours === undefined ? "DIAL" : "TRANSPORT",
    `${formatAddress(target)}: ${ours ?? ENDPOINT[code] ?? code}`,
  );
}
