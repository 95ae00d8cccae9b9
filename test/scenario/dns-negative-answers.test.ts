/**
 * Ensures that the ways in which a name server can say no mean what they mean: no such name and no such record are answers, held
 * for their negative TTL; a refusal of EDNS is asked around; "." is a service that is decidedly not there.
 */
import assert from "node:assert/strict";
import { discovering, honest, NAME, records, sourceBecomes, sourceOf } from "../gear/discovery.ts";
import { respond, soa, srv, startResponder, zone } from "../gear/dns.ts";
import { becomes, events, greeters, roll, visit } from "../gear/fleet.ts";
import { scenario } from "../gear/scene.ts";

for (const [what, rcode, minimum, result, next] of [
  ["no such name, for 7 s", 3, 7, "nxdomain", [7]],
  ["no such record, for 7 s", 0, 7, "nodata", [7]],
  ["no such name, without a word for how long", 3, null, "nxdomain", [0, 1]],
  ["no such record, without a word for how long", 0, null, "nodata", [0, 1]],
] as const) {
  scenario(`${what}: an answer, and connections end at once`, async (scene) => {
    const dns = await startResponder(scene, (query) =>
      respond(query, [], { rcode, authorities: minimum === null ? [] : [soa("example.test", minimum, 60)] }),
    );
    const stage = await discovering(scene, [dns.key], { min_ttl: "100ms" });
    assert.equal(await roll(scene, stage, 1), "-");
    assert.equal((await stage.access()).reason, "no_endpoint");
    const source = await sourceOf(stage);
    assert.equal(source.phase, "fresh");
    assert.ok((source.answers[result] ?? 0) >= 1, JSON.stringify(source.answers));
    assert.ok(
      next.some((seconds) => seconds === source.next_query_s),
      `${source.next_query_s} s`,
    );
  });
}

scenario("a name server that does not know EDNS is asked without", async (scene) => {
  const [service] = await greeters(scene, 1);
  const list = records([service!]);
  const dns = await startResponder(scene, (query) =>
    query.edns ? respond(query, [], { rcode: 1 }) : honest(list, query),
  );
  const stage = await discovering(scene, [dns.key]);
  assert.equal(await roll(scene, stage, 2), "aa");
  assert.equal(dns.queries.filter(({ type, edns }) => type === "SRV" && edns).length, 1, "and from then on");
});

scenario('the target ".": nobody is dialled; after a full set only once it is confirmed', async (scene) => {
  const [service] = await greeters(scene, 1);
  const gone = zone([srv(NAME, [0, 0, 0, "."], 60)]);
  const dns = await startResponder(scene, gone);
  const never = await discovering(scene, [dns.key]);
  assert.equal(await roll(scene, never, 1), "-");
  assert.equal((await never.access()).reason, "no_endpoint");
  assert.match((await sourceOf(never)).problem, /declared not available/);

  dns.say(zone(records([service!], 0)));
  const stage = await discovering(scene, [dns.key], { min_ttl: "100ms" });
  const lasting = await visit(scene, stage);
  assert.equal(lasting.name, "a");
  dns.say(gone);
  await becomes(stage, service!, "draining");
  assert.equal(events(stage, /1 of 1 targets are missing/).length, 1, "one answer is not enough");
  assert.equal(await roll(scene, stage, 1), "-");
  assert.ok(await lasting.echo(), "what lives goes on");
  await lasting.end();
  await sourceBecomes(stage, "it is empty", ({ targets }) => targets === 0);
});
