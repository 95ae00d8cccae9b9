/**
 * Ensures that a proxy starts without DNS: its listeners accept at once, connections wait for the first answer, at most for
 * `connect`, and `/status` says what they wait for.
 */
import assert from "node:assert/strict";
import { get } from "../gear/admin.ts";
import { a, deadServer, respond, srv, startResponder, zone } from "../gear/dns.ts";
import { greeter, plainConfig, plainProxy, visit } from "../gear/fleet.ts";
import { eventually, scenario } from "../gear/scene.ts";

const NAME = "_db._tcp.example.test";
const LOOPBACK_ADMIN = { admin: { listen: "127.0.0.1:0" } } as const;

scenario("no name server answers: connections wait for `connect`, then have no endpoint", async (scene) => {
  const silent = await deadServer(scene);
  const stage = await plainProxy(
    scene,
    { discover: { srv: NAME } },
    {
      ...LOOPBACK_ADMIN,
      dns: { servers: [`${silent.host}:${silent.port}`] },
      timeouts: { connect: "200ms" },
    },
  );
  const status = JSON.parse((await get(stage, "/status")).body);
  assert.deepEqual(status.clusters, [{ name: "out", state: "unresolved", endpoints: 0, up: 0, draining: 0 }]);
  assert.equal((await get(stage, "/ready")).status, 200);
  const began = performance.now();
  const one = await visit(scene, stage);
  assert.equal(one.name, "");
  assert.ok(performance.now() - began >= 199, "not refused before its time");
  const access = await stage.access();
  assert.equal(access.reason, "no_endpoint");
  assert.match(access.error!, /cluster out was not resolved within 200 ms/);
});

scenario("the first answer comes late: connections that waited for it go through", async (scene) => {
  const db = await greeter(scene, "a");
  let answer = (): void => {};
  const answered = new Promise<void>((resolve) => {
    answer = resolve;
  });
  const records = zone([srv(NAME, [0, 1, db.port, "db1.example.test"]), a("db1.example.test", db.at.host)]);
  const dns = await startResponder(scene, async (query) => {
    await answered;
    return records(query);
  });
  const stage = await plainProxy(
    scene,
    { discover: { srv: NAME } },
    { ...LOOPBACK_ADMIN, dns: { servers: [dns.key] } },
  );
  const waiting = [visit(scene, stage), visit(scene, stage)];
  await eventually(() => stage.proxy.gauges[0] === 2, "both are accepted");
  const rows = JSON.parse((await get(stage, "/connections")).body) as { phase: string }[];
  assert.deepEqual(
    rows.map(({ phase }) => phase),
    ["pick", "pick"],
  );
  answer();
  const visits = await Promise.all(waiting);
  assert.deepEqual(
    visits.map(({ name }) => name),
    ["a", "a"],
  );
  assert.equal(JSON.parse((await get(stage, "/status")).body).clusters[0].state, "resolved");
  for (const one of visits) await one.end();
});

scenario("a connection that waits for the first answer hears of it after a reload", async (scene) => {
  const db = await greeter(scene, "a");
  let answer = (): void => {};
  const answered = new Promise<void>((resolve) => {
    answer = resolve;
  });
  const records = zone([srv(NAME, [0, 1, db.port, "db1.example.test"]), a("db1.example.test", db.at.host)]);
  const dns = await startResponder(scene, async (query) => {
    await answered;
    return records(query);
  });
  const config = plainConfig({ discover: { srv: NAME } }, { dns: { servers: [dns.key] } });
  const stage = await scene.proxy(config);
  const waiting = visit(scene, stage);
  await eventually(() => stage.proxy.gauges[0] === 1, "it is accepted");
  await stage.reload({ ...config, timeouts: { idle: "2h" } });
  answer();
  const one = await waiting;
  assert.equal(one.name, "a");
  await one.end();
  assert.equal((await stage.access()).generation, 1);
});

scenario("the first answer says that there is nobody: connections end at once", async (scene) => {
  const dns = await startResponder(scene, (query) => respond(query, [], { rcode: 3 }));
  const stage = await plainProxy(scene, { discover: { srv: NAME } }, { dns: { servers: [dns.key] } });
  const one = await visit(scene, stage);
  assert.equal(one.name, "");
  const access = await stage.access();
  assert.equal(access.reason, "no_endpoint");
  assert.match(access.error!, /cluster out has no endpoint to dial/);
});
