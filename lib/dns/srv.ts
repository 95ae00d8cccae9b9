/**
 * SRV records into targets, by RFC 2782: priority tiers, weights and the shares they mean, "." for a service that is
 * decidedly not there, addresses from the additional section only where the answering zone may speak for them. A target
 * with several addresses keeps the share of one target, divided among them. Pure.
 */
import { zeroWorth } from "../wire/weight.ts";
import type { AddressRecord, DnsRecord, SrvRecord } from "./message.ts";
import { isWithin, serviceDomain } from "./name.ts";

/** One address to dial. */
export interface Target {
  /** IP literal. */
  readonly address: string;
  readonly port: number;
  /** The SRV target, or the host that was resolved; null for a bare address. */
  readonly name: string | null;
  /** 0 to 65535, relative to the other targets of the same priority. */
  readonly weight: number;
  readonly priority: number;
}

export interface SrvSet {
  /** False: the only target is ".", the service is decidedly not available at this domain. */
  readonly available: boolean;
  readonly entries: readonly SrvRecord[];
  readonly notes: readonly string[];
}

/** A target's addresses from an additional section, and the types that must still be asked for. */
export interface KnownAddresses {
  readonly records: readonly AddressRecord[];
  readonly missing: readonly AddressRecord["type"][];
}

const MAX_WEIGHT = 65535;
/** An answer of 64 KiB with targets of 64 KiB each could name millions; the largest real sets have some hundreds. */
export const MAX_TARGETS = 4096;

/** The usable records of an SRV answer, in order of priority, then weight, then name: stable under shuffling. */
export function readSrv(records: readonly DnsRecord[]): SrvSet {
  const all = records.filter((record): record is SrvRecord => record.type === "SRV");
  const notes: string[] = [];
  const entries = all.filter((record) => {
    if (record.target === ".") return false;
    if (record.port !== 0) return true;
    notes.push(`${record.target}: port 0 cannot be dialled, left out`);
    return false;
  });
  const dots = all.filter((record) => record.target === ".").length;
  if (dots > 0 && dots < all.length) notes.push('a target "." beside real ones means nothing, left out');
  entries.sort(
    (left, right) =>
      left.priority - right.priority ||
      right.weight - left.weight ||
      compare(left.target, right.target) ||
      left.port - right.port,
  );
  return { available: dots === 0 || dots < all.length, entries, notes };
}

/** Records of equal priority together, most preferred (lowest number) first. */
export function tiersOf<T extends { readonly priority: number }>(
  entries: readonly T[],
): { priority: number; members: T[] }[] {
  const tiers = new Map<number, T[]>();
  for (const entry of entries) {
    const tier = tiers.get(entry.priority);
    if (tier === undefined) tiers.set(entry.priority, [entry]);
    else tier.push(entry);
  }
  return [...tiers]
    .map(([priority, members]) => ({ priority, members }))
    .sort((left, right) => left.priority - right.priority);
}

/** The share of each weight within one tier, 0 to 1, adding up to 1: what the balancer gives it while all are well. */
export function shares(weights: readonly number[]): number[] {
  const sum = weights.reduce((total, weight) => total + weight, 0);
  const zero = zeroWorth(sum, weights.filter((weight) => weight === 0).length);
  const worth = weights.map((weight) => weight || zero);
  const all = worth.reduce((total, part) => total + part, 0);
  return worth.map((part) => part / all);
}

/**
 * What the additional section says about the targets of an SRV answer owned by `owner`. A record counts where its owner
 * is a target within the owner's own domain; all else is another zone's business and is asked for. One family is believed
 * absent only where the section looks complete: a server drops what does not fit without saying so (RFC 2181 section 9).
 */
export function knownAddresses(
  owner: string,
  entries: readonly SrvRecord[],
  additionals: readonly DnsRecord[],
): Map<string, KnownAddresses> {
  const zone = serviceDomain(owner);
  const found = new Map<string, AddressRecord[]>();
  for (const { target } of entries) if (!found.has(target)) found.set(target, []);
  for (const record of additionals) {
    if (record.type !== "A" && record.type !== "AAAA") continue;
    if (isWithin(record.name, zone)) found.get(record.name)?.push(record);
  }
  const seen = new Set<AddressRecord["type"]>();
  let cut = false;
  for (const records of found.values()) {
    for (const record of records) seen.add(record.type);
    if (records.length === 0) cut = true;
  }
  const wanted = (["A", "AAAA"] as const).filter((type) => cut || seen.has(type));
  const known = new Map<string, KnownAddresses>();
  for (const [target, records] of found) {
    const missing = wanted.filter((type) => !records.some((record) => record.type === type));
    known.set(target, { records, missing });
  }
  return known;
}

