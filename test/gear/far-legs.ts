/** A proxy between two peers in processes of their own, plain on both legs or TLS on both. */
import { authority, leaf } from "./certificates.ts";
import { edge, MUTUAL } from "./edge.ts";
import { FarPeer, type FarSocket } from "./far.ts";
import { NAME } from "./legs.ts";
import type { Scene, Stage } from "./scene.ts";

export interface FarLegs {
  readonly client: FarPeer;
  readonly service: FarPeer;
  readonly stage: Stage;
  /** One more connection's end at the client. */
  connect(): Promise<FarSocket>;
  /** The other end of the oldest connection that was not asked for yet. */
  accept(): Promise<FarSocket>;
}

/** What both legs are. Both TLS legs at once meet what one of them meets. */
export const ALIKE = ["plain", "tls"] as const;

export async function farLegs(scene: Scene, both: (typeof ALIKE)[number]): Promise<FarLegs> {
  const { cert: ca } = await authority();
  const service = await FarPeer.start(scene);
  const client = await FarPeer.start(scene);
  const port = await service.listen(both === "tls" ? { ...(await leaf("server")), ca } : undefined);
  const stage = await edge(scene, { port }, [both === "tls" ? MUTUAL : { tls: "none" }], {
    identities: ["alice"],
    cluster: both === "tls" ? { tls: { identity: "alice", server_name: NAME } } : {},
  });
  const tls = both === "tls" ? { ...(await leaf("alice")), ca, servername: NAME } : undefined;
  return {
    client,
    service,
    stage,
    connect: () => client.connect(stage.port("in"), tls),
    accept: () => service.accept(port),
  };
}
