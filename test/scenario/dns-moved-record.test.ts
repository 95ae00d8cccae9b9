/**
 * Ensures that a record that moves under load costs no connection: those that live stay where they are and finish there, new
 * ones are on the new endpoint within TTL + 1 s, and the log and `/clusters` say what changed.
 */
import assert from "node:assert/strict";
import { get } from "../gear/admin.ts";
import { a, srv, startResponder, zone } from "../gear/dns.ts";
import { endpointOf, events, greeter, plainProxy, visit } from "../gear/fleet.ts";
import { eventually, type Service, scenario } from "../gear/scene.ts";

const NAME = "_db._tcp.example.test";
const TTL_MS = 1000;
/** Connections in flight at any time, each open for one exchange. */
const STREAMS = 8;

scenario("a record moves under load", async (scene) => {
  const old = await greeter(scene, "a");
  const next = await greeter(scene, "b");
  const pointing = ({ at: { host, port } }: Service, target: string) =>
    zone([srv(NAME, [0, 1, port, `${target}.example.test`], 1), a(`${target}.example.test`, host, 1)]);
  const dns = await startResponder(scene, pointing(old, "a"));
  const stage = await plainProxy(
    scene,
    { discover: { srv: NAME } },
    { admin: { listen: "127.0.0.1:0" }, dns: { servers: [dns.key] } },
  );
  const lasting = await Promise.all(Array.from({ length: 20 }, () => visit(scene, stage)));
  assert.ok(lasting.every(({ name }) => name === "a"));

  let running = true;
  let movedAt = Number.POSITIVE_INFINITY;
  let fresh = 0;
  const stream = async (): Promise<void> => {
    while (running) {
      const began = performance.now();
      const one = await visit(scene, stage);
      assert.notEqual(one.name, "", "no connection is refused");
      assert.ok(await one.echo());
      await one.end();
      if (began > movedAt + TTL_MS + 1000) {
        assert.equal(one.name, "b", "on the new endpoint within TTL + 1 s");
        fresh += 1;
        if (fresh > 50) running = false;
      }
    }
  };
  const load = Array.from({ length: STREAMS }, stream);
  await eventually(() => stage.log.seen.length > 20, "the load runs");
  dns.say(pointing(next, "b"));
  movedAt = performance.now();
  await Promise.all(load);

  assert.equal(endpointOf(stage, old.key)?.health, "draining");
  const [cluster] = JSON.parse((await get(stage, "/clusters")).body);
  assert.deepEqual(
    cluster.endpoints.map((one: { key: string; health: string; active: number }) => [
      one.key,
      one.health,
      one.active,
    ]),
    [
      [next.key, "up", 0],
      [old.key, "draining", 20],
    ],
  );
  for (const one of lasting) assert.ok(await one.echo(), "a live connection is never cut");
  for (const one of lasting) await one.end();
  await stage.settled();
  assert.equal(endpointOf(stage, old.key), undefined, "drained");
  assert.deepEqual([...new Set(stage.log.seen.map(({ reason }) => reason))], ["ok"]);

  const added = events(stage, new RegExp(`cluster out: ${next.key} added`));
  const removed = events(stage, new RegExp(`cluster out: ${old.key} removed; \\d+ connections finish`));
  assert.deepEqual([added.length, removed.length], [1, 1]);
  const changes = events(stage, /added .*; now/);
  assert.ok(
    changes.some((event) =>
      (event["raw"] as string[]).some((line) => line.includes("b.example.test. 1 IN A")),
    ),
    "the raw answer is in the log",
  );
});
