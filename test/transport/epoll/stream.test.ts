/** Ensures the promises of a stream outside of the relay: peeking, dialling, and ends that deliver what they should. */
import assert from "node:assert/strict";
import type { Socket } from "node:net";
import { join } from "node:path";
import { describe, it } from "node:test";
import type { ProxyError } from "../../../lib/errors.ts";
import {
  IPPROTO_TCP,
  SO_KEEPALIVE,
  SOL_SOCKET,
  TCP_KEEPCNT,
  TCP_KEEPIDLE,
  TCP_KEEPINTVL,
  TCP_NODELAY,
} from "../../../lib/ffi/layout.ts";
import { LINGERING_MOST } from "../../../lib/listen/lingering.ts";
import { WATCH } from "../../../lib/transport/epoll/batch.ts";
import { WorkerMemory } from "../../../lib/transport/epoll/memory.ts";
import { Sockets } from "../../../lib/transport/epoll/sockets.ts";
import type { EpollStream } from "../../../lib/transport/epoll/stream.ts";
import type { Stream } from "../../../lib/transport/transport.ts";
import { folder, LOOPBACK, pattern, Rig, skip, Tally, turns, until } from "./rig.ts";

interface Seen {
  readonly text: string;
  readonly ended: boolean;
}

/** A client and the stream that was accepted for it, which peeks and asks for `need(bytes)`. */
async function peeked(rig: Rig, limit: number, need: (length: number) => number) {
  const seen: Seen[] = [];
  let stream: Stream | null = null;
  const address = rig.listen((accepted) => {
    stream = accepted;
    accepted.peek(limit, (bytes, ended) => {
      seen.push({ text: bytes.toString("latin1"), ended });
      return need(bytes.length);
    });
  });
  const client = await rig.connect(address, { noDelay: true });
  await until(() => stream !== null);
  return { seen, client, stream: stream as unknown as Stream };
}

describe("peek", { skip }, () => {
  it("shows more and more until it is decided, and consumes nothing", async (t) => {
    const rig = new Rig(t);
    const { seen, client, stream } = await peeked(rig, 100, (length) =>
      length < 5 ? 5 : length < 11 ? 11 : 0,
    );
    client.write("he");
    await until(() => seen.length === 1);
    client.write("llo");
    await until(() => seen.length === 2);
    client.write(" world, and more");
    await until(() => seen.length === 3);
    assert.deepEqual(
      seen.map((each) => each.text),
      ["he", "hello", "hello world, and more"],
    );
    const again: string[] = [];
    stream.skip(6);
    stream.peek(100, (bytes) => {
      again.push(bytes.toString());
      return 0;
    });
    assert.deepEqual(again, [], "never before the call has returned");
    await until(() => again.length === 1);
    assert.deepEqual(again, ["world, and more"]);
    stream.reset();
  });

  it("does not look again before there is enough, then waits for single bytes again", async (t) => {
    const rig = new Rig(t);
    const { seen, client, stream } = await peeked(rig, 1000, (length) => (length < 200 ? 200 : 0));
    for (let count = 0; count < 200; count++) {
      client.write("x");
      await turns(1);
    }
    await until(() => seen.at(-1)?.text.length === 200);
    assert.ok(seen.length <= 3, `${seen.length} looks`);
    stream.skip(200);
    const next: number[] = [];
    stream.peek(10, (bytes) => {
      next.push(bytes.length);
      return 0;
    });
    await turns(5);
    client.write("y");
    await until(() => next.length === 1);
    stream.reset();
  });

  it("shows no more than the limit, and is over then", async (t) => {
    const rig = new Rig(t);
    const { seen, client, stream } = await peeked(rig, 7, () => 8);
    client.write("0123456789");
    await until(() => seen.length === 1);
    client.write("more");
    await turns(5);
    assert.deepEqual(seen, [{ text: "0123456", ended: false }]);
    stream.reset();
  });

  it("says that the client has ended, with and without bytes", async (t) => {
    for (const text of ["", "short"]) {
      const rig = new Rig(t);
      const { seen, client, stream } = await peeked(rig, 100, () => 50);
      client.end(text);
      await until(() => seen.at(-1)?.ended === true);
      assert.equal(seen.at(-1)!.text, text);
      stream.finish();
      await rig.close();
    }
  });

  it("reports a reset once, also while nothing is awaited", async (t) => {
    for (const peeks of [true, false]) {
      const rig = new Rig(t);
      const failures: ProxyError[] = [];
      let stream: Stream | null = null;
      const address = rig.listen((accepted) => {
        stream = accepted;
        accepted.owner = {
          failed: (_, error) => {
            failures.push(error);
            accepted.reset();
          },
        };
        if (peeks) accepted.peek(100, () => 50);
      });
      const client = await rig.connect(address);
      client.write("half");
      await until(() => stream !== null);
      client.resetAndDestroy();
      await until(() => failures.length > 0);
      assert.deepEqual(
        failures.map((error) => error.code),
        ["RESET"],
      );
      await rig.close();
    }
  });
});

