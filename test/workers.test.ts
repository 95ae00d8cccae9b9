/** All workers of a process as control sees them: what becomes of its questions when one dies, and of the others when one cannot start. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { createSharedSources } from "../lib/listen/sources.ts";
import type { Command, Event } from "../lib/worker.ts";
import { BEATS } from "../lib/worker.ts";
import { Workers } from "../lib/workers.ts";

/** A worker whose answers the test writes. */
class ScriptedWorker {
  readonly commands: Command[] = [];
  readonly say: (event: Event) => void;
  readonly die: (error: Error) => void;

  constructor(say: (event: Event) => void, die: (error: Error) => void) {
    this.say = say;
    this.die = die;
  }

  /** What it was told, in order. */
  get told(): string[] {
    return this.commands.map(({ type }) => type);
  }
}

/** `count` of them; starting number `fails` throws. */
function scripted(count: number, fails = -1) {
  const workers: ScriptedWorker[] = [];
  const deaths: string[] = [];
  const make = () =>
    new Workers({
      transport: "epoll",
      count,
      shared: {
        gauges: new Int32Array(new SharedArrayBuffer((BEATS + count) * 4)),
        sources: createSharedSources(),
      },
      onEvent: () => {},
      onLines: () => {},
      onDeath: ({ message }) => deaths.push(message),
      start: (index, _lines, heard, died) => {
        if (index === fails) throw new Error("no thread is left");
        const worker = new ScriptedWorker(heard, died);
        workers.push(worker);
        return { post: (command) => worker.commands.push(command), stopped: () => Promise.resolve() };
      },
    });
  return { workers, deaths, make };
}

test("a listing may be longer than a call has room for", async () => {
  const { workers, make } = scripted(1);
  const listing = make().list(1_000_000);
  const command = workers[0]!.commands[0]!;
  assert(command.type === "list");
  const rows = Array.from({ length: 500_000 }, (_, id) => ({ id }));
  workers[0]!.say({ type: "listed", query: command.query, rows });
  assert.deepEqual((await listing).at(-1), { id: 499_999 });
});

test("after a death nobody is waited for", async () => {
  const { workers, deaths, make } = scripted(2);
  const all = make();
  const preparing = all.prepare([]);
  workers[0]!.die(new Error("gone"));
  await assert.rejects(preparing, /gone/);
  assert.deepEqual(deaths, ["gone"]);
  // `onDeath` came back, and the proxy goes on asking.
  await assert.rejects(all.prepare([]), { name: "ProxyError", code: "INTERNAL" });
  await all.commit(1);
  await all.drain();
  assert.deepEqual(await all.list(1), []);
  await all.stop();
  assert.deepEqual(workers[1]!.told, ["commit", "drain", "stop"]);
});

test("one that cannot be started: the others are stopped, and nobody has died", () => {
  const { workers, deaths, make } = scripted(3, 2);
  assert.throws(make, /no thread is left/);
  assert.deepEqual(
    workers.map(({ told }) => told),
    [["stop"], ["stop"]],
  );
  workers[0]!.die(new Error("stopped"));
  assert.deepEqual(deaths, []);
});
