/**
 * What a configuration may say and this version cannot do yet. Such keys are read and checked like any other and then
 * refused by name, so that nobody finds out from traffic. An entry goes away when its feature arrives; nothing else
 * has to change.
 */
import type { FaultList, Path } from "./faults.ts";

interface Unavailable {
  /** Where it may stand; `*` is any key or index. */
  readonly at: readonly string[];
  readonly feature: string;
  /** Whether the value written there asks for the feature. */
  readonly asks: (value: unknown) => boolean;
}

const UNAVAILABLE: readonly Unavailable[] = [
  {
    at: ["listeners", "*", "transparent"],
    feature: "transparent listeners",
    asks: (value) => value === "redirect" || value === "tproxy",
  },
  {
    at: ["listeners", "*", "address"],
    feature: "listening sockets from systemd",
    asks: (value) => typeof value === "string" && value.startsWith("systemd:"),
  },
  {
    at: ["clusters", "*", "source"],
    feature: "dialling from the client's address",
    asks: (value) => value === "client",
  },
  {
    at: ["clusters", "*", "original_destination"],
    feature: "dialling the original destination",
    asks: (value) => value !== null,
  },
  {
    at: ["clusters", "*", "announced_destination"],
    feature: "dialling the announced destination",
    asks: (value) => value !== null,
  },
];

/** Adds a fault for everything in `raw` that asks for what is not there. */
export function refuseUnavailable(raw: unknown, faults: FaultList): void {
  for (const { at, feature, asks } of UNAVAILABLE) {
    for (const [path, value] of matches(raw, at, [])) {
      if (asks(value)) faults.add(path, `is not available in this version: ${feature}`);
    }
  }
}

function* matches(value: unknown, at: readonly string[], path: Path): Generator<[Path, unknown]> {
  const [step, ...rest] = at;
  if (step === undefined) {
    yield [path, value];
    return;
  }
  if (typeof value !== "object" || value === null) return;
  for (const key of step === "*" ? Object.keys(value) : [step]) {
    if (!Object.hasOwn(value, key)) continue;
    const name = Array.isArray(value) ? Number(key) : key;
    yield* matches((value as Record<string, unknown>)[key], rest, [...path, name]);
  }
}
