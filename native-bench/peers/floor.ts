/** The two yardsticks: no proxy at all, and the least that can relay (floor.c). */
import type { Contender, Found, Hop, Launch } from "../contender.ts";
import { SHAPES } from "../contender.ts";

export const direct: Contender = {
  name: "direct",
  kind: "direct",
  version: "",
  shapes: SHAPES,
  many: true,
  launch: () => ({ command: [] }),
};

/** `path` is the built relay, null without a compiler. */
export function find(path: string | null): Found {
  if (!path) {
    return { contenders: [direct], missing: [{ name: "floor", reason: "no C compiler to build floor.c" }] };
  }
  const floor: Contender = {
    name: "floor",
    kind: "floor",
    version: "",
    shapes: ["plain", "passthrough"],
    many: true,
    note: "a bare relay: no log, no timeouts, no routing (in SNI runs it does not look at the name)",
    launch: (hop: Hop): Launch => ({ command: [path, hop.listen, hop.targets[0]!] }),
  };
  return { contenders: [direct, floor], missing: [] };
}
