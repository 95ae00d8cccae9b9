/**
 * CIDR blocks and `CIDR:port` patterns (RFC 4632, RFC 4291 section 2.3), one by one for checking a configuration and compiled
 * to sets for matching. Invariants: a set answers in O(log n) without allocating; an IPv4-mapped address is an IPv4 one, on
 * both sides, so `10.0.0.0/8` holds for `::ffff:10.1.1.1`; families never mix otherwise: `::/0` holds for no IPv4 address.
 */
import type { SocketAddress } from "./address.ts";
import { formatIp4, formatIp6, readIp } from "./ip.ts";

/** A block: all addresses from `first` to `last`. Host bits in the text are ignored, a bare address is a block of one. */
export interface Cidr {
  readonly family: 4 | 6;
  readonly prefix: number;
  readonly first: bigint;
  readonly last: bigint;
}

/** Addresses of a block at ports `from` to `to`, inclusive. */
export interface Destination {
  readonly block: Cidr;
  readonly from: number;
  readonly to: number;
}

const scratch = new Uint32Array(4);
const BLOCK = /^([0-9A-Fa-f:.]+)(?:\/(0|[1-9]\d{0,2}))?$/;
const DESTINATION = /^(?:\[([^\]]*)\]|([^:[\]]+)):(\d{1,5})(?:-(\d{1,5}))?$/;

/** Parses `10.0.0.0/8`, `fd00::/8` or a bare address; `null` when it is none. Zones are refused. */
export function parseCidr(text: string): Cidr | null {
  const parts = BLOCK.exec(text);
  if (parts === null) return null;
  const family = readIp(parts[1]!, scratch);
  if (family === 0) return null;
  const bits = family === 4 ? 32 : 128;
  // A mapped block is written with an IPv6 prefix; one wider than the mapped range has no IPv4 meaning.
  const mapped = family === 4 && parts[1]!.includes(":");
  const written = parts[2] === undefined ? (mapped ? 128 : bits) : Number(parts[2]);
  const prefix = mapped ? written - 96 : written;
  if (prefix < 0 || prefix > bits) return null;
  let value = 0n;
  for (let w = 0; w < bits / 32; w++) value = (value << 32n) | BigInt(scratch[w]!);
  const rest = (1n << BigInt(bits - prefix)) - 1n;
  return { family, prefix, first: value & ~rest, last: value | rest };
}

/** The block in its shortest form, host bits cleared. */
export function formatCidr(block: Cidr): string {
  if (block.family === 4) return `${formatIp4(Number(block.first))}/${block.prefix}`;
  const words = new Uint32Array(4);
  writeWords(block.first, words, 0, 4);
  return `${formatIp6(words)}/${block.prefix}`;
}

/** Parses `CIDR:port`, `CIDR:from-to`, `[CIDR6]:port` or `[CIDR6]:from-to`; `null` when it is none. */
export function parseDestination(text: string): Destination | null {
  const parts = DESTINATION.exec(text);
  if (parts === null) return null;
  const block = parseCidr(parts[1] ?? parts[2]!);
  const from = Number(parts[3]);
  const to = parts[4] === undefined ? from : Number(parts[4]);
  if (block === null || from < 1 || to < from || to > 65535) return null;
  return { block, from, to };
}

/** A list of blocks as one matcher. Immutable. */
export class CidrSet {
  /** Disjoint ranges in rising order: first and last word by word. */
  readonly #first4: Uint32Array;
  readonly #last4: Uint32Array;
  readonly #first6: Uint32Array;
  readonly #last6: Uint32Array;

