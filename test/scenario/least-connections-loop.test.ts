/**
 * Ensures that least_connections keeps ten equal endpoints level to two connections over all workers while clients in a closed
 * loop, in random order, replace each connection that ends. What holds by construction, whatever the order:
 *
 * - One client at a time between two connections: a pick is alone, sees every count as it is, and takes the least. So after it
 *   all counts are one of two neighbours, and while a connection is missing, one of three: two apart at most.
 * - Several at once: a pick raises no endpoint above the level of all, the mean rounded up, but by one where the other worker
 *   picked and had not counted yet. How far an endpoint falls below the level is up to its clients: no policy can bring back
 *   the connections that they end.
 */
import assert from "node:assert/strict";
import { greeters, plainProxy, type Visit, visit } from "../gear/fleet.ts";
import { type Scene, type Stage, scenario } from "../gear/scene.ts";

const ENDPOINTS = 10;
/** Not a multiple of the endpoints: the level lies between two counts, which is the harder case. */
const CLIENTS = 45;
const TURNS = 300;
const AT_ONCE = 4;

/** Looks at the counts all the time, as fast as this thread can, until told to stop. */
class Watch {
  readonly #cells: readonly Int32Array[];
  #on = true;
  looks = 0;
  apart = 0;
  most = 0;

  constructor(stage: Stage) {
    this.#cells = stage.proxy.clusters.get("out")!.set.endpoints.map(({ cell }) => cell);
    this.#look();
  }

  get total(): number {
    return this.#counts().reduce((sum, count) => sum + count, 0);
  }

  stop(): void {
    this.#on = false;
  }

  #counts(): number[] {
    return this.#cells.map((cell) => Atomics.load(cell, 0));
  }

  #look(): void {
    const now = this.#counts();
    this.most = Math.max(this.most, ...now);
    this.apart = Math.max(this.apart, Math.max(...now) - Math.min(...now));
    this.looks += 1;
    if (this.#on) setImmediate(() => this.#look());
  }
}

/** Everybody is in, and the watch begins. */
async function crowd(scene: Scene): Promise<{ stage: Stage; visits: Visit[]; watch: Watch }> {
  const services = await greeters(scene, ENDPOINTS);
  const endpoints = services.map(({ address }) => address);
  const stage = await plainProxy(scene, { balance: "least_connections", endpoints }, { workers: 2 });
  const visits: Visit[] = [];
  for (let client = 0; client < CLIENTS; client++) visits.push(await visit(scene, stage));
  const watch = new Watch(stage);
  scene.onClose(() => watch.stop());
  return { stage, visits, watch };
}

/** Takes one out of the crowd, whoever it is: any order will do, and this one is different each time. */
function oneOf(visits: Visit[]): Visit {
  return visits.splice(Math.floor(Math.random() * visits.length), 1)[0]!;
}

scenario("one after the other, in random order: never more than two apart", async (scene) => {
  const { stage, visits, watch } = await crowd(scene);
  for (let turn = 0; turn < TURNS; turn++) {
    await oneOf(visits).end();
    // The client may hear of the end a moment before the worker has counted it.
    while (watch.total === CLIENTS) await new Promise(setImmediate);
    visits.push(await visit(scene, stage));
  }
  assert.ok(watch.looks > TURNS);
  assert.ok(watch.apart <= 2, `${watch.apart} apart`);
});

scenario("several at once: no endpoint above the level but by a race of the two workers", async (scene) => {
  const { stage, visits, watch } = await crowd(scene);
  let turns = TURNS;
  const lane = async (): Promise<void> => {
    while (turns-- > 0) {
      await oneOf(visits).end();
      visits.push(await visit(scene, stage));
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, lane));
  // Clients may be back before their end is counted, so the level is that of a few more.
  const level = Math.ceil((CLIENTS + AT_ONCE) / ENDPOINTS);
  assert.ok(watch.most <= level + 1, `${watch.most} at a level of ${level}`);
});
