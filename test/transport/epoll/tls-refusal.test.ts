/**
 * Refusals of a TLS channel: the code here, the alert there, in full and resumed handshakes, in both versions and directions.
 */
import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import { ProxyError } from "../../../lib/errors.ts";
import { SHUT_WR } from "../../../lib/ffi/layout.ts";
import { send, shutdown } from "../../../lib/ffi/libc.ts";
import { WOULD_BLOCK } from "../../../lib/transport/epoll/channel.ts";
import { authority, crl, directoryWith, type LeafName, leaf, strange } from "../../gear/certificates.ts";
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
  room,
  type Specs,
  serverSpec,
  shake,
  stand,
  tcpServer,
} from "./tls-gear.ts";

const DENY = (alert: number) => () => new ProxyError("DENIED", "no rule lets it in", { alert });

interface Case {
  readonly what: string;
  readonly leaf: LeafName | "strange" | null;
  readonly judge?: Specs;
  readonly crl?: true;
  readonly code: string;
  readonly alert: number;
  /** In TLS 1.2, where it differs. */
  readonly alert12?: number;
}

const CASES: readonly Case[] = [
  { what: "a strange CA", leaf: "strange", code: "HANDSHAKE", alert: 48 },
  { what: "an expired certificate", leaf: "expired", code: "EXPIRED", alert: 45 },
  { what: "a certificate of the future", leaf: "future", code: "EXPIRED", alert: 42 },
  { what: "a revoked certificate", leaf: "revoked", crl: true, code: "REVOKED", alert: 44 },
  { what: "a certificate for servers", leaf: "serverPurpose", code: "HANDSHAKE", alert: 43 },
  { what: "no certificate", leaf: null, code: "DENIED", alert: 116, alert12: 40 },
  {
    what: "a denial by the rules",
    leaf: "mallory",
    judge: { authorise: DENY(46) },
    code: "DENIED",
    alert: 46,
  },
  { what: "a denial as bad", leaf: "mallory", judge: { authorise: DENY(42) }, code: "DENIED", alert: 42 },
  {
    what: "a fault in authorise",
    leaf: "alice",
    judge: {
      authorise: () => {
        throw new TypeError("a bug");
      },
    },
    code: "INTERNAL",
    alert: 46,
  },
];

async function pairOf(name: LeafName | "strange" | null) {
  if (name === null) return { cert: null, key: null };
  return name === "strange" ? await strange() : await leaf(name);
}

for (const { what, leaf: name, judge = {}, crl: listed, code, alert, alert12 = alert } of CASES) {
  test(`a client with ${what} is refused with alert ${alert}`, async (t) => {
    const tls = engine(t);
    const list = listed === true ? { crl: await crl() } : {};
    const server = tls.context(await serverSpec({ ...judge, ...list }));
    const client = tls.context({ ...(await clientSpec()), ...(await pairOf(name)) });
    const both = ends(t, tls, server, client);
    const outcome = shake(both);
    assert.equal(outcome.server?.code, code);
    if (code !== "INTERNAL") assert.equal(outcome.server?.alert, alert);
    assert.equal(outcome.client?.alert, alert, "what the client was told");
    assert.equal(both.server.facts().peer !== null, name !== null, "the peer is known for the record");
    assert.equal(both.server.facts().link, null);
    assert.equal(both.server.end(), 0, "a failed channel has nothing more to say");
    assert.equal(both.server.handshake(), -10_002);
  });

  test(`s_client with ${what} is refused with alert ${alert12} in TLS 1.2`, async (t) => {
    const tls = engine(t);
    const list = listed === true ? { crl: await crl() } : {};
    const server = tls.context(await serverSpec({ ...judge, ...list }));
    const { cert, key } = await pairOf(name);
    const directory = directoryWith(cert === null ? {} : { "c.crt": cert, "c.key": key ?? "" });
    t.after(directory.remove);
    const files =
      cert === null ? [] : ["-cert", join(directory.path, "c.crt"), "-key", join(directory.path, "c.key")];
    const { descriptor, port } = listening(t);
    const done = sClient(port, [...files, "-tls1_2"]);
    const connection = await accepted(t, descriptor);
    const channel = channelOn(t, tls, connection, server);
    await handshake(channel);
    assert.equal(channel.failure()?.code, code);
    if (code !== "INTERNAL") assert.equal(channel.failure()?.alert, alert12);
    shutDown(channel, connection);
    assert.equal((await done).alert, alert12);
  });
}

const SERVERS: readonly (readonly [string, LeafName | "strange", Specs, string, number])[] = [
  ["a strange CA", "strange", {}, "HANDSHAKE", 48],
  ["an expired certificate", "expired", {}, "EXPIRED", 45],
  ["a certificate for clients", "clientPurpose", {}, "HANDSHAKE", 43],
  ["another name than was dialled", "server", { authorise: DENY(46) }, "DENIED", 46],
];

