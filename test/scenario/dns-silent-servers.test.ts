/**
 * Ensures that name servers which all stop answering, whether they fall silent or are gone and their machine refuses, cost
 * nothing but news: endpoints stay, connections go on and new ones come, the log and `/clusters` say that the set is old and
 * why, and with the first answer the new set is there.
 */
import assert from "node:assert/strict";
import { get } from "../gear/admin.ts";
import { discovering, records, sourceBecomes, sourceOf } from "../gear/discovery.ts";
import { type Responder, startResponder, zone } from "../gear/dns.ts";
import { becomes, events, greeters, ownHost, roll, tally, visit } from "../gear/fleet.ts";
import { type Scene, scenario } from "../gear/scene.ts";

/** How the servers stop, and how they come back to say something else. */
interface Way {
  stop(servers: readonly Responder[]): Promise<void>;
  back(scene: Scene, servers: readonly Responder[], list: ReturnType<typeof records>): Promise<void>;
}

const WAYS: Readonly<Record<string, Way>> = {
  "fall silent": {
    async stop(servers) {
      for (const one of servers) one.say(() => null);
    },
    async back(_scene, servers, list) {
      for (const one of servers) one.say(zone(list));
    },
  },
  "are gone, and ICMP refuses": {
    async stop(servers) {
      for (const one of servers) await one.close();
    },
    async back(scene, servers, list) {
      for (const { host, port } of servers) await startResponder(scene, zone(list), { host, port });
    },
  },
};

for (const [what, { stop, back }] of Object.entries(WAYS)) {
  scenario(`all name servers ${what} at run time`, async (scene) => {
    const [a, b, c] = await greeters(scene, 3);
    const before = zone(records([a!, b!], 0));
    const servers = [
      await startResponder(scene, before, { host: ownHost() }),
      await startResponder(scene, before, { host: ownHost() }),
    ];
    const keys = servers.map(({ key }) => key);
    const stage = await discovering(
      scene,
      keys,
      { min_ttl: "100ms" },
      {
        timeout: "60ms",
        attempts: 1,
      },
    );
    const lasting = [await visit(scene, stage), await visit(scene, stage)];
    const [onA] = lasting.filter(({ name }) => name === "a");
    assert.deepEqual(tally(await roll(scene, stage, 4)), { a: 2, b: 2 });

    await stop(servers);
    await sourceBecomes(stage, "the set is old", ({ phase }) => phase === "stale");
    const { problem, targets, failures } = await sourceOf(stage);
    assert.ok(failures >= 1);
    assert.equal(targets, 2);
    assert.match(problem, new RegExp(`^(${keys.join("|")}): no answer in \\d+ ms`));
    assert.equal(events(stage, /no good answer \(timeout\); going on with the last 2 targets/).length, 1);
    assert.equal(events(stage, /no answer in \d+ ms \(timeout\); asking again in \d+ s/).length, 1);
    assert.match((await get(stage, "/metrics")).body, /dns_answers_total\{[^}]*result="timeout"\} [1-9]/);
    assert.deepEqual(tally(await roll(scene, stage, 4)), { a: 2, b: 2 });
    for (const one of lasting) assert.ok(await one.echo());

    await back(scene, servers, records([b!, c!], 60));
    await becomes(stage, a!, "draining");
    const source = await sourceOf(stage);
    assert.deepEqual([source.phase, source.problem, source.failures], ["fresh", "", 0]);
    assert.deepEqual(tally(await roll(scene, stage, 4)), { b: 2, c: 2 });
    assert.ok(await onA!.echo(), "what lives is not cut by the new set either");
    for (const one of lasting) await one.end();
  });
}
