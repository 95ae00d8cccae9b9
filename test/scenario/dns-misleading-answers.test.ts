/**
 * Ensures that answers which carry more than was asked for mislead nobody, that aliases are followed and circles of them are
 * not, that a trailing dot is no other name, and that bytes which are no answer send the question on.
 */
import assert from "node:assert/strict";
import { get } from "../gear/admin.ts";
import { discovering, honest, NAME, records, sourceOf } from "../gear/discovery.ts";
import { a, cname, type Query, respond, srv, startResponder, zone } from "../gear/dns.ts";
import { greeters, plainProxy, roll, tally } from "../gear/fleet.ts";
import { scenario } from "../gear/scene.ts";

scenario("records that nobody asked for, in every section: not one is dialled", async (scene) => {
  const [good, evil] = await greeters(scene, 2);
  const { host } = evil!.at;
  const target = "db.other.test";
  const lies = [a(target, host), a("t0.example.test", host), a(NAME, host), a("evil.test", host)];
  const dns = await startResponder(scene, (query) => {
    const about = { type: "NS", name: "example.test", ttl: 60, data: "ns.evil.test" } as const;
    if (query.type === "SRV") {
      return respond(
        query,
        [
          srv(NAME, [0, 1, good!.port, target]),
          srv("_web._tcp.example.test", [0, 9, evil!.port, "evil.test"]),
          ...lies,
        ],
        // The target lies in another domain, whose addresses are not this zone's to tell.
        { authorities: [about, srv(NAME, [0, 1, evil!.port, "evil.test"]), ...lies], additionals: lies },
      );
    }
    const answers = query.type === "A" ? [a(query.name.toLowerCase(), good!.at.host)] : [];
    return respond(query, [...answers, a("evil.test", host)], {
      authorities: [about, ...lies],
      additionals: lies,
    });
  });
  const stage = await discovering(scene, [dns.key]);
  assert.equal(await roll(scene, stage, 6), "aaaaaa");
  assert.equal(evil!.accepted, 0);
  const [{ endpoints }] = JSON.parse((await get(stage, "/clusters")).body);
  assert.deepEqual(
    endpoints.map(({ key }: { key: string }) => key),
    [good!.key],
  );
});

scenario("targets that are aliases, one of which leads in a circle: the others serve", async (scene) => {
  const [one, two] = await greeters(scene, 2);
  const dns = await startResponder(
    scene,
    zone([
      srv(NAME, [0, 1, one!.port, "alias.example.test"]),
      cname("alias.example.test", "second.example.test"),
      cname("second.example.test", "real.test"),
      a("real.test", one!.at.host),
      srv(NAME, [0, 1, two!.port, "plain.example.test"]),
      a("plain.example.test", two!.at.host),
      srv(NAME, [0, 1, 4242, "round.example.test"]),
      cname("round.example.test", "about.example.test"),
      cname("about.example.test", "round.example.test"),
    ]),
  );
  const stage = await discovering(scene, [dns.key]);
  assert.deepEqual(tally(await roll(scene, stage, 6)), { a: 3, b: 3 });
  const { problem, targets, phase } = await sourceOf(stage);
  assert.deepEqual([targets, phase], [2, "fresh"]);
  assert.match(problem, /^round\.example\.test A+: .*loop/);
});

scenario("a circle of aliases for the service itself is a failure, not an empty answer", async (scene) => {
  const dns = await startResponder(scene, zone([cname(NAME, "x.test"), cname("x.test", NAME)]));
  const stage = await discovering(scene, [dns.key]);
  const [service] = await greeters(scene, 1);
  const waiting = roll(scene, stage, 1);
  while (((await sourceOf(stage)).answers["loop"] ?? 0) === 0) await new Promise(setImmediate);
  assert.equal((await sourceOf(stage)).phase, "unresolved");
  dns.say(zone(records([service!])));
  assert.equal(await waiting, "a");
});

scenario("a trailing dot, in the configuration, changes nothing", async (scene) => {
  const [one, two] = await greeters(scene, 2);
  const dns = await startResponder(scene, zone([...records([one!]), a("api.test", two!.at.host)]));
  const service = await discovering(scene, [dns.key], { srv: `${NAME}.` });
  assert.equal(await roll(scene, service, 2), "aa");
  const host = await plainProxy(scene, { dns: `api.test.:${two!.port}` }, { dns: { servers: [dns.key] } });
  assert.equal(await roll(scene, host, 2), "bb");
});

scenario("bytes that are no answer, and names that are no host names", async (scene) => {
  const [service] = await greeters(scene, 1);
  const list = [
    ...records([service!]),
    ...['a"b.example.test', "a\\b.example.test", "a b.example.test", "a\0b.example.test"].map((name) =>
      srv(NAME, [0, 1, 9, name]),
    ),
  ];
  const garbage = (query: Query): Buffer => {
    const wire = honest(list, query);
    return wire.subarray(0, 12 + (query.turn % (wire.length - 12)));
  };
  const broken = await startResponder(scene, garbage);
  const dns = await startResponder(scene, zone(list));
  const stage = await discovering(scene, [broken.key, dns.key]);
  assert.equal(await roll(scene, stage, 4), "aaaa");
  assert.ok(broken.queries.length > 0);
  const { targets, raw } = await sourceOf(stage);
  assert.equal(targets, 1);
  assert.doesNotMatch(raw.join("\n"), /["\\\0]| b\.example/);
});
