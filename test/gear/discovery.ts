/** Clusters that find their services by SRV, from a scripted DNS server. */
import type { Answer } from "dns-packet";
import type { ClusterConfig } from "../../lib/config/config.ts";
import type { DnsTargetsState } from "../../lib/dns/source.ts";
import { get } from "./admin.ts";
import { a, type Query, srv, zone } from "./dns.ts";
import { plainProxy } from "./fleet.ts";
import { eventually, type Scene, type Service, type Stage } from "./scene.ts";

/** The service that `out` looks for. */
export const NAME = "_db._tcp.example.test";

/** Records that lead to the services. */
export function records(services: readonly Service[], ttl = 60): Answer[] {
  return [
    ...services.map((service, index) => srv(NAME, [0, 1, service.port, `t${index}.example.test`], ttl)),
    ...services.map(({ at }, index) => a(`t${index}.example.test`, at.host, ttl)),
  ];
}

export interface Discovering {
  readonly srv?: string;
  readonly min_ttl?: string;
  readonly max_removal?: number;
}

/** A proxy whose cluster asks the servers, with an admin door. `patience`: how long it waits for a server, and how often. */
export function discovering(
  scene: Scene,
  servers: readonly string[],
  discover: Discovering = {},
  patience: { readonly timeout?: string; readonly attempts?: number } = {},
  balance: ClusterConfig["balance"] = "round_robin",
): Promise<Stage> {
  return plainProxy(
    scene,
    { discover: { srv: NAME, ...discover }, balance },
    { admin: { listen: "127.0.0.1:0" }, dns: { servers: [...servers], ...patience } },
  );
}

/** What `/clusters` says of the one source of `out`. */
export async function sourceOf(stage: Stage): Promise<DnsTargetsState> {
  return JSON.parse((await get(stage, "/clusters")).body)[0].sources[0] as DnsTargetsState;
}

/** Waits until the source of `out` is what the scenario expects. */
export async function sourceBecomes(
  stage: Stage,
  what: string,
  holds: (source: DnsTargetsState) => boolean,
): Promise<DnsTargetsState> {
  const source = () => stage.proxy.clusters.get("out")!.describe().sources[0] as DnsTargetsState;
  await eventually(
    () => holds(source()),
    what,
    () => JSON.stringify(source()),
  );
  return source();
}

/** An answer as the zone gives it, changed. */
export function honest(list: readonly Answer[], query: Query): Buffer {
  return zone(list)(query) as Buffer;
}
