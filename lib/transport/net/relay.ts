/**
 * Moves bytes between two Node sockets. Each direction is: data → write, full → pause, drained → resume, end → end. A
 * direction is over when its end has been passed on and flushed; the relay is over when both are, or when one side fails
 * and what it had sent before has been flushed to the other.
 */
import type { Socket } from "node:net";
import { ProxyError } from "../../errors.ts";
import type { Flow, RelayEnd, RelayOwner } from "../transport.ts";
import type { Clock } from "./clock.ts";
import { type NetStream, streamError } from "./stream.ts";

const NOTHING = Buffer.alloc(0);

export function relay(
  downstream: NetStream,
  upstream: NetStream,
  flow: Flow,
  clock: Clock,
  owner: RelayOwner,
): void {
  let over = false;
  const end = (result: RelayEnd): void => {
    if (over) return;
    over = true;
    up.stop();
    down.stop();
    owner.relayed(result);
  };
  const finished = (): void => {
    if (up.finished && down.finished) end({ how: "ok", side: null, error: null });
  };
  const up = new Direction(downstream, upstream, flow, true, clock, finished);
  const down = new Direction(upstream, downstream, flow, false, clock, finished);

  const failed = (direction: Direction, error: ProxyError): void => {
    if (over) return;
    direction.passRest();
    direction.broken = true;
    const result: RelayEnd = { how: "reset", side: direction.up ? "downstream" : "upstream", error };
    // First deliver what was read before the failure, then carry the reset over.
    const sink = direction.sink;
    if (sink.writableLength === 0 || sink.destroyed || sink.writableEnded) end(result);
    else sink.write(NOTHING, () => end(result));
  };
  downstream.owner = { failed: (_, error) => failed(up, error) };
  upstream.owner = { failed: (_, error) => failed(down, error) };

  up.start();
  down.start();
  // One side may have failed between the end of the dial and now, when nobody listened.
  if (downstream.socket.destroyed) failed(up, destroyedError(downstream.socket));
  else if (upstream.socket.destroyed) failed(down, destroyedError(upstream.socket));
}

class Direction {
  finished = false;
  /** Its source has failed, or the relay is over: no end is passed on any more. */
  broken = false;
  readonly up: boolean;
  readonly source: Socket;
  readonly sink: Socket;
  readonly #from: NetStream;
  readonly #flow: Flow;
  readonly #clock: Clock;
  readonly #whenFinished: () => void;

  constructor(
    from: NetStream,
    to: NetStream,
    flow: Flow,
    up: boolean,
    clock: Clock,
    whenFinished: () => void,
  ) {
    this.up = up;
    this.source = from.socket;
    this.sink = to.socket;
    this.#from = from;
    this.#flow = flow;
    this.#clock = clock;
    this.#whenFinished = whenFinished;
  }

  start(): void {
    const held = this.#from.takeHeld();
    this.sink.on("drain", this.#drained);
    if (held.length > 0) this.#pass(held);
    if (this.#from.inputEnded || this.source.readableEnded) {
      this.#ended();
      return;
    }
    this.source.on("data", this.#pass);
    this.source.on("end", this.#ended);
    if (!this.sink.writableNeedDrain) this.source.resume();
  }

  /** What Node has read while the sink was full: it stays in a source that has failed, which emits nothing more. */
  passRest(): void {
    if (this.sink.destroyed || this.sink.writableEnded) return;
    this.source.off("data", this.#pass);
    for (let rest = this.source.read(); rest !== null; rest = this.source.read()) this.#pass(rest as Buffer);
  }

  stop(): void {
    this.broken = true;
    this.source.off("data", this.#pass);
    this.source.off("end", this.#ended);
    this.sink.off("drain", this.#drained);
    this.sink.off("finish", this.#flushed);
    this.source.pause();
  }

  readonly #pass = (chunk: Buffer): void => {
    // The connection was ended from outside, and its record is closed.
    if (this.#from.released) return;
    const flow = this.#flow;
    flow.lastActive = this.#clock.now();
    if (this.up) flow.bytesUp += chunk.length;
    else flow.bytesDown += chunk.length;
    if (!this.sink.write(chunk)) this.source.pause();
  };

  readonly #drained = (): void => {
    this.#flow.lastActive = this.#clock.now();
    this.source.resume();
  };

  /**
   * libuv reports a reset behind unread bytes as an end (a short read under POLLHUP). Touching the socket tells them apart: a
   * failure is heard before this turn of the loop is over.
   */
  readonly #ended = (): void => {
    this.#from.touch();
    setImmediate(this.#passEnd);
  };

  readonly #passEnd = (): void => {
    if (this.broken) return;
    if (this.up) this.#flow.endedUp = true;
    else this.#flow.endedDown = true;
    this.#flow.lastActive = this.#clock.now();
    this.sink.on("finish", this.#flushed);
    this.sink.end();
  };

  readonly #flushed = (): void => {
    this.#flow.lastActive = this.#clock.now();
    this.finished = true;
    this.#whenFinished();
  };
}

function destroyedError(socket: Socket): ProxyError {
  return socket.errored ? streamError(socket.errored) : new ProxyError("RESET", "the connection was closed");
}
