/**
 * Ensures the relay's rules for a channel that is not the bare socket, with one that has all the manners of TLS and none of
 * its keys: records, bytes inside that epoll knows nothing of, writes that end with a record, ends that must wait.
 */
import assert from "node:assert/strict";
import { describe, it, type TestContext } from "node:test";
import { ProxyError } from "../../../lib/errors.ts";
import { MSG_NOSIGNAL, SHUT_WR } from "../../../lib/ffi/layout.ts";
import { recv, send, shutdown } from "../../../lib/ffi/libc.ts";
import { allocate, copy } from "../../../lib/ffi/memory.ts";
import {
  FAILED,
  type TlsChannel,
  type TlsEngine,
  TRUNCATED,
  WOULD_BLOCK,
} from "../../../lib/transport/epoll/channel.ts";
import type { EpollOptions } from "../../../lib/transport/epoll/transport.ts";
import type { Stream, TlsContext, TlsFacts } from "../../../lib/transport/transport.ts";
import type { SocketAddress } from "../../../lib/wire/address.ts";
import { hashOf, pattern, type Relayed, Rig, skip, Tally, turns, until } from "./rig.ts";

const RECORD = 16 * 1024;
const FACTS = { version: "TLSv1.3" } as TlsFacts;

class Manners implements TlsChannel {
  readonly plain = false;
  released = 0;
  reads = 0;
  /** What the next calls return instead of working. */
  readonly refusals: { read: number[]; write: number[]; end: number[]; handshake: number[] } = {
    read: [],
    write: [],
    end: [],
    handshake: [],
  };
  why: ProxyError | null = null;
  readonly #descriptor: number;
  readonly #inside = allocate(RECORD);
  #start = 0;
  #end = 0;
  #greeted = false;

  constructor(descriptor: number) {
    this.#descriptor = descriptor;
  }

