/** Whether the epoll transport can run on this machine. Never throws, and loads nothing but the way into C. */

import { probe } from "../../ffi/libc.ts";
import { probeOpenssl } from "../../ffi/openssl.ts";
import { openRing } from "./batch.ts";

/** Why it cannot, in the operator's words; null when it can. */
export function probeEpoll(): string | null {
  return probe();
}

/** Whether it can make system calls together here. */
export function probeIoUring(): boolean {
  const ring = openRing();
  ring?.close();
  return ring !== null;
}

/** Why it cannot speak TLS, for example a Node linked to an OpenSSL whose symbols it does not export; null when it can. */
export function probeEpollTls(): string | null {
  return probeOpenssl();
}
