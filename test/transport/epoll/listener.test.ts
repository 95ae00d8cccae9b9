/** Ensures that several loops can share one listening socket, and that closing it in one leaves the others alone. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { connect } from "node:net";
import { describe, it } from "node:test";
import { bindListener } from "../../../lib/listen/socket.ts";
import { createEpollTransport } from "../../../lib/transport/epoll/transport.ts";
import type { Stream } from "../../../lib/transport/transport.ts";
import { LOOPBACK, openDescriptors, Rig, skip, turns, until } from "./rig.ts";

describe("listener", { skip }, () => {
  it("is shared, and outlives whoever bound it", async (t) => {
    const rig = new Rig(t);
    const accepted: [number, number] = [0, 0];
    const faults: unknown[] = [];
    const other = createEpollTransport({
      workers: 2,
      wakeup: null,
      onFault: (thrown) => faults.push(thrown),
    });
    const bound = bindListener("test", LOOPBACK);
    const options = { address: LOOPBACK, descriptor: bound.descriptor };
    const take =
      (who: 0 | 1) =>
      (stream: Stream): void => {
        accepted[who]++;
        stream.finish();
      };
    const here = rig.transport.listen(options, take(0), () => {});
    const there = other.listen(options, take(1), () => {});
    assert.deepEqual(here.address, bound.address);
    bound.close();

    await rig.connect(bound.address);
    await until(() => accepted[0] === 1);
    here.close();
    here.close();
    await rig.connect(bound.address);
    await turns(5);
    assert.deepEqual(accepted, [1, 0]);
    await until(() => {
      other.turn(0);
      return accepted[1] === 1;
    });
    there.close();
    other.turn(0);
    await assert.rejects(rig.connect(bound.address), /ECONNREFUSED/);
    other.stop();
    other.run();
    assert.deepEqual(faults, []);
  });

  it("lets go of who is refused while it finishes, not at the end", async () => {
    const faults: unknown[] = [];
    // Nobody turns it: clients wait in the queue.
    const transport = createEpollTransport({
      workers: 1,
      wakeup: null,
      onFault: (thrown) => faults.push(thrown),
    });
    const bound = bindListener("test", LOOPBACK);
    const crowd = 60;
    let refused = 0;
    let before = 0;
    let most = 0;
    const listening = transport.listen(
      { address: LOOPBACK, descriptor: bound.descriptor },
      (stream) => {
        refused++;
        stream.reset();
        most = Math.max(most, openDescriptors() - before);
      },
      () => {},
    );
    const { port } = bound.address as { port: number };
    const clients = Array.from({ length: crowd }, () => connect(port, "127.0.0.1").on("error", () => {}));
    await Promise.all(clients.map((client) => once(client, "connect")));
    before = openDescriptors();
    let over = false;
    listening.finish(() => {
      over = true;
    });
    assert.equal(refused, crowd);
    assert.ok(most <= 20, `${most} descriptors`);
    transport.turn(0);
    transport.turn(0);
    assert.equal(over, true);
    bound.close();
    for (const client of clients) client.destroy();
    transport.stop();
    transport.run();
    assert.deepEqual(faults, []);
  });

  it("goes on after an accepted callback threw, with the client reset", async (t) => {
    const rig = new Rig(t);
    let count = 0;
    const address = rig.listen((stream) => {
      count++;
      if (count === 1) throw new Error("broken");
      stream.reset();
    });
    // A reset may come before Node has told of the connection.
    const clients = Promise.allSettled([rig.connect(address), rig.connect(address)]);
    await until(() => count === 2);
    await clients;
    assert.match(String(rig.faults.pop()), /broken/);
  });

  it("refuses a descriptor that does not listen", (t) => {
    const rig = new Rig(t);
    const refused = { name: "ProxyError", code: "LISTEN" };
    assert.throws(
      () =>
        rig.transport.listen(
          { address: LOOPBACK, descriptor: 0 },
          () => {},
          () => {},
        ),
      refused,
    );
    assert.throws(
      () =>
        rig.transport.listen(
          { address: LOOPBACK, descriptor: 999 },
          () => {},
          () => {},
        ),
      refused,
    );
  });
});
