/**
 * Ensures that `curl` gets what it asks for: https to a plain HTTP service behind a terminating route, with a client certificate and
 * several requests on one connection, and HTTP/2 to a service of its own TLS behind passthrough.
 */
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { readFileSync, writeFileSync } from "node:fs";
import { createServer as createHttpServer } from "node:http";
import { createSecureServer } from "node:http2";
import type { AddressInfo, Server, Socket } from "node:net";
import { join } from "node:path";
import type { Readable } from "node:stream";
import { authority, directoryWith, type LeafName, leaf } from "../gear/certificates.ts";
import { ran } from "../gear/command.ts";
import { edge, MUTUAL } from "../gear/edge.ts";
import { ended } from "../gear/peers.ts";
import { needs } from "../gear/programs.ts";
import { type Scene, scenario, TRANSPORTS } from "../gear/scene.ts";

const BODY = randomBytes(700_001);

/** `/body` is answered with BODY, anything else with what came and who asked. */
async function listening(scene: Scene, server: Server): Promise<{ port: number }> {
  const sockets = new Set<Socket>();
  server.on("connection", (socket: Socket) => {
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  scene.onClose(async () => {
    for (const socket of sockets) socket.destroy();
    await new Promise((resolve) => server.close(resolve));
  });
  return { port: (server.address() as AddressInfo).port };
}

function answer(
  request: Readable & { readonly url?: string | undefined },
  response: { end(body: string | Buffer): unknown },
): void {
  let size = 0;
  request.on("data", (chunk: Buffer) => {
    size += chunk.length;
  });
  request.on("end", () => response.end(request.url === "/body" ? BODY : `${size} bytes came`));
}

interface Curl {
  readonly folder: string;
  /** Requests one after the other, each with its own arguments; after each its HTTP version and how often it had to connect. */
  run(...requests: readonly string[][]): ReturnType<typeof ran>;
}

/** curl with the test CA, `name` for the proxy's address, and perhaps a certificate. */
async function curl(scene: Scene, port: number, who: LeafName | null): Promise<Curl> {
  const pair = who === null ? null : await leaf(who);
  const files = directoryWith({
    ca: (await authority()).cert,
    ...(pair === null ? {} : { crt: pair.cert, key: pair.key }),
  });
  scene.onClose(files.remove);
  const file = (name: string) => join(files.path, name);
  const shown = pair === null ? [] : ["--cert", file("crt"), "--key", file("key")];
  const common = [
    ...["--silent", "--show-error", "--noproxy", "*", "--cacert", file("ca"), ...shown],
    ...[
      "--connect-to",
      `web.example.test:443:127.0.0.1:${port}`,
      "--write-out",
      " %{http_version} %{num_connects}\n",
    ],
  ];
  const run = (...requests: readonly string[][]) =>
    ran(
      "curl",
      requests.flatMap((args, at) => [...(at === 0 ? [] : ["--next"]), ...common, ...args]),
    );
  return { folder: files.path, run };
}

scenario(
  "curl through termination to a plain HTTP service",
  async (scene) => {
    const service = await listening(scene, createHttpServer(answer));
    const stage = await edge(scene, service, [
      { ...MUTUAL, match: { sni: ["web.example.test"] }, allow: [{ cn: "alice" }], alpn: ["http/1.1"] },
    ]);
    const { folder, run } = await curl(scene, stage.port("in"), "alice");
    const got = join(folder, "got");
    writeFileSync(join(folder, "put"), BODY);
    for (const version of ["1.2", "1.3"]) {
      const only = [`--tlsv${version}`, "--tls-max", version];
      const { code, stdout, stderr } = await run(
        [...only, "--output", got, "https://web.example.test/body"],
        [...only, "--upload-file", join(folder, "put"), "https://web.example.test/up"],
      );
      assert.equal(stderr, "");
      assert.equal(code, 0);
      assert(readFileSync(got).equals(BODY));
      assert.equal(stdout, ` 1.1 1\n${BODY.length} bytes came 1.1 0\n`, "one connection for both");
    }
    const stranger = await curl(scene, stage.port("in"), null);
    const refused = await stranger.run(["https://web.example.test/body"]);
    assert.match(refused.stderr, /alert/);
    const lines = await ended(stage, 3);
    assert.deepEqual(
      lines.map(({ reason, alpn, tls, peer }) => [reason, alpn, tls, peer?.subject]),
      [
        ["ok", "http/1.1", "TLSv1.2", "CN=alice,OU=ops"],
        ["ok", "http/1.1", "TLSv1.3", "CN=alice,OU=ops"],
        ["denied", "h2", undefined, undefined],
      ],
    );
  },
  TRANSPORTS,
  needs("curl"),
);

scenario(
  "curl through passthrough to HTTP/2, which asks for the certificate itself",
  async (scene) => {
    const { cert, key } = await leaf("server");
    const ca = (await authority()).cert;
    const server = createSecureServer(
      { cert, key, ca, requestCert: true, rejectUnauthorized: true },
      (request, response) => answer(request, response),
    );
    const service = await listening(scene, server as unknown as Server);
    const stage = await edge(scene, service, [{ tls: "passthrough", match: { sni: ["*.example.test"] } }]);
    const { folder, run } = await curl(scene, stage.port("in"), "alice");
    const { code, stdout, stderr } = await run(
      ["--output", join(folder, "got"), "https://web.example.test/body"],
      ["https://web.example.test/what"],
    );
    assert.equal(stderr, "");
    assert.equal(code, 0);
    assert(readFileSync(join(folder, "got")).equals(BODY));
    assert.equal(stdout, " 2 1\n0 bytes came 2 0\n");
    const [line] = await ended(stage, 1);
    assert.equal(line!.sni, "web.example.test");
    assert.equal(line!.alpn, "h2");
    assert.equal(line!.peer, undefined, "nobody looked into it");
    assert(line!.bytes_down > BODY.length);
    // It closes when it has what it wanted, whatever the service still says; that is answered by a reset.
    assert.match(line!.reason, /^(?:ok|client_reset)$/);
  },
  TRANSPORTS,
  needs("curl"),
);
