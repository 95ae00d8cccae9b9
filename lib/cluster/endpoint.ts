/**
 * An endpoint and its cell. Control decides what an endpoint is (address, weight, priority); the cell is the small piece of
 * shared memory in which every worker counts its load and control writes its health, so that a pick never needs a message.
 */
import { formatAddress, type SocketAddress } from "../wire/address.ts";

/** Int32 indices in a cell. Written with Atomics: several workers count in the same cell. */
export const ACTIVE = 0; // connections now, all workers
export const HEALTH = 1; // one of the HEALTH_ values below, written by control
export const FAILURES = 2; // consecutive failed dials and resets before the first byte, all workers
export const DIALS = 3; // dials begun, wraps
export const SHARE = 4; // slow start: 0..1000 of the full weight, written by control; 1000 after start
export const CELL_INTS = 8;

export const HEALTH_UP = 0;
export const HEALTH_DOWN = 1; // active checks say so
export const HEALTH_EJECTED = 2; // passive: too many failures
export const HEALTH_DRAINING = 3; // removed from the set; live connections only

export interface Endpoint {
  /** Stable within a cluster: the formatted address. */
  readonly key: string;
  readonly address: SocketAddress;
  /** The host name it was found under (SRV target, DNS name); null for a bare address. */
  readonly name: string | null;
  readonly weight: number;
  readonly priority: number;
  readonly cell: Int32Array;
}

/** All endpoints of a cluster at one moment. Delivered whole, never as a difference. */
export interface EndpointSet {
  readonly cluster: string;
  /** Grows with every set of this cluster. */
  readonly version: number;
  /** False until the resolver had its first answer: connections wait instead of failing. */
  readonly resolved: boolean;
  readonly endpoints: readonly Endpoint[];
  /**
   * One shared Int32 that control advances after every write of HEALTH or SHARE in a cell of this cluster, so that a pick
   * learns with one load that nothing changed. Without it a balancer looks at every cell on every pick.
   */
  readonly epoch?: Int32Array;
}

/** A fresh cell: up, idle, full share. */
export function createCell(): Int32Array {
  const cell = new Int32Array(new SharedArrayBuffer(CELL_INTS * 4));
  cell[SHARE] = 1000;
  return cell;
}

/** A fresh epoch of a cluster. */
export function createEpoch(): Int32Array {
  return new Int32Array(new SharedArrayBuffer(4));
}

/**
 * An endpoint outside of any set: the address that the client meant (`original_destination`, `announced_destination`).
 * Its cell counts for nobody else.
 */
export function directEndpoint(address: SocketAddress): Endpoint {
  return { key: formatAddress(address), address, name: null, weight: 1, priority: 0, cell: createCell() };
}

/** Counts a connection in. Call it in the same turn as the pick, before the dial: other picks look at it. */
export function enter(endpoint: Endpoint): void {
  Atomics.add(endpoint.cell, ACTIVE, 1);
}

/** Counts a connection out: exactly once for every `enter`. */
export function leave(endpoint: Endpoint): void {
  Atomics.sub(endpoint.cell, ACTIVE, 1);
}

/**
 * Whether `endpoint` is in `list`. By key, not by identity: every set that a worker receives is a copy, and a connection
 * may retry after a new set has come.
 */
export function isAmong(list: readonly Endpoint[], endpoint: Endpoint): boolean {
  for (let index = 0; index < list.length; index++) {
    const other = list[index]!;
    if (other === endpoint || other.key === endpoint.key) return true;
  }
  return false;
}
