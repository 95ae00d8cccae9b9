/**
 * The link between generator and proxy: loopback, or a veth pair with an MTU of 1500 between two network namespaces,
 * where every segment is a packet of its own and splice moves real fragments. The generator, which is also the service,
 * stays in this namespace; contenders run in the other. Addresses are those of RFC 2544, set aside for benchmarks.
 *
 * `gso_max_segs 1` keeps the kernel from building segments larger than the MTU (TSO and GSO), and a veth does no GRO
 * unless it is told to: no further program is needed to set what ip-link(8) can set.
 */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { which } from "./program.ts";

export type LinkKind = "loopback" | "veth";

export interface Link {
  readonly kind: LinkKind;
  /** Where contenders listen, and where the service does. */
  readonly proxy: string;
  readonly service: string;
  /** The first of the addresses that clients come from. */
  readonly clients: string;
  /** Further addresses of the service. */
  endpoint(index: number): string;
  /** The command on the proxy's side of the link. */
  enter(command: readonly string[]): readonly string[];
}

export const loopback: Link = {
  kind: "loopback",
  proxy: "127.0.0.1",
  service: "127.0.0.1",
  clients: "127.0.0.2",
  endpoint: (index) => `127.1.${index >> 8}.${index & 255}`,
  enter: (command) => command,
};

const NAME = "bench";
const MTU = 1500;
const NEAR = "198.18.0.1";
const FAR = "198.18.0.2";
/** Ethernet's header comes on top of the MTU. */
const FRAME_MAX = MTU + 14;

const up = (address: string): string[] => [
  `ip link set ${NAME} gso_max_segs 1`,
  `ip addr add ${address}/30 dev ${NAME}`,
  `ip link set ${NAME} up`,
];

function run(command: readonly string[]): void {
  const [program, ...rest] = command;
  const done = spawnSync(program!, rest, { encoding: "utf8" });
  if (done.status !== 0)
    throw new Error(`veth: ${(done.stderr || String(done.error ?? "refused")).trim().split("\n")[0]}`);
}

/** Must run in a namespace of its own, with the right to change it. `prepare` is a script for the far namespace. */
export async function makeVeth(prepare: string): Promise<Link> {
  const [unshare, nsenter] = [which("unshare"), which("nsenter")];
  if (!unshare || !nsenter) throw new Error("veth: no unshare or nsenter on the PATH");
  // It holds the namespace, and ends with this process, whose end closes its input.
  const holder: ChildProcess = spawn(unshare, ["--net", "sh", "-c", "echo ready; exec cat"], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  const [first] = await Promise.race([once(holder.stdout!, "data"), once(holder, "close")]);
  if (!Buffer.isBuffer(first)) throw new Error("veth: no second network namespace");
  holder.unref();
  const enter = (command: readonly string[]): readonly string[] => [
    nsenter,
    `--net=/proc/${holder.pid}/ns/net`,
    ...command,
  ];
  const near = [
    `ip link add name ${NAME} mtu ${MTU} type veth peer name ${NAME} mtu ${MTU} netns ${holder.pid}`,
    ...up(NEAR),
    // Every address of these networks is ours: sources of clients, and endpoints.
    "ip route add local 198.18.1.0/24 dev lo",
    "ip route add local 198.19.0.0/16 dev lo",
  ];
  const far = [prepare, "ip link set lo up", ...up(FAR), `ip route add 198.18.0.0/15 via ${NEAR}`];
  run(["sh", "-e", "-c", near.join("\n")]);
  run(enter(["sh", "-e", "-c", far.join("\n")]));
  return {
    kind: "veth",
    proxy: FAR,
    service: NEAR,
    clients: "198.18.1.1",
    endpoint: (index) => `198.19.${index >> 8}.${index & 255}`,
    enter,
  };
}

/** What is wrong with the frames that went over the link so far; null when none was larger than the MTU allows. */
export function oversize(): string | null {
  const line = readFileSync("/proc/net/dev", "utf8")
    .split("\n")
    .find((text) => text.trim().startsWith(`${NAME}:`));
  if (!line) return null;
  const [received, receivedPackets, , , , , , , sent, sentPackets] = line
    .slice(line.indexOf(":") + 1)
    .trim()
    .split(/\s+/)
    .map(Number);
  const mean = Math.max(received! / receivedPackets!, sent! / sentPackets!);
  return mean > FRAME_MAX ? `frames of ${Math.round(mean)} bytes on average: segmentation is not off` : null;
}
