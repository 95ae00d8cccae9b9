/**
 * Moves bytes between two Node sockets. Each direction is: data → write, full → pause, drained → resume, end → end. A
 * direction is over when its end has been passed on and flushed; the relay is over when both are, or when one side fails
 * and what it had sent before has been flushed to the other.
 */
import type { Socket } from "node:net";
import { ProxyError } from "../../errors.ts";
import type { Flow, RelayEnd } from "../transport.ts";
import type { Clock } from "./clock.ts";
import { type NetStream, streamError } from "./stream.ts";

type Side = "downstream" | "upstream";

const NOTHING = Buffer.alloc(0);

export function relay(
  downstream: NetStream,
  upstream: NetStream,
  flow: Flow,
  clock: Clock,
  done: (end: RelayEnd) => void,
): void {
  const client = downstream.socket;
  const service = upstream.socket;
  let over = false;
  let directions = 2;

  const end = (result: RelayEnd): void => {
    if (over) return;
    over = true;
    for (const socket of [client, service]) {
      socket.removeAllListeners("data");
      socket.removeAllListeners("end");
      socket.removeAllListeners("drain");
      socket.removeAllListeners("finish");
      socket.pause();
    }
    done(result);
  };

  const flushed = (): void => {
    flow.lastActive = clock.now();
    directions -= 1;
    if (directions === 0) end({ how: "ok", side: null, error: null });
  };

  const failed = (side: Side, other: Socket, error: ProxyError): void => {
    if (over) return;
    const result: RelayEnd = { how: "reset", side, error };
    // First deliver what was read before the failure, then carry it over.
    if (other.writableLength === 0 || other.destroyed || other.writableEnded) end(result);
    else other.write(NOTHING, () => end(result));
  };
  downstream.onFailure = (error) => failed("downstream", service, error);
  upstream.onFailure = (error) => failed("upstream", client, error);

  const direct = (from: NetStream, to: Socket, up: boolean): void => {
    const source = from.socket;
    const passOn = (): void => {
      if (up) flow.endedUp = true;
      else flow.endedDown = true;
      flow.lastActive = clock.now();
      to.once("finish", flushed);
      to.end();
    };
    const held = from.takeHeld();
    if (held.length > 0) {
      count(held.length);
      if (!to.write(held)) source.pause();
    }
    function count(bytes: number): void {
      flow.lastActive = clock.now();
      if (up) flow.bytesUp += bytes;
      else flow.bytesDown += bytes;
    }
    to.on("drain", () => {
      flow.lastActive = clock.now();
      source.resume();
    });
    if (from.inputEnded || source.readableEnded) {
      passOn();
      return;
    }
    source.on("data", (chunk: Buffer) => {
      count(chunk.length);
      if (!to.write(chunk)) source.pause();
    });
    source.on("end", passOn);
    if (!to.writableNeedDrain) source.resume();
  };
  direct(downstream, service, true);
  direct(upstream, client, false);

  // One side may have failed between the end of the dial and now, when nobody listened.
  if (client.destroyed) failed("downstream", service, destroyedError(client));
  else if (service.destroyed) failed("upstream", client, destroyedError(service));
}

function destroyedError(socket: Socket): ProxyError {
  return socket.errored ? streamError(socket.errored) : new ProxyError("RESET", "the connection was closed");
}
