/** Ensures that large answers and odd TTLs are taken as they are meant. */
import assert from "node:assert/strict";
import type { Answer } from "dns-packet";
import { get } from "../gear/admin.ts";
import { discovering, NAME, records } from "../gear/discovery.ts";
import { a, soa, srv, startResponder, zone } from "../gear/dns.ts";
import { greeter, greeters, roll } from "../gear/fleet.ts";
import { scenario } from "../gear/scene.ts";

scenario("500 targets: fetched over TCP, each a member, and the proxy serves on", async (scene) => {
  const service = await greeter(scene, "a");
  const list: Answer[] = [
    srv(NAME, [0, 1, service.port, "alive.example.test"]),
    a("alive.example.test", service.at.host),
  ];
  for (let index = 0; index < 499; index++) {
    const target = `t${index}.example.test`;
    list.push(srv(NAME, [1, 1, 4242, target]), a(target, `10.9.${index >> 8}.${index & 255}`));
  }
  const dns = await startResponder(scene, zone(list));
  const stage = await discovering(scene, [dns.key]);
  assert.equal(await roll(scene, stage, 5), "aaaaa", "the better tier takes all");
  const status = JSON.parse((await get(stage, "/status")).body);
  assert.deepEqual([status.clusters[0].endpoints, status.clusters[0].up], [500, 500]);
  assert.ok(dns.queries.some(({ transport }) => transport === "tcp"));
});

for (const ttl of [0, 2 ** 31 - 1, 2 ** 31, 2 ** 32 - 1]) {
  scenario(`TTL ${ttl}: neither a busy loop nor for ever`, async (scene) => {
    const [service] = await greeters(scene, 1);
    const dns = await startResponder(scene, zone(records([service!], ttl), soa("test", 4000, 4000)));
    const stage = await discovering(scene, [dns.key]);
    assert.equal(await roll(scene, stage, 2), "aa");
    const [{ next_query_s: next }] = JSON.parse((await get(stage, "/clusters")).body)[0].sources;
    // min_ttl is 1 s and max_ttl 5 min; RFC 2181 section 8: a TTL with the top bit set counts as 0.
    assert.equal(next, ttl === 2 ** 31 - 1 ? 300 : 1);
    assert.equal(dns.queries.filter(({ type }) => type === "SRV").length, 1);
  });
}