describe("a socket that the kernel will not watch", { skip }, () => {
  // epoll_ctl(2) gives ENOSPC when fs.epoll.max_user_watches is used up.
  const ENOSPC = -28;

  it("fails its owner with a fault of ours, whether it peeks or waits", async (t) => {
    for (const peeks of [true, false]) {
      const rig = new Rig(t);
      const failures: ProxyError[] = [];
      const address = rig.listen((accepted) => {
        accepted.owner = {
          failed: (_, error) => {
            failures.push(error);
            accepted.reset();
          },
        };
        if (peeks) accepted.peek(100, () => 50);
        (accepted as EpollStream).called(WATCH, ENOSPC, 0, 0);
      });
      await rig.connect(address);
      await until(() => failures.length > 0);
      assert.deepEqual(
        failures.map(({ code, message }) => [code, message]),
        [["INTERNAL", "epoll_ctl(): ENOSPC"]],
      );
      assert.equal(rig.faults.length, 1);
      rig.faults.length = 0;
      await rig.close();
    }
  });

  it("stays open for who will own it, and shows an end", async (t) => {
    const rig = new Rig(t);
    const ends: boolean[] = [];
    const address = rig.listen((accepted) => {
      (accepted as EpollStream).called(WATCH, ENOSPC, 0, 0);
      accepted.peek(100, (_, ended) => {
        ends.push(ended);
        return 0;
      });
    });
    await rig.connect(address);
    await until(() => ends.length > 0);
    assert.deepEqual(ends, [true]);
  });

  it("is a dial that failed here", async (t) => {
    const rig = new Rig(t);
    const target = await rig.serve((socket) => socket.resume());
    const errors: (ProxyError | null)[] = [];
    const dialler = { dialled: (error: ProxyError | null) => void errors.push(error) };
    const stream = rig.transport.dial(target, { from: null, speaksFirst: false }, dialler);
    (stream as EpollStream).called(WATCH, ENOSPC, 0, 0);
    assert.match(errors[0]!.message, /ENOSPC/);
    await turns(3);
    assert.equal(errors.length, 1);
  });
});

