/** Ensures that access lines which nobody takes are dropped past a bound and counted, while connections are served as before. */
import assert from "node:assert/strict";
import { sumListener } from "../../lib/observe/counters.ts";
import { DROPPED_LINES } from "../../lib/worker.ts";
import { legs } from "../gear/legs.ts";
import { eventually, readAll, scenario } from "../gear/scene.ts";

scenario("a log that is full", async (scene) => {
  const { stage, connect } = await legs(scene, ["plain", "plain"], (socket) => socket.pipe(socket));
  const { gauges } = stage.proxy;
  const visit = async (): Promise<void> => {
    const client = await connect();
    client.end("hello");
    assert.equal((await readAll(client)).toString(), "hello");
  };
  await visit();
  await stage.access();

  // All that workers have for lines waits for a reader.
  for (const { flags } of stage.proxy.lines) flags.fill(1);
  for (let i = 0; i < 20; i += 1) await visit();
  await eventually(
    () => gauges[DROPPED_LINES] === 20,
    "20 lines dropped",
    () => `${gauges[DROPPED_LINES]}`,
  );
  assert.equal(stage.log.seen.length, 1);

  for (const { flags } of stage.proxy.lines) flags.fill(0);
  await visit();
  assert.equal((await stage.access()).reason, "ok");
  const [ok] = sumListener(stage.proxy.listenerRows().get("in")!).reasons;
  assert.deepEqual(ok, { reason: "ok", total: 22 }, "counters count what the log has lost");
});
