/** Ensures that pipes are pooled, bounded, and refused where they would be too small to be worth it. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import { F_GETPIPE_SZ } from "../../../lib/ffi/layout.ts";
import { fcntl, write } from "../../../lib/ffi/libc.ts";
import { WorkerMemory } from "../../../lib/transport/epoll/memory.ts";
import { PIPE_BYTES, Pipes } from "../../../lib/transport/epoll/pipes.ts";
import { openDescriptors, skip } from "./rig.ts";

describe("pipes", { skip }, () => {
  it("are made up to the budget, given back and taken again", () => {
    const pipes = new Pipes(new WorkerMemory(), 2);
    const before = openDescriptors();
    const one = pipes.take(0)!;
    const two = pipes.take(0)!;
    assert.equal(fcntl(one.input, F_GETPIPE_SZ, 0), PIPE_BYTES);
    assert.equal(pipes.take(0), null);
    pipes.give(one, true);
    assert.equal(pipes.take(0), one);
    pipes.give(one, true);
    pipes.give(two, true);
    assert.equal(pipes.open, 2);
    pipes.drain();
    assert.equal(pipes.open, 0);
    assert.equal(openDescriptors(), before);
  });

  it("are closed when they come back with bytes in them", () => {
    const memory = new WorkerMemory();
    const pipes = new Pipes(memory, 1);
    const pipe = pipes.take(0)!;
    assert.equal(write(pipe.input, memory.scratch, 10), 10);
    pipes.give(pipe, false);
    assert.equal(pipes.open, 0);
    const fresh = pipes.take(0)!;
    assert.notEqual(fresh, pipe);
    pipes.give(fresh, true);
    pipes.drain();
  });

  const noOther = process.getuid?.() !== 0 || spawnSync("setpriv", ["--version"]).status !== 0;
  it("run out for a user without privileges, and are never small", {
    skip: noOther && "needs root and setpriv",
  }, () => {
    const child = fileURLToPath(new URL("./pipes-child.js", import.meta.url));
    // A user of whom nothing else is likely to run; the allowance counts all processes of a user.
    const as = ["--reuid=64123", "--regid=64123", "--clear-groups", "--inh-caps=-all", "--bounding-set=-all"];
    const run = spawnSync("setpriv", [...as, process.execPath, child]);
    assert.equal(run.stderr.toString(), "");
    const said = JSON.parse(run.stdout.toString()) as {
      count: number;
      open: number;
      least: number;
      later: null;
    };
    assert.ok(said.count > 0 && said.count < 1000, `${said.count} pipes`);
    assert.equal(said.open, said.count);
    assert.ok(said.least >= 256 * 1024, `${said.least} bytes`);
    assert.equal(said.later, null);
  });

  it("none at all with a budget of 0", () => {
    assert.equal(new Pipes(new WorkerMemory(), 0).take(0), null);
  });
});
