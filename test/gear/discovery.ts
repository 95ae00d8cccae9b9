/** Clusters that find their services by SRV, from a scripted DNS server. */
import type { Answer } from "dns-packet";
import { a, type Query, srv, zone } from "./dns.ts";
import { plainProxy } from "./fleet.ts";
import type { Scene, Service, Stage } from "./scene.ts";

/** The service that `out` looks for. */
export const NAME = "_db._tcp.example.test";

/** Records that lead to the services. */
export function records(services: readonly Service[], ttl = 60): Answer[] {
  return [
    ...services.map((service, index) => srv(NAME, [0, 1, service.port, `t${index}.example.test`], ttl)),
    ...services.map(({ at }, index) => a(`t${index}.example.test`, at.host, ttl)),
  ];
}

/** A proxy whose cluster asks the servers, with an admin door. */
export function discovering(
  scene: Scene,
  servers: readonly string[],
  discover: { min_ttl?: string; max_removal?: number } = {},
): Promise<Stage> {
  return plainProxy(
    scene,
    { discover: { srv: NAME, ...discover } },
    { admin: { listen: "127.0.0.1:0" }, dns: { servers: [...servers] } },
  );
}

/** An answer as the zone gives it, changed. */
export function honest(list: readonly Answer[], query: Query): Buffer {
  return zone(list)(query) as Buffer;
}
