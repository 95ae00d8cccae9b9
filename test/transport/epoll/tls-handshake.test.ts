/**
 * Handshakes of a TLS channel: what both ends agree on, with OpenSSL's own tools and with node:tls on the other side.
 */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { connect as connectTls, TLSSocket } from "node:tls";
import { MSG_PEEK } from "../../../lib/ffi/layout.ts";
import { recv } from "../../../lib/ffi/libc.ts";
import { openssl } from "../../../lib/ffi/openssl.ts";
import { WOULD_BLOCK } from "../../../lib/transport/epoll/channel.ts";
import { LINK_BYTES, LINK_LABEL } from "../../../lib/transport/transport.ts";
import { authority, directoryWith, leaf } from "../../gear/certificates.ts";
import { sClient } from "../../gear/s-client.ts";
import {
  accepted,
  channelOn,
  clientSpec,
  dialled,
  ends,
  engine,
  handshake,
  listening,
  receive,
  room,
  sendAll,
  serverSpec,
  shake,
  sServer,
  stand,
  tcpServer,
  until,
} from "./tls-gear.ts";

test("both ends agree on the version, the cipher, the protocol, the peers and the link", async (t) => {
  const tls = engine(t);
  const server = tls.context(await serverSpec({ alpn: ["h2", "http/1.1"] }));
  const client = tls.context(await clientSpec({ alpn: ["http/1.1", "h2"] }));
  const both = ends(t, tls, server, client);
  stand(both);
  const [mine, theirs] = [both.server.facts(), both.client.facts()];
  assert.equal(mine.version, "TLSv1.3");
  assert.equal(mine.cipher, "TLS_AES_128_GCM_SHA256");
  assert.equal(mine.alpn, "h2", "the server's order decides");
  assert.equal(mine.resumed, false);
  assert.equal(mine.peer?.commonName, "alice");
  assert.deepEqual(theirs.peer?.dns, ["localhost", "web.example.test"]);
  assert.equal(theirs.alpn, "h2");
  assert.match(mine.link ?? "", /^[0-9a-f]{32}$/);
  assert.equal(mine.link, theirs.link);
});

test("a hello that was only peeked at is still there for the handshake", async (t) => {
  const tls = engine(t);
  const both = ends(t, tls, tls.context(await serverSpec()), tls.context(await clientSpec()));
  assert.equal(both.client.handshake(), WOULD_BLOCK);
  const peeked = recv(both.serverFd, room.address, 4096, MSG_PEEK);
  assert.ok(peeked > 100, `a hello of ${peeked} bytes`);
  stand(both);
});

test("client certificates: none asked for, optional and absent, optional and shown", async (t) => {
  const tls = engine(t);
  const asking = (clientAuth: "none" | "optional") => serverSpec({ clientAuth });
  const bare = tls.context(await clientSpec({ leaf: null }));
  const alice = tls.context(await clientSpec());
  for (const [mode, client, expected] of [
    ["none", bare, null],
    ["none", alice, null],
    ["optional", bare, null],
    ["optional", alice, "alice"],
  ] as const) {
    const both = ends(t, tls, tls.context(await asking(mode)), client);
    stand(both);
    assert.equal(both.server.facts().peer?.commonName ?? null, expected, mode);
  }
});

test("authorise hears the name that was dialled on the client side and none on the server side", async (t) => {
  const tls = engine(t);
  const heard: [string | null, string | null][] = [];
  const listen = {
    authorise: (peer: { commonName: string | null }, name: string | null) => {
      heard.push([peer.commonName, name]);
      return null;
    },
  };
  const both = ends(t, tls, tls.context(await serverSpec(listen)), tls.context(await clientSpec(listen)));
  stand(both);
  assert.deepEqual(heard, [
    ["server", "localhost"],
    ["alice", null],
  ]);
});

test("no protocol in common ends with no_application_protocol at both ends", async (t) => {
  const tls = engine(t);
  const server = tls.context(await serverSpec({ alpn: ["h2"] }));
  const outcome = shake(ends(t, tls, server, tls.context(await clientSpec({ alpn: ["postgresql"] }))));
  assert.equal(outcome.server?.code, "HANDSHAKE");
  assert.equal(outcome.server?.alert, 120);
  assert.equal(outcome.client?.alert, 120);
  assert.match(outcome.client?.message ?? "", /sent alert 120, no_application_protocol/);
});

