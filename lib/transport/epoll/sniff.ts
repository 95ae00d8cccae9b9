/**
 * Peeking. On a plain stream nothing is taken from the kernel (recv(2) with MSG_PEEK); on TLS the plaintext is held in a
 * chunk until the relay delivers it. `look` sees the scratch buffer itself.
 */
import { EAGAIN, EINTR } from "../../ffi/errno.ts";
import { MSG_PEEK } from "../../ffi/layout.ts";
import { recv } from "../../ffi/libc.ts";
import { copy } from "../../ffi/memory.ts";
import type { Look } from "../transport.ts";
import { WOULD_BLOCK } from "./channel.ts";
import { SLOT } from "./memory.ts";
import { IDLE, SNIFFING } from "./phase.ts";
import type { EpollStream } from "./stream.ts";

export interface Sniff {
  readonly limit: number;
  readonly look: Look;
  /** How many bytes `look` asked for. */
  need: number;
  /** SO_RCVLOWAT is more than 1. */
  lowered: boolean;
}

/** Shows what is there, if it is enough. */
export function sniff(stream: EpollStream): void {
  const { limit } = stream.sniffing!;
  const { batch } = stream.gear.loop;
  const plain = stream.channel === null;
  if (plain && batch.together && batch.peek(stream, Math.min(limit, SLOT))) return;
  look(stream, plain ? peekPlain(stream, limit) : gatherHeld(stream, limit), stream.gear.memory.scratch);
}

/** What a peek gave that was made together with others. */
export function peeked(stream: EpollStream, result: number, address: number): void {
  if (stream.phase !== SNIFFING) return;
  const { limit } = stream.sniffing!;
  if (result === -EAGAIN) stream.readable = false;
  else if (result === -EINTR || (result === SLOT && limit > SLOT))
    look(stream, peekPlain(stream, limit), stream.gear.memory.scratch);
  else look(stream, result, address);
}

function look(stream: EpollStream, count: number, address: number): void {
  const state = stream.sniffing!;
  const { memory, sockets } = stream.gear;
  if (count === WOULD_BLOCK) return;
  if (count < 0) {
    stream.fail(count);
    return;
  }
  const ended =
    stream.channel === null ? count === 0 || (stream.ending && count < state.limit) : stream.inputEnded;
  if (count < state.need && count < state.limit && !ended) return;
  // Whatever comes after this waits for single bytes again.
  if (state.lowered) sockets.lowWater(stream.descriptor, 1);
  state.lowered = false;
  const need = state.look(memory.shown(address, count), ended);
  // `look` may have begun the next step, another peek included, or ended the connection.
  if (stream.sniffing !== state || stream.phase !== SNIFFING) return;
  if (need > 0 && count < state.limit && !ended) {
    state.need = Math.min(need, state.limit);
    // Spares the wake-ups of a dripping peer. Not on UNIX sockets, which do not know it (then each is gone through).
    if (stream.channel === null && stream.remote.kind === "ip") {
      sockets.lowWater(stream.descriptor, state.need);
      state.lowered = true;
    }
    return;
  }
  stream.sniffing = null;
  stream.phase = IDLE;
}

function peekPlain(stream: EpollStream, limit: number): number {
  for (;;) {
    const count = recv(stream.descriptor, stream.gear.memory.scratch, limit, MSG_PEEK);
    if (count >= 0) return count;
    if (count === -EAGAIN) {
      stream.readable = false;
      return WOULD_BLOCK;
    }
    if (count !== -EINTR) return count;
  }
}

/** Decrypts up to `limit` bytes into the held chunk and puts a copy into the scratch buffer. */
function gatherHeld(stream: EpollStream, limit: number): number {
  const { memory } = stream.gear;
  stream.held ??= memory.takeChunk();
  const { held } = stream;
  held.compact();
  while (!stream.inputEnded && held.length < limit) {
    const count = stream.read(held.address + held.end, limit - held.length);
    if (count === WOULD_BLOCK) break;
    if (count < 0) return count;
    if (count === 0) stream.inputEnded = true;
    held.end += count;
  }
  const { length } = held;
  if (length === 0) stream.dropHeld();
  else copy(memory.scratch, held.address + held.start, length);
  return length === 0 && !stream.inputEnded ? WOULD_BLOCK : length;
}
