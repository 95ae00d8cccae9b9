/**
 * Memory of TLS channels: what thousands of handshakes took is given back, however they end. OpenSSL allocates with malloc(3),
 * so mallinfo(3) sees what JavaScript's own heap would hide.
 */
import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { ProxyError } from "../../../lib/errors.ts";
import { close } from "../../../lib/ffi/libc.ts";
import { bind } from "../../../lib/ffi/library.ts";
import { createTlsEngine, type EpollTlsEngine } from "../../../lib/transport/epoll/tls.ts";
import type { EpollTlsChannel } from "../../../lib/transport/epoll/tls-channel.ts";
import type { EpollTlsContext } from "../../../lib/transport/epoll/tls-context.ts";
import { mallocInUse } from "../../gear/malloc.ts";
import { clientSpec, engine, room, serverSpec, shrink } from "./tls-gear.ts";

const ROUNDS = 100;
const STEPS = 5;
// What leaks does so for ever; what V8 takes while it compiles comes to an end.
const MOST_BATCHES = 25;
// Bytes per connection. The smallest thing that could be forgotten, a BIO, has 120.
const NOISE = 100;

setFlagsFromString("--expose-gc");
const collect = runInNewContext("gc") as () => void;
const socketpair = bind("socketpair", "int", ["int", "int", "int", "intptr_t"]);

function inUse(): number {
  collect();
  return mallocInUse();
}

/**
 * The second smallest step: what leaks does so in every batch, while what V8 takes for itself and gives back comes in jumps,
 * one of which may be downwards.
 */
function usualGrowth(used: readonly number[]): number {
  const steps = used.slice(1).map((now, index) => now - used[index]!);
  return steps.sort((a, b) => a - b)[1]!;
}

interface Two {
  readonly server: EpollTlsChannel;
  readonly client: EpollTlsChannel;
  readonly fds: readonly [number, number];
}

/** One connection, from socket to close. `drive` does with it what it likes. */
function connection(tls: EpollTlsEngine, contexts: Contexts, drive: (two: Two) => void): void {
  assert.equal(socketpair(1, 0o2004001, 0, room.address), 0);
  const fds = [room.bytes.readInt32LE(0), room.bytes.readInt32LE(4)] as const;
  const server = tls.channel(fds[0], contexts.server, { serverName: null, sessionKey: "" });
  const client = tls.channel(fds[1], contexts.client, { serverName: "localhost", sessionKey: contexts.key });
  try {
    drive({ server, client, fds });
  } finally {
    server.release();
    client.release();
    for (const fd of fds) close(fd);
  }
}

interface Contexts {
  readonly server: EpollTlsContext;
  readonly client: EpollTlsContext;
  key: string;
}

function stand({ server, client }: Two): void {
  assert.equal(client.handshake(), -11);
  assert.equal(server.handshake(), -11);
  assert.equal(client.handshake(), 1);
  assert.equal(server.handshake(), 1);
  assert.equal(client.read(room.address, 1024), -11);
}

function ping({ server, client }: Two): void {
  client.write(room.address, 100);
  assert.equal(server.read(room.address, 1024), 100);
  server.write(room.address, 65_536);
  client.read(room.address, 65_536);
}

async function flat(
  t: TestContext,
  contexts: Contexts,
  tls: EpollTlsEngine,
  drive: (two: Two) => void,
): Promise<void> {
  const batch = () => {
    for (let round = 0; round < ROUNDS; round++) connection(tls, contexts, drive);
    return inUse();
  };
  const used = [batch()];
  let growth = Number.POSITIVE_INFINITY;
  while (growth >= NOISE && used.length < MOST_BATCHES) {
    used.push(batch());
    if (used.length > STEPS) growth = usualGrowth(used.slice(-STEPS - 1)) / ROUNDS;
  }
  t.diagnostic(`${growth.toFixed(1)} bytes per connection`);
  assert.ok(growth < NOISE, `${growth} bytes per connection stay: ${used.join(" ")}`);
}

async function contexts(tls: EpollTlsEngine): Promise<Contexts> {
  return { server: tls.context(await serverSpec()), client: tls.context(await clientSpec()), key: "k" };
}

const ENDINGS: Readonly<Record<string, (two: Two, both: Contexts) => void>> = {
  "full handshakes, bytes, orderly ends": (two, both) => {
    stand(two);
    ping(two);
    two.client.end();
    assert.equal(two.server.read(room.address, 1024), 0);
    two.server.end();
    assert.equal(two.client.read(room.address, 1024), 0);
    assert.equal(two.server.facts().resumed, false);
    both.client.sessions.clear();
  },
  "resumed handshakes, ended without a word": (two) => {
    stand(two);
    ping(two);
  },
  "a hello and no more": ({ client, server }) => {
    client.handshake();
    server.handshake();
  },
  "a client that never answers": ({ client, server }) => {
    client.handshake();
    server.handshake();
    client.handshake();
  },
  "nothing at all": () => {},
  "a reader that never reads": (two) => {
    for (const fd of two.fds) shrink(fd);
    stand(two);
    while (two.server.write(room.address, 65_536) > 0);
    while (two.client.write(room.address, 65_536) > 0);
  },
};

for (const [what, drive] of Object.entries(ENDINGS)) {
  test(`nothing stays of ${what}`, async (t) => {
    const tls = engine(t);
    const both = await contexts(tls);
    await flat(t, both, tls, (two) => drive(two, both));
  });
}

test("nothing stays of refused clients", async (t) => {
  const tls = engine(t);
  const both = {
    server: tls.context(
      await serverSpec({ authorise: () => new ProxyError("DENIED", "never", { alert: 46 }) }),
    ),
    client: tls.context(await clientSpec()),
    key: "k",
  };
  await flat(t, both, tls, ({ client, server }) => {
    client.handshake();
    server.handshake();
    client.handshake();
    assert.ok(server.handshake() < -11);
    assert.ok(client.read(room.address, 1024) < -11);
    assert.equal(client.failure()?.alert, 46);
  });
});

test("nothing stays of contexts and engines that were released", async (t) => {
  const [server, client] = [await serverSpec({ alpn: ["h2"] }), await clientSpec({ alpn: ["h2"] })];
  const used: number[] = [];
  for (let batch = 0; batch < 6; batch++) {
    for (let round = 0; round < 10; round++) {
      const tls = createTlsEngine();
      const both = { server: tls.context(server), client: tls.context(client), key: "k" };
      connection(tls, both, stand);
      tls.release();
    }
    used.push(inUse());
  }
  const growth = usualGrowth(used) / 10;
  t.diagnostic(`${growth.toFixed(1)} bytes per engine with two contexts`);
  // Each has some 300 KiB; koffi keeps the types of its callbacks.
  assert.ok(growth < 1500, `${growth} bytes per engine stay: ${used.join(" ")}`);
});
