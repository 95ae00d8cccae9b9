/** All contenders that this machine has, and what it lacks. */
import type { Contender, Found, Missing, Programs } from "../contender.ts";
import * as envoy from "./envoy.ts";
import * as floor from "./floor.ts";
import * as ghostunnel from "./ghostunnel.ts";
import * as haproxy from "./haproxy.ts";
import * as hitch from "./hitch.ts";
import * as millrace from "./millrace.ts";
import * as nginx from "./nginx.ts";
import * as node from "./node.ts";
import * as socat from "./socat.ts";
import * as stunnel from "./stunnel.ts";

export function findAll(programs: Programs, floorPath: string | null): Found {
  const found: Found[] = [
    floor.find(floorPath),
    millrace.find(programs),
    haproxy.find(programs),
    nginx.find(),
    envoy.find(programs),
    ghostunnel.find(programs),
    stunnel.find(),
    hitch.find(),
    socat.find(),
    node.find(programs),
  ];
  const contenders: Contender[] = found.flatMap((f) => f.contenders);
  const missing: Missing[] = found.flatMap((f) => f.missing);
  return { contenders, missing };
}

/** Keeps yardsticks and what is named: `haproxy` means haproxy, haproxy+splice and haproxy-…; `floor` only if named. */
export function choose(contenders: readonly Contender[], wanted: readonly string[]): Contender[] {
  if (wanted.length === 0) return [...contenders];
  const named = (name: string): boolean =>
    wanted.some((word) => name === word || name.startsWith(`${word}+`) || name.startsWith(`${word}-`));
  return contenders.filter((c) => c.kind === "millrace" || named(c.name));
}
