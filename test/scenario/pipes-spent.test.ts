/**
 * Ensures that a user whose allowance of pipes is spent (pipe(7): pipe-user-pages-soft) has bulk copied instead of spliced, byte for
 * byte, and spliced again once there are pipes. The portable transport has none.
 */
import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { FarPeer } from "../gear/far.ts";
import { plainProxy } from "../gear/fleet.ts";
import { moved } from "../gear/flow.ts";
import { hogPipes, openPipes } from "../gear/pipe-hog.ts";
import { eventually, scenario } from "../gear/scene.ts";
import { enterUser } from "../gear/user.ts";

// Nobody's, and no other test's.
const needs = enterUser(fileURLToPath(import.meta.url), 64_124);

const MIB = 1024 * 1024;

scenario(
  "all pipes are taken, then free again, in the middle of bulk",
  async (scene) => {
    const service = await FarPeer.start(scene);
    const client = await FarPeer.start(scene);
    const port = await service.listen();
    const hog = await hogPipes(scene);
    assert(hog.pipes > 0);
    const stage = await plainProxy(scene, { endpoints: [`127.0.0.1:${port}`] });
    const before = openPipes();
    const here = await client.connect(stage.port("in"));
    const there = await service.accept(port);
    await Promise.all([here.read(), there.read(), here.flood(), there.flood()]);
    let most = 0;
    await moved(stage, { up: 32 * MIB, down: 32 * MIB }, () => {
      most = Math.max(most, openPipes());
    });
    assert.equal(most, before, "no pipe of ours");

    await hog.end();
    await eventually(() => openPipes() > before, "pipes are taken as soon as there are some");
    const [up, down] = await Promise.all([here.finish(), there.finish()]);
    assert.deepEqual(await there.ended(), { ...up, how: "end" });
    assert.deepEqual(await here.ended(), { ...down, how: "end" });
    const access = await stage.access();
    assert.deepEqual([access.reason, access.bytes_up, access.bytes_down], ["ok", up.bytes, down.bytes]);
  },
  ["epoll"],
  needs,
);
