/**
 * Bulk between two plain sockets by splice(2): the kernel moves pages from one socket through a pipe to the other, and no byte
 * enters user space. A direction takes a pipe when it begins to move and gives it back when it is empty, so an idle or a
 * slow direction keeps none, except for the bytes that its sink has not taken yet.
 */
import { EAGAIN, EINTR, EINVAL } from "../../ffi/errno.ts";
import { SPLICE_F_MOVE, SPLICE_F_NONBLOCK } from "../../ffi/layout.ts";
import { splice } from "../../ffi/libc.ts";
import { WOULD_BLOCK } from "./channel.ts";
import { PIPE_BYTES } from "./pipes.ts";
import type { EpollStream } from "./stream.ts";

const FLAGS = SPLICE_F_MOVE | SPLICE_F_NONBLOCK;
// Below this a copy is cheaper than the two calls through a pipe.
const SHORT_BYTES = 16 * 1024;
// So many short ones in a row, and the direction is no bulk any more.
const SHORT_LIMIT = 8;
// Full reads to wait before trying again, where there was no pipe.
const PATIENCE = 64;

/**
 * Socket to pipe, which must be empty. Bytes, WOULD_BLOCK or a failure, as a read. When there is no pipe, when the socket
 * knows no splice, or at what may be the end, `bulk` is false afterwards and nothing was done.
 */
export function fillPipe(source: EpollStream, sink: EpollStream): number {
  const { pipes, loop } = source.gear;
  source.pipe ??= pipes.take(loop.now);
  if (source.pipe === null) return giveUp(source);
  const count = splice(source.descriptor, source.pipe.input, PIPE_BYTES, FLAGS);
  if (count > 0) {
    source.piped = count;
    if (count >= SHORT_BYTES) source.shortSplices = 0;
    else if (++source.shortSplices >= SHORT_LIMIT) {
      source.bulk = false;
      source.fullReads = 0;
      source.shortSplices = 0;
    }
    sink.hurry();
    return count;
  }
  if (count === -EAGAIN) {
    source.readable = false;
    return WOULD_BLOCK;
  }
  if (count === -EINTR) return fillPipe(source, sink);
  if (count === -EINVAL) return giveUp(source);
  // It may be the end. Behind urgent data, which splice(2) does not pass, it may be none: recv(2) tells.
  return count === 0 ? giveUp(source) : count;
}

/** Pipe to socket. 0: it was emptied, or the sink is blocked now; negative: the sink failed. */
export function drainPipe(source: EpollStream, sink: EpollStream): number {
  if (sink.blocked) return 0;
  const count = splice(source.pipe!.output, sink.descriptor, source.piped, FLAGS);
  if (count === -EINTR) return drainPipe(source, sink);
  if (count < 0 && count !== -EAGAIN) return count;
  if (count > 0) source.piped -= count;
  if (source.piped > 0) sink.block();
  return 0;
}

/** Gives an empty pipe back. */
export function restPipe(source: EpollStream): void {
  if (source.pipe === null || source.piped > 0) return;
  source.gear.pipes.give(source.pipe, true);
  source.pipe = null;
}

/** Lets go of the pipe and of what is in it. */
export function dropPipe(source: EpollStream): void {
  if (source.pipe !== null) source.gear.pipes.give(source.pipe, source.piped === 0);
  source.pipe = null;
  source.piped = 0;
}

function giveUp(source: EpollStream): number {
  source.bulk = false;
  source.fullReads = -PATIENCE;
  return WOULD_BLOCK;
}
