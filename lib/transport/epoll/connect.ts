/** The first edge on a socket that was dialled: it stands, or it failed. */
import type { ProxyError } from "../../errors.ts";
import { ECONNRESET } from "../../ffi/errno.ts";
import { EPOLLERR, EPOLLHUP, EPOLLOUT } from "../../ffi/layout.ts";
import { CONNECTING, IDLE } from "./phase.ts";
import type { EpollStream } from "./stream.ts";

/** An edge while connecting. */
export function connected(stream: EpollStream, mask: number): void {
  const { sockets, keepAlives, dialError } = stream.gear;
  if ((mask & (EPOLLERR | EPOLLHUP)) !== 0) {
    const errno = sockets.error(stream.descriptor);
    // A SYN is refused with ECONNREFUSED. A reset is the end of a connection that stood: the next step meets it.
    if (errno !== 0 && errno !== ECONNRESET) {
      dialFailed(stream, dialError(stream.remote, errno));
      return;
    }
    stream.failure = -errno;
  } else if ((mask & EPOLLOUT) === 0) return;
  const dialler = stream.dialler!;
  stream.dialler = null;
  stream.phase = IDLE;
  keepAlives.add(stream);
  dialler.dialled(null);
}

/** The connection failed, or could not be begun: releases the stream and says so, unless it was reset meanwhile. */
export function dialFailed(stream: EpollStream, error: ProxyError): void {
  if (stream.phase !== CONNECTING) return;
  const dialler = stream.dialler!;
  stream.close();
  dialler.dialled(error);
}
