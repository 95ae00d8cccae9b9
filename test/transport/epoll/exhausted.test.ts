/** Ensures that a process without descriptors turns clients away, does not spin, and serves again when there are some. */
import assert from "node:assert/strict";
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import type { Socket } from "node:net";
import { createInterface } from "node:readline";
import { describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import { Rig, skip, turns, until } from "./rig.ts";

interface Said {
  readonly port?: number;
  readonly refused?: string;
  readonly fault?: string;
  readonly end?: string;
  readonly turns?: number;
}

describe("descriptors", { skip }, () => {
  it("run out and come back", async (t) => {
    let run: ChildProcess | null = null;
    t.after(() => run?.kill("SIGKILL")); // before the rig counts descriptors
    const rig = new Rig(t);
    const target = await rig.serve((socket) => socket.pipe(socket));
    const child = fileURLToPath(new URL("./exhausted-child.js", import.meta.url));
    const { port } = target as { port: number };
    const started = spawn(
      "sh",
      ["-c", 'ulimit -n 60; exec "$0" "$@"', process.execPath, child, String(port)],
      {
        stdio: ["ignore", "pipe", "inherit"],
      },
    );
    run = started;
    const said: Said[] = [];
    createInterface({ input: started.stdout }).on("line", (line) => said.push(JSON.parse(line) as Said));
    await until(() => said.length > 0);
    const address = { kind: "ip", host: "127.0.0.1", port: said[0]!.port! } as const;
    const clients: Socket[] = [];
    for (let count = 0; count < 60; count++) {
      const client = rig.open(address);
      client.resume();
      client.write("x");
      clients.push(client);
      await turns(5);
    }
    // Everyone is either served or turned away; nobody waits in silence.
    await until(() => clients.every((client) => client.destroyed || client.bytesRead === 1));
    const served = clients.filter((client) => !client.destroyed);
    assert.ok(served.length > 5 && served.length < 30, `${served.length} served`);
    for (const client of clients) assert.ok(client.bytesRead === 1 || client.errored !== null);
    // The listener rests in between: a few turns for each report, not thousands.
    const before = said.length;
    await until(() => said.slice(before).filter((each) => each.turns !== undefined).length === 2);
    assert.ok(said.at(-1)!.turns! < 50, `${said.at(-1)!.turns} turns in a quarter of a second`);
    for (const client of served.slice(2)) client.end();
    await until(() => served.slice(2).every((client) => client.destroyed || client.readableEnded));
    for (const client of served.slice(2)) client.destroy();
    await until(() => said.filter((each) => each.end === "ok").length >= served.length - 2);
    served[0]!.write("y");
    await until(() => served[0]!.bytesRead === 2);
    const late = rig.open(address);
    late.resume();
    late.write("z");
    await until(() => late.bytesRead === 1 || late.destroyed);
    assert.equal(late.bytesRead, 1);
    assert.deepEqual(
      said.filter((each) => each.fault !== undefined),
      [],
    );
    started.kill("SIGKILL");
    await until(() => started.signalCode !== null);
  });

  it("are not lost where there are too few for a loop", () => {
    const script = `
      import { EventLoop } from "${lib("transport/epoll/loop.js")}";
      import { WorkerMemory } from "${lib("transport/epoll/memory.js")}";
      import { close, eventfd } from "${lib("ffi/libc.js")}";
      const memory = new WorkerMemory();
      const taken = [];
      const takeAll = () => {
        for (let count = 0; ; count++) {
          const one = eventfd(0, 0);
          if (one < 0) return count;
          taken.push(one);
        }
      };
      takeAll();
      for (const left of [0, 1, 2]) {
        for (let count = 0; count < left; count++) close(taken.pop());
        let how = "made";
        try {
          new EventLoop(memory, null, () => {}).close();
        } catch (thrown) {
          how = thrown.code + " " + thrown.message;
        }
        console.log(left, takeAll(), how);
      }`;
    const run = ["-c", 'ulimit -n 60; exec "$0" "$@"', process.execPath, "--input-type=module", "-e", script];
    const why = "TRANSPORT the loop cannot be made: EMFILE";
    assert.equal(execFileSync("sh", run, { encoding: "utf8" }), `0 0 ${why}\n1 1 ${why}\n2 2 made\n`);
  });
});

function lib(path: string): string {
  return new URL(`../../../lib/${path}`, import.meta.url).href;
}
