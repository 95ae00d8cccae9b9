/**
 * What a weight of zero is worth beside others (RFC 2782): "a very small chance of being selected". The selection that the
 * RFC describes draws a whole number from 0 to the sum, both included, and gives the records without weight the 0: one part
 * beside the sum, all of them together. Beside 1 and 2 that would be a quarter of everything, so there is a most. Pure.
 */

/** All weights of zero together get no more than this part of what the others weigh. */
const MOST = 0.01;

/** What each of `zeros` members without weight (one or more) counts, while the weights of the others add up to `sum`. */
export function zeroWorth(sum: number, zeros: number): number {
  // Nobody has a weight: nothing to select by, all count the same.
  return sum === 0 ? 1 : Math.min(1, sum * MOST) / zeros;
}