describe("dial", { skip }, () => {
  it("says why it failed, in a turn of its own, and has released everything", async (t) => {
    const rig = new Rig(t);
    const path = join(folder(t), "nobody");
    const closed = await rig.serve(() => {});
    for (const [target, message] of [
      [
        { kind: "ip", host: "127.0.0.1", port: 1 },
        /^127\.0\.0\.1:1: connection refused; nothing listens there$/,
      ],
      [{ kind: "unix", path }, /no such socket/],
      [{ kind: "ip", host: "255.255.255.255", port: 9 }, /255\.255\.255\.255:9: /],
    ] as const) {
      let error: ProxyError | null = null;
      let inside = true;
      rig.transport.dial(
        target,
        { from: null, speaksFirst: false },
        {
          dialled: (failure) => {
            assert.equal(inside, false);
            error = failure;
          },
        },
      );
      inside = false;
      await until(() => error !== null);
      assert.equal(error!.code, "DIAL");
      assert.match(error!.message, message);
    }
    assert.ok(closed);
  });

  it("is cancelled by a reset, and silent then", async (t) => {
    const rig = new Rig(t);
    const target = await rig.serve(() => {});
    let called = false;
    rig.transport
      .dial(
        target,
        { from: null, speaksFirst: false },
        {
          dialled: () => {
            called = true;
          },
        },
      )
      .reset();
    rig.transport
      .dial(
        { kind: "unix", path: "/nowhere" },
        { from: null, speaksFirst: false },
        {
          dialled: () => {
            called = true;
          },
        },
      )
      .reset();
    await turns(20);
    assert.equal(called, false);
  });

  it("spares an acknowledgement where it speaks first and calls are cheap, and none behind that", async (t) => {
    const rig = new Rig(t);
    const got: string[] = [];
    const target = await rig.serve((socket) => socket.on("data", (chunk) => got.push(chunk.toString())));
    const { scratch, scratchBytes } = new WorkerMemory();
    scratchBytes.write("first");
    const said: boolean[] = [];
    let written = 0;
    const dialler = { dialled: () => {} };
    const dial = (isDear: boolean) => {
      Object.defineProperty(batch, "isDear", { value: isDear, configurable: true });
      return rig.transport.dial(target, { from: null, speaksFirst: true }, dialler) as EpollStream;
    };
    const first = rig.transport.dial(target, { from: null, speaksFirst: false }, dialler) as EpollStream;
    const { batch } = first.gear.loop;
    first.reset();
    const other = dial(true);
    assert.equal(other.quiet, false);
    other.reset();
    const stream = dial(false);
    assert.equal(stream.quiet, true);
    const { sockets } = stream.gear;
    sockets.quickAck = (descriptor, on) => {
      said.push(on);
      Sockets.prototype.quickAck.call(sockets, descriptor, on);
    };
    dialler.dialled = () => {
      // Twice: only behind the first bytes it is said that what comes is acknowledged as ever.
      written = stream.write(scratch, 2) + stream.write(scratch + 2, 3);
    };
    await until(() => got.join("") === "first");
    assert.deepEqual([written, said, stream.quiet], [5, [false, true], false]);
    stream.finish();
  });

  it("dials from the address it is given, and says when it has none such", async (t) => {
    const rig = new Rig(t);
    const sources: string[] = [];
    const target = await rig.serve((socket) => sources.push(socket.remoteAddress!));
    let done = 0;
    const stream = rig.transport.dial(
      target,
      { from: "127.0.0.9", speaksFirst: false },
      {
        dialled: (error) => {
          assert.equal(error, null);
          done++;
        },
      },
    );
    await until(() => done === 1 && sources.length === 1);
    assert.deepEqual(sources, ["127.0.0.9"]);
    assert.deepEqual(stream.local, {
      kind: "ip",
      host: "127.0.0.9",
      port: (stream.local as { port: number }).port,
    });
    stream.reset();
    let error: ProxyError | null = null;
    rig.transport.dial(
      target,
      { from: "192.0.2.1", speaksFirst: false },
      {
        dialled: (failure) => {
          error = failure;
        },
      },
    );
    await until(() => error !== null);
    assert.match(error!.message, /cannot dial from 192\.0\.2\.1: EADDRNOTAVAIL/);
  });

  it("knows both addresses of both sides", async (t) => {
    const rig = new Rig(t);
    let client: Socket | null = null;
    let stream: Stream | null = null;
    for (const host of ["127.0.0.1", "::", "0.0.0.0"]) {
      stream = null;
      const address = rig.listen(
        (accepted) => {
          stream = accepted;
        },
        { kind: "ip", host, port: 0 },
      );
      const { port } = address as { port: number };
      client = await rig.connect({ kind: "ip", host: "127.0.0.1", port });
      await until(() => stream !== null);
      const { local, remote } = stream as unknown as Stream;
      assert.deepEqual(local, { kind: "ip", host: "127.0.0.1", port });
      assert.deepEqual(remote, { kind: "ip", host: "127.0.0.1", port: client.localPort });
    }
  });
});

