/**
 * Ensures that a network which loses, duplicates and reorders datagrams leaves the set as it is: what is lost is asked for
 * again, and no answer is taken for another question's.
 */
import assert from "node:assert/strict";
import { discovering, honest, NAME, records } from "../gear/discovery.ts";
import { type Query, type Reply, startResponder } from "../gear/dns.ts";
import { endpointOf, events, greeters, roll, tally } from "../gear/fleet.ts";
import { eventually, scenario } from "../gear/scene.ts";

const SERVICES = 6;
/** Queries for the service until it is enough. */
const REFRESHES = 4;

scenario("lost, duplicated and reordered datagrams: every target, and nothing else", async (scene) => {
  const services = await greeters(scene, SERVICES);
  const list = records(services, 0);
  const asked = new Map<string, number>();
  let lost = 0;
  let reordered = 0;
  /** An answer on a slow way, which the next one overtakes. */
  let overtaken: ((answer: Buffer) => void) | null = null;
  const network = (query: Query): Promise<Buffer> | Buffer[] | null => {
    const key = `${query.name.toLowerCase()} ${query.type}`;
    const times = (asked.get(key) ?? 0) + 1;
    asked.set(key, times);
    const answer = honest(list, query);
    // Only what was not lost the last time, so that a retry is enough.
    if (query.turn % 5 === 0 && times % 2 === 1) {
      lost += 1;
      return null;
    }
    if (query.turn % 5 === 2 && overtaken === null) {
      return new Promise((resolve) => {
        overtaken = () => resolve(answer);
      });
    }
    const late = overtaken;
    overtaken = null;
    if (late !== null) {
      reordered += 1;
      setImmediate(late, answer);
    }
    return [answer, answer];
  };
  const dns = await startResponder(
    scene,
    network as (query: Query) => Promise<Buffer> | readonly Reply[] | null,
  );
  const stage = await discovering(scene, [dns.key], { min_ttl: "100ms" }, { timeout: "100ms", attempts: 4 });
  await roll(scene, stage, 1);
  const whole = () => services.every(({ key }) => endpointOf(stage, key)?.health === "up");
  await eventually(whole, "all are found");
  await eventually(() => asked.get(`${NAME} SRV`)! >= REFRESHES, "they are asked for again and again");
  assert.deepEqual(tally(await roll(scene, stage, 2 * SERVICES)), { a: 2, b: 2, c: 2, d: 2, e: 2, f: 2 });
  assert.ok(lost > 3 && reordered > 3, `${lost} lost, ${reordered} reordered`);
  assert.deepEqual(events(stage, /removed|missing/), [], "nobody ever left the set");
});
