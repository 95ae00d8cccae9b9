/** Ensures the loop's own promises: no stale event, no starving, no fault that spreads, no wait longer than a deadline. */
import assert from "node:assert/strict";
import { constants } from "node:os";
import { describe, it, type TestContext } from "node:test";
import { Worker } from "node:worker_threads";
import { EPOLLET, EPOLLIN, O_CLOEXEC, O_NONBLOCK } from "../../../lib/ffi/layout.ts";
import { close, eventfd } from "../../../lib/ffi/libc.ts";
import { openRing } from "../../../lib/transport/epoll/batch.ts";
import { EventLoop, type FreshSource } from "../../../lib/transport/epoll/loop.ts";
import { WorkerMemory } from "../../../lib/transport/epoll/memory.ts";
import { createWakeup } from "../../../lib/transport/epoll/wakeup.ts";
import { skip } from "./rig.ts";

/** A source over an eventfd that is readable from the beginning when `signalled`. */
class Probe implements FreshSource {
  readonly descriptor: number;
  readonly interest = EPOLLIN | EPOLLET;
  generation = 0;
  waiting = false;
  watched = false;
  refused: number[] = [];
  events = 0;
  turns = 0;
  faults: unknown[] = [];
  act: () => void = () => {};

  constructor(signalled: boolean) {
    this.descriptor = eventfd(signalled ? 1 : 0, O_NONBLOCK | O_CLOEXEC);
  }

  onEvents(): void {
    this.events++;
    this.act();
  }

  onReady(): void {
    this.turns++;
    this.act();
  }

  onFault(thrown: unknown): void {
    this.faults.push(thrown);
  }

  called(_watch: number, result: number): void {
    if (result === 0) this.watched = true;
    else this.refused.push(result);
  }
}

function setUp(t: TestContext) {
  const faults: unknown[] = [];
  const loop = new EventLoop(new WorkerMemory(), openRing(), (thrown) => faults.push(thrown));
  const open = new Set<number>();
  t.after(() => {
    for (const descriptor of open) close(descriptor);
    loop.close();
  });
  const watch = (signalled: boolean): Probe => {
    const probe = new Probe(signalled);
    open.add(probe.descriptor);
    assert.equal(loop.add(probe, EPOLLIN | EPOLLET), 0);
    return probe;
  };
  const shut = (probe: Probe): void => {
    loop.forget(probe);
    close(probe.descriptor);
    open.delete(probe.descriptor);
  };
  /** One that is watched from the next wait on. */
  const begin = (signalled: boolean): Probe => {
    const probe = new Probe(signalled);
    open.add(probe.descriptor);
    loop.watch(probe);
    return probe;
  };
  return { loop, faults, watch, begin, shut };
}

