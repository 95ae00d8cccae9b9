/**
 * Resumption: sessions come back, on every worker that has the keys, and never for a peer that would not be let in now.
 */
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { connect as connectTls, TLSSocket } from "node:tls";
import { ProxyError } from "../../../lib/errors.ts";
import { SHUT_WR } from "../../../lib/ffi/layout.ts";
import { shutdown } from "../../../lib/ffi/libc.ts";
import { type Openssl, openssl } from "../../../lib/ffi/openssl.ts";
import { createTlsEngine } from "../../../lib/transport/epoll/tls.ts";
import type { EpollTlsContext } from "../../../lib/transport/epoll/tls-context.ts";
import { Sessions } from "../../../lib/transport/epoll/tls-sessions.ts";
import type { Peer } from "../../../lib/transport/transport.ts";
import { shakeHands } from "../../gear/bare-client.ts";
import { authority, crl, directoryWith, leaf } from "../../gear/certificates.ts";
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
  sendAll,
  serverSpec,
  shake,
  socketPair,
  stand,
  tcpServer,
} from "./tls-gear.ts";

const DAY = 86_400_000;

test("every connection but the first is resumed, and both ends know it and each other", async (t) => {
  const tls = engine(t);
  let judged = 0;
  const count = () => {
    judged++;
    return null;
  };
  const server = tls.context(await serverSpec({ authorise: count }));
  const client = tls.context(await clientSpec({ authorise: count }));
  const links = new Set<string | null>();
  for (let round = 0; round < 5; round++) {
    const both = ends(t, tls, server, client);
    stand(both);
    for (const facts of [both.server.facts(), both.client.facts()]) {
      assert.equal(facts.resumed, round > 0, `round ${round}`);
      links.add(facts.link);
    }
    assert.equal(both.server.facts().peer?.commonName, "alice");
    assert.equal(both.client.facts().peer?.commonName, "server");
    both.server.release();
    both.client.release();
  }
  assert.equal(judged, 10, "resumed or not, both sides are judged");
  assert.equal(links.size, 5, "each connection has a link of its own, equal at both ends");
});

test("a ticket carries the client's certificate as bytes, which OpenSSL does not parse", async (t) => {
  const tls = engine(t);
  const server = tls.context(await serverSpec());
  const client = tls.context(await clientSpec());
  const seen: boolean[] = [];
  const lib = openssl() as { SSL_SESSION_get0_peer: Openssl["SSL_SESSION_get0_peer"] };
  const real = lib.SSL_SESSION_get0_peer;
  t.after(() => {
    lib.SSL_SESSION_get0_peer = real;
  });
  lib.SSL_SESSION_get0_peer = (session) => {
    const peer = real(session);
    seen.push(peer !== 0);
    return peer;
  };
  for (let round = 0; round < 3; round++) stand(ends(t, tls, server, client));
  assert.deepEqual(seen, [true, false, false], "there when the first ticket is made, in none of them");
});

test("a ticket of one worker is good on another with the same keys, and on no other", async (t) => {
  const [one, two] = [engine(t), engine(t)];
  const ticketKeys = randomBytes(48);
  const spec = await serverSpec({ ticketKeys });
  const first = one.context(spec);
  const resumes = async (second: EpollTlsContext): Promise<boolean> => {
    const client = one.context(await clientSpec());
    stand(ends(t, one, first, client));
    const [serverFd, clientFd] = socketPair(t);
    const both = { server: channelOn(t, two, serverFd, second), client: channelOn(t, one, clientFd, client) };
    stand(both);
    assert.equal(both.server.facts().resumed, both.client.facts().resumed);
    return both.server.facts().resumed;
  };
  assert.equal(await resumes(two.context({ ...spec })), true);
  assert.equal(await resumes(two.context({ ...spec, ticketKeys: randomBytes(48) })), false);
  assert.equal(await resumes(two.context({ ...spec, ticketKeys: null })), false);
  assert.equal(await resumes(two.context({ ...spec, sessionContext: new Uint8Array(32).fill(7) })), false);
});

test("a peer that is no longer allowed gets a full handshake, and there its alert", async (t) => {
  const tls = engine(t);
  let allowed = true;
  const server = tls.context(
    await serverSpec({
      authorise: () => (allowed ? null : new ProxyError("DENIED", "not any more", { alert: 46 })),
    }),
  );
  const client = tls.context(await clientSpec());
  stand(ends(t, tls, server, client));
  allowed = false;
  const both = ends(t, tls, server, client);
  const outcome = shake(both);
  assert.equal(outcome.server?.code, "DENIED");
  assert.equal(outcome.client?.alert, 46);
  assert.equal(both.server.facts().resumed, false);
  assert.equal(both.server.facts().peer?.commonName, "alice");
});

