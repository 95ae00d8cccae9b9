/**
 * Ensures that least_connections keeps ten equal endpoints level to two connections over all workers, while connections
 * come in crowds and after many have gone.
 */
import assert from "node:assert/strict";
import { greeters, plainProxy, type Visit, visit } from "../gear/fleet.ts";
import { eventually, scenario } from "../gear/scene.ts";

const ENDPOINTS = 10;
const CROWD = 50;

scenario("ten equal endpoints, two workers: active counts differ by two at most", async (scene) => {
  const services = await greeters(scene, ENDPOINTS);
  const stage = await plainProxy(
    scene,
    { balance: "least_connections", endpoints: services.map(({ address }) => address) },
    { workers: 2 },
  );
  const counts = (): number[] =>
    stage.proxy.clusters
      .get("out")!
      .describe()
      .endpoints.map(({ active }) => active);
  const level = (when: string): void => {
    const now = counts();
    assert.ok(Math.max(...now) - Math.min(...now) <= 2, `${when}: ${now.join(" ")}`);
  };
  const visits: Visit[] = [];
  for (let turn = 0; turn < 4; turn++) {
    const crowd = Array.from({ length: CROWD }, () => visit(scene, stage));
    for (const arriving of crowd) {
      visits.push(await arriving);
      level(`in crowd ${turn}`);
    }
  }
  assert.equal(
    counts().reduce((sum, count) => sum + count, 0),
    4 * CROWD,
  );

  // Everybody on three endpoints leaves: the next ones go there until all are level again.
  const leaving = visits.filter(({ name }) => "abc".includes(name));
  await Promise.all(leaving.map((one) => one.end()));
  await eventually(
    () => counts().reduce((sum, count) => sum + count, 0) === 4 * CROWD - leaving.length,
    "they are counted out",
  );
  const back = await Promise.all(leaving.map(() => visit(scene, stage)));
  level("after the return");
  const where = back.filter(({ name }) => "abc".includes(name)).length;
  assert.ok(where >= leaving.length - ENDPOINTS, `${where} of ${leaving.length} went where room was`);
});
