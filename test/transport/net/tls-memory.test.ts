/**
 * Memory of TLS on Node's sockets: what handshakes took is given back, and a fault of ours takes nobody else with it. OpenSSL
 * allocates with malloc(3), so mallinfo2(3) sees what no heap of V8 shows.
 */
import assert from "node:assert/strict";
import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { type TestContext, test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import type { ProxyError } from "../../../lib/errors.ts";
import { createNetContext, type NetTlsContext, secureSocket } from "../../../lib/transport/net/tls.ts";
import type { TlsContextSpec } from "../../../lib/transport/transport.ts";
import { authority, leaf } from "../../gear/certificates.ts";
import { mallocInUse } from "../../gear/malloc.ts";

setFlagsFromString("--expose-gc");
const collect = runInNewContext("gc") as () => void;

const ROUNDS = 60;
const BATCHES = 5;
// Bytes per connection. A certificate that is forgotten at one end is 4,700.
const NOISE = 1_500;

async function contexts(
  spec: Partial<TlsContextSpec> = {},
): Promise<{ server: NetTlsContext; client: NetTlsContext }> {
  const common = {
    ca: (await authority()).cert,
    crl: null,
    clientAuth: "required",
    alpn: [],
    minVersion: "1.2",
    sessionContext: new Uint8Array(32),
    ticketKeys: null,
    authorise: () => null,
  } as const;
  return {
    server: createNetContext({
      ...common,
      ...(await leaf("server")),
      side: "server",
      label: "route test",
      ...spec,
    }),
    client: createNetContext({ ...common, ...(await leaf("alice")), side: "client", label: "cluster test" }),
  };
}

interface Both {
  readonly server: ProxyError | null;
  readonly client: ProxyError | null;
}

/** Hands sockets over to TLS at both ends; each call of `shake` is one connection, from dial to close. */
async function ends(t: TestContext, { server, client }: Awaited<ReturnType<typeof contexts>>) {
  let judged: (error: ProxyError | null) => void = () => {};
  const listener = createServer({ allowHalfOpen: true, pauseOnConnect: true }, (raw) => {
    const socket: Socket = secureSocket(raw, null, server, { serverName: null, sessionKey: "" }, (error) => {
      judged(error);
      socket.resume();
      socket.end();
    });
    socket.on("error", () => {});
  });
  listener.listen(0, "127.0.0.1");
  await once(listener, "listening");
  t.after(() => listener.close());
  const { port } = listener.address() as AddressInfo;
  let made = 0;
  return async (): Promise<Both> => {
    const verdict = new Promise<ProxyError | null>((resolve) => {
      judged = resolve;
    });
    const raw = connect({ port, host: "127.0.0.1", allowHalfOpen: true });
    await once(raw, "connect");
    raw.pause();
    const own = new Promise<ProxyError | null>((resolve) => {
      // A key of its own: every handshake is a full one.
      const options = { serverName: "localhost", sessionKey: String(made++) };
      const socket: Socket = secureSocket(raw, null, client, options, (error) => {
        resolve(error);
        socket.resume();
        socket.end();
      });
      socket.on("error", () => {});
    });
    const both = { server: await verdict, client: await own };
    if (!raw.destroyed) await once(raw, "close");
    return both;
  };
}

/** Weak references go in the turn behind a collection. */
async function inUse(): Promise<number> {
  for (let time = 0; time < 3; time++) {
    collect();
    await delay(1);
  }
  return mallocInUse();
}

test("nothing stays of handshakes with certificates at both ends", async (t) => {
  const both = await contexts();
  const shake = await ends(t, both);
  const used: number[] = [];
  for (let batch = 0; batch <= BATCHES; batch++) {
    for (let round = 0; round < ROUNDS; round++) {
      const { server, client } = await shake();
      assert.deepEqual([server, client], [null, null]);
    }
    both.client.sessions.clear();
    used.push(await inUse());
  }
  const steps = used.slice(1).map((now, index) => now - used[index]!);
  // What leaks does so in every batch; what V8 takes for itself comes in jumps.
  const growth = steps.sort((a, b) => a - b)[1]! / ROUNDS;
  t.diagnostic(`${growth.toFixed(1)} bytes per connection`);
  assert.ok(growth < NOISE, `${growth} bytes per connection stay: ${used.join(" ")}`);
});

test("a fault in authorise ends its connection as one of ours", async (t) => {
  const broken = () => {
    throw new TypeError("a bug");
  };
  const shake = await ends(t, await contexts({ authorise: broken }));
  const { server } = await shake();
  assert.equal(server?.code, "INTERNAL");
  assert.match(server.message, /a bug/);
});
