/** The process of a bad link (bad-link.ts): opens a TUN device in each of two namespaces and passes packets between them. */
import { spawnSync } from "node:child_process";
import { closeSync, openSync, read, writeSync } from "node:fs";
import { bind } from "../../lib/ffi/library.ts";
import { allocate } from "../../lib/ffi/memory.ts";
import type { LinkPlan } from "./bad-link.ts";

const { pid, near, far, weather } = JSON.parse(process.argv[2]!) as LinkPlan;

// linux/if_tun.h, linux/sched.h
const TUNSETIFF = 0x400454ca;
const IFF_TUN = 0x0001;
const IFF_NO_PI = 0x1000;
const CLONE_NEWNET = 0x40000000;
const IFREQ_FLAGS = 16;
const PACKET = 1500;
// Longer than a few packets take to leave, so that what is held back is overtaken.
const HELD_BACK_MS = 4;

const setns = bind("setns", "int", ["int", "int"]);
const ioctl = bind("ioctl", "int", ["int", "size_t", "intptr_t"]);

/** Opens a device in the namespace of the process `of`, with an address that has `peer` behind it. */
function device(of: number | "self", address: string, peer: string): number {
  const namespace = openSync(`/proc/${of}/ns/net`, "r");
  if (setns(namespace, CLONE_NEWNET) < 0) throw new Error(`the namespace of ${of} cannot be entered`);
  closeSync(namespace);
  const descriptor = openSync("/dev/net/tun", "r+");
  const ifreq = allocate(64);
  ifreq.bytes.write("bad0");
  ifreq.bytes.writeInt16LE(IFF_TUN | IFF_NO_PI, IFREQ_FLAGS);
  if (ioctl(descriptor, TUNSETIFF, ifreq.address) < 0) throw new Error("there can be no TUN device");
  for (const words of [`addr add ${address} peer ${peer} dev bad0`, `link set bad0 mtu ${PACKET} up`]) {
    const run = spawnSync("ip", words.split(" "));
    if (run.status !== 0) throw new Error(`ip ${words}: ${run.error?.message ?? run.stderr}`);
  }
  return descriptor;
}

/** Mulberry32: the same seed, the same weather. */
function dice(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

const tally = { passed: 0, lost: 0, duplicated: 0, reordered: 0 };

/** Passes packets on in one direction, for ever. */
function pass(from: number, to: number, roll: () => number): void {
  const packet = Buffer.allocUnsafe(PACKET);
  read(from, packet, 0, PACKET, null, (error, length) => {
    if (error !== null) throw error;
    pass(from, to, roll);
    if (roll() < weather.loss) {
      tally.lost += 1;
      return;
    }
    const late = roll() < weather.reorder;
    const twice = roll() < weather.duplicate;
    tally.passed += 1;
    if (late) tally.reordered += 1;
    if (twice) tally.duplicated += 1;
    for (let copies = twice ? 2 : 1; copies > 0; copies -= 1) {
      setTimeout(() => writeSync(to, packet, 0, length), weather.delay + (late ? HELD_BACK_MS : 0));
    }
  });
}

const here = openSync("/proc/self/ns/net", "r");
const there = device(pid, far, near);
setns(here, CLONE_NEWNET);
closeSync(here);
const home = device("self", near, far);
pass(home, there, dice(weather.seed));
pass(there, home, dice(weather.seed + 1));
process.on("message", () => process.send!(tally));
process.on("disconnect", () => process.exit());
process.send!(tally);
