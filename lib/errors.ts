/**
 * What can go wrong, in two closed vocabularies. A `ProxyError` is a failure somebody must act on: a stable code
 * for machines and a message for the operator (who, where, how long, what to do). A `Reason` is why a connection
 * ended: every connection ends with exactly one, the same word in the access line and the metric.
 */

/** Why a connection ended. Closed and public: interface.md section 3. The order is the index in counters. */
export const REASONS = [
  "ok",
  "client_reset",
  "upstream_reset",
  "idle",
  "half_close_timeout",
  "lifetime",
  "hello_timeout",
  "bad_hello",
  "no_route",
  "bad_proxy_header",
  "untrusted_proxy_header",
  "handshake_failed",
  "handshake_timeout",
  "denied",
  "expired",
  "revoked",
  "no_endpoint",
  "dial_failed",
  "dial_timeout",
  "upstream_handshake_failed",
  "upstream_denied",
  "limit",
  "drain",
  "killed",
  "internal",
] as const;

export type Reason = (typeof REASONS)[number];

/** Stable codes of `ProxyError`. */
export const CODES = [
  "CONFIG", // the configuration is wrong; `faults` lists every place
  "USAGE", // the command line is wrong
  "IDENTITY", // a certificate, key, bundle or CRL cannot be used
  "LISTEN", // an address cannot be listened on
  "DIAL", // an endpoint refused or could not be reached
  "DIAL_TIMEOUT", // an endpoint did not answer in time
  "NO_ENDPOINT", // a cluster has nobody to dial
  "HANDSHAKE", // a TLS handshake failed
  "DENIED", // a peer proved an identity that no rule lets in
  "EXPIRED", // a peer's certificate is outside its validity
  "REVOKED", // a peer's certificate is on the revocation list
  "RESET", // the other side reset the connection
  "DNS", // a name could not be resolved
  "TRANSPORT", // a transport cannot run here
  "UNAVAILABLE", // not available in this version
  "INTERNAL", // a fault of ours
] as const;

export type Code = (typeof CODES)[number];

/** One fault in a configuration: where it is and what would be right. Lines and columns count from 1. */
export interface ConfigFault {
  readonly file: string | null;
  readonly line: number | null;
  readonly column: number | null;
  /** Dotted path in the configuration, e.g. `listeners[0].routes[1].cluster`; empty for the whole file. */
  readonly path: string;
  readonly message: string;
}

export interface ProxyErrorOptions {
  readonly cause?: unknown;
  readonly faults?: readonly ConfigFault[];
  /** TLS alert number (RFC 8446 section 6) sent or received, where there was one. */
  readonly alert?: number | undefined;
}

/** The only error class that Millrace throws on purpose. Never carries key material. */
export class ProxyError extends Error {
  override readonly name = "ProxyError";
  readonly code: Code;
  readonly faults: readonly ConfigFault[];
  readonly alert: number | undefined;

  constructor(code: Code, message: string, options: ProxyErrorOptions = {}) {
    // A stack costs ten times the rest of the error, and a reset is an everyday event: only a fault of ours needs one.
    const limit = Error.stackTraceLimit;
    if (code !== "INTERNAL") Error.stackTraceLimit = 0;
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    Error.stackTraceLimit = limit;
    this.code = code;
    this.faults = options.faults ?? [];
    this.alert = options.alert;
  }
}

/** Anything thrown, as a `ProxyError`; what is none already becomes INTERNAL with the original as its cause. */
export function asProxyError(thrown: unknown): ProxyError {
  if (thrown instanceof ProxyError) return thrown;
  const message = thrown instanceof Error ? thrown.message : String(thrown);
  return new ProxyError("INTERNAL", message, { cause: thrown });
}

/**
 * Reasons after which both sides are closed in order: the stream ended where it should, or an answer (an alert) must
 * arrive. After any other the bytes are incomplete, and only a reset says so.
 */
const ORDERLY: ReadonlySet<Reason> = new Set<Reason>([
  "ok",
  "idle",
  "no_route",
  "bad_hello",
  "handshake_failed",
  "denied",
  "expired",
  "revoked",
]);

/** Whether both sides are closed in order after this reason, not reset. */
export function endsInOrder(reason: Reason): boolean {
  return ORDERLY.has(reason);
}

/** Why a stream failed: `reset`, unless it was a fault of ours and the other side did nothing. */
export function classifyFailure(error: ProxyError, reset: Reason): Reason {
  return error.code === "INTERNAL" ? "internal" : reset;
}

/** Why a handshake with a client failed. */
export function classifyDownstream(error: ProxyError): Reason {
  switch (error.code) {
    case "DENIED":
      return "denied";
    case "EXPIRED":
      return "expired";
    case "REVOKED":
      return "revoked";
    case "RESET":
      return "client_reset";
    case "HANDSHAKE":
      return "handshake_failed";
    default:
      return "internal";
  }
}

/** Why a dial failed. */
export function classifyDial(error: ProxyError): Reason {
  if (error.code === "RESET") return "upstream_reset";
  return error.code === "DIAL_TIMEOUT" ? "dial_timeout" : "dial_failed";
}

/** Why a handshake with an endpoint failed. */
export function classifyUpstream(error: ProxyError): Reason {
  if (error.code === "INTERNAL") return "internal";
  const refused = error.code === "DENIED" || error.code === "EXPIRED" || error.code === "REVOKED";
  return refused ? "upstream_denied" : "upstream_handshake_failed";
}

/** Why a relay ended that did not end in order. `unanswered`: the upstream had not sent a byte. */
export function classifyRelay(
  side: "downstream" | "upstream" | null,
  error: ProxyError | null,
  unanswered: boolean,
): Reason {
  // Neither side failed: a fault of ours, contained by the transport.
  if (side === null) return "internal";
  if (side === "downstream") return "client_reset";
  // In TLS 1.3 an upstream refuses our certificate after our handshake is done: its alert is its first answer.
  return error?.alert !== undefined && unanswered ? "upstream_denied" : "upstream_reset";
}
