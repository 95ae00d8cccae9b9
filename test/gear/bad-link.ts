/**
 * A network that loses, delays, reorders and duplicates: two TUN devices, one in this namespace and one in that of another process,
 * and a process between them that passes packets on, or does not (bad-link-child.ts). It needs no module of the kernel that a machine
 * may lack, and what happens to which packet is drawn from a seed. tun(4) of the kernel's documentation, ip-link(8).
 */
import { fork } from "node:child_process";
import { once } from "node:events";
import { accessSync, constants } from "node:fs";
import { fileURLToPath } from "node:url";
import { libraryFault } from "../../lib/ffi/library.ts";
import type { Lasting } from "./dns.ts";

/** What happens to packets, each way. Shares of 1. */
export interface Weather {
  readonly loss: number;
  readonly duplicate: number;
  /** Packets that are held back, and so overtaken by later ones. */
  readonly reorder: number;
  /** ms, for every packet. */
  readonly delay: number;
  readonly seed: number;
}

export interface LinkPlan {
  /** The process at whose namespace the far end is. */
  readonly pid: number;
  readonly near: string;
  readonly far: string;
  readonly weather: Weather;
}

/** What it did so far. */
export interface LinkTally {
  readonly passed: number;
  readonly lost: number;
  readonly duplicated: number;
  readonly reordered: number;
}

export interface BadLink {
  /** Addresses of the two ends. */
  readonly near: string;
  readonly far: string;
  tally(): Promise<LinkTally>;
}

/** Why there can be no link here. */
export function linkNeeds(): { readonly skip: string | false } {
  const fault = libraryFault();
  if (fault !== null) return { skip: fault };
  try {
    accessSync("/dev/net/tun", constants.R_OK | constants.W_OK);
    return { skip: false };
  } catch (error) {
    return { skip: `needs TUN devices: ${(error as Error).message}` };
  }
}

/** Lays a link to the namespace of the process `pid`; it ends with the test. */
export async function badLink(t: Lasting, pid: number, weather: Weather): Promise<BadLink> {
  const plan: LinkPlan = { pid, near: "10.66.0.1", far: "10.66.0.2", weather };
  const child = fork(fileURLToPath(new URL("./bad-link-child.js", import.meta.url)), [JSON.stringify(plan)]);
  const gone = once(child, "exit");
  t.after(async () => {
    child.kill("SIGKILL");
    await gone;
  });
  const said = async (): Promise<LinkTally> => {
    const [tally] = (await Promise.race([
      once(child, "message"),
      gone.then(([code]) => {
        throw new Error(`the link ended by itself with code ${code}`);
      }),
    ])) as [LinkTally];
    return tally;
  };
  await said();
  return {
    near: plan.near,
    far: plan.far,
    tally: () => {
      child.send("tally");
      return said();
    },
  };
}
