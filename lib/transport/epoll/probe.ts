/** Whether the epoll transport can run on this machine. Never throws, and loads nothing but the way into C. */
import { probe } from "../../ffi/libc.ts";

/** Why it cannot, in the operator's words; null when it can. */
export function probeEpoll(): string | null {
  return probe();
}
