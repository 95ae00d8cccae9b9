/**
 * TLS under the relay's rules: many records are gathered into one read, so that one send(2) can take them, and a short write
 * means the end of a record, not a full socket (SSL_CTX_set_mode(3), PARTIAL_WRITE).
 */
import { type TlsChannel, WOULD_BLOCK } from "./channel.ts";
import type { EpollStream } from "./stream.ts";

/** As `EpollStream.read`. An end or a failure behind bytes is kept for the next read. */
export function gather(stream: EpollStream, channel: TlsChannel, address: number, length: number): number {
  let total = 0;
  let verdict = 1;
  while (total < length) {
    verdict = channel.read(address + total, length - total);
    if (verdict <= 0) break;
    total += verdict;
    // Reading again would be in vain, unless an end is known to be there.
    if (!stream.ending && channel.drained()) {
      stream.readable = false;
      return total;
    }
  }
  if (verdict > 0) return total;
  if (verdict === WOULD_BLOCK) {
    if (channel.drained()) stream.readable = false;
    // An answer to a KeyUpdate found the socket full: reading goes on when there is room.
    if (channel.unsent()) stream.block();
    else if (stream.readable) {
      // The peer has said much that is no data, and others have their turn before it is heard any further.
      stream.gear.loop.ready(stream);
      if (total > 0) stream.putBack(WOULD_BLOCK);
    }
    return total > 0 ? total : WOULD_BLOCK;
  }
  if (total === 0) return verdict === 0 ? stream.failure : verdict;
  stream.putBack(verdict);
  return total;
}

/** As `EpollStream.write`. */
export function writeRecords(
  stream: EpollStream,
  channel: TlsChannel,
  address: number,
  length: number,
): number {
  let total = 0;
  while (total < length) {
    const count = channel.write(address + total, length - total);
    if (count > 0) total += count;
    else if (count === WOULD_BLOCK) {
      stream.block();
      return total;
    } else return count;
  }
  return total;
}
