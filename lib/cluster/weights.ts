/**
 * What a weight is worth beside others, as RFC 2782 has it: among those that are usable now, less during slow start.
 */
import { zeroWorth } from "../wire/weight.ts";
import { type Endpoint, HEALTH, HEALTH_DRAINING, HEALTH_UP, SHARE } from "./endpoint.ts";

const FULL_SHARE = 1000;

/** The weights of all members as configured, whatever their health. */
export function fullWeights(members: readonly Endpoint[]): Float64Array {
  const weights = new Float64Array(members.length).fill(1);
  return scaled(members, weights);
}

/**
 * The weights as they count now: 0 for who must not be picked, less during slow start. `panic` lets in everybody but the
 * draining, at full weight.
 */
export function currentWeights(members: readonly Endpoint[], panic: boolean): Float64Array {
  const weights = new Float64Array(members.length);
  for (let index = 0; index < members.length; index++) {
    const cell = members[index]!.cell;
    const health = Atomics.load(cell, HEALTH);
    if (panic) weights[index] = health === HEALTH_DRAINING ? 0 : 1;
    else if (health === HEALTH_UP) {
      const share = Atomics.load(cell, SHARE);
      weights[index] = Math.min(Math.max(share, 1), FULL_SHARE) / FULL_SHARE;
    }
  }
  return scaled(members, weights);
}

/** Multiplies the part of each member (0: out) with what its weight is worth among those that are in. */
function scaled(members: readonly Endpoint[], parts: Float64Array): Float64Array {
  let zeros = 0;
  let sum = 0;
  for (let index = 0; index < members.length; index++) {
    if (parts[index] === 0) continue;
    const { weight } = members[index]!;
    sum += weight;
    if (weight === 0) zeros++;
  }
  const zero = zeroWorth(sum, zeros);
  for (let index = 0; index < members.length; index++) {
    if (parts[index] !== 0) parts[index] = parts[index]! * (members[index]!.weight || zero);
  }
  return parts;
}