for (const [what, name, judge, code, alert] of SERVERS) {
  test(`a server with ${what} is refused with alert ${alert}`, async (t) => {
    const tls = engine(t);
    const server = tls.context({ ...(await serverSpec()), ...(await pairOf(name)) });
    const both = ends(t, tls, server, tls.context(await clientSpec(judge)));
    const outcome = shake(both);
    assert.equal(outcome.client?.code, code);
    assert.equal(outcome.client?.alert, alert);
    assert.equal(outcome.server?.code, "HANDSHAKE");
    assert.equal(outcome.server?.alert, alert, "what the server was told");
  });
}

test("a revoked server is refused, and one whose issuer has no list", async (t) => {
  const tls = engine(t);
  const server = tls.context(await serverSpec({ leaf: "revoked" }));
  const revoked = shake(ends(t, tls, server, tls.context(await clientSpec({ crl: await crl() }))));
  assert.equal(revoked.client?.code, "REVOKED");
  assert.equal(revoked.server?.alert, 44);
});

test("no cipher or version in common: the alert says which", async (t) => {
  const tls = engine(t);
  const { descriptor, port } = listening(t);
  for (const [spec, args, alert] of [
    [{ minVersion: "1.3" }, ["-tls1_2"], 70],
    [{}, ["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA"], 40],
  ] as const) {
    const context = tls.context(await serverSpec(spec));
    const done = sClient(port, args);
    const connection = await accepted(t, descriptor);
    const channel = channelOn(t, tls, connection, context);
    await handshake(channel);
    assert.equal(channel.failure()?.code, "HANDSHAKE");
    assert.equal(channel.failure()?.alert, alert);
    shutDown(channel, connection);
    assert.equal((await done).alert, alert);
  }
});

test("a client that speaks no TLS, leaves or resets in the middle", async (t) => {
  const tls = engine(t);
  const server = tls.context(await serverSpec());
  const client = tls.context(await clientSpec());

  const garbage = ends(t, tls, server, client);
  room.bytes.write("GET / HTTP/1.0\r\n\r\n");
  send(garbage.clientFd, room.address, 18, 0);
  assert.equal(garbage.server.handshake(), -10_002);
  assert.equal(garbage.server.failure()?.code, "HANDSHAKE");

  const gone = ends(t, tls, server, client);
  assert.equal(gone.client.handshake(), WOULD_BLOCK);
  assert.equal(gone.server.handshake(), WOULD_BLOCK);

  shutdown(gone.clientFd, SHUT_WR);
  assert.equal(gone.server.handshake(), -10_002);
  assert.equal(gone.server.failure()?.code, "RESET");
  assert.match(gone.server.failure()?.message ?? "", /went away in the handshake$/);
});

test("a reset in the middle of the handshake is told as one", async (t) => {
  const tls = engine(t);
  const context = tls.context(await clientSpec());
  const port = await tcpServer(t, (raw) => {
    raw.once("data", () => raw.resetAndDestroy());
  });
  const channel = channelOn(t, tls, dialled(t, port), context);
  await handshake(channel);
  assert.equal(channel.failure()?.code, "RESET");
  assert.match(channel.failure()?.message ?? "", /ECONNRESET/);
});

test("a context tells what is wrong with its texts, and shows none of them", async (t) => {
  const tls = engine(t);
  const spec = await serverSpec();
  const other = await leaf("alice");
  for (const [wrong, message] of [
    [{ ...spec, key: other.key }, /key that does not belong to its certificate/],
    [{ ...spec, cert: "nonsense" }, /no certificate that can be read/],
    [{ ...spec, key: "nonsense" }, /key that cannot be read/],
    [{ ...spec, key: null }, /needs both/],
    [{ ...spec, ca: `${(await authority()).cert}-----BEGIN CERTIFICATE-----\nAAAA\n` }, /trust bundle/],
    [{ ...spec, ca: "" }, /trust bundle without certificates/],
    [{ ...spec, crl: "nonsense" }, /revocation list that cannot be read/],
  ] as const) {
    assert.throws(
      () => tls.context(wrong),
      (error: unknown) =>
        error instanceof ProxyError &&
        error.code === "IDENTITY" &&
        error.message.startsWith("route test: ") &&
        message.test(error.message) &&
        !error.message.includes("nonsense") &&
        !error.message.includes("BEGIN"),
    );
  }
});

test("a channel may be released twice and is dead afterwards", async (t) => {
  const tls = engine(t);
  const both = ends(t, tls, tls.context(await serverSpec()), tls.context(await clientSpec()));
  stand(both);
  both.server.release();
  both.server.release();
  assert.ok(both.server.read(room.address, 10) < 0);
  assert.ok(both.server.write(room.address, 10) < 0);
  assert.equal(both.server.end(), 0);
  assert.ok(both.server.handshake() < 0);
});

/** What the stream does after a failure: the alert is with the socket, and now the end. */
function shutDown(channel: { release(): void }, descriptor: number): void {
  channel.release();
  shutdown(descriptor, SHUT_WR);
}
