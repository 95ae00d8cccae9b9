/** The stream sockets that this process has open, as the kernel counts them. proc_pid_fd(5), proc_pid_net(5). */
import { readdirSync, readFileSync, readlinkSync } from "node:fs";

/** TCP sockets in any state, closed by the other side and forgotten by us among them. Neither UDP nor UNIX sockets. */
export function openTcpSockets(): number {
  const others = new Set(["udp", "udp6", "unix"].flatMap(inodesOf));
  let count = 0;
  for (const descriptor of readdirSync("/proc/self/fd")) {
    const inode = /^socket:\[(\d+)\]$/.exec(targetOf(descriptor))?.[1];
    if (inode !== undefined && !others.has(inode)) count += 1;
  }
  return count;
}

function inodesOf(kind: string): string[] {
  const [, ...lines] = readFileSync(`/proc/self/net/${kind}`, "utf8").trim().split("\n");
  const column = kind === "unix" ? 6 : 9;
  return lines.map((line) => line.trim().split(/\s+/)[column]!);
}

/** Empty for one that was closed meanwhile. */
function targetOf(descriptor: string): string {
  try {
    return readlinkSync(`/proc/self/fd/${descriptor}`);
  } catch {
    return "";
  }
}
