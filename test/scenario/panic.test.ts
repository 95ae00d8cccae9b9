/** Ensures that a cluster whose endpoints are all called down is dialled all the same: a doubt is not made an outage. */
import assert from "node:assert/strict";
import { get } from "../gear/admin.ts";
import { becomes, greeter, plainProxy, roll, tally } from "../gear/fleet.ts";
import { eventually, scenario } from "../gear/scene.ts";

scenario(
  "all down by a check that is wrong: everybody serves; one that is well takes over alone",
  async (scene) => {
    let wellKnown = false;
    const talk = (name: string, knows: () => boolean) =>
      scene.service((socket) => {
        // What the check asks for, and nobody has; clients say nothing and are greeted.
        const greet = setTimeout(() => socket.write(`${name}\n`), 20);
        socket.once("data", (asked: Buffer) => {
          clearTimeout(greet);
          if (asked.toString() === "status?") socket.end(knows() ? "fine" : "what?");
        });
        socket.on("end", () => socket.end());
        socket.on("close", () => clearTimeout(greet));
      });
    const one = await talk("a", () => wellKnown);
    const two = await talk("b", () => false);
    const stage = await plainProxy(
      scene,
      {
        endpoints: [one.address, two.address],
        health: { interval: "40ms", timeout: "500ms", rise: 1, fall: 1, send: "status?", expect: "fine" },
      },
      { admin: { listen: "127.0.0.1:0" } },
    );
    const state = async () => JSON.parse((await get(stage, "/status")).body).clusters[0];
    await becomes(stage, one, "down");
    await becomes(stage, two, "down");
    assert.deepEqual(await state(), { name: "out", state: "panic", endpoints: 2, up: 0, draining: 0 });
    assert.deepEqual(tally(await roll(scene, stage, 6)), { a: 3, b: 3 });
    wellKnown = true;
    await becomes(stage, one, "up");
    await eventually(() => stage.proxy.clusters.get("out")!.describe().panic === false, "the panic is over");
    assert.equal(await roll(scene, stage, 4), "aaaa");
  },
);

scenario(
  "all gone and back: refused while gone, served when back, with no check and no ejection",
  async (scene) => {
    const service = await greeter(scene, "a");
    const stage = await plainProxy(scene, { endpoints: [service.address] });
    assert.equal(await roll(scene, stage, 1), "a");
    await service.close();
    assert.equal(await roll(scene, stage, 2), "--");
    assert.equal((await stage.access()).reason, "ok");
    assert.equal((await stage.access()).reason, "dial_failed");
    await greeter(scene, "a", service.at);
    assert.equal(await roll(scene, stage, 2), "aa");
  },
);