describe("options", { skip }, () => {
  it("keepalive is on at both sides, inherited or set a moment after the dial", async (t) => {
    const rig = new Rig(t);
    const target = await rig.serve(() => {});
    const { address, relayed } = rig.proxy(target);
    await rig.connect(address);
    const sockets = new Sockets(new WorkerMemory());
    const reads = (stream: EpollStream): (number | null)[] => [
      sockets.get(stream.descriptor, SOL_SOCKET, SO_KEEPALIVE),
      sockets.get(stream.descriptor, IPPROTO_TCP, TCP_KEEPIDLE),
      sockets.get(stream.descriptor, IPPROTO_TCP, TCP_KEEPINTVL),
      sockets.get(stream.descriptor, IPPROTO_TCP, TCP_KEEPCNT),
    ];
    await until(() => relayed[0]?.upstream !== undefined);
    assert.deepEqual(reads(relayed[0]!.downstream), [1, 60, 15, 4]);
    await until(() => reads(relayed[0]!.upstream!)[3] === 4);
    assert.deepEqual(reads(relayed[0]!.upstream!), [1, 60, 15, 4]);
  });

  it("Nagle's delay is off before it could hold anything back", async (t) => {
    const rig = new Rig(t);
    const sockets = new Sockets(new WorkerMemory());
    const noDelay = (stream: EpollStream): number | null =>
      sockets.get(stream.descriptor, IPPROTO_TCP, TCP_NODELAY);
    const arrived: Tally[] = [];
    const target = await rig.serve((socket) => arrived.push(new Tally(socket)));
    const { address, relayed } = rig.proxy(target);
    const small = await rig.connect(address, { noDelay: true });
    small.write("one");
    await until(() => relayed[0]?.bytesUp === 3);
    assert.equal(noDelay(relayed[0]!.downstream), 1);
    assert.equal(noDelay(relayed[0]!.upstream!), 0);
    small.write("two");
    await until(() => relayed[0]?.bytesUp === 6);
    assert.equal(noDelay(relayed[0]!.upstream!), 1);
    const large = await rig.connect(address);
    large.write(pattern(1700));
    await until(() => arrived[1]?.bytes === 1700);
    assert.equal(noDelay(relayed[1]!.upstream!), 0);
  });
});

describe("finish", { skip }, () => {
  it("delivers what was queued although input lies unread, and then an end, not a reset", async (t) => {
    const rig = new Rig(t);
    let stream: Stream | null = null;
    const address = rig.listen((accepted) => {
      stream = accepted;
      accepted.peek(10, () => {
        accepted.send(Buffer.from("alert"));
        accepted.finish();
        return 0;
      });
    });
    const client = await rig.connect(address);
    const tally = new Tally(client);
    client.write(pattern(200_000));
    await until(() => tally.ended);
    assert.equal(tally.bytes, 5);
    assert.equal(client.errored, null);
    client.end();
    await until(() => (stream as unknown as { phase: number }).phase === 6);
  });

  it("cuts off a peer that goes on sending", async (t) => {
    const rig = new Rig(t);
    const address = rig.listen((accepted) => accepted.finish());
    const client = await rig.connect(address);
    client.resume();
    client.write(pattern(32 << 20));
    await until(() => client.destroyed);
    assert.ok(client.errored !== null);
  });

  it("lets go of a peer that never closes", async (t) => {
    const rig = new Rig(t);
    let stream: Stream | null = null;
    const address = rig.listen((accepted) => {
      stream = accepted;
      accepted.finish();
    });
    const client = await rig.connect(address);
    await until(() => stream !== null);
    assert.equal((stream as unknown as { phase: number }).phase, 5);
    assert.equal(rig.transport.state.timers, 1);
    await until(() => (stream as unknown as { phase: number }).phase === 6);
    client.destroy();
  });

  it("keeps no crowd of peers that never close", async (t) => {
    const rig = new Rig(t);
    const address = rig.listen((accepted) => accepted.finish());
    const clients = await Promise.all(
      Array.from({ length: LINGERING_MOST + 20 }, async () => new Tally(await rig.connect(address))),
    );
    await until(() => clients.every((one) => one.ended));
    assert.equal(rig.transport.state.timers, LINGERING_MOST);
  });

  it("may be called twice, and after a reset", async (t) => {
    const rig = new Rig(t);
    let stream: Stream | null = null;
    const address = rig.listen((accepted) => {
      stream = accepted;
    });
    await rig.connect(address);
    await until(() => stream !== null);
    const accepted = stream as unknown as Stream;
    accepted.reset();
    accepted.reset();
    accepted.finish();
  });
});

describe("transport", { skip }, () => {
  it("refuses to make TLS contexts without TLS, and to listen without a descriptor", (t) => {
    const rig = new Rig(t, { tls: null });
    assert.throws(() => rig.transport.context({} as never), /made without TLS/);
    const options = { address: LOOPBACK, descriptor: null };
    assert.throws(
      () =>
        rig.transport.listen(
          options,
          () => {},
          () => {},
        ),
      /descriptors only/,
    );
  });

  it("says that it listens in a turn of its own", async (t) => {
    const rig = new Rig(t);
    const events: string[] = [];
    rig.listen(
      () => {},
      LOOPBACK,
      (error) => events.push(`ready ${error}`),
    );
    events.push("returned");
    await until(() => events.length === 2);
    assert.deepEqual(events, ["returned", "ready null"]);
  });
});
