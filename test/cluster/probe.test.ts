/** One check against real endpoints that are well, gone, mute, wrong or rude. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { it, type TestContext } from "node:test";
import { createServer as createTlsServer, type TlsOptions } from "node:tls";
import { systemClock } from "../../lib/cluster/clock.ts";
import { directEndpoint, type Endpoint } from "../../lib/cluster/endpoint.ts";
import { connectTlsWith } from "../../lib/cluster/handshake.ts";
import { type ProbeOptions, probe } from "../../lib/cluster/probe.ts";
import type { HealthConfig } from "../../lib/config/config.ts";
import { authoriser } from "../../lib/tls/authorise.ts";
import { peerFromDer } from "../../lib/tls/peer.ts";
import type { TlsContextSpec } from "../../lib/transport/transport.ts";
import { authority, crl, leaf, strange } from "../gear/certificates.ts";

/** Long beside a loopback connection, short beside a test. */
const TIMEOUT = 400;

function optionsOf(health: Partial<HealthConfig> = {}, rest: Partial<ProbeOptions> = {}): ProbeOptions {
  return {
    health: {
      interval: 5000,
      timeout: TIMEOUT,
      rise: 2,
      fall: 3,
      check: "tcp",
      send: null,
      expect: null,
      ...health,
    },
    preamble: null,
    connectTls: null,
    clock: systemClock,
    ...rest,
  };
}

