/**
 * An endpoint and its cell. Control decides what an endpoint is (address, weight, priority); the cell is the small piece of
 * shared memory in which every worker counts its load and control writes its health, so that a pick never needs a message.
 */
import type { SocketAddress } from "../wire/address.ts";

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
}

/** A fresh cell: up, idle, full share. */
export function createCell(): Int32Array {
  const cell = new Int32Array(new SharedArrayBuffer(CELL_INTS * 4));
  cell[SHARE] = 1000;
  return cell;
}
