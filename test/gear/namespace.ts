/**
 * A test file in a network namespace of its own: what it does to the network, nobody else sees, and it needs no free port. As root, or
 * where the kernel lets a user make namespaces. network_namespaces(7), unshare(1).
 */
import { spawnSync } from "node:child_process";
import { writeFileSync } from "node:fs";

const INSIDE = "MILLRACE_TEST_NAMESPACE";
const ISOLATE = process.getuid?.() === 0 ? ["--net"] : ["--net", "--map-root-user"];

/** The program and arguments that run another program in one more namespace. */
export const unshare: readonly string[] = ["unshare", ...ISOLATE];

/**
 * To be called first in a test file: outside, it runs the same file once more inside, says what that says, and ends with it. Returns
 * only inside, or with the reason why there can be no inside; or with what the test needs beside and does not have.
 */
export function enterNamespace(
  file: string,
  needs: { readonly skip: string | false } = { skip: false },
): { readonly skip: string | false } {
  if (needs.skip !== false) return needs;
  if (process.env[INSIDE] !== undefined) {
    spawnSync("ip", ["link", "set", "lo", "up"]);
    return { skip: false };
  }
  const [program, ...words] = unshare;
  const tried = spawnSync(program!, [...words, "ip", "link", "set", "lo", "up"]);
  if (tried.status !== 0) {
    return { skip: `needs unshare and ip, and the right to make network namespaces: ${why(tried)}` };
  }
  const again = [...words, process.execPath, ...process.execArgv, file];
  const { status } = spawnSync(program!, again, { stdio: "inherit", env: { ...process.env, [INSIDE]: "1" } });
  process.exit(status ?? 1);
}

/** Makes the kernel's buffers of every socket in this namespace small, so that little has to be sent until a sender must wait. tcp(7). */
export function smallBuffers(): void {
  for (const name of ["tcp_rmem", "tcp_wmem"])
    writeFileSync(`/proc/sys/net/ipv4/${name}`, "4096 16384 32768");
}

function why(tried: ReturnType<typeof spawnSync>): string {
  return tried.error?.message ?? tried.stderr.toString().trim();
}