  constructor(blocks: readonly Cidr[]) {
    [this.#first4, this.#last4] = compile(blocks, 4, 1);
    [this.#first6, this.#last6] = compile(blocks, 6, 4);
  }

  /** Whether an IP literal lies in one of the blocks; false for what is no literal. Never throws, allocates nothing. */
  contains(host: string): boolean {
    const family = readIp(host, scratch);
    if (family === 4) return inRanges(this.#first4, this.#last4, 1);
    return family === 6 && inRanges(this.#first6, this.#last6, 4);
  }
}

/** A list of `CIDR:port` patterns as one matcher. Immutable. */
export class DestinationSet {
  /** One entry per distinct port range: there are few, however many blocks there are. */
  readonly #groups: readonly { readonly from: number; readonly to: number; readonly set: CidrSet }[];

  constructor(patterns: readonly Destination[]) {
    const byPorts = new Map<string, Destination[]>();
    for (const pattern of patterns) {
      const key = `${pattern.from}-${pattern.to}`;
      const same = byPorts.get(key);
      if (same === undefined) byPorts.set(key, [pattern]);
      else same.push(pattern);
    }
    this.#groups = [...byPorts.values()].map((same) => ({
      from: same[0]!.from,
      to: same[0]!.to,
      set: new CidrSet(same.map((pattern) => pattern.block)),
    }));
  }

  /** Whether an address lies in one of the patterns; false for a UNIX address. Never throws. */
  contains(address: SocketAddress): boolean {
    if (address.kind !== "ip") return false;
    for (const group of this.#groups) {
      if (address.port >= group.from && address.port <= group.to && group.set.contains(address.host))
        return true;
    }
    return false;
  }
}

/** Compiles blocks as written in a configuration. Throws RangeError on text that `parseCidr` refuses. */
export function cidrSet(texts: readonly string[]): CidrSet {
  return new CidrSet(texts.map((text) => parseCidr(text) ?? refuse("CIDR block", text)));
}

/** Compiles patterns as written in a configuration. Throws RangeError on text that `parseDestination` refuses. */
export function destinationSet(texts: readonly string[]): DestinationSet {
  return new DestinationSet(texts.map((text) => parseDestination(text) ?? refuse("destination", text)));
}

function refuse(what: string, text: string): never {
  throw new RangeError(`${JSON.stringify(text)} is no ${what}`);
}

/** Sorts and merges the blocks of one family into disjoint ranges. */
function compile(blocks: readonly Cidr[], family: 4 | 6, words: number): [Uint32Array, Uint32Array] {
  const sorted = blocks.filter((block) => block.family === family);
  sorted.sort((a, b) => (a.first < b.first ? -1 : a.first > b.first ? 1 : 0));
  const merged: { first: bigint; last: bigint }[] = [];
  for (const { first, last } of sorted) {
    const previous = merged.at(-1);
    if (previous === undefined || first > previous.last + 1n) merged.push({ first, last });
    else if (last > previous.last) previous.last = last;
  }
  const firsts = new Uint32Array(merged.length * words);
  const lasts = new Uint32Array(merged.length * words);
  for (const [i, range] of merged.entries()) {
    writeWords(range.first, firsts, i * words, words);
    writeWords(range.last, lasts, i * words, words);
  }
  return [firsts, lasts];
}

function writeWords(value: bigint, into: Uint32Array, at: number, words: number): void {
  for (let w = words - 1; w >= 0; w--) {
    into[at + w] = Number(value & 0xffffffffn);
    value >>= 32n;
  }
}

/** Whether the address in `scratch` lies in a range: the last range that begins at or before it decides. */
function inRanges(firsts: Uint32Array, lasts: Uint32Array, words: number): boolean {
  let low = 0;
  let high = firsts.length / words;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (compareAt(firsts, middle * words, words) <= 0) low = middle + 1;
    else high = middle;
  }
  return low > 0 && compareAt(lasts, (low - 1) * words, words) >= 0;
}

/** The sign of (range boundary − address in `scratch`). */
function compareAt(bounds: Uint32Array, at: number, words: number): number {
  for (let w = 0; w < words; w++) {
    const difference = bounds[at + w]! - scratch[w]!;
    if (difference !== 0) return difference;
  }
  return 0;
}
