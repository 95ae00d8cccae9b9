/**
 * Ensures that an upstream that is not who it should be gets no byte, and that the line says whether it could not shake hands,
 * was refused by us, or refused us.
 */
import assert from "node:assert/strict";
import type { Socket } from "node:net";
import { createServer as createTlsServer, type TlsOptions } from "node:tls";
import type { Pair } from "../../lib/tls/authority.ts";
import { authority, leaf, selfSigned, strange } from "../gear/certificates.ts";
import { type ClusterInput, edgeConfig, type ListenerInput } from "../gear/edge.ts";
import { ended, lastWords, reasons } from "../gear/peers.ts";
import { type Scene, Service, scenario } from "../gear/scene.ts";

interface Refusal {
  readonly what: string;
  readonly service: (scene: Scene, heard: Buffer[]) => Promise<{ port: number }>;
  readonly tls?: NonNullable<ClusterInput["tls"]>;
  readonly reason: string;
  readonly says: RegExp;
  /** Whether the line names the upstream. */
  readonly named: boolean;
}

const REFUSALS: readonly Refusal[] = [
  {
    what: "another name",
    service: shows(() => leaf("server")),
    tls: { server_name: "db.example.test" },
    reason: "upstream_denied",
    says: /does not prove the name db\.example\.test/,
    named: true,
  },
  {
    what: "a rule that does not name it",
    service: shows(() => leaf("server")),
    tls: { server_name: "localhost", verify: [{ spiffe: "spiffe://example.test/ns/prod/db" }] },
    reason: "upstream_denied",
    says: /matches none of/,
    named: true,
  },
  {
    what: "another CA",
    service: shows(strange),
    reason: "upstream_handshake_failed",
    says: /not vouched for/,
    named: true,
  },
  {
    what: "self-signed",
    service: shows(selfSigned),
    reason: "upstream_handshake_failed",
    says: /vouches for itself/,
    named: true,
  },
  {
    what: "expired",
    service: shows(() => leaf("expired")),
    reason: "upstream_denied",
    says: /has expired/,
    named: true,
  },
  {
    what: "not yet valid",
    service: shows(() => leaf("future")),
    reason: "upstream_denied",
    says: /not valid yet/,
    named: true,
  },
  {
    what: "revoked",
    service: shows(() => leaf("revoked")),
    reason: "upstream_denied",
    says: /revocation list/,
    named: true,
  },
  {
    what: "a client's purpose",
    service: shows(() => leaf("clientPurpose")),
    reason: "upstream_handshake_failed",
    says: /another purpose/,
    named: true,
  },
  {
    what: "no TLS 1.3",
    service: shows(() => leaf("server"), { maxVersion: "TLSv1.2" }),
    tls: { server_name: "localhost", tls_min: "1.3" },
    reason: "upstream_handshake_failed",
    says: /handshake failed/,
    named: false,
  },
  {
    what: "no common ALPN",
    service: shows(() => leaf("server"), { ALPNProtocols: ["h2"] }),
    tls: { server_name: "localhost", alpn: ["postgresql"] },
    reason: "upstream_handshake_failed",
    says: /alert 120, no_application_protocol/,
    named: false,
  },
  {
    what: "demands a certificate, TLS 1.2",
    service: demands("TLSv1.2"),
    reason: "upstream_handshake_failed",
    says: /alert/,
    named: true,
  },
  {
    what: "demands a certificate, TLS 1.3",
    service: demands("TLSv1.3"),
    reason: "upstream_denied",
    says: /alert 116, certificate_required/,
    named: true,
  },
  {
    what: "plaintext behind tls",
    service: greets,
    reason: "upstream_handshake_failed",
    says: /handshake failed/,
    named: false,
  },
  {
    what: "closes at once",
    service: closes,
    reason: "upstream_handshake_failed",
    says: /went away/,
    named: false,
  },
];

scenario("upstreams that are refused, or refuse us", async (scene) => {
  const heard: Buffer[] = [];
  const listeners: ListenerInput[] = [];
  const clusters: Record<string, ClusterInput> = {};
  for (const [index, { service, tls }] of REFUSALS.entries()) {
    const { port } = await service(scene, heard);
    const name = `in-${index}`;
    listeners.push({ name, address: "127.0.0.1:0", routes: [{ tls: "none", cluster: name }] });
    clusters[name] = {
      endpoints: [`127.0.0.1:${port}`],
      tls: { identity: "trust", server_name: "localhost", ...tls },
    };
  }
  const { identities = {} } = await edgeConfig(scene, { port: 1 }, [], { crl: true });
  const stage = await scene.proxy({ identities: { trust: identities["trust"]! }, listeners, clusters });
  for (const [index, { what }] of REFUSALS.entries()) {
    const client = await scene.client(stage.port(`in-${index}`));
    const last = lastWords(client);
    client.write("a secret for the right service only");
    const { bytes, how } = await last;
    assert.equal(bytes.length, 0, what);
    assert.equal(how, "ECONNRESET", what);
  }
  for (const [index, line] of (await ended(stage, REFUSALS.length)).entries()) {
    const { what, reason, says, named } = REFUSALS[index]!;
    assert.equal(line.listener, `in-${index}`);
    assert.equal(line.reason, reason, `${what}: ${line.error}`);
    assert.match(line.error!, says, what);
    assert.equal(line.level, "warn", what);
    assert.equal(line.upstream_peer !== undefined, named, `${what}: upstream_peer`);
    assert(line.endpoint!.startsWith("127.0.0.1:"), what);
    assert.deepEqual(reasons(stage, `in-${index}`), { [reason]: 1 }, what);
  }
  assert(!Buffer.concat(heard).includes("secret"));
});

function shows(pair: () => Promise<Pair>, options: TlsOptions = {}) {
  return async (scene: Scene, heard: Buffer[]): Promise<Service> => {
    const sockets = new Set<Socket>();
    const server = createTlsServer({ ...(await pair()), ...options }, (socket) => {
      socket.on("data", (chunk: Buffer) => heard.push(chunk));
      socket.on("error", () => {});
    });
    server.on("connection", (socket: Socket) => {
      sockets.add(socket);
      socket.on("close", () => sockets.delete(socket));
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const service = new Service(server, sockets);
    scene.onClose(() => service.close());
    return service;
  };
}

function demands(version: "TLSv1.2" | "TLSv1.3") {
  return async (scene: Scene, heard: Buffer[]): Promise<Service> => {
    const ca = (await authority()).cert;
    const options = {
      ca,
      requestCert: true,
      rejectUnauthorized: true,
      maxVersion: version,
      minVersion: version,
    };
    return shows(() => leaf("server"), options)(scene, heard);
  };
}

function greets(scene: Scene, heard: Buffer[]): Promise<Service> {
  return scene.service((socket) => {
    socket.write("220 mail.example.test ESMTP\r\n");
    socket.on("data", (chunk: Buffer) => heard.push(chunk));
  });
}

function closes(scene: Scene, heard: Buffer[]): Promise<Service> {
  return scene.service((socket) => {
    socket.on("data", (chunk: Buffer) => heard.push(chunk));
    socket.end();
  });
}
