/**
 * The orderly end of a stream that the connection has let go of: deliver what is queued, say that this was all, throw away
 * what still comes in, close. Closing with unread input would send a reset that can destroy an alert on its way; so it reads
 * on, but neither for long nor for ever.
 */
import { EAGAIN, EINTR } from "../../ffi/errno.ts";
import { SHUT_WR } from "../../ffi/layout.ts";
import { recv, shutdown } from "../../ffi/libc.ts";
import { LINGERING_MOST } from "../../listen/lingering.ts";
import { LINGER_BYTES, LINGER_MS } from "../patience.ts";
import { SCRATCH } from "./memory.ts";
import type { EpollStream } from "./stream.ts";

/** One step, at the beginning and on every edge. Closes the stream when it is through. */
export function linger(stream: EpollStream): void {
  if (!said(stream)) {
    if (stream.failure !== 0) stream.close();
    else wait(stream);
    return;
  }
  if (stream.inputEnded || emptied(stream)) stream.close();
  else wait(stream);
}

/** Whether everything is with the kernel, the end included. */
function said(stream: EpollStream): boolean {
  if (stream.failure !== 0 || !stream.flush()) return false;
  if (stream.outputEnded) return true;
  const result = stream.end();
  if (stream.outputEnded) {
    // After close_notify nothing more can come from us; the FIN tells those that wait for it.
    if (stream.channel !== null) shutdown(stream.descriptor, SHUT_WR);
    return true;
  }
  if (!stream.blocked) stream.failure = result;
  return false;
}

/** Whether the input is at its end, broken, or more than can be borne. Reads below TLS: nobody wants to know what it is. */
function emptied(stream: EpollStream): boolean {
  while (stream.drained <= LINGER_BYTES) {
    const count = recv(stream.descriptor, stream.gear.memory.scratch, SCRATCH, 0);
    if (count > 0) stream.drained += count;
    else if (count === -EAGAIN) return false;
    else if (count !== -EINTR) return true;
  }
  return true;
}

function wait(stream: EpollStream): void {
  if (stream.lingering !== null) return;
  const { gear } = stream;
  if (gear.lingering >= LINGERING_MOST) {
    stream.close();
    return;
  }
  gear.lingering += 1;
  stream.lingering = gear.loop.wheel.createTimer(stream);
  stream.lingering.start(LINGER_MS);
}
