/**
 * Bytes through a TLS channel: all of them, in order, ended as the other side ended them, whatever the chunks and the socket do.
 */
import assert from "node:assert/strict";
import { type ChildProcessWithoutNullStreams, spawn } from "node:child_process";
import { createHash, randomInt } from "node:crypto";
import { once } from "node:events";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { TLSSocket } from "node:tls";
import { SHUT_WR } from "../../../lib/ffi/layout.ts";
import { recv, send, shutdown } from "../../../lib/ffi/libc.ts";
import { bind } from "../../../lib/ffi/library.ts";
import { FAILED, TRUNCATED, WOULD_BLOCK } from "../../../lib/transport/epoll/channel.ts";
import type { EpollTlsChannel } from "../../../lib/transport/epoll/tls-channel.ts";
import { authority, directoryWith, leaf } from "../../gear/certificates.ts";
import {
  accepted,
  channelOn,
  clientSpec,
  dialled,
  type Ends,
  ends,
  engine,
  handshake,
  listening,
  receive,
  room,
  sendAll,
  serverSpec,
  socketPair,
  stand,
  tcpServer,
  until,
} from "./tls-gear.ts";

const MIB = 1024 * 1024;

async function standing(t: TestContext, options: { readonly small?: boolean } = {}): Promise<Ends> {
  const tls = engine(t);
  const both = ends(t, tls, tls.context(await serverSpec()), tls.context(await clientSpec()), options);
  stand(both);
  return both;
}

function put(text: string): number {
  return room.bytes.write(text, 0, "latin1");
}

function take(channel: EpollTlsChannel, length = 65_536): string | number {
  const got = channel.read(room.address, length);
  return got > 0 ? room.bytes.toString("latin1", 0, got) : got;
}

test("half-close is carried both ways, and the other direction goes on", async (t) => {
  const { server, client, clientFd } = await standing(t);
  client.write(room.address, put("request"));
  assert.equal(client.end(), 0);
  assert.equal(client.end(), 0, "done before is done");
  assert.equal(take(server), "request");
  assert.equal(take(server), 0);
  assert.equal(take(server), 0, "an end stays an end");
  assert.equal(take(client), WOULD_BLOCK);
  for (let round = 0; round < 3; round++) {
    server.write(room.address, put("a late answer"));
    assert.equal(take(client), "a late answer");
  }
  assert.equal(server.end(), 0);
  assert.equal(take(client), 0);
  assert.equal(recv(clientFd, room.address, 10, 0), 0, "FIN follows close_notify");
});

test("FIN without close_notify is a truncation, with and without a record cut off", async (t) => {
  const whole = await standing(t);
  whole.client.write(room.address, put("all there"));
  shutdown(whole.clientFd, SHUT_WR);
  assert.equal(take(whole.server), "all there", "what came before is delivered");
  assert.equal(take(whole.server), TRUNCATED);
  assert.equal(whole.server.failure()?.code, "RESET");
  assert.match(whole.server.failure()?.message ?? "", /without close_notify/);

  const cut = await standing(t);
  put("\x17\x03\x03\x01\x00half a record");
  send(cut.clientFd, room.address, 18, 0);
  shutdown(cut.clientFd, SHUT_WR);
  assert.equal(take(cut.server), TRUNCATED);
});

test("a record that was tampered with ends the connection with bad_record_mac", async (t) => {
  const { server, client, clientFd } = await standing(t);
  put(`\x17\x03\x03\x00\x20${"x".repeat(32)}`);
  send(clientFd, room.address, 37, 0);
  assert.equal(take(server), FAILED);
  assert.equal(server.failure()?.code, "HANDSHAKE");
  assert.equal(server.failure()?.alert, 20);
  assert.equal(take(client), FAILED);
  assert.equal(client.failure()?.alert, 20, "the other side is told");
  assert.equal(server.end(), 0);
});

