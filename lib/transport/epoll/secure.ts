/** The step from plain to TLS: delivers what was sent before in plain, then drives the handshake edge by edge. */
import { ProxyError } from "../../errors.ts";
import { errnoName } from "../../ffi/errno.ts";
import type { SecureOptions, TlsContext } from "../transport.ts";
import { WOULD_BLOCK } from "./channel.ts";
import { IDLE } from "./phase.ts";
import type { EpollStream } from "./stream.ts";

export interface Securing {
  readonly context: TlsContext;
  readonly options: SecureOptions;
  readonly done: (error: ProxyError | null) => void;
}

/** As far as it goes now. Calls `done` when it is through. */
export function handshake(stream: EpollStream): void {
  const { context, options, done } = stream.securing!;
  if (stream.channel === null && !stream.flush() && stream.failure === 0) return;
  stream.channel ??= stream.gear.tls().channel(stream.descriptor, context, options);
  const { channel } = stream;
  const result = stream.failure === 0 ? channel.handshake() : stream.failure;
  if (stream.quiet) stream.acknowledge();
  if (channel.unsent()) stream.block();
  if (result === WOULD_BLOCK) return;
  stream.securing = null;
  stream.phase = IDLE;
  // The first application data may have come with the last flight, and lie in the channel.
  stream.readable = true;
  // After a failure they say who the peer is, if it came to that; what else they say was not agreed on.
  const facts = stream.failure === 0 ? channel.facts() : null;
  if (facts !== null && (result === 1 || facts.peer !== null)) stream.tls = facts;
  if (result === 1) done(null);
  else done(channel.failure() ?? new ProxyError("RESET", `reset in the TLS handshake: ${errnoName(result)}`));
}
