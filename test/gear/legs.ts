/**
 * One proxy between a client and a service, with TLS on none, one or both legs; the scenario sees plaintext at both ends.
 */
import type { Socket } from "node:net";
import {
  connect as connectTls,
  createServer as createTlsServer,
  type TLSSocket,
  type TlsOptions,
} from "node:tls";
import type { ConfigInput } from "../../lib/config/parse.ts";
import { authority, identityFiles, leaf } from "./certificates.ts";
import { type Scene, Service, type Stage } from "./scene.ts";

export type Leg = "plain" | "tls";
export const COMBINATIONS: readonly (readonly [Leg, Leg])[] = [
  ["plain", "plain"],
  ["tls", "plain"],
  ["plain", "tls"],
  ["tls", "tls"],
];

/** The name that the proxy's and the service's certificates carry. */
export const NAME = "localhost";

export interface Legs {
  readonly stage: Stage;
  readonly service: Service;
  /** Connects, handshakes where that leg has TLS, and resolves with a half-open capable socket. */
  connect(): Promise<Socket>;
}

/** Builds it. `talk` gets each service-side socket, after the handshake where that leg has TLS. */
export async function legs(
  scene: Scene,
  [down, up]: readonly [Leg, Leg],
  talk: (socket: Socket) => void,
  extra: Pick<ConfigInput, "timeouts" | "limits" | "admin"> = {},
): Promise<Legs> {
  const server = await identityFiles("server");
  const alice = await identityFiles("alice");
  scene.onClose(server.remove);
  scene.onClose(alice.remove);
  const service = up === "plain" ? await scene.service(talk) : await tlsService(scene, talk);
  const stage = await scene.proxy({
    ...extra,
    identities: { server: paths(server.config), alice: paths(alice.config) },
    listeners: [
      {
        name: "in",
        address: "127.0.0.1:0",
        routes: [
          down === "plain"
            ? { name: "in", tls: "none", cluster: "out" }
            : {
                name: "in",
                tls: "terminate",
                identity: "server",
                client_auth: "required",
                allow: ["any"],
                cluster: "out",
              },
        ],
      },
    ],
    clusters: {
      out: {
        endpoints: [service.address],
        ...(up === "plain" ? {} : { tls: { identity: "alice", server_name: NAME } }),
      },
    },
  });
  return {
    stage,
    service,
    connect: () =>
      down === "plain" ? scene.client(stage.port("in")) : tlsClient(scene, stage.port("in"), NAME),
  };
}

/** A TLS client as alice, on a socket that keeps reading after its own end. */
export async function tlsClient(scene: Scene, port: number, servername: string): Promise<TLSSocket> {
  const { cert, key } = await leaf("alice");
  const ca = (await authority()).cert;
  const raw = await scene.client(port);
  return new Promise((resolve, reject) => {
    const socket = connectTls({ socket: raw, servername, cert, key, ca, ...HALF_OPEN });
    scene.onClose(() => {
      socket.destroy();
    });
    socket.once("error", reject);
    socket.once("secureConnect", () => {
      socket.off("error", reject);
      socket.on("error", () => {});
      resolve(socket);
    });
  });
}

/** A TLS service that demands a certificate of the test CA. */
export async function tlsService(
  scene: Scene,
  talk: (socket: Socket) => void,
  options: TlsOptions = {},
): Promise<Service> {
  const { cert, key } = await leaf("server");
  const ca = (await authority()).cert;
  const sockets = new Set<Socket>();
  const server = createTlsServer(
    { cert, key, ca, requestCert: true, rejectUnauthorized: true, ...HALF_OPEN, ...options },
    (socket) => {
      sockets.add(socket);
      socket.on("close", () => sockets.delete(socket));
      socket.on("error", () => {});
      // A Node server that ends within this event sends a FIN without close_notify: a truncation, and not the subject.
      setImmediate(talk, socket);
    },
  );
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const service = new Service(server, sockets);
  scene.onClose(() => service.close());
  return service;
}

// Both take it; the types of Node 20 only know it for plain sockets.
const HALF_OPEN = { allowHalfOpen: true } as object;

/** An identity as a configuration names it. */
export function paths(config: {
  cert: string | null;
  key: string | null;
  ca: string | null;
  crl: string | null;
}): {
  cert: string;
  key: string;
  ca: string;
  crl?: string;
} {
  return {
    cert: config.cert!,
    key: config.key!,
    ca: config.ca!,
    ...(config.crl === null ? {} : { crl: config.crl }),
  };
}
