/**
 * Ensures that trust that changes while peers are connected counts for the next handshake, resumed ones included, and ends nobody's
 * connection: a peer that is revoked, a bundle that is replaced, rules that are tightened, a certificate that runs out.
 */
import assert from "node:assert/strict";
import { renameSync, writeFileSync } from "node:fs";
import type { Socket } from "node:net";
import { connect as connectTls } from "node:tls";
import type { ConfigInput } from "../../lib/config/parse.ts";
import type { Pair } from "../../lib/tls/authority.ts";
import { authority, issue, leaf, strange, strangeAuthority } from "../gear/certificates.ts";
import { edgeConfig, MUTUAL } from "../gear/edge.ts";
import { tlsClient, tlsService } from "../gear/legs.ts";
import { ended, lastWords, tlsVerdict } from "../gear/peers.ts";
import { eventually, readBytes, type Scene, type Stage, scenario } from "../gear/scene.ts";

/** Greets whoever pings and ends; to others an echo. */
function talk(socket: Socket): void {
  socket.on("data", (chunk: Buffer) => {
    if (chunk.toString() === "ping") socket.end("welcome");
    else socket.write(chunk);
  });
  socket.on("end", () => socket.end());
}

/** Says something on a live connection and hears it again. */
async function lives(socket: Socket): Promise<void> {
  socket.write("still here");
  assert.equal((await readBytes(socket, 10)).toString(), "still here");
}

/** Replaces a file of an identity, and waits until the proxy has said so. */
async function replace(
  { stage, config }: { readonly stage: Stage; readonly config: ConfigInput },
  name: string,
  part: "ca" | "crl",
  text: string,
  says: RegExp,
): Promise<void> {
  const path = config.identities![name]![part]!;
  const before = stage.log.messages.length;
  writeFileSync(`${path}.new`, text);
  renameSync(`${path}.new`, path);
  await eventually(
    () =>
      stage.log.messages
        .slice(before)
        .some(({ msg, identity }) => identity === name && says.test(String(msg))),
    String(says),
    () => JSON.stringify(stage.log.messages.slice(before)),
  );
}

interface Terminating {
  readonly scene: Scene;
  readonly config: ConfigInput;
  readonly stage: Stage;
  readonly port: number;
}

async function terminating(scene: Scene): Promise<Terminating> {
  const config = await edgeConfig(scene, await scene.service(talk), [{ ...MUTUAL, name: "web" }], {
    crl: true,
  });
  const stage = await scene.proxy(config);
  return { scene, config, stage, port: stage.port("in") };
}

/** Comes, is greeted, and goes; resolves with a session for next time. */
async function visit({ stage, port }: Terminating, pair: Pair): Promise<Buffer> {
  const { answer, session } = await tlsVerdict(port, pair);
  assert.equal(answer, "welcome");
  assert.equal((await ended(stage, 1))[0]!.reason, "ok");
  return session!;
}

/** A client that shakes hands anew, and one that offers the session it was given before, have the same reason. */
async function refused(
  { stage, port }: Terminating,
  pair: Pair,
  session: Buffer,
  reason: string,
): Promise<void> {
  for (const offer of [{}, { session }]) {
    assert.equal((await tlsVerdict(port, { ...pair, ...offer })).answer, "");
    const [line] = await ended(stage, 1);
    assert.equal(line!.reason, reason, line!.error);
  }
}

async function leave({ stage }: { readonly stage: Stage }, live: Socket): Promise<void> {
  await lives(live);
  const last = lastWords(live);
  live.end();
  await last;
  assert.equal((await ended(stage, 1))[0]!.reason, "ok");
}

scenario("a client is revoked while it is connected", async (scene) => {
  const edge = await terminating(scene);
  const alice = await leaf("alice");
  const session = await visit(edge, alice);
  const live = await tlsClient(scene, edge.port, "localhost");
  await lives(live);
  await replace(edge, "server", "crl", await (await authority()).revoke([alice.cert]), /identity renewed/);
  await refused(edge, alice, session, "revoked");
  await leave(edge, live);
});

scenario("a list that cannot be read leaves the old one", async (scene) => {
  const edge = await terminating(scene);
  await replace(edge, "server", "crl", "no list", /the last good one stays/);
  await visit(edge, await leaf("alice"));
  assert.equal((await tlsVerdict(edge.port, await leaf("revoked"))).answer, "");
  assert.equal((await ended(edge.stage, 1))[0]!.reason, "revoked");
});

scenario(
  "the bundle is replaced while a client is connected, and a broken one is not taken",
  async (scene) => {
    const config = await edgeConfig(scene, await scene.service(talk), [{ ...MUTUAL, name: "web" }]);
    const stage = await scene.proxy(config);
    const edge = { scene, config, stage, port: stage.port("in") };
    const alice = await leaf("alice");
    const session = await visit(edge, alice);
    const live = await tlsClient(scene, edge.port, "localhost");
    await replace(edge, "server", "ca", "no bundle at all", /the last good one stays/);
    await visit(edge, alice);
    await replace(edge, "server", "ca", (await strangeAuthority()).cert, /identity renewed/);
    await refused(edge, alice, session, "handshake_failed");
    await visit(edge, await strange());
    await leave(edge, live);
  },
);

scenario("rules are tightened while a client is connected", async (scene) => {
  const edge = await terminating(scene);
  const alice = await leaf("alice");
  const session = await visit(edge, alice);
  const live = await tlsClient(scene, edge.port, "localhost");
  const stricter = structuredClone(edge.config);
  stricter.listeners![0]!.routes![0]!.allow = [{ cn: "somebody else" }];
  await edge.stage.reload(stricter);
  await refused(edge, alice, session, "denied");
  await leave(edge, live);
});

scenario("a client's certificate runs out while it is connected", async (scene) => {
  const edge = await terminating(scene);
  // Certificates count whole seconds.
  const until = Math.ceil(Date.now() / 1000) * 1000 + 2000;
  const brief = await issue({ commonName: "brief", notAfter: until });
  const session = await visit(edge, brief);
  const live = connectTls({ port: edge.port, host: "127.0.0.1", rejectUnauthorized: false, ...brief });
  live.on("error", () => {});
  await new Promise((resolve) => live.once("secureConnect", resolve));
  await lives(live);
  await eventually(() => Date.now() > until, "the end of a certificate");
  await refused(edge, brief, session, "expired");
  await leave(edge, live);
});

scenario("an upstream is revoked while we are connected to it", async (scene) => {
  const upstream = await tlsService(scene, talk);
  const config = await edgeConfig(scene, upstream, [{ tls: "none" }], {
    crl: true,
    identities: ["alice"],
    cluster: { tls: { identity: "alice", server_name: "localhost" } },
  });
  // The list that is replaced is the one that counts.
  config.identities!["alice"] = { ...config.identities!["alice"], crl: config.identities!["server"]!.crl! };
  const stage = await scene.proxy(config);
  const live = await scene.client(stage.port("in"));
  await lives(live);
  await replace(
    { stage, config },
    "alice",
    "crl",
    await (await authority()).revoke([(await leaf("server")).cert]),
    /identity renewed/,
  );
  const next = await scene.client(stage.port("in"));
  const last = lastWords(next);
  next.write("ping");
  assert.equal((await last).bytes.length, 0);
  const [line] = await ended(stage, 1);
  assert.equal(line!.reason, "upstream_denied");
  assert.match(line!.error!, /revocation list/);
  await leave({ stage }, live);
});