test("a reset is told by its error number, to the reader and to the writer", async (t) => {
  const tls = engine(t);
  const context = tls.context(await clientSpec());
  const pair = await leaf("server");
  const port = await tcpServer(t, (raw) => {
    const peer = new TLSSocket(raw, { isServer: true, ...pair });
    peer.on("error", () => {});
    peer.on("data", () => raw.resetAndDestroy());
  });
  const channel = channelOn(t, tls, dialled(t, port), context);
  assert.equal(await handshake(channel), 1);
  await sendAll(channel, Buffer.from("reset me"));
  let end: number | string = WOULD_BLOCK;
  await until("the reset", () => {
    end = take(channel);
    return end !== WOULD_BLOCK;
  });
  assert.equal(end, -104);
  assert.equal(take(channel), -104);
  assert.equal(channel.write(room.address, 10), -32);
  assert.equal(channel.write(room.address, 10), -32);
});

test("data that came with the last flight needs no further edge", async (t) => {
  const tls = engine(t);
  const { server, client } = ends(t, tls, tls.context(await serverSpec()), tls.context(await clientSpec()));
  client.handshake();
  server.handshake();
  assert.equal(client.handshake(), 1);
  client.write(room.address, put("early bird"));
  assert.equal(server.handshake(), 1);
  assert.equal(server.drained(), false);
  assert.equal(take(server), "early bird");
  assert.equal(take(server), WOULD_BLOCK);
  assert.equal(server.drained(), true);
});

test("a short read that leaves something behind has not drained", async (t) => {
  const { server, client } = await standing(t);
  for (let round = 0; round < 2; round++) {
    client.write(room.address, put("0123456789"));
    assert.equal(take(server, 4), "0123");
    assert.equal(server.drained(), false);
    assert.equal(take(server), "456789");
    assert.equal(server.drained(), true);
    assert.equal(take(server), WOULD_BLOCK);
  }
});

/** Both ends with a wire between them that delivers what it is told to. `prepare` does with the client's context what it likes. */
async function wired(t: TestContext, prepare: (pointer: number) => void = () => {}) {
  const tls = engine(t);
  const context = tls.context(await clientSpec());
  prepare(context.pointer);
  const [outer, clientFd] = socketPair(t);
  const [inner, serverFd] = socketPair(t);
  const client = channelOn(t, tls, clientFd, context);
  const server = channelOn(t, tls, serverFd, tls.context(await serverSpec()));
  const carry = (from: number, to: number, length: number): number => {
    const count = recv(from, room.address, length, 0);
    if (count > 0) assert.equal(send(to, room.address, count, 0), count);
    return Math.max(count, 0);
  };
  for (let turn = 0; turn < 4; turn++) {
    client.handshake();
    carry(outer, inner, 65_536);
    server.handshake();
    carry(inner, outer, 65_536);
  }
  assert.equal(take(client), WOULD_BLOCK);
  assert.equal(take(server), WOULD_BLOCK);
  return { client, server, deliver: (length: number) => carry(outer, inner, length) };
}

/** What a reader gets on one edge that goes on until it is told that nothing more is there. */
function readEdge(channel: EpollTlsChannel): number {
  for (let total = 0; ; ) {
    const got = channel.read(room.address, 65_536);
    if (got === WOULD_BLOCK) return total;
    assert.ok(got > 0);
    total += got;
    if (channel.drained()) return total;
  }
}

test("a record in two pieces hides what follows it from nobody", async (t) => {
  const { client, server, deliver } = await wired(t);
  for (let round = 0; round < 3; round++) {
    for (let record = 0; record < 2; record++) client.write(room.address, 1000);
    deliver(500);
    assert.equal(readEdge(server), 0);
    deliver(65_536);
    assert.equal(readEdge(server), 2000);
  }
});

const SSL_CTRL_SET_MAX_PROTO_VERSION = 124; // openssl/ssl.h
const BLOCK = 512;
const padTo = bind("SSL_CTX_set_block_padding", "int", ["intptr_t", "size_t"]);
const askForSmall = bind("SSL_CTX_set_tlsext_max_fragment_length", "int", ["intptr_t", "int"]);

interface Records {
  readonly prepare?: (context: number) => void;
  /** Bytes of data in a record at most. */
  readonly most: number;
  /** Bytes on the wire of a record with so many of data: header, data, content type, padding, tag. */
  readonly onWire: (size: number) => number;
}

