/** Micro-benchmarks against a stored baseline, in units of the reference case. Pure. */

/** The case that the others are compared by, so that a slower machine is not taken for slower code. */
export const REFERENCE = "reference";

/** ns per operation, by case. */
export type MicroResult = Readonly<Record<string, number>>;

export interface Change {
  readonly name: string;
  /** Now against then, corrected by how much slower or faster the reference became. */
  readonly factor: number;
}

/** Below this a change drowns in what two runs of the same code differ by. */
const NOTABLE = 1.3;

export function changes(baseline: MicroResult, now: MicroResult): Change[] {
  const machine = (now[REFERENCE] ?? 1) / (baseline[REFERENCE] ?? 1);
  return Object.keys(now)
    .filter((name) => name !== REFERENCE && baseline[name] !== undefined)
    .map((name) => ({ name, factor: now[name]! / baseline[name]! / machine }));
}

/** The worst first. */
export function slower(list: readonly Change[]): Change[] {
  return list.filter((change) => change.factor >= NOTABLE).sort((a, b) => b.factor - a.factor);
}