test("a client does not resume with a server that it would not accept now", async (t) => {
  const tls = engine(t);
  let allowed = true;
  const server = tls.context(await serverSpec());
  const client = tls.context(
    await clientSpec({
      authorise: () => (allowed ? null : new ProxyError("DENIED", "not any more", { alert: 46 })),
    }),
  );
  stand(ends(t, tls, server, client));
  assert.equal(client.sessions.size, 1);
  allowed = false;
  const outcome = shake(ends(t, tls, server, client));
  assert.equal(outcome.client?.code, "DENIED");
  assert.equal(outcome.server?.alert, 46);
  assert.equal(client.sessions.size, 0);
});

test("what was verified a day ago is verified again, on either side", async (t) => {
  let ahead = 0;
  const now = () => Date.now() + ahead;
  const tls = engine(t, now);
  const server = tls.context(await serverSpec());
  const client = tls.context(await clientSpec());
  stand(ends(t, tls, server, client));
  ahead = DAY - 60_000;
  const within = ends(t, tls, server, client);
  stand(within);
  assert.equal(within.server.facts().resumed, true);
  // The new ticket carries the deadline of the first handshake.
  ahead = DAY + 60_000;
  const beyond = ends(t, tls, server, client);
  stand(beyond);
  assert.equal(beyond.server.facts().resumed, false);
});

test("a session ends with the certificates it rests on, and with the revocation list", async (t) => {
  let ahead = 0;
  const tls = engine(t, () => Date.now() + ahead);
  const brief = await (await authority()).issue({ commonName: "brief", notAfter: Date.now() + 3_600_000 });
  const server = tls.context(await serverSpec());
  const client = tls.context({ ...(await clientSpec()), ...brief });
  const listed = tls.context(
    await serverSpec({ crl: await crl(), sessionContext: new Uint8Array(32).fill(1) }),
  );
  const alice = tls.context(await clientSpec());
  stand(ends(t, tls, server, client));
  stand(ends(t, tls, listed, alice));
  assert.ok(listed.listValidUntil < Date.now() + 400 * DAY, "the list names its successor's date");
  ahead = 3_660_000;
  const both = ends(t, tls, server, client);
  stand(both); // OpenSSL's own clock has not moved, so the chain still verifies
  assert.equal(both.server.facts().resumed, false);
});

test("a verified chain is remembered within bounds, the possession of its key never", async (t) => {
  let ahead = 0;
  const tls = engine(t, () => Date.now() + ahead);
  const context = tls.context(await serverSpec());
  const { descriptor, port } = listening(t);
  const [alice, mallory] = [await leaf("alice"), await leaf("mallory")];
  const attempt = async (pair: typeof alice) => {
    const seen = shakeHands(port, pair);
    const connection = await accepted(t, descriptor);
    const channel = channelOn(t, tls, connection, context);
    const result = await handshake(channel);
    if (result === 1) channel.end();
    else shutdown(connection, SHUT_WR);
    return { result, seen: await seen, failure: channel.failure() };
  };
  assert.equal((await attempt(alice)).result, 1);
  assert.equal(context.chains.size, 1);
  assert.equal((await attempt(alice)).result, 1);
  assert.equal(context.chains.size, 1);
  const stolen = await attempt({ cert: alice.cert, key: mallory.key });
  assert.equal(stolen.failure?.code, "HANDSHAKE");
  assert.equal(stolen.failure?.alert, 51);
  assert.deepEqual(stolen.seen, ["alert 51"]);
  ahead = 601_000;
  const verified = countVerifications(t);
  assert.equal((await attempt(alice)).result, 1);
  assert.equal((await attempt(alice)).result, 1);
  assert.equal(verified.length, 1, "after ten minutes once more, then it is known again");
});

test("a verified chain is remembered no longer than its certificates are valid", async (t) => {
  let ahead = 0;
  const tls = engine(t, () => Date.now() + ahead);
  const brief = await (await authority()).issue({ commonName: "brief", notAfter: Date.now() + 300_000 });
  const server = tls.context(await serverSpec());
  const client = tls.context({ ...(await clientSpec()), ...brief });
  const verified = countVerifications(t);
  const connect = () => {
    stand(ends(t, tls, server, client));
    client.sessions.clear();
    return verified.splice(0).length;
  };
  assert.equal(connect(), 2, "the server's and the client's");
  assert.equal(connect(), 0);
  ahead = 310_000;
  assert.equal(connect(), 1, "the client's again");
});

