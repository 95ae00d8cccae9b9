/**
 * The floor under removals: one answer alone never takes away more than a share of the set. What is missing beyond that
 * is held until the next answer misses it, too; a target that comes back in between was never gone. Additions and changed
 * weights pass at once. This is what keeps a flapping or lying DNS server from emptying a cluster. Pure.
 */
import { sortTargets, type Target, targetKey } from "./srv.ts";

export interface Absorbed {
  /** The set to serve. */
  readonly targets: readonly Target[];
  /** Keys of targets that the answer lacked and that are served all the same until a second answer lacks them. */
  readonly held: ReadonlySet<string>;
  readonly added: readonly Target[];
  readonly removed: readonly Target[];
  /** A weight, priority or name changed. */
  readonly altered: boolean;
}

/** Takes an answer's targets into the set being served. `held`: from the answer before; `maxRemoval`: 0 to 1. */
export function absorb(
  current: readonly Target[],
  held: ReadonlySet<string>,
  answer: readonly Target[],
  maxRemoval: number,
): Absorbed {
  const told = new Map(answer.map((target) => [targetKey(target), target]));
  const had = new Map(current.map((target) => [targetKey(target), target]));
  const missing = current.filter((target) => !told.has(targetKey(target)));
  const unconfirmed = missing.filter((target) => !held.has(targetKey(target)));
  const allowed = Math.floor(current.length * maxRemoval + 1e-9); // 0.3 * 10 is 2.9999…
  const kept = unconfirmed.length > allowed ? unconfirmed : [];
  const holding = new Set(kept.map(targetKey));
  return {
    targets: sortTargets([...answer, ...kept]),
    held: holding,
    added: answer.filter((target) => !had.has(targetKey(target))),
    removed: missing.filter((target) => !holding.has(targetKey(target))),
    altered: answer.some((target) => {
      const before = had.get(targetKey(target));
      return (
        before !== undefined &&
        (before.weight !== target.weight ||
          before.priority !== target.priority ||
          before.name !== target.name)
      );
    }),
  };
}
