/** TLS on Node's sockets, against ourselves and against the openssl program. */
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { createServer as createTlsServer, type TLSSocket } from "node:tls";
import type { PeerRule } from "../../../lib/config/config.ts";
import type { ProxyError } from "../../../lib/errors.ts";
import { authoriser } from "../../../lib/tls/authorise.ts";
import type { Pair } from "../../../lib/tls/authority.ts";
import { createNetContext, type NetTlsContext, secureSocket } from "../../../lib/transport/net/tls.ts";
import {
  LINK_BYTES,
  LINK_LABEL,
  type TlsContextSpec,
  type TlsFacts,
} from "../../../lib/transport/transport.ts";
import { shakeHands } from "../../gear/bare-client.ts";
import {
  authority,
  crl,
  directoryWith,
  type LeafName,
  leaf,
  selfSigned,
  strange,
  strangeAuthority,
} from "../../gear/certificates.ts";
import { sClient } from "../../gear/s-client.ts";

type Outcome = { error: ProxyError | null; facts: TlsFacts | null; socket: Socket };

const ALICE: PeerRule[] = [{ kind: "cn", value: "alice" }];

async function serverContext(spec: Partial<TlsContextSpec> = {}, rules = ALICE): Promise<NetTlsContext> {
  return createNetContext({
    side: "server",
    label: "route web",
    ...(await leaf("server")),
    ca: (await authority()).cert,
    crl: await crl(),
    clientAuth: "required",
    alpn: [],
    minVersion: "1.2",
    sessionContext: randomBytes(32),
    ticketKeys: randomBytes(48),
    authorise: authoriser({ rules, label: "route web", now: Date.now }),
    ...spec,
  });
}

async function clientContext(
  spec: Partial<TlsContextSpec> = {},
  rules: PeerRule[] = [],
): Promise<NetTlsContext> {
  return createNetContext({
    side: "client",
    label: "cluster web",
    ...(await leaf("alice")),
    ca: (await authority()).cert,
    crl: null,
    clientAuth: "required",
    alpn: [],
    minVersion: "1.2",
    sessionContext: new Uint8Array(),
    ticketKeys: null,
    authorise: authoriser({ rules, label: "cluster web", now: Date.now, subjects: "servers" }),
    ...spec,
  });
}

/** Ends a socket as a stream's `finish` does. */
function finish(socket: Socket): void {
  const both = () => {
    if (socket.readableEnded && socket.writableFinished) socket.destroy();
  };
  socket
    .on("end", both)
    .on("finish", both)
    .on("error", () => {});
  socket.end();
  socket.resume();
  both();
}

