/** An edge of one listener, `in`, in front of one cluster, `out`: what most scenarios before the first byte need. */
import type { ConfigInput } from "../../lib/config/parse.ts";
import { identityFiles, type LeafName } from "./certificates.ts";
import { paths } from "./legs.ts";
import type { Scene, Service, Stage } from "./scene.ts";

export type ListenerInput = NonNullable<ConfigInput["listeners"]>[number];
export type RouteInput = NonNullable<ListenerInput["routes"]>[number];
export type ClusterInput = NonNullable<ConfigInput["clusters"]>[string];

export interface EdgeOptions {
  /** Beside `server`, which is always there. */
  readonly identities?: readonly LeafName[];
  /** Whether identities carry the revocation list. `trust`, which is always there, has nothing but bundle and list. */
  readonly crl?: boolean;
  /** What a listener has beside its name, address and routes. */
  readonly listener?: Partial<ListenerInput>;
  readonly cluster?: Partial<ClusterInput>;
  readonly timeouts?: ConfigInput["timeouts"];
  readonly limits?: ConfigInput["limits"];
}

/** The configuration; `reload` takes it, too. `routes` lead to `out` unless they say otherwise. */
export async function edgeConfig(
  scene: Scene,
  service: Service | { readonly port: number },
  routes: readonly Partial<RouteInput>[],
  options: EdgeOptions = {},
): Promise<ConfigInput> {
  const identities: Record<string, Partial<ReturnType<typeof paths>>> = {};
  for (const name of ["server" as const, ...(options.identities ?? [])]) {
    const files = await identityFiles(name, { crl: options.crl === true });
    scene.onClose(files.remove);
    identities[name] = paths(files.config);
  }
  const { ca, crl } = identities["server"]!;
  identities["trust"] = { ca: ca!, ...(crl === undefined ? {} : { crl }) };
  return {
    ...(options.timeouts === undefined ? {} : { timeouts: options.timeouts }),
    ...(options.limits === undefined ? {} : { limits: options.limits }),
    identities,
    listeners: [
      {
        name: "in",
        address: "127.0.0.1:0",
        ...options.listener,
        routes: routes.map((route) => ({ cluster: "out", ...route })),
      },
    ],
    clusters: { out: { endpoints: [`127.0.0.1:${service.port}`], ...options.cluster } },
  };
}

/** Starts it. */
export async function edge(
  scene: Scene,
  service: Service | { readonly port: number },
  routes: readonly Partial<RouteInput>[],
  options: EdgeOptions = {},
): Promise<Stage> {
  return scene.proxy(await edgeConfig(scene, service, routes, options));
}

/** Terminates as `server` and asks nobody for a certificate. */
export const TERMINATE = { tls: "terminate", identity: "server" } as const;
/** Terminates as `server` and lets in whom the test CA vouches for. */
export const MUTUAL = {
  ...TERMINATE,
  client_auth: "required",
  allow: ["any"],
} as const satisfies Partial<RouteInput>;