const KINDS: Readonly<Record<string, Records>> = {
  "records as they are": { most: 16_384, onWire: (size) => 5 + size + 1 + 16 },
  "padded records": {
    prepare: (context) => assert.equal(padTo(context, BLOCK), 1),
    most: 16_384,
    onWire: (size) => 5 + (size + 1 < 16_384 ? Math.ceil((size + 1) / BLOCK) * BLOCK : size + 1) + 16,
  },
  // Newer versions of OpenSSL then read less at a time than a whole record of the usual size.
  "records of 512 bytes, which the client asked for": {
    prepare: (context) => assert.equal(askForSmall(context, 1), 1),
    most: 512,
    onWire: (size) => 5 + size + 1 + 16,
  },
};

for (const [what, kind] of Object.entries(KINDS)) {
  test(`however the wire cuts it, every edge brings all that is whole of ${what}`, (t) =>
    cutAnywhere(t, kind));
}

async function cutAnywhere(t: TestContext, { prepare, most, onWire }: Records): Promise<void> {
  const { client, server, deliver } = await wired(t, prepare);
  let [written, got, carried, wire] = [0, 0, 0, 0];
  /** For each record where it ends on the wire, and how much plaintext there is up to its end. */
  const records: [number, number][] = [];
  for (let round = 0; round < 2000; round++) {
    if (wire - carried < 100_000) {
      const length = randomInt(4) === 0 ? randomInt(1, 50_000) : randomInt(1, 300);
      assert.equal(client.write(room.address, length), length);
      for (let left = length; left > 0; left -= most) {
        const size = Math.min(left, most);
        written += size;
        wire += onWire(size);
        records.push([wire, written]);
      }
    }
    // Cuts within the next header are the ones that OpenSSL keeps quiet about.
    const header = records[0]![0] - carried + randomInt(6);
    carried += deliver([65_536, header, randomInt(1, 300), randomInt(1, 20_000)][randomInt(4)]! || 1);
    got += readEdge(server);
    let whole = got;
    while (records.length > 0 && records[0]![0] <= carried) whole = records.shift()![1];
    assert.equal(got, whole, `round ${round}`);
  }
}

test("one write takes four records, one read gathers them", async (t) => {
  const { server, client } = await standing(t);
  room.bytes.fill(0x61, 0, 65_536);
  assert.equal(client.write(room.address, 65_536), 65_536);
  assert.equal(server.read(room.address, 65_536), 65_536);
  assert.ok(room.bytes.subarray(0, 65_536).every((byte) => byte === 0x61));
});

for (const version of [0x0303, 0x0304]) {
  test(`one write takes as much in the smallest records there are, of version 0x${version.toString(16)}`, async (t) => {
    const tls = engine(t);
    const context = tls.context(await clientSpec());
    assert.equal(askForSmall(context.pointer, 1), 1);
    assert.equal(tls.lib.SSL_CTX_ctrl(context.pointer, SSL_CTRL_SET_MAX_PROTO_VERSION, version, 0), 1);
    const both = ends(t, tls, tls.context(await serverSpec()), context);
    stand(both);
    for (let round = 0; round < 3; round++) {
      assert.equal(both.server.write(room.address, 65_536), 65_536);
      let got = 0;
      while (got < 65_536) got += both.client.read(room.address, 65_536);
      assert.equal(got, 65_536);
    }
  });
}