test("a session of another context is no proof: who shows no certificate is nobody", async (t) => {
  const tls = engine(t);
  const ticketKeys = randomBytes(48);
  const strict = tls.context(await serverSpec({ ticketKeys, clientAuth: "optional" }));
  const spec = await serverSpec({ ticketKeys, clientAuth: "optional" });
  const elsewhere = tls.context({ ...spec, sessionContext: new Uint8Array(32).fill(9) });
  const { descriptor, port } = listening(t);
  const { cert, key } = await leaf("alice");
  const directory = directoryWith({ "c.crt": cert, "c.key": key });
  t.after(directory.remove);
  const file = (name: string) => join(directory.path, name);
  const visit = async (context: EpollTlsContext, args: readonly string[]) => {
    const done = sClient(port, [...args, "-tls1_3"], "hello\n");
    const channel = channelOn(t, tls, await accepted(t, descriptor), context);
    assert.equal(await handshake(channel), 1);
    await receive(channel, 6);
    channel.end();
    const facts = channel.facts();
    channel.release();
    await done;
    return facts;
  };
  const alice = await visit(strict, ["-cert", file("c.crt"), "-key", file("c.key"), "-sess_out", file("s")]);
  assert.equal(alice.peer?.commonName, "alice");
  const same = await visit(strict, ["-sess_in", file("s")]);
  assert.equal(same.resumed, true, "the ticket itself is good");
  assert.equal(same.peer?.commonName, "alice");
  const other = await visit(elsewhere, ["-sess_in", file("s")]);
  assert.equal(other.resumed, false);
  assert.equal(other.peer, null);
});

for (const version of ["-tls1_2", "-tls1_3"]) {
  test(`s_client resumes with ${version}`, async (t) => {
    const tls = engine(t);
    const context = tls.context(await serverSpec());
    const { descriptor, port } = listening(t);
    const { cert, key } = await leaf("alice");
    const directory = directoryWith({ "c.crt": cert, "c.key": key });
    t.after(directory.remove);
    const file = (name: string) => join(directory.path, name);
    const args = ["-cert", file("c.crt"), "-key", file("c.key"), version];
    const visit = async (more: readonly string[]) => {
      const done = sClient(port, [...args, ...more], "hello\n");
      const channel = channelOn(t, tls, await accepted(t, descriptor), context);
      assert.equal(await handshake(channel), 1);
      await receive(channel, 6);
      const facts = channel.facts();
      channel.end();
      channel.release();
      return { facts, result: await done };
    };
    const full = await visit(["-sess_out", file("session")]);
    assert.equal(full.facts.resumed, false);
    const resumed = await visit(["-sess_in", file("session"), "-sess_out", file("next")]);
    assert.equal(resumed.facts.resumed, true);
    assert.equal(resumed.result.reused, true);
    assert.equal(resumed.facts.peer?.commonName, "alice");
  });
}

for (const version of ["TLSv1.2", "TLSv1.3"] as const) {
  test(`sessions of a node:tls server are used again in ${version}`, async (t) => {
    const tls = engine(t);
    const context = tls.context(await clientSpec());
    const pair = await leaf("server");
    const ca = (await authority()).cert;
    const reused: boolean[] = [];
    const ticketKeys = randomBytes(48);
    const port = await tcpServer(t, (raw) => {
      const peer = new TLSSocket(raw, {
        isServer: true,
        ...pair,
        ca,
        requestCert: true,
        minVersion: version,
        maxVersion: version,
        ticketKeys,
        sessionIdContext: "test",
      } as ConstructorParameters<typeof TLSSocket>[1]);
      peer.on("error", () => {});
      peer.on("secure", () => reused.push(peer.isSessionReused()));
      peer.pipe(peer);
    });
    for (let round = 0; round < 3; round++) {
      const channel = channelOn(t, tls, dialled(t, port), context);
      assert.equal(await handshake(channel), 1);
      await sendAll(channel, Buffer.from("echo"));
      assert.equal(String((await receive(channel, 4)).bytes), "echo");
      assert.equal(channel.facts().resumed, round > 0);
      assert.equal(channel.facts().peer?.commonName, "server");
      channel.release();
    }
    assert.deepEqual(reused, [false, true, true]);
  });

  test(`a node:tls client resumes in ${version}`, async (t) => {
    const tls = engine(t);
    const context = tls.context(await serverSpec());
    const { descriptor, port } = listening(t);
    const pair = await leaf("alice");
    const ca = (await authority()).cert;
    let session: Buffer | undefined;
    for (const expected of [false, true, true]) {
      const peer = connectTls({
        ...{ port, host: "127.0.0.1", ...pair, ca, servername: "localhost" },
        ...{ minVersion: version, maxVersion: version },
        ...(session === undefined ? {} : { session }),
      });
      t.after(() => peer.destroy());
      peer.on("session", (given: Buffer) => {
        session = given;
      });
      const secured = once(peer, "secureConnect");
      const channel = channelOn(t, tls, await accepted(t, descriptor), context);
      assert.equal(await handshake(channel), 1);
      await secured;
      await sendAll(channel, Buffer.from("!"));
      await once(peer, "data");
      assert.equal(channel.facts().resumed, expected);
      assert.equal(peer.isSessionReused(), expected);
      channel.release();
      peer.destroy();
    }
  });
}

