/**
 * Ensures that failing DNS servers are asked past and asked again, and that what was good stays good while all of them fail.
 */
import assert from "node:assert/strict";
import { get } from "../gear/admin.ts";
import { discovering, honest, records } from "../gear/discovery.ts";
import { respond, startResponder, truncated, zone } from "../gear/dns.ts";
import { greeters, roll, tally, visit } from "../gear/fleet.ts";
import { eventually, scenario } from "../gear/scene.ts";

scenario("truncated, and TCP refused: asked again until TCP answers", async (scene) => {
  const [service] = await greeters(scene, 1);
  const list = records([service!]);
  let refuse = true;
  const dns = await startResponder(scene, (query) => {
    if (query.transport === "udp") return truncated(query);
    // A byte at a time, so that the length prefix is split as well.
    return refuse ? null : { wire: honest(list, query), chunk: 1 };
  });
  const stage = await discovering(scene, [dns.key]);
  const waiting = visit(scene, stage);
  await eventually(() => dns.queries.some(({ transport }) => transport === "tcp"), "TCP is tried");
  assert.equal(JSON.parse((await get(stage, "/status")).body).clusters[0].state, "unresolved");
  refuse = false;
  const one = await waiting;
  assert.equal(one.name, "a");
  await one.end();
});

scenario("one name server fails and one refuses: the third one answers", async (scene) => {
  const [service] = await greeters(scene, 1);
  const failing = await startResponder(scene, (query) => respond(query, [], { rcode: 2 }));
  const refusing = await startResponder(scene, (query) => respond(query, [], { rcode: 5 }));
  const dns = await startResponder(scene, zone(records([service!])));
  const stage = await discovering(scene, [failing.key, refusing.key, dns.key]);
  assert.equal(await roll(scene, stage, 2), "aa");
});

scenario(
  "all name servers fail at run time: the last good set is served and marked as such",
  async (scene) => {
    const services = await greeters(scene, 2);
    const dns = await startResponder(scene, zone(records(services, 0)));
    const stage = await discovering(scene, [dns.key], { min_ttl: "100ms" });
    assert.deepEqual(tally(await roll(scene, stage, 4)), { a: 2, b: 2 });
    dns.say((query) => respond(query, [], { rcode: 2 }));
    const phase = async () => JSON.parse((await get(stage, "/clusters")).body)[0].sources[0].phase as string;
    await eventually(
      () => stage.log.messages.some((event) => /going on with the last 2 targets/.test(String(event["msg"]))),
      "the log says that the set is old",
    );
    assert.equal(await phase(), "stale");
    assert.deepEqual(tally(await roll(scene, stage, 4)), { a: 2, b: 2 });
    const { body } = await get(stage, "/metrics");
    assert.match(
      body,
      /millrace_dns_answers_total\{name="_db\._tcp\.example\.test",result="servfail"\} [1-9]/,
    );
    assert.match(body, /millrace_dns_answers_total\{name="_db\._tcp\.example\.test",result="ok"\} [1-9]/);
  },
);