  /** A hello of one byte each way. */
  handshake(): number {
    const refusal = this.refusals.handshake.shift();
    if (refusal !== undefined) return refusal;
    if (!this.#greeted && send(this.#descriptor, this.#inside.address, 1, MSG_NOSIGNAL) !== 1)
      return WOULD_BLOCK;
    this.#greeted = true;
    const count = recv(this.#descriptor, this.#inside.address, 1, 0);
    return count === 0 ? FAILED : count;
  }

  /** A record is taken off the socket whole; what was not asked for stays inside. */
  read(address: number, length: number): number {
    this.reads++;
    const refusal = this.refusals.read.shift();
    if (refusal !== undefined) return refusal;
    if (this.#start === this.#end) {
      const count = recv(this.#descriptor, this.#inside.address, RECORD, 0);
      if (count <= 0) return count;
      this.#start = 0;
      this.#end = count;
    }
    const count = Math.min(length, this.#end - this.#start);
    copy(address, this.#inside.address + this.#start, count);
    this.#start += count;
    return count;
  }

  write(address: number, length: number): number {
    const refusal = this.refusals.write.shift();
    if (refusal !== undefined) return refusal;
    return send(this.#descriptor, address, Math.min(length, RECORD), MSG_NOSIGNAL);
  }

  end(): number {
    return this.refusals.end.shift() ?? shutdown(this.#descriptor, SHUT_WR);
  }

  unsent(): boolean {
    return false;
  }

  drained(): boolean {
    return false;
  }

  failure(): ProxyError | null {
    return this.why;
  }

  facts(): TlsFacts {
    return FACTS;
  }

  release(): void {
    this.released++;
  }
}

class Engine implements TlsEngine {
  readonly channels: Manners[] = [];
  made: (channel: Manners) => void = () => {};

  context(): TlsContext {
    return {} as TlsContext;
  }

  keep(): void {}

  channel(descriptor: number): Manners {
    const channel = new Manners(descriptor);
    this.channels.push(channel);
    this.made(channel);
    return channel;
  }

  release(): void {
    assert.ok(this.channels.every((channel) => channel.released === 1));
  }
}

const OPTIONS = { serverName: null, sessionKey: "" };

function setUp(t: TestContext, options: Partial<EpollOptions> = {}) {
  const engine = new Engine();
  const rig = new Rig(t, { tls: () => engine, ...options });
  rig.transport.context({} as never);
  const context = engine.context();
  /** Terminates TLS from the client, which greets with "!" as the handshake, and relays. */
  const terminate = (target: SocketAddress) => {
    const relayed: Relayed[] = [];
    const address = rig.listen((stream) => {
      stream.secure(context, OPTIONS, (error) => {
        if (error === null) relayed.push(rig.relay(stream, target));
        else stream.finish();
      });
    });
    return { address, relayed };
  };
  return { engine, rig, context, terminate };
}

describe("channel", { skip }, () => {
  it("relays 20 MiB each way, records, half-closes and all", async (t) => {
    const { rig, terminate } = setUp(t);
    const bytes = pattern(20 << 20);
    const target = await rig.serve((socket) => socket.pipe(socket));
    const { address, relayed } = terminate(target);
    const client = await rig.connect(address);
    const tally = new Tally(client);
    client.write("!");
    client.end(bytes);
    await until(() => tally.ended);
    assert.equal(tally.bytes, bytes.length + 1);
    assert.equal(tally.hash, hashOf(Buffer.concat([Buffer.from([0]), bytes])));
    await until(() => relayed[0]!.end !== null);
    assert.deepEqual(relayed[0]!.end, { how: "ok", side: null, error: null });
    assert.equal(rig.transport.state.pipes, 0);
  });

  it("empties the channel although the socket is silent", async (t) => {
    const { rig, engine, terminate } = setUp(t);
    const arrived: Tally[] = [];
    const target = await rig.serve((socket) => arrived.push(new Tally(socket)));
    const { address } = terminate(target);
    const client = await rig.connect(address);
    // Greeting and data in one segment: the handshake takes one byte, and no edge comes for the rest.
    client.write(Buffer.concat([Buffer.from("!"), pattern(100_000)]));
    await until(() => arrived[0]?.bytes === 100_000);
    assert.equal(arrived[0]!.hash, hashOf(pattern(100_000)));
    assert.ok(engine.channels[0]!.reads < 20);
  });

  it("goes on where a write had to wait, also when only input comes", async (t) => {
    const { rig, engine, terminate } = setUp(t);
    const target = await rig.serve((socket) => socket.pipe(socket));
    const { address } = terminate(target);
    engine.made = (channel) => channel.refusals.write.push(WOULD_BLOCK, WOULD_BLOCK);
    const client = await rig.connect(address, { noDelay: true });
    const tally = new Tally(client);
    client.write("!a");
    await turns(20);
    assert.equal(tally.bytes, 1);
    client.write("b");
    await until(() => tally.bytes === 3);
  });

  it("tells a truncated stream from an ended one", async (t) => {
    const { rig, engine, terminate } = setUp(t);
    const target = await rig.serve((socket) => socket.resume());
    const { address, relayed } = terminate(target);
    engine.made = (channel) => channel.refusals.read.push(WOULD_BLOCK, TRUNCATED);
    const client = await rig.connect(address, { noDelay: true });
    client.write("!");
    await until(() => relayed.length === 1 && engine.channels[0]!.reads === 1);
    client.write("x");
    await until(() => relayed[0]!.end !== null);
    assert.deepEqual([relayed[0]!.end!.how, relayed[0]!.end!.side], ["reset", "downstream"]);
    assert.match(relayed[0]!.end!.error!.message, /without close_notify/);
  });

  it("ends when a channel fails in a write while its socket lives on", async (t) => {
    const { rig, engine, terminate } = setUp(t);
    const target = await rig.serve((socket) => socket.write("answer"));
    const { address, relayed } = terminate(target);
    const why = new ProxyError("RESET", "the other side sent an alert");
    engine.made = (channel) => {
      channel.refusals.write.push(FAILED);
      channel.why = why;
    };
    const client = await rig.connect(address);
    client.write("!");
    await until(() => relayed[0]?.end !== undefined && relayed[0].end !== null);
    assert.deepEqual(relayed[0]!.end, { how: "reset", side: "downstream", error: why });
  });

  it("waits for an end that cannot be said yet", async (t) => {
    const { rig, engine, terminate } = setUp(t);
    const target = await rig.serve((socket) => socket.end("bye"));
    const { address, relayed } = terminate(target);
    engine.made = (channel) => channel.refusals.end.push(WOULD_BLOCK, WOULD_BLOCK);
    const client = await rig.connect(address, { noDelay: true });
    const tally = new Tally(client);
    client.write("!");
    await until(() => tally.bytes === 4);
    await turns(5);
    assert.equal(tally.ended, false);
    for (let count = 0; count < 3; count++) {
      client.write("x");
      await turns(5);
    }
    await until(() => tally.ended);
    assert.equal(relayed[0]!.endedDown, true);
  });

  it("shows plaintext to a peek, and delivers what was not skipped once and in order", async (t) => {
    const { rig, context } = setUp(t);
    const arrived: Tally[] = [];
    const chunks: string[] = [];
    const target = await rig.serve((socket) => {
      arrived.push(new Tally(socket));
      socket.on("data", (chunk) => chunks.push(chunk.toString()));
    });
    const looks: string[] = [];
    let relayed: Relayed | null = null;
    const address = rig.listen((stream: Stream) => {
      stream.secure(context, OPTIONS, () => {
        stream.peek(8192, (bytes) => {
          looks.push(bytes.toString());
          if (bytes.length < 12) return 12;
          stream.skip(6);
          stream.peek(100, (rest) => {
            looks.push(rest.toString());
            relayed = rig.relay(stream, target);
            return 0;
          });
          return 0;
        });
      });
    });
    const client = await rig.connect(address, { noDelay: true });
    client.write("!header");
    await until(() => looks.length === 1);
    client.write("first bytes");
    await until(() => chunks.join("") === "first bytes");
    client.write(", and more");
    await until(() => chunks.join("") === "first bytes, and more");
    assert.deepEqual(looks, ["header", "headerfirst bytes", "first bytes"]);
    assert.equal(relayed!.bytesUp, 21);
  });

  it("sends what was queued before TLS in plain", async (t) => {
    const { rig, context } = setUp(t);
    const chunks: string[] = [];
    const target = await rig.serve((socket) =>
      socket.on("data", (chunk) => chunks.push(chunk.toString("latin1"))),
    );
    const stream = rig.transport.dial(
      target,
      { from: null, speaksFirst: false },
      {
        dialled: () => {
          stream.send(Buffer.from("PROXY"));
          stream.secure(context, OPTIONS, () => {});
        },
      },
    );
    await until(() => chunks.join("") === "PROXY\0");
    stream.reset();
  });

  it("reports a handshake that failed, and one that was reset", async (t) => {
    const { rig, engine, context } = setUp(t);
    const errors: (ProxyError | null)[] = [];
    const address = rig.listen((stream) => {
      stream.secure(context, OPTIONS, (error) => {
        errors.push(error);
        stream.finish();
      });
    });
    const denied = new ProxyError("DENIED", "not you");
    engine.made = (channel) => {
      channel.refusals.handshake.push(FAILED);
      channel.why = denied;
    };
    const one = await rig.connect(address);
    one.resume();
    await until(() => errors.length === 1);
    assert.equal(errors[0], denied);
    one.end();
    engine.made = () => {};
    const two = await rig.connect(address);
    two.once("data", () => two.resetAndDestroy());
    await until(() => errors.length === 2);
    assert.equal(errors[1]!.code, "RESET");
  });
});