test("a client without ALPN is served by a server that has protocols", async (t) => {
  const tls = engine(t);
  const both = ends(t, tls, tls.context(await serverSpec({ alpn: ["h2"] })), tls.context(await clientSpec()));
  stand(both);
  assert.equal(both.server.facts().alpn, null);
});

for (const [what, copies] of [
  ["the socket takes at once", 20],
  ["the worker's ring holds", 150],
] as const) {
  test(`a flight longer than ${what} arrives whole`, async (t) => {
    const tls = engine(t);
    const spec = await serverSpec();
    const ca = (await authority()).cert;
    const server = tls.context({ ...spec, cert: `${spec.cert}${ca.repeat(copies)}` });
    const both = ends(t, tls, server, tls.context(await clientSpec()), { small: true });
    let waited = 0;
    let [mine, theirs] = [WOULD_BLOCK, WOULD_BLOCK];
    for (let turn = 0; turn < 500 && (mine !== 1 || theirs !== 1); turn++) {
      if (theirs === WOULD_BLOCK) theirs = both.client.handshake();
      if (mine === WOULD_BLOCK) mine = both.server.handshake();
      if (both.server.unsent()) waited++;
    }
    assert.equal(both.client.failure(), null);
    assert.deepEqual([mine, theirs], [1, 1]);
    assert.ok(waited > 0, "it had to wait for room");
    assert.equal(both.server.unsent(), false);
  });
}

test("an intermediate that stands in the trust bundle only is sent along, the root is not", async (t) => {
  const tls = engine(t);
  const { root, bundle, leaf: pair } = hierarchy(t);
  const sent: number[] = [];
  const real = openssl().OPENSSL_sk_num;
  const spec = { ...(await serverSpec({ clientAuth: "none" })), ...pair, ca: bundle };
  const server = tls.context(spec);
  const client = tls.context({ ...(await clientSpec()), ca: root });
  const lib = openssl() as { OPENSSL_sk_num: typeof real };
  t.after(() => {
    lib.OPENSSL_sk_num = real;
  });
  lib.OPENSSL_sk_num = (stack) => {
    sent.push(real(stack));
    return sent.at(-1)!;
  };
  const both = ends(t, tls, server, client);
  stand(both);
  assert.equal(sent[0], 2, "leaf and intermediate");
  assert.equal(both.client.facts().peer?.commonName, "leaf");
});

for (const version of ["TLSv1.2", "TLSv1.3"] as const) {
  test(`a node:tls client is served in ${version}`, async (t) => {
    const tls = engine(t);
    const context = tls.context(await serverSpec({ alpn: ["h2"] }));
    const { descriptor, port } = listening(t);
    const pair = await leaf("alice");
    const peer = connectTls({
      port,
      host: "127.0.0.1",
      ...pair,
      ca: (await authority()).cert,
      servername: "localhost",
      ALPNProtocols: ["h2"],
      minVersion: version,
      maxVersion: version,
    });
    t.after(() => peer.destroy());
    const secured = once(peer, "secureConnect");
    const channel = channelOn(t, tls, await accepted(t, descriptor), context);
    assert.equal(await handshake(channel), 1);
    await secured;
    const facts = channel.facts();
    assert.equal(facts.version, version);
    assert.equal(facts.alpn, "h2");
    assert.equal(facts.peer?.commonName, "alice");
    assert.equal(facts.cipher, peer.getCipher().name);
    assert.equal(facts.link, linkOf(peer));
    await sendAll(channel, Buffer.from("to node"));
    assert.equal(String(await once(peer, "data")), "to node");
  });

  test(`a node:tls server is used in ${version}`, async (t) => {
    const tls = engine(t);
    const context = tls.context(await clientSpec({ alpn: ["h2"] }));
    const pair = await leaf("server");
    const ca = (await authority()).cert;
    let peer: TLSSocket | null = null;
    const port = await tcpServer(t, (raw) => {
      peer = new TLSSocket(raw, {
        isServer: true,
        ...pair,
        ca,
        requestCert: true,
        rejectUnauthorized: true,
        ALPNProtocols: ["h2"],
        minVersion: version,
        maxVersion: version,
      });
      peer.on("error", () => {});
      peer.pipe(peer);
    });
    const channel = channelOn(t, tls, dialled(t, port), context);
    assert.equal(await handshake(channel), 1);
    await sendAll(channel, Buffer.from("echo"));
    assert.equal(String((await receive(channel, 4)).bytes), "echo");
    assert.equal(channel.facts().version, version);
    assert.equal(channel.facts().link, linkOf(peer!));
    assert.equal(channel.facts().peer?.commonName, "server");
  });

  test(`openssl s_client is served in ${version}`, async (t) => {
    const tls = engine(t);
    const context = tls.context(await serverSpec());
    const { descriptor, port } = listening(t);
    const files = await clientFiles(t);
    const done = sClient(port, [...files, version === "TLSv1.2" ? "-tls1_2" : "-tls1_3"], "ping\n");
    const channel = channelOn(t, tls, await accepted(t, descriptor), context);
    assert.equal(await handshake(channel), 1);
    assert.equal(channel.facts().version, version);
    assert.equal(String((await receive(channel, 5)).bytes), "ping\n");
    await sendAll(channel, Buffer.from("pong-from-the-proxy"));
    assert.equal(channel.end(), 0);
    assert.match((await done).output, /pong-from-the-proxy/);
  });

  test(`openssl s_server is used in ${version}, and sees the name`, async (t) => {
    const tls = engine(t);
    const context = tls.context(await clientSpec());
    const { port, output } = await sServer(t, [version === "TLSv1.2" ? "-tls1_2" : "-tls1_3"]);
    const channel = channelOn(t, tls, dialled(t, port), context);
    assert.equal(await handshake(channel), 1, channel.failure()?.message);
    assert.equal(channel.facts().version, version);
    await sendAll(channel, Buffer.from("read by s_server\n"));
    await until("s_server's output", () => output().includes("read by s_server"));
    assert.match(output(), /Hostname in TLS extension: "localhost"/);
  });
}