/** Accepts with the context that `choose` returns now; a peer that is let in gets `answer` and the end. */
async function listening(
  t: TestContext,
  choose: () => NetTlsContext,
  answer: ((socket: Socket) => void) | null = greet,
) {
  const outcomes: Outcome[] = [];
  const waiting: ((outcome: Outcome) => void)[] = [];
  const open = new Set<Socket>();
  const server = createServer({ allowHalfOpen: true, pauseOnConnect: true }, (raw) => {
    open.add(raw);
    raw.on("close", () => open.delete(raw));
    const socket = secureSocket(raw, null, choose(), { serverName: null, sessionKey: "" }, (error, facts) => {
      const outcome = { error, facts, socket };
      const wake = waiting.shift();
      if (wake === undefined) outcomes.push(outcome);
      else wake(outcome);
      if (error !== null) finish(socket);
      else answer?.(socket);
    });
    socket.on("error", () => {});
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(async () => {
    server.close();
    // Every descriptor closes, or the test never ends.
    for (const socket of open) await once(socket, "close");
  });
  const next = () =>
    new Promise<Outcome>((resolve) => {
      const first = outcomes.shift();
      if (first === undefined) waiting.push(resolve);
      else resolve(first);
    });
  return { port: (server.address() as AddressInfo).port, next, open };
}

function greet(socket: Socket): void {
  socket.write("welcome\n");
  finish(socket);
}

function dial(port: number, context: NetTlsContext, name: string | null, sessionKey = "a"): Promise<Outcome> {
  return new Promise((resolve) => {
    const raw = connect({ port, host: "127.0.0.1", allowHalfOpen: true }, () => {
      raw.pause();
      const socket = secureSocket(raw, null, context, { serverName: name, sessionKey }, (error, facts) => {
        if (error !== null) finish(socket);
        resolve({ error, facts, socket });
      });
      socket.on("error", () => {});
    });
    raw.on("error", () => {});
  });
}

/** Reads to the end and closes; TLS 1.3 sessions arrive on the way. */
async function readAll(socket: Socket): Promise<string> {
  let text = "";
  socket.on("data", (chunk: Buffer) => {
    text += chunk;
  });
  if (!socket.readableEnded) await once(socket, "end");
  finish(socket);
  return text;
}

/** Files for `openssl s_client`: the CA, and a certificate to show. */
async function files(t: TestContext, pair: Pair | null) {
  const directory = directoryWith({
    "ca.crt": (await authority()).cert,
    ...(pair === null ? {} : { crt: pair.cert, key: pair.key }),
  });
  t.after(directory.remove);
  const at = (name: string) => join(directory.path, name);
  const shown = pair === null ? [] : ["-cert", at("crt"), "-key", at("key")];
  return { args: ["-CAfile", at("ca.crt"), ...shown], session: at("session") };
}

test("both ends learn who the other is and agree on the link", async (t) => {
  const context = await serverContext({ alpn: ["h2", "http/1.1"] });
  const server = await listening(t, () => context);
  const here = await dial(server.port, await clientContext({ alpn: ["http/1.1", "h2"] }), "web.example.test");
  const there = await server.next();
  assert.equal(here.error, null);
  assert.equal(there.error, null);
  assert.equal(here.facts?.version, "TLSv1.3");
  assert.equal(there.facts?.alpn, "h2", "the server's preference decides");
  assert.equal(here.facts.alpn, "h2");
  assert.match(here.facts.link!, /^[0-9a-f]{32}$/);
  assert.equal(here.facts.link, there.facts.link);
  assert.equal(there.facts.peer?.commonName, "alice");
  assert.equal(here.facts.peer?.commonName, "server");
  assert.equal(await readAll(here.socket), "welcome\n");
});

for (const version of ["-tls1_3", "-tls1_2"]) {
  test(`the link is what OpenSSL exports under its label (${version})`, async (t) => {
    const context = await serverContext();
    const server = await listening(t, () => context);
    const { args } = await files(t, await leaf("alice"));
    const exporter = ["-keymatexport", LINK_LABEL, "-keymatexportlen", String(LINK_BYTES)];
    const { output } = await sClient(server.port, [...args, version, ...exporter]);
    const { facts } = await server.next();
    assert.equal(/Keying material: ([0-9A-F]+)/.exec(output)?.[1]?.toLowerCase(), facts?.link);
  });
}

const REFUSED: [string, () => Promise<Pair>, number, string, RegExp][] = [
  [
    "a client of the CA that no rule names",
    () => leaf("mallory"),
    46,
    "DENIED",
    /CN=mallory.* would let it in/,
  ],
  ["a client of another CA", strange, 48, "HANDSHAKE", /CN=alice.*not vouched for/],
  ["a client that vouches for itself", selfSigned, 48, "HANDSHAKE", /CN=localhost/],
  ["an expired client", () => leaf("expired"), 45, "EXPIRED", /CN=expired.*has expired/],
  ["a client from the future", () => leaf("future"), 42, "EXPIRED", /CN=future.*compare the clocks/],
  ["a revoked client", () => leaf("revoked"), 44, "REVOKED", /CN=revoked.*revocation list/],
  [
    "a certificate for servers only",
    () => leaf("serverPurpose"),
    43,
    "HANDSHAKE",
    /CN=server purpose.*another purpose/,
  ],
];
for (const [who, pair, alert, code, message] of REFUSED) {
  test(`${who} is told so by an alert in TLS 1.3, and closed in order in TLS 1.2`, async (t) => {
    const context = await serverContext();
    const server = await listening(t, () => context);
    const { args } = await files(t, await pair());
    const result = await sClient(server.port, [...args, "-tls1_3"]);
    const { error, facts } = await server.next();
    assert.equal(error?.code, code);
    assert.match(error.message, message);
    assert.match(error.message, /^route web: /);
    assert.equal(error.alert, alert);
    assert.ok(facts?.peer, "the record can name the peer");
    assert.equal(result.alert, alert, result.output);
    const old = await sClient(server.port, [...args, "-tls1_2"]);
    assert.equal((await server.next()).error?.code, code);
    assert.equal(old.alert, null);
    assert.match(old.output, /^closed$/m);
    assert.ok(!old.output.includes("welcome"));
  });
}

for (const suite of ["TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"]) {
  test(`the alert is sealed under ${suite}`, async (t) => {
    const context = await serverContext();
    const server = await listening(t, () => context);
    const { args } = await files(t, await leaf("mallory"));
    const result = await sClient(server.port, [...args, "-ciphersuites", suite]);
    assert.equal(result.alert, 46, result.output);
    assert.equal((await server.next()).facts?.cipher, suite);
  });
}

test("a client that wants no tickets gets its alert too", async (t) => {
  const context = await serverContext();
  const server = await listening(t, () => context);
  const seen = await shakeHands(server.port, await leaf("mallory"));
  assert.equal(seen.at(-1), "alert 46");
  const welcome = await shakeHands(server.port, await leaf("alice"));
  assert.deepEqual(welcome.slice(-2), ["data welcome\n", "alert 0"], "close_notify and no truncation");
});

test("a missing certificate is refused by OpenSSL itself, unless it is optional", async (t) => {
  let context = await serverContext();
  const server = await listening(t, () => context);
  const { args } = await files(t, null);
  for (const [version, alert] of [
    ["-tls1_3", 116],
    ["-tls1_2", 40],
  ] as const) {
    const result = await sClient(server.port, [...args, version], "data that nobody will read\n");
    assert.equal(result.alert, alert, result.output);
    const { error } = await server.next();
    assert.equal(error?.code, "DENIED");
    assert.equal(error.alert, alert);
    assert.match(error.message, /showed no certificate/);
  }
  context = await serverContext({ clientAuth: "optional" });
  assert.match((await sClient(server.port, args)).output, /welcome/);
  const { error, facts } = await server.next();
  assert.equal(error, null);
  assert.equal(facts?.peer, null);
});

test("an optional certificate that is shown is judged", async (t) => {
  const context = await serverContext({ clientAuth: "optional" });
  const server = await listening(t, () => context);
  const { args } = await files(t, await leaf("mallory"));
  assert.equal((await sClient(server.port, args)).alert, 46);
  assert.equal((await server.next()).error?.code, "DENIED");
});

test("no common protocol, version or language is told by OpenSSL's own alert", async (t) => {
  let context = await serverContext({ alpn: ["h2"] });
  const server = await listening(t, () => context);
  const { args } = await files(t, await leaf("alice"));
  assert.equal((await sClient(server.port, [...args, "-alpn", "foo"])).alert, 120);
  assert.match((await server.next()).error!.message, /no application protocol/);
  assert.match((await sClient(server.port, args)).output, /welcome/, "who offers none is let in");
  assert.equal((await server.next()).facts?.alpn, null);
  context = await serverContext({ minVersion: "1.3" });
  assert.equal((await sClient(server.port, [...args, "-tls1_2"])).alert, 70);
  assert.equal((await server.next()).error?.code, "HANDSHAKE");
});

for (const version of ["-tls1_3", "-tls1_2"]) {
  test(`a session resumes, and is judged again when it does (${version})`, async (t) => {
    let allowed = true;
    const yes = authoriser({ rules: ALICE, label: "route web", now: Date.now });
    const no = authoriser({ rules: [{ kind: "cn", value: "nobody" }], label: "route web", now: Date.now });
    const context = await serverContext({ authorise: (peer, name) => (allowed ? yes : no)(peer, name) });
    const server = await listening(t, () => context);
    const { args, session } = await files(t, await leaf("alice"));
    assert.equal((await sClient(server.port, [...args, version, "-sess_out", session])).reused, false);
    const first = await server.next();
    assert.equal(first.facts?.resumed, false);
    const again = await sClient(server.port, [...args, version, "-sess_in", session]);
    assert.equal(again.reused, true);
    assert.match(again.output, /welcome/);
    const second = await server.next();
    assert.equal(second.facts?.resumed, true);
    assert.equal(second.facts?.peer?.commonName, "alice", "the ticket carries the certificate");
    allowed = false;
    const refused = await sClient(server.port, [...args, version, "-sess_in", session]);
    assert.equal(refused.reused, true);
    assert.ok(!refused.output.includes("welcome"));
    assert.equal(refused.alert, version === "-tls1_3" ? 46 : null);
    const third = await server.next();
    assert.equal(third.error?.code, "DENIED");
    assert.equal(third.facts?.resumed, true);
  });
}

test("a certificate that ends between two handshakes is refused though the session resumes", async (t) => {
  let now = Date.now();
  const context = await serverContext({
    authorise: authoriser({ rules: ALICE, label: "route web", now: () => now }),
  });
  const server = await listening(t, () => context);
  const client = await clientContext();
  await readAll((await dial(server.port, client, "localhost")).socket);
  now = (await server.next()).facts!.peer!.notAfter + 1;
  const here = await dial(server.port, client, "localhost");
  const there = await server.next();
  assert.equal(there.facts?.resumed, true);
  assert.equal(there.error?.code, "EXPIRED");
  finish(here.socket);
});

test("tickets open on every worker with the same key and policy, and nowhere else", async (t) => {
  const policy = randomBytes(32);
  const key = randomBytes(48);
  const contexts = {
    first: await serverContext({ sessionContext: policy, ticketKeys: key }),
    worker: await serverContext({ sessionContext: policy, ticketKeys: key }),
    route: await serverContext({ sessionContext: randomBytes(32), ticketKeys: key }),
    rotated: await serverContext({ sessionContext: policy, ticketKeys: randomBytes(48) }),
  };
  let context = contexts.first;
  const server = await listening(t, () => context);
  const resumes = async (there: NetTlsContext) => {
    const client = await clientContext();
    context = contexts.first;
    await readAll((await dial(server.port, client, "localhost")).socket);
    await server.next();
    context = there;
    const { error, facts, socket } = await dial(server.port, client, "localhost");
    assert.equal(error, null);
    assert.equal(facts?.peer?.commonName, "server");
    await readAll(socket);
    await server.next();
    return facts.resumed;
  };
  assert.equal(await resumes(contexts.worker), true);
  assert.equal(await resumes(contexts.route), false);
  assert.equal(await resumes(contexts.rotated), false);
});

test("a client keeps its sessions by key, within a bound, and only of servers that it let in", async (t) => {
  const context = await serverContext();
  const server = await listening(t, () => context);
  const client = await clientContext();
  const resumed = async (key: string) => {
    const { facts, socket } = await dial(server.port, client, "localhost", key);
    await readAll(socket);
    await server.next();
    return facts?.resumed;
  };
  assert.deepEqual([await resumed("a"), await resumed("a"), await resumed("b")], [false, true, false]);
  for (let index = 0; client.sessions.size < 512; index++)
    client.sessions.set(`filler ${index}`, client.sessions.get("a")!);
  await resumed("c");
  assert.equal(client.sessions.size, 512);
  const strict = await clientContext();
  await dial(server.port, strict, "another.test");
  await server.next();
  assert.equal(strict.sessions.size, 0);
});

test("sessions of TLS 1.2 are kept as well, and none of a refused server", async (t) => {
  const server = createTlsServer({ ...(await leaf("server")), maxVersion: "TLSv1.2" }, (socket) =>
    socket.end(),
  );
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => server.close());
  const { port } = server.address() as AddressInfo;
  const client = await clientContext();
  const refused = await dial(port, client, "another.test");
  assert.equal(refused.error?.code, "DENIED");
  assert.equal(refused.facts?.version, "TLSv1.2");
  assert.equal(client.sessions.size, 0);
  for (const resumed of [false, true]) {
    const { facts, socket } = await dial(port, client, "localhost");
    await readAll(socket);
    assert.equal(facts?.resumed, resumed);
    assert.equal(facts.peer?.commonName, "server");
  }
});

const SERVERS: [LeafName | "strange", string | null, string, number, RegExp][] = [
  ["server", "another.test", "DENIED", 46, /CN=server.*does not prove the name another.test/],
  ["cnOnly", "localhost", "DENIED", 46, /does not prove the name localhost/],
  ["expired", "localhost", "EXPIRED", 45, /CN=expired/],
  ["revoked", "localhost", "REVOKED", 44, /CN=revoked/],
  ["clientPurpose", "localhost", "HANDSHAKE", 43, /another purpose/],
  ["strange", "localhost", "HANDSHAKE", 48, /not vouched for|not in the trust bundle/],
  ["server", null, "DENIED", 46, /neither a rule nor a name/],
];
for (const [who, name, code, alert, message] of SERVERS) {
  test(`an upstream that shows ${who} for ${name} is refused, and told so`, async (t) => {
    const pair =
      who === "strange" ? await (await strangeAuthority()).issue({ dns: ["localhost"] }) : await leaf(who);
    const server = createTlsServer({ ...pair, minVersion: "TLSv1.3" });
    const alerted = new Promise<string>((resolve) => {
      server.on("secureConnection", (socket) =>
        socket.on("error", (error) => resolve(error.message)).resume(),
      );
    });
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    t.after(() => server.close());
    const client = await clientContext({ crl: await crl() });
    const { error, facts } = await dial((server.address() as AddressInfo).port, client, name);
    assert.equal(error?.code, code);
    assert.match(error.message, message);
    assert.match(error.message, /^cluster web: /);
    assert.ok(facts?.peer);
    assert.match(await alerted, new RegExp(`SSL alert number ${alert}\\b`));
  });
}

test("an IP literal is proved by an address and never sent as a name", async (t) => {
  const server = createTlsServer(await leaf("server"));
  const names: unknown[] = [];
  server.on("secureConnection", (socket: TLSSocket & { servername?: unknown }) => {
    names.push(socket.servername);
    socket.end();
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => server.close());
  const client = await clientContext();
  for (const name of ["127.0.0.1", "web.example.test."]) {
    const { error, socket } = await dial((server.address() as AddressInfo).port, client, name, name);
    assert.equal(error, null);
    await readAll(socket);
  }
  assert.deepEqual(names, [false, "web.example.test"]);
});

test("a server that refuses our certificate in TLS 1.2 is quoted with its alert", async (t) => {
  const server = createTlsServer({
    ...(await leaf("server")),
    ca: (await strangeAuthority()).cert,
    requestCert: true,
    rejectUnauthorized: true,
    maxVersion: "TLSv1.2",
  });
  server.on("tlsClientError", () => {});
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => server.close());
  const client = await clientContext({ cert: null, key: null });
  const { error } = await dial((server.address() as AddressInfo).port, client, "localhost");
  assert.equal(error?.code, "HANDSHAKE");
  assert.equal(error.alert, 40);
  assert.match(error.message, /alert 40, handshake_failure/);
});

test("bytes that were read before belong to the handshake", async (t) => {
  const context = await serverContext();
  const server = createServer({ allowHalfOpen: true, pauseOnConnect: true }, (raw) => {
    raw.once("data", (hello: Buffer) => {
      raw.pause();
      const socket = secureSocket(raw, hello, context, { serverName: null, sessionKey: "" }, (error) => {
        assert.equal(error, null);
        greet(socket);
      });
    });
    raw.resume();
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => server.close());
  const { socket } = await dial((server.address() as AddressInfo).port, await clientContext(), "localhost");
  assert.equal(await readAll(socket), "welcome\n");
});

test("a peer that leaves, resets or talks something else", async (t) => {
  const context = await serverContext();
  const server = await listening(t, () => context);
  const client = await clientContext();
  const meets = async (act: (socket: Socket) => void) => {
    const socket = connect(server.port, "127.0.0.1");
    socket.on("error", () => {});
    await once(socket, "connect");
    act(socket);
    const { error } = await server.next();
    socket.resume();
    if (!socket.destroyed) await once(socket, "close");
    return error;
  };
  assert.equal((await meets((socket) => socket.end()))?.code, "RESET");
  assert.equal((await meets((socket) => socket.end(Buffer.from([22, 3, 1, 2, 0, 1]))))?.code, "RESET");
  assert.equal((await meets((socket) => socket.resetAndDestroy()))?.code, "RESET");
  const plain = await meets((socket) => socket.write("GET / HTTP/1.0\r\n\r\n"));
  assert.equal(plain?.code, "HANDSHAKE");
  assert.match(plain.message, /^route web: TLS handshake failed: http request/);

  const greeter = createServer((socket) => socket.end("220 hello\r\n"));
  greeter.listen(0, "127.0.0.1");
  await once(greeter, "listening");
  t.after(() => greeter.close());
  const upstream = await dial((greeter.address() as AddressInfo).port, client, "localhost");
  assert.equal(upstream.error?.code, "HANDSHAKE");
  assert.match(upstream.error.message, /wrong version number/);
});

test("a refused peer that goes on sending still reads its alert, and is cut off", async (t) => {
  const context = await serverContext();
  const server = await listening(t, () => context);
  const { args } = await files(t, await leaf("mallory"));
  const result = await sClient(server.port, [...args, "-tls1_3"], "x".repeat(200_000));
  assert.equal(result.alert, 46);
});

test("a late reply arrives after the client has ended its direction", async (t) => {
  const context = await serverContext();
  const server = await listening(
    t,
    () => context,
    (socket) => {
      socket.resume();
      socket.on("end", () => socket.end("late reply"));
    },
  );
  const { socket } = await dial(server.port, await clientContext(), "localhost");
  socket.end("request");
  assert.equal(await readAll(socket), "late reply");
});

test("a socket reset in the middle of the handshake closes and tells nobody", async (t) => {
  const context = await serverContext();
  const server = createServer({ allowHalfOpen: true, pauseOnConnect: true });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => server.close());
  const peer = connect((server.address() as AddressInfo).port, "127.0.0.1");
  peer.on("error", () => {});
  const [[raw]] = (await Promise.all([once(server, "connection"), once(peer, "connect")])) as [
    [Socket],
    unknown,
  ];
  const closed = (socket: Socket) => new Promise((resolve) => socket.on("close", resolve));
  const told: (ProxyError | null)[] = [];
  const socket = secureSocket(raw, null, context, { serverName: null, sessionKey: "" }, (error) =>
    told.push(error),
  );
  socket.on("error", () => {});
  raw.on("error", () => {});
  const ends = [closed(socket), closed(peer)];
  raw.resetAndDestroy();
  socket.destroy();
  await Promise.all(ends);
  assert.ok(raw.destroyed);
  assert.deepEqual(told, []);
});

test("a context that OpenSSL refuses is an IDENTITY error", async () => {
  await assert.rejects(serverContext({ cert: "nonsense" }), { code: "IDENTITY" });
  const { cert } = await leaf("alice");
  await assert.rejects(serverContext({ cert }), { code: "IDENTITY" });
});