async function listening(t: TestContext, server: Server, path?: string): Promise<Endpoint> {
  const sockets = new Set<Socket>();
  server.on("connection", (socket: Socket) => {
    sockets.add(socket);
    socket.on("error", () => {});
    socket.on("close", () => sockets.delete(socket));
  });
  await new Promise<void>((resolve) => {
    if (path === undefined) server.listen(0, "127.0.0.1", resolve);
    else server.listen(path, resolve);
  });
  t.after(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  const address = server.address();
  if (typeof address === "string") return directEndpoint({ kind: "unix", path: address });
  return directEndpoint({ kind: "ip", host: "127.0.0.1", port: address!.port });
}

/** An endpoint that answers each connection with `serve`. */
function endpoint(t: TestContext, serve: (socket: Socket) => void): Promise<Endpoint> {
  return listening(t, createServer(serve));
}

it("passes an endpoint that accepts and stays", async (t) => {
  assert.equal(await probe(await endpoint(t, () => {}), optionsOf()), null);
});

it("passes one that speaks first", async (t) => {
  const greeter = await endpoint(t, (socket) => socket.end("220 ready\r\n"));
  assert.equal(await probe(greeter, optionsOf()), null);
});

it("fails where nobody listens", async (t) => {
  const server = createServer();
  const gone = await listening(t, server);
  await new Promise((resolve) => server.close(resolve));
  assert.match((await probe(gone, optionsOf()))!, /ECONNREFUSED/);
});

it("fails one that accepts and resets at once", async (t) => {
  const rude = await endpoint(t, (socket) => socket.resetAndDestroy());
  assert.match((await probe(rude, optionsOf()))!, /ECONNRESET|closed/);
});

it("fails one that accepts and closes without a word, unless it was told that this is a check", async (t) => {
  const closes = await endpoint(t, (socket) => socket.resume().end());
  assert.match((await probe(closes, optionsOf()))!, /closed without an answer/);
  assert.equal(await probe(closes, optionsOf({}, { preamble: Buffer.from("PROXY UNKNOWN\r\n") })), null);
});

it("sends, and passes what begins with the expected bytes, however they are cut", async (t) => {
  const echo = await endpoint(t, (socket) => {
    socket.setNoDelay(true);
    socket.once("data", (question) => {
      socket.write(question.subarray(0, 2), () =>
        setImmediate(() => socket.write("NG\xd2 and more", "latin1")),
      );
    });
  });
  assert.equal(await probe(echo, optionsOf({ send: "PI", expect: "PING\xd2" })), null);
});

it("fails wrong bytes at the first one, and says what came", async (t) => {
  const wrong = await endpoint(t, (socket) => socket.write("-ERR\r\nloading"));
  const fault = await probe(wrong, optionsOf({ send: "PING\r\n", expect: "+PONG" }));
  assert.match(fault!, /answered "-ERR\\r\\nloading"/);
});

it("fails an answer that ends too early", async (t) => {
  const short = await endpoint(t, (socket) => socket.end("+PO"));
  assert.match((await probe(short, optionsOf({ expect: "+PONG" })))!, /closed without an answer/);
});

it("fails one that accepts and hangs where an answer is due", async (t) => {
  const mute = await endpoint(t, () => {});
  assert.match((await probe(mute, optionsOf({ expect: "+PONG" })))!, /no answer within 400 ms/);
});

it("sends the PROXY header ahead of everything", async (t) => {
  let seen = "";
  const reads = await endpoint(t, (socket) => {
    socket.on("data", (bytes) => {
      seen += bytes.toString();
      if (seen.endsWith("hello")) socket.write("yes");
    });
  });
  const options = optionsOf({ send: "hello", expect: "yes" }, { preamble: Buffer.from("header/") });
  assert.equal(await probe(reads, options), null);
  assert.equal(seen, "header/hello");
});

it("checks UNIX sockets", async (t) => {
  const folder = mkdtempSync(join(tmpdir(), "probe-"));
  t.after(() => rmSync(folder, { recursive: true }));
  const path = join(folder, "s");
  const server = createServer();
  assert.equal(await probe(await listening(t, server, path), optionsOf()), null);
  assert.match((await probe(directEndpoint({ kind: "unix", path: `${path}2` }), optionsOf()))!, /ENOENT/);
});

it("closes its connection whatever came out", async (t) => {
  let open = 0;
  const closed: Promise<void>[] = [];
  const counts = await endpoint(t, (socket) => {
    open++;
    closed.push(
      new Promise((resolve) =>
        socket.resume().on("close", () => {
          open--;
          resolve();
        }),
      ),
    );
    socket.write("hm");
  });
  await probe(counts, optionsOf());
  await probe(counts, optionsOf({ expect: "hm" }));
  await probe(counts, optionsOf({ expect: "other" }));
  await Promise.all(closed);
  assert.equal(open, 0);
  assert.equal(closed.length, 3);
});

async function tlsEndpoint(t: TestContext, options: TlsOptions): Promise<Endpoint> {
  const server = createTlsServer(options, (socket) => {
    socket.on("error", () => {});
    socket.on("data", (bytes) => socket.write(bytes));
  });
  server.on("tlsClientError", () => {});
  return listening(t, server);
}

async function spec(overrides: Partial<TlsContextSpec> = {}): Promise<TlsContextSpec> {
  return {
    side: "client",
    label: "cluster web",
    cert: null,
    key: null,
    ca: (await authority()).cert,
    crl: null,
    clientAuth: "required",
    alpn: [],
    minVersion: "1.2",
    sessionContext: new Uint8Array(1),
    ticketKeys: null,
    authorise: authoriser({ rules: [], label: "cluster web", now: Date.now, subjects: "servers" }),
    ...overrides,
  };
}

async function tlsProbe(
  at: Endpoint,
  name: string,
  overrides: Partial<TlsContextSpec> = {},
): Promise<string | null> {
  const connectTls = connectTlsWith(await spec(overrides), name, peerFromDer);
  return probe(
    at,
    optionsOf({ check: "tls", timeout: 3000, send: "over TLS", expect: "over TLS" }, { connectTls }),
  );
}

it("handshakes, authorises and talks over TLS", async (t) => {
  const secure = await tlsEndpoint(t, { ...(await leaf("server")) });
  assert.equal(await tlsProbe(secure, "web.example.test"), null);
});

it("fails a peer that the trust bundle does not vouch for", async (t) => {
  const secure = await tlsEndpoint(t, { ...(await strange()) });
  assert.match((await tlsProbe(secure, "web.example.test"))!, /^TLS handshake: /);
});

it("fails a revoked peer", async (t) => {
  const secure = await tlsEndpoint(t, { ...(await leaf("revoked")) });
  assert.equal(await tlsProbe(secure, "localhost"), null);
  assert.match((await tlsProbe(secure, "localhost", { crl: await crl() }))!, /^TLS handshake: .*revoked/);
});

it("fails a peer that connections would not let in", async (t) => {
  const secure = await tlsEndpoint(t, { ...(await leaf("server")) });
  assert.match((await tlsProbe(secure, "other.example.test"))!, /^TLS handshake: cluster web: /);
});

it("fails where the endpoint wants a certificate that the cluster has not, and passes with one", async (t) => {
  const ca = (await authority()).cert;
  const secure = await tlsEndpoint(t, {
    ...(await leaf("server")),
    ca,
    requestCert: true,
    rejectUnauthorized: true,
  });
  assert.notEqual(await tlsProbe(secure, "localhost"), null);
  assert.equal(await tlsProbe(secure, "localhost", await leaf("alice")), null);
});

it("fails where TCP succeeds and TLS does not: plain bytes, a reset, silence", async (t) => {
  const plain = await endpoint(t, (socket) => socket.end("HTTP/1.1 400 Bad Request\r\n\r\n"));
  assert.match((await tlsProbe(plain, "localhost"))!, /^TLS handshake: /);
  const resets = await endpoint(t, (socket) => socket.once("data", () => socket.resetAndDestroy()));
  assert.match((await tlsProbe(resets, "localhost"))!, /^TLS handshake: /);
  const mute = await endpoint(t, () => {});
  const connectTls = connectTlsWith(await spec(), "localhost", peerFromDer);
  const options = optionsOf({ check: "tls" }, { connectTls });
  assert.match((await probe(mute, options))!, /no TLS handshake within 400 ms/);
});