test("an IP literal is no server name, but authorise hears it", async (t) => {
  const tls = engine(t);
  let name: string | null = null;
  const context = tls.context(
    await clientSpec({
      authorise: (_peer, heard) => {
        name = heard;
        return null;
      },
    }),
  );
  const { port, output } = await sServer(t, []);
  const channel = channelOn(t, tls, dialled(t, port), context, { name: "127.0.0.1" });
  assert.equal(await handshake(channel), 1);
  await sendAll(channel, Buffer.from("here\n"));
  await until("s_server's output", () => output().includes("here"));
  assert.equal(name, "127.0.0.1");
  assert.doesNotMatch(output(), /Hostname in TLS extension/);
});

function linkOf(peer: TLSSocket): string {
  const exported = (peer.exportKeyingMaterial as (length: number, label: string) => Buffer).call(
    peer,
    LINK_BYTES,
    LINK_LABEL,
  );
  return exported.toString("hex");
}

/** Root, intermediate and leaf; `bundle` holds the first two, the leaf's PEM only itself. */
function hierarchy(t: TestContext): { root: string; bundle: string; leaf: { cert: string; key: string } } {
  const { path, remove } = directoryWith({
    "ca.cnf": "basicConstraints=critical,CA:TRUE\n",
    "leaf.cnf": "subjectAltName=DNS:localhost\n",
  });
  t.after(remove);
  const make = (name: string, issuer: string | null) => {
    const file = (ending: string) => join(path, `${name}.${ending}`);
    const key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", file("key")];
    run(["req", "-new", "-subj", `/CN=${name}`, ...key, "-out", file("csr")]);
    const by = issuer === null ? ["-signkey", file("key")] : ["-CA", join(path, `${issuer}.crt`)];
    const signer = issuer === null ? [] : ["-CAkey", join(path, `${issuer}.key`), "-CAcreateserial"];
    const extensions = ["-extfile", join(path, name === "leaf" ? "leaf.cnf" : "ca.cnf")];
    run([
      "x509",
      "-req",
      "-in",
      file("csr"),
      "-days",
      "2",
      ...by,
      ...signer,
      ...extensions,
      "-out",
      file("crt"),
    ]);
    return { cert: readFileSync(file("crt"), "utf8"), key: readFileSync(file("key"), "utf8") };
  };
  const root = make("root", null).cert;
  const intermediate = make("intermediate", "root").cert;
  return { root, bundle: root + intermediate, leaf: make("leaf", "intermediate") };
}

function run(args: readonly string[]): void {
  const done = spawnSync("openssl", args, { encoding: "utf8" });
  assert.equal(done.status, 0, done.stderr);
}

async function clientFiles(t: TestContext): Promise<string[]> {
  const { cert, key } = await leaf("alice");
  const directory = directoryWith({ "alice.crt": cert, "alice.key": key });
  t.after(directory.remove);
  return ["-cert", join(directory.path, "alice.crt"), "-key", join(directory.path, "alice.key")];
}