/**
 * The targets to dial, the preferred ones where there are more than MAX_TARGETS. An entry without addresses contributes none.
 * One address and port appears once.
 */
export function assemble(
  entries: readonly SrvRecord[],
  addressesOf: (target: string) => readonly string[],
): Target[] {
  const targets = new Map<string, Target>();
  let left = MAX_TARGETS; // what is named twice counts twice: it is the work that is bounded
  for (const { members } of tiersOf(entries)) {
    const reachable = members.filter((entry) => addressesOf(entry.target).length > 0);
    const weights = divide(
      reachable.map(({ weight }) => weight),
      reachable.map(({ target }) => addressesOf(target).length),
    );
    reachable.forEach((entry, index) => {
      const { port, priority, target: name } = entry;
      const addresses = addressesOf(name).slice(0, left);
      left -= addresses.length;
      for (const address of addresses) {
        const key = targetKey({ address, port });
        const twin = targets.get(key);
        const weight = weights[index] ?? 0;
        if (twin === undefined) targets.set(key, { address, port, name, weight, priority });
        else if (twin.priority === priority) {
          targets.set(key, { ...twin, weight: Math.min(twin.weight + weight, MAX_WEIGHT) });
        }
      }
    });
  }
  return sortTargets([...targets.values()]);
}

/** How a target is told from others: what is dialled. */
export function targetKey(target: { readonly address: string; readonly port: number }): string {
  return target.address.includes(":")
    ? `[${target.address}]:${target.port}`
    : `${target.address}:${target.port}`;
}

/** By priority, name, address, port, so that equal sets compare equal whatever order the answer had. */
export function sortTargets(targets: readonly Target[]): Target[] {
  return [...targets].sort(
    (left, right) =>
      left.priority - right.priority ||
      compare(left.name ?? "", right.name ?? "") ||
      compare(left.address, right.address) ||
      left.port - right.port,
  );
}

/** Why an address can never be an endpoint; null where it can. */
export function unusable(address: string): string | null {
  if (address.includes(":")) {
    if (address === "::") return "the unspecified address";
    if (/^ff/i.test(address)) return "a multicast address";
    if (/^fe[89ab]/i.test(address)) return "a link-local address without its interface";
    if (/^::ffff:/i.test(address)) return "IPv4 inside IPv6, which belongs in an A record";
    return null;
  }
  const first = Number(address.split(".")[0]);
  // Connecting to 0.0.0.0 reaches this machine on Linux, and blocking DNS servers answer with it.
  if (first === 0) return "the unspecified address";
  if (first >= 224 && first <= 239) return "a multicast address";
  return first >= 240 ? "a reserved or broadcast address" : null;
}

/** Weight per address, so that all `counts[i]` addresses of entry i together weigh in proportion to `weights[i]`. */
function divide(weights: readonly number[], counts: readonly number[]): number[] {
  if (new Set(counts).size <= 1) return [...weights];
  // Without any weight every target is equal (RFC 2782), which zero per address could not say.
  const idle = weights.every((weight) => weight === 0);
  const exact = weights.map((weight, index) => (idle ? 1 : weight) / (counts[index] ?? 1));
  const most = MAX_WEIGHT / Math.max(...exact);
  // The least common multiple, as far as it is of use: that of many primes is beyond all numbers.
  let common = 1;
  for (const count of counts) if (common < most) common *= count / greatestDivisor(common, count);
  const scale = Math.min(common, most);
  return exact.map((weight) => (weight === 0 ? 0 : Math.max(1, Math.round(weight * scale))));
}

function greatestDivisor(left: number, right: number): number {
  return right === 0 ? left : greatestDivisor(right, left % right);
}

function compare(left: string, right: string): number {
  return left < right ? -1 : left > right ? 1 : 0;
}
