/**
 * Moves bytes between two streams, each direction for itself: read into the worker's scratch buffer, write from it in the
 * same event. What the other side did not take waits in a chunk of its own, and until that is gone nothing more is read: the
 * backpressure. Bulk goes round user space, see bulk.ts.
 * Invariant, after every call: in each direction the source is not readable, or the sink is blocked, or the source is on the
 * ready list, or the direction is over. So no edge is ever lost, whatever came together in one event.
 */
import { ProxyError } from "../../errors.ts";
import { ECONNRESET, EINTR, errnoName } from "../../ffi/errno.ts";
import { EPOLLERR } from "../../ffi/layout.ts";
import type { Flow, RelayEnd, RelayOwner } from "../transport.ts";
import { drainPipe, dropPipe, fillPipe, restPipe } from "./bulk.ts";
import { TRUNCATED, WOULD_BLOCK } from "./channel.ts";
import type { Gear } from "./gear.ts";
import { CHUNK, SCRATCH, SLOT } from "./memory.ts";
import { MESSAGE, STEADY } from "./multishot.ts";
import { IDLE, RELAYING } from "./phase.ts";
import type { EpollStream } from "./stream.ts";

// What one direction may move before others have their turn: about 100 µs of work.
const TURN_BYTES = 1 << 20;
// A queued PROXY header and the first bytes behind it leave in one write.
const COALESCE = CHUNK - SCRATCH;
// Full reads that make a direction bulk, with one at least in every turn.
const BULK_AFTER = 2;

export class Relay {
  readonly #gear: Gear;
  readonly #downstream: EpollStream;
  readonly #upstream: EpollStream;
  readonly #flow: Flow;
  /** Null when it is over. */
  #owner: RelayOwner | null;

  constructor(gear: Gear, downstream: EpollStream, upstream: EpollStream, flow: Flow, owner: RelayOwner) {
    this.#gear = gear;
    this.#downstream = downstream;
    this.#upstream = upstream;
    this.#flow = flow;
    this.#owner = owner;
  }

  /** Takes both streams over. The first bytes move before the loop waits again. */
  start(): void {
    this.#adopt(this.#downstream, this.#upstream);
    this.#adopt(this.#upstream, this.#downstream);
  }

