/** Ensures that garbage is collected when a loop idles and it is worth it, and at no other time. */
import assert from "node:assert/strict";
import { it, type TestContext } from "node:test";
import { EPOLLIN, O_CLOEXEC, O_NONBLOCK } from "../../../lib/ffi/layout.ts";
import { close, eventfd } from "../../../lib/ffi/libc.ts";
import { Garbage } from "../../../lib/transport/epoll/garbage.ts";
import { EventLoop } from "../../../lib/transport/epoll/loop.ts";
import { WorkerMemory } from "../../../lib/transport/epoll/memory.ts";
import { skip } from "./rig.ts";

const MiB = 1 << 20;

function setUp(t: TestContext, first: number) {
  const loop = new EventLoop(new WorkerMemory(), (thrown) => assert.fail(String(thrown)));
  t.after(() => loop.close());
  const heap = { used: first, collected: 0 };
  const garbage = new Garbage(
    loop,
    () => {
      heap.collected++;
      heap.used = MiB;
    },
    () => heap.used,
  );
  return { loop, heap, garbage };
}

it("collects what a crowd has left, once", { skip }, (t) => {
  const { heap, garbage } = setUp(t, MiB);
  garbage.expired();
  assert.equal(heap.collected, 0, "nothing has gathered");
  heap.used = 8 * MiB;
  garbage.expired();
  assert.equal(heap.collected, 0, "too little");
  heap.used = 10 * MiB;
  garbage.expired();
  garbage.expired();
  assert.equal(heap.collected, 1);
});

it("measures from the least since then, whoever collected it", { skip }, (t) => {
  const { heap, garbage } = setUp(t, 20 * MiB);
  heap.used = MiB;
  garbage.expired();
  heap.used = 10 * MiB;
  garbage.expired();
  assert.equal(heap.collected, 1);
});

it("waits while there is traffic", { skip }, (t) => {
  const { loop, heap, garbage } = setUp(t, MiB);
  const descriptor = eventfd(1, O_NONBLOCK | O_CLOEXEC);
  t.after(() => close(descriptor));
  const busy = {
    descriptor,
    generation: 0,
    waiting: false,
    onEvents: () => {},
    onReady: () => {},
    onFault: () => {},
  };
  // Level-triggered and never read: an event in every turn.
  loop.add(busy, EPOLLIN);
  heap.used = 9 * MiB;
  for (let turn = 0; turn < 20; turn++) loop.turn(0);
  garbage.expired();
  assert.equal(heap.collected, 0);
  garbage.expired();
  assert.equal(heap.collected, 1);
});