test("a full socket: the last byte is kept back, others write on, nothing is lost", async (t) => {
  const tls = engine(t);
  const contexts = [tls.context(await serverSpec()), tls.context(await clientSpec())] as const;
  const slow = ends(t, tls, ...contexts, { small: true });
  const slower = ends(t, tls, ...contexts, { small: true });
  const quick = ends(t, tls, ...contexts);
  for (const both of [slow, slower, quick]) stand(both);
  const hashes = new Map<Ends, ReturnType<typeof createHash>>();
  const written = new Map<Ends, number>();
  const source = allBytes();
  for (const both of [slow, slower]) {
    const hash = createHash("sha256");
    let total = 0;
    for (;;) {
      const from = total % (source.length - 65_536);
      source.copy(room.bytes, 0, from, from + 65_536);
      const taken = both.client.write(room.address, 65_536);
      if (taken > 0) {
        hash.update(room.bytes.subarray(0, taken));
        total += taken;
        if (taken === 65_536) continue;
        assert.equal(taken, 65_535, "all but the byte that the caller is to wait with");
      }
      const last = room.bytes.subarray(Math.max(taken, 0), 65_536);
      assert.equal(both.client.write(room.address + 65_535, 1), WOULD_BLOCK);
      // The same byte, from another address, with more behind it.
      const rest = Buffer.concat([last, Buffer.from("tail")]);
      hash.update(rest);
      total += rest.length;
      hashes.set(both, hash);
      written.set(both, total);
      const offer = Buffer.from(rest);
      void (async () => {
        await sendAll(both.client, offer);
        both.client.end();
      })();
      break;
    }
  }
  quick.client.write(room.address, put("while others wait"));
  assert.equal(take(quick.server), "while others wait");
  for (const both of [slow, slower]) {
    const { bytes, end } = await receive(both.server);
    assert.equal(end, 0);
    assert.equal(bytes.length, written.get(both));
    assert.equal(createHash("sha256").update(bytes).digest("hex"), hashes.get(both)!.digest("hex"));
  }
});

test("a channel that is released with unsent output takes nothing with it", async (t) => {
  const tls = engine(t);
  const contexts = [tls.context(await serverSpec()), tls.context(await clientSpec())] as const;
  for (let round = 0; round < 40; round++) {
    const both = ends(t, tls, ...contexts, { small: true });
    stand(both);
    room.bytes.fill(round, 0, 65_536);
    for (let taken = 1; taken > 0; ) taken = both.client.write(room.address, 65_536);
    both.client.release();
    both.server.release();
  }
  const last = ends(t, tls, ...contexts);
  stand(last);
  last.client.write(room.address, put("clean"));
  assert.equal(take(last.server), "clean");
});

test("an end waits for what the socket has not taken", async (t) => {
  const { server, client } = await standing(t, { small: true });
  room.bytes.fill(7, 0, 65_536);
  let total = 0;
  for (
    let taken = client.write(room.address, 65_536);
    taken > 0;
    taken = client.write(room.address, 65_536)
  ) {
    total += taken;
    if (taken < 65_536) break;
  }
  assert.equal(client.end(), WOULD_BLOCK);
  let ended = WOULD_BLOCK;
  const all = receive(server);
  await until("the end", () => {
    ended = client.end();
    return ended !== WOULD_BLOCK;
  });
  assert.equal(ended, 0);
  const { bytes, end } = await all;
  assert.equal(end, 0);
  assert.equal(bytes.length, total + 1, "the byte that was kept back was encrypted with the others");
});

test("64 MiB each way at once, in random chunks", async (t) => {
  const { server, client } = await standing(t);
  const source = allBytes();
  const way = (from: EpollTlsChannel, to: EpollTlsChannel) => {
    const [sent, got] = [createHash("sha1"), createHash("sha1")];
    let [left, held, offer, ended] = [64 * MIB, 0, 0, false];
    return {
      step(): boolean {
        if (left > 0) {
          if (held === 0) {
            held = Math.min(left, randomInt(1, 70_000));
            offer = randomInt(0, source.length - held);
          }
          source.copy(room.bytes, 0, offer, offer + held);
          const taken = from.write(room.address, held);
          if (taken > 0) {
            sent.update(source.subarray(offer, offer + taken));
            held -= taken;
            offer += taken;
            left -= taken;
          } else assert.equal(taken, WOULD_BLOCK);
        } else if (!ended) ended = from.end() === 0;
        const read = to.read(room.address, randomInt(1, 65_537));
        if (read > 0) got.update(room.bytes.subarray(0, read));
        else if (read !== 0) assert.equal(read, WOULD_BLOCK);
        return !(ended && read === 0);
      },
      check: () => assert.equal(got.digest("hex"), sent.digest("hex")),
    };
  };
  const [up, down] = [way(client, server), way(server, client)];
  for (let [a, b] = [true, true]; a || b; ) {
    a = a && up.step();
    b = b && down.step();
  }
  up.check();
  down.check();
});