  /** An edge on one of the two. `drained`: it was blocked and is not any more. */
  edge(stream: EpollStream, mask: number, drained: boolean): void {
    const peer = stream.peer!;
    if (stream.inputEnded && (mask & EPOLLERR) !== 0) {
      this.#errored(stream);
      return;
    }
    // Whether the kernel's own reading meets an end right behind data depends on its version.
    if (stream.ending) {
      this.#gear.loop.multishot?.stop(stream);
      // What was sent with that may have failed, and been the end of it.
      if (this.#owner === null) return;
    }
    if (stream.readable) {
      if (peer.blocked) stream.inVain();
      else this.serve(stream);
    }
    if (this.#owner === null) return;
    // TLS may have waited for input in order to write.
    const retry = stream.blocked && stream.channel !== null;
    if (retry) stream.blocked = false;
    if (drained || retry) this.pump(peer);
  }

  /** As `pump`; the next read and write perhaps together with those of other connections. */
  serve(source: EpollStream): void {
    if (source.underway) return;
    const { batch } = this.#gear.loop;
    if (batch.together && source.readable && this.#isSimple(source) && batch.recv(source))
      source.underway = true;
    else this.pump(source);
  }

  /** What a read of `source` gave that was made together with others. */
  received(source: EpollStream, address: number, result: number): void {
    const sink = source.peer!;
    const count = source.took(result, SLOT);
    if (count > 0 && sink.failure === 0) {
      this.#count(source, count);
      sink.writeTogether(address, count);
      return;
    }
    source.underway = false;
    // Meanwhile nothing could be written to it any more, and it has nothing more to say.
    if (count === WOULD_BLOCK && source.failure !== 0) {
      this.#failed(source, source.failure);
      return;
    }
    if (count <= 0 && count !== WOULD_BLOCK && count !== -EINTR) source.putBack(count);
    if (source.readable) this.pump(source);
    else source.listen();
  }

  /** What became of the write that followed. */
  sent(sink: EpollStream, address: number, length: number, result: number): void {
    const source = sink.peer!;
    source.underway = false;
    this.#flow.lastActive = this.#gear.loop.now;
    const count = sink.gave(result, length);
    if (count < 0) {
      this.#lost(sink, count);
      return;
    }
    if (count < length) sink.queue(address + count, length - count);
    source.large = length === SLOT;
    if (source.readable) this.pump(source);
    else {
      source.listen();
      this.#moved(source, length);
    }
  }

  /** What a multishot receive gave, in buffer `id`. */
  arrived(source: EpollStream, id: number, address: number, length: number): void {
    const sink = source.peer!;
    const multishot = this.#gear.loop.multishot!;
    if (sink.sending) multishot.flush();
    if (this.#owner === null) return;
    const isOpen = sink.failure === 0;
    const isFree = isOpen && !sink.blocked && sink.out === null;
    if (isOpen) {
      this.#flow.lastActive = this.#gear.loop.now;
      this.#count(source, length);
      if (isFree) multishot.send(sink, id, length);
      else sink.queue(address, length);
    }
    if (!isFree || length === MESSAGE) multishot.stop(source);
  }

  /** A send of what arrived was cut short, or failed. */
  unsent(sink: EpollStream, address: number, length: number, result: number): void {
    const count = sink.gave(result, length);
    if (count >= 0) sink.queue(address + count, length - count);
    if (this.#owner === null) {
      // The connection is letting go of it; what is queued is still said before an orderly end.
      if (count < 0) sink.failure = count;
    } else if (count < 0) this.#lost(sink, count);
    else this.#gear.loop.multishot!.stop(sink.peer!);
  }

  /** So many bytes in one turn. After many short messages in a row the kernel is to read by itself. */
  #moved(source: EpollStream, bytes: number): void {
    const { multishot } = this.#gear.loop;
    if (multishot === null) return;
    source.messages = bytes < MESSAGE ? source.messages + 1 : 0;
    if (source.messages === 0) return;
    multishot.missed();
    if (source.messages < STEADY) return;
    source.messages = 0;
    if (source.readable || source.ending || source.urgent || !this.#isSimple(source)) return;
    multishot.begin(source);
  }

  /** Whether one read and one write are all that there is to do when something comes. */
  #isSimple(source: EpollStream): boolean {
    const sink = source.peer!;
    return (
      source.plainRead &&
      !(source.inputEnded || source.bulk || source.large || source.piped > 0) &&
      sink.channel === null &&
      sink.out === null &&
      !sink.blocked &&
      sink.failure === 0
    );
  }

  /** Moves what can be moved from `source` to the other side. */
  pump(source: EpollStream): void {
    // What its read gave is on its way; it comes back here when it has arrived.
    if (source.underway) return;
    const sink = source.peer!;
    const flow = this.#flow;
    const { scratch } = this.#gear.memory;
    let left = TURN_BYTES;
    while (this.#owner !== null && sink.failure === 0) {
      if (source.piped > 0) {
        if (!this.#drain(source, sink)) return;
        continue; // the sink may have failed, and with it the relay may be over
      }
      if (sink.out !== null) {
        if (this.#flush(source, sink)) continue;
        if (left < TURN_BYTES) flow.lastActive = this.#gear.loop.now;
        return;
      }
      if (source.inputEnded) {
        // FIN and reset may come in one event; what the other side still had to say is lost then.
        if (source.errored && !source.outputEnded) this.#errored(source);
        else this.#passEnd(source, sink);
        break;
      }
      if (!source.readable || sink.blocked) break;
      if (left <= 0) {
        this.#gear.loop.ready(source);
        break;
      }
      if (source.bulk) {
        const filled = fillPipe(source, sink);
        if (filled > 0) {
          left -= filled;
          this.#count(source, filled);
        } else if (!source.bulk) {
          continue; // no pipe for us: copy
        } else if (!this.#ended(source, filled)) break;
        continue;
      }
      const count = source.read(scratch, SCRATCH);
      if (count <= 0) {
        if (!this.#ended(source, count)) break;
        continue;
      }
      left -= count;
      this.#count(source, count);
      const sent = sink.write(scratch, count);
      if (sent < 0) {
        this.#lost(sink, sent);
        return;
      }
      if (sent < count) sink.queue(scratch + sent, count - sent);
      if (count === SCRATCH && ++source.fullReads >= BULK_AFTER)
        source.bulk = source.channel === null && sink.channel === null && !source.urgent;
    }
    if (left < TURN_BYTES) {
      flow.lastActive = this.#gear.loop.now;
      source.large = left < TURN_BYTES - SLOT;
    }
    const moved = TURN_BYTES - left;
    // Not by the short read that ends every turn: some senders leave a buffer and a half each time.
    if (left > TURN_BYTES - SCRATCH && source.fullReads > 0) source.fullReads = 0;
    if (this.#owner === null) return;
    if (source.pipe !== null) restPipe(source);
    if (!source.readable) source.listen();
    if (moved > 0) this.#moved(source, moved);
  }

  /** A fault of ours: ends the relay, so that the connection can say `internal`. */
  fault(error: ProxyError): void {
    this.#end({ how: "reset", side: null, error });
  }

  /** The connection ends one of the streams by itself: nobody is told, and neither stream is served any more. */
  abandon(): void {
    this.#owner = null;
    this.#gear.loop.multishot?.leave(this.#downstream, this.#upstream);
    this.#leave(this.#downstream);
    this.#leave(this.#upstream);
  }

  #adopt(stream: EpollStream, peer: EpollStream): void {
    stream.relay = this;
    stream.peer = peer;
    stream.phase = RELAYING;
    stream.owner = null;
    const { held } = stream;
    if (held !== null && held.length > 0) {
      peer.queue(held.address + held.start, held.length);
      this.#count(stream, held.length);
    }
    stream.dropHeld();
    this.#gear.loop.step(stream);
  }

  #leave(stream: EpollStream): void {
    if (stream.relay !== this) return;
    stream.relay = null;
    stream.peer = null;
    if (stream.phase === RELAYING) stream.phase = IDLE;
    dropPipe(stream);
  }

  #count(source: EpollStream, bytes: number): void {
    if (source === this.#downstream) this.#flow.bytesUp += bytes;
    else this.#flow.bytesDown += bytes;
  }

  /** Writes what waits, with what is there to read right behind it. False: it still waits, or the sink is lost. */
  #flush(source: EpollStream, sink: EpollStream): boolean {
    const out = sink.out!;
    if (sink.blocked) return false;
    if (source.readable && !source.inputEnded && out.end <= COALESCE) {
      const count = source.read(out.address + out.end, SCRATCH);
      if (count > 0) {
        out.end += count;
        this.#count(source, count);
      } else if (count !== WOULD_BLOCK) source.putBack(count); // after this has been delivered
    }
    const before = out.start;
    const flushed = sink.flush();
    if (flushed || out.start > before) this.#flow.lastActive = this.#gear.loop.now;
    if (sink.failure !== 0) this.#lost(sink, sink.failure);
    return flushed;
  }

  #drain(source: EpollStream, sink: EpollStream): boolean {
    const before = source.piped;
    const result = drainPipe(source, sink);
    if (source.piped < before) this.#flow.lastActive = this.#gear.loop.now;
    if (result < 0) this.#lost(sink, result);
    return source.piped === 0;
  }

  /** What a read gave that gave no bytes. True: go on, the input is at its end. */
  #ended(source: EpollStream, result: number): boolean {
    if (result === WOULD_BLOCK && source.failure === 0) return false;
    if (result === 0) source.inputEnded = true;
    else this.#failed(source, source.failure || result);
    return true;
  }

  #passEnd(source: EpollStream, sink: EpollStream): void {
    if (sink.outputEnded) return;
    // Where nothing more can come either way, the close that follows says so by itself.
    const last = sink.channel === null && sink.inputEnded && source.outputEnded;
    const result = last ? sink.ended() : sink.end();
    if (result === WOULD_BLOCK) return;
    if (result < 0) {
      this.#lost(sink, result);
      return;
    }
    const flow = this.#flow;
    if (source === this.#downstream) flow.endedUp = true;
    else flow.endedDown = true;
    flow.lastActive = this.#gear.loop.now;
    if (sink.inputEnded && source.outputEnded) this.#end({ how: "ok", side: null, error: null });
  }

  /** Nothing can be written to `stream` any more. What it had sent before is still delivered, then the relay ends. */
  #lost(stream: EpollStream, failure: number): void {
    const peer = stream.peer!;
    stream.failure = failure;
    stream.dropOut();
    dropPipe(peer);
    if (peer.failure !== 0 || stream.inputEnded) {
      this.#failed(stream, failure);
      return;
    }
    stream.readable = true;
    stream.ending = true;
    if (stream.standing >= 0) this.#gear.loop.multishot!.stop(stream);
    else this.pump(stream);
  }

  /** A reset behind the end of its input: nothing is read from it any more, so only the event tells. */
  #errored(stream: EpollStream): void {
    this.#failed(stream, -(this.#gear.sockets.error(stream.descriptor) || ECONNRESET));
  }

  #failed(stream: EpollStream, failure: number): void {
    stream.failure = failure;
    const side = stream === this.#downstream ? "downstream" : "upstream";
    this.#end({ how: "reset", side, error: stream.channel?.failure() ?? relayError(failure) });
  }

  #end(end: RelayEnd): void {
    const owner = this.#owner;
    if (owner === null) return;
    this.abandon();
    owner.relayed(end);
  }
}

function relayError(failure: number): ProxyError | null {
  if (failure === -ECONNRESET) return null;
  if (failure === TRUNCATED) return new ProxyError("RESET", "the TLS stream ended without close_notify");
  return new ProxyError("RESET", errnoName(failure));
}