describe("loop", { skip }, () => {
  it("never hands a stale event to the source that got the descriptor's number", (t) => {
    const { loop, watch, shut } = setUp(t);
    const probes = [watch(true), watch(true), watch(true)];
    const reborn: Probe[] = [];
    for (const probe of probes) {
      probe.act = () => {
        // The first one to run closes the others, whose events are in the same batch, and takes their numbers.
        for (const other of probes) if (other !== probe && other.events === 0) shut(other);
        while (reborn.length < 2) reborn.push(watch(false));
      };
    }
    const numbers = probes.map((probe) => probe.descriptor);
    loop.turn(0);
    assert.equal(probes.filter((probe) => probe.events > 0).length, 1);
    assert.equal(reborn.filter((probe) => numbers.includes(probe.descriptor)).length, 2);
    assert.deepEqual(
      reborn.map((probe) => probe.events),
      [0, 0],
    );
    loop.turn(0);
    assert.deepEqual(
      reborn.map((probe) => probe.events),
      [0, 0],
    );
  });

  it("serves the ready list once per turn, and does not block while there is one", (t) => {
    const { loop, watch } = setUp(t);
    const greedy = watch(false);
    const other = watch(true);
    greedy.act = () => loop.ready(greedy);
    loop.ready(greedy);
    loop.ready(greedy);
    for (let turn = 0; turn < 5; turn++) loop.turn(-1);
    assert.equal(greedy.turns, 5);
    assert.equal(other.events, 1);
  });

  it("carries out every step before it waits, those that follow from a step, too", (t) => {
    const { loop, watch } = setUp(t);
    const [first, second, event] = [watch(false), watch(false), watch(true)];
    const seen: number[] = [];
    first.act = () => loop.step(second);
    second.act = () => seen.push(event.events);
    loop.step(first);
    loop.turn(0);
    assert.deepEqual(seen, [0]);
    assert.equal(event.events, 1);
  });

  it("watches from the next wait on who still lives then, and reports what is ready by that time", (t) => {
    const { loop, begin, watch, shut } = setUp(t);
    const gone = begin(true);
    const { descriptor } = gone;
    shut(gone);
    const heir = watch(false);
    assert.equal(heir.descriptor, descriptor);
    const ready = begin(true);
    assert.equal(ready.watched, false);
    loop.modify(ready);
    loop.turn(0);
    assert.deepEqual([gone.events, heir.events, ready.events], [0, 0, 1]);
    assert.deepEqual([gone.watched, ready.watched], [false, true]);
  });

  it("says so to whom the kernel will not watch", (t) => {
    const { loop, begin } = setUp(t);
    const lost = begin(true);
    close(lost.descriptor);
    loop.turn(0);
    assert.deepEqual([lost.refused, lost.events, lost.watched], [[-constants.errno.EBADF], 0, false]);
  });

  it("contains what a source throws, and what its onFault throws", (t) => {
    const { loop, faults, watch } = setUp(t);
    const bad = watch(true);
    const worse = watch(true);
    const good = watch(true);
    bad.act = () => {
      throw new Error("bad");
    };
    worse.act = bad.act;
    worse.onFault = () => {
      throw new Error("worse");
    };
    loop.ready(bad);
    loop.turn(0);
    assert.equal(bad.faults.length, 2);
    assert.equal(good.events, 1);
    assert.deepEqual(faults.map(String), ["Error: worse"]);
  });

  it("contains what timers and deferred calls throw, and goes on with the rest", (t) => {
    const { loop, faults } = setUp(t);
    const ran: string[] = [];
    for (const name of ["one", "two"]) {
      const fail = (): void => {
        ran.push(name);
        throw new Error(name);
      };
      loop.wheel.createTimer({ expired: fail }).start(1);
      loop.defer(fail);
    }
    while (ran.length < 4) loop.turn(-1);
    assert.deepEqual(ran, ["one", "two", "two", "one"]);
    assert.equal(faults.length, 4);
  });

  it("waits until the next deadline and no longer", (t) => {
    const { loop } = setUp(t);
    let fired = 0;
    loop.wheel.createTimer({ expired: () => fired++ }).start(30);
    // The loop's clock stands still since its last turn, or since it was made.
    const started = loop.now;
    while (fired === 0) loop.turn(-1);
    const took = loop.now - started;
    assert.ok(took >= 30, `${took}`);
  });

  it("is woken from another thread", async (t) => {
    const { loop } = setUp(t);
    const wakeup = createWakeup();
    t.after(() => wakeup.close());
    const source = {
      descriptor: wakeup.descriptor,
      generation: 0,
      waiting: false,
      onEvents: () => {},
      onReady: () => {},
      onFault: () => {},
    };
    loop.add(source, EPOLLIN);
    const signal = `const { parentPort, workerData } = require("node:worker_threads");
      const bytes = new BigUint64Array([1n]);
      parentPort.once("message", () => require("node:fs").writeSync(workerData, bytes));`;
    const thread = new Worker(signal, { eval: true, workerData: wakeup.descriptor });
    await new Promise((resolve) => thread.once("online", resolve));
    thread.postMessage("now");
    loop.turn(-1); // for ever, but for the signal
    await thread.terminate();
    wakeup.signal();
    loop.turn(-1);
  });
});