test("sessions are kept per key, used once, bounded, and freed", () => {
  let freed = 0;
  const lib = {
    SSL_SESSION_free: () => {
      freed++;
    },
    SSL_SESSION_get_protocol_version: (pointer: number) => (pointer < 0 ? 0x0303 : 0x0304),
  } as unknown as Openssl;
  const sessions = new Sessions(lib);
  const session = (pointer: number) => ({ pointer, peer: {} as Peer, validUntil: 0 });
  for (let pointer = 1; pointer <= 40; pointer++) sessions.put("busy", session(pointer));
  assert.equal(sessions.size, 32);
  assert.equal(freed, 8);
  assert.equal(sessions.take("busy")?.pointer, 40, "the newest first");
  assert.equal(sessions.take("elsewhere"), null);

  sessions.put("old", session(-1));
  sessions.put("old", session(-2));
  assert.equal(freed, 9, "a TLS 1.2 session gives way to its successor");
  const old = sessions.take("old")!;
  assert.equal(old.pointer, -2);
  sessions.done("old", old);
  assert.equal(sessions.take("old")?.pointer, -2, "and is used again");

  for (let key = 0; key < 2000; key++) sessions.put(`endpoint ${key}`, session(100 + key));
  assert.equal(sessions.size, 512);
  assert.equal(sessions.take("busy"), null, "the keys that were used longest ago go first");
  const kept = sessions.size;
  freed = 0;
  sessions.clear();
  assert.equal(freed, kept);
  assert.equal(sessions.size, 0);
});

test("a context that sleeps serves its connections, keeps nothing, and wakes for a late-comer", async (t) => {
  const tls = engine(t);
  const server = tls.context(await serverSpec());
  const client = tls.context(await clientSpec());
  const both = ends(t, tls, server, client);
  assert.equal(both.client.handshake(), -11);
  server.sleep();
  client.sleep();
  server.sleep();
  stand(both);
  assert.equal(client.sessions.size, 0);
  assert.equal(server.asleep, true);
  stand(ends(t, tls, server, client));
  assert.equal(client.sessions.size, 1);
  client.sleep();
  server.sleep();
  assert.equal(client.sessions.size, 0);
  const late = ends(t, tls, server, client);
  stand(late);
  assert.equal(server.asleep, false);
});

test("contexts that are not kept go to sleep, and wake for late-comers until the next time", async (t) => {
  const tls = engine(t);
  const spec = await serverSpec();
  const contexts = ["a", "b", "c"].map((name) => tls.context({ ...spec, label: `route ${name}` }));
  const asleep = (): boolean[] => contexts.map((context) => context.asleep);
  tls.keep(new Set(contexts));
  assert.deepEqual(asleep(), [false, false, false]);
  const kept = new Set([contexts[1]!]);
  tls.keep(kept);
  assert.deepEqual(asleep(), [true, false, true]);
  stand(ends(t, tls, contexts[0]!, tls.context(await clientSpec())));
  assert.deepEqual(asleep(), [false, false, true]);
  tls.keep(kept);
  assert.deepEqual(asleep(), [true, false, true]);
});

test("an engine that has ended makes no channels", async (t) => {
  const tls = createTlsEngine();
  const context = tls.context(await serverSpec());
  const [descriptor] = socketPair(t);
  tls.release();
  assert.throws(
    () => tls.channel(descriptor, context, { serverName: null, sessionKey: "" }),
    /has ended in this worker/,
  );
});

/** Gets an entry for every chain that OpenSSL verifies. */
function countVerifications(t: TestContext): number[] {
  const verified: number[] = [];
  const lib = openssl() as { X509_verify_cert: Openssl["X509_verify_cert"] };
  const real = lib.X509_verify_cert;
  t.after(() => {
    lib.X509_verify_cert = real;
  });
  lib.X509_verify_cert = (store) => {
    verified.push(store);
    return real(store);
  };
  return verified;
}