test("half-close with a node:tls peer, which ends first and then hears a long answer", async (t) => {
  const tls = engine(t);
  const context = tls.context(await clientSpec());
  const pair = await leaf("server");
  const heard: Buffer[] = [];
  let peer: TLSSocket | null = null;
  const port = await tcpServer(t, (raw) => {
    peer = new TLSSocket(raw, { isServer: true, ...pair, allowHalfOpen: true } as never);
    peer.on("error", () => {});
    peer.on("data", (chunk) => heard.push(chunk));
    peer.end("that is all from here");
  });
  const channel = channelOn(t, tls, dialled(t, port), context);
  assert.equal(await handshake(channel), 1);
  const { bytes, end } = await receive(channel);
  assert.equal(String(bytes), "that is all from here");
  assert.equal(end, 0);
  const answer = allBytes().subarray(0, MIB);
  await sendAll(channel, answer);
  assert.equal(channel.end(), 0);
  await once(peer!, "end");
  assert.ok(Buffer.concat(heard).equals(answer));
});

for (const [command, what] of [
  ["k", "KeyUpdate"],
  ["K", "KeyUpdate that asks for one back"],
] as const) {
  test(`${what} from s_client in the middle of a stream`, async (t) => {
    const { channel, child, output } = await interactive(t, ["-tls1_3"]);
    for (let round = 0; round < 3; round++) {
      child.stdin.write(`line ${round}\n`);
      assert.equal(String((await receive(channel, 7)).bytes), `line ${round}\n`);
      child.stdin.write(`${command}\n`);
      await until("KEYUPDATE", () => output().split("KEYUPDATE").length === round + 2);
      child.stdin.write("more\n");
      assert.equal(String((await receive(channel, 5)).bytes), "more\n");
      await sendAll(channel, Buffer.from(`answer ${round};`));
      await until("the answer", () => output().includes(`answer ${round};`));
    }
  });
}

test("renegotiation is refused in TLS 1.2", async (t) => {
  const { channel, child, output } = await interactive(t, ["-tls1_2"]);
  child.stdin.write("before\n");
  assert.equal(String((await receive(channel, 7)).bytes), "before\n");
  child.stdin.write("R\n");
  await until("RENEGOTIATING", () => output().includes("RENEGOTIATING"));
  const { bytes } = await Promise.race([receive(channel), once(child, "close").then(() => ({ bytes: "" }))]);
  assert.equal(String(bytes), "");
  // The channel may have seen the end before the child's last words have come.
  await until("its refusal", () => /no renegotiation|NO_RENEGOTIATION/i.test(output()));
  assert.equal(channel.facts().version, "TLSv1.2");
});

/** s_client with its commands, on a channel that stands. */
async function interactive(
  t: TestContext,
  args: readonly string[],
): Promise<{ channel: EpollTlsChannel; child: ChildProcessWithoutNullStreams; output: () => string }> {
  const tls = engine(t);
  const context = tls.context(await serverSpec());
  const { descriptor, port } = listening(t);
  const { cert, key } = await leaf("alice");
  const directory = directoryWith({ "c.crt": cert, "c.key": key, "ca.crt": (await authority()).cert });
  t.after(directory.remove);
  const file = (name: string) => join(directory.path, name);
  const child = spawn("openssl", [
    ...["s_client", "-connect", `127.0.0.1:${port}`, "-cert", file("c.crt"), "-key", file("c.key")],
    ...["-CAfile", file("ca.crt"), ...args],
  ]);
  t.after(() => child.kill());
  child.stdin.on("error", () => {});
  let output = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.on("data", (chunk: Buffer) => {
      output += chunk;
    });
  }
  const channel = channelOn(t, tls, await accepted(t, descriptor), context);
  assert.equal(await handshake(channel), 1);
  return { channel, child, output: () => output };
}

/** 4 MiB in which no two places look alike. */
function allBytes(): Buffer {
  const bytes = Buffer.alloc(4 * MIB);
  for (let at = 0; at < bytes.length; at += 4) bytes.writeUInt32LE(Math.imul(at, 2654435761) >>> 0, at);
  return bytes;
}
