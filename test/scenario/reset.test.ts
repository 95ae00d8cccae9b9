/**
 * Ensures that a reset is carried as a reset, whoever sends it and whenever: the other side gets what was sent before, then
 * ECONNRESET, and the record says who it was.
 */
import assert from "node:assert/strict";
import type { Socket } from "node:net";
import { COMBINATIONS, legs } from "../gear/legs.ts";
import { ending, readBytes, scenario } from "../gear/scene.ts";
import { Arrivals, abort, outcome, sendForever } from "../gear/streams.ts";

for (const combination of COMBINATIONS) {
  const name = combination.join(" to ");
  for (const by of ["client", "upstream"] as const) {
    const pair = async (scene: Parameters<typeof legs>[0]) => {
      const arrivals = new Arrivals();
      const { stage, connect } = await legs(scene, combination, arrivals.talk);
      const client = await connect();
      const service = await arrivals.next();
      const [breaker, witness] = by === "client" ? [client, service] : [service, client];
      return { stage, breaker, witness };
    };

    scenario(`${by} resets before any byte: ${name}`, async (scene) => {
      const { stage, breaker, witness } = await pair(scene);
      const seen = ending(witness);
      abort(breaker);
      assert.equal(await seen, "ECONNRESET");
      const access = await stage.access();
      assert.equal(access.reason, `${by}_reset`);
      assert.equal(access.bytes_up + access.bytes_down, 0);
    });

    scenario(`${by} resets after data: ${name}`, async (scene) => {
      const { stage, breaker, witness } = await pair(scene);
      breaker.write("x".repeat(10_007));
      await readBytes(witness, 10_007);
      const seen = ending(witness);
      abort(breaker);
      assert.equal(await seen, "ECONNRESET");
      const access = await stage.access();
      assert.equal(access.reason, `${by}_reset`);
      assert.equal(by === "client" ? access.bytes_up : access.bytes_down, 10_007);
    });

    scenario(`${by} resets after its own half-close: ${name}`, async (scene) => {
      const { stage, breaker, witness } = await pair(scene);
      breaker.end("last words");
      const words = await readUntilEnd(witness);
      assert.equal(words, "last words");
      abort(breaker);
      // Nothing is read any more after the end, so the reset shows when something is written.
      assert.match(await writeError(witness), /ECONNRESET|EPIPE/);
      assert.equal((await stage.access()).reason, `${by}_reset`);
    });

    scenario(`${by} resets while it is being sent to: ${name}`, async (scene) => {
      const { stage, breaker, witness } = await pair(scene);
      const seen = outcome(witness);
      void sendForever(witness);
      await readBytes(breaker, 200_003);
      abort(breaker);
      assert.match((await seen).how, /ECONNRESET|EPIPE/);
      assert.equal((await stage.access()).reason, `${by}_reset`);
    });

    scenario(`${by} resets with unread data at the other side: ${name}`, async (scene) => {
      const { stage, breaker, witness } = await pair(scene);
      witness.pause();
      void sendForever(breaker);
      // Some of it has arrived, and nobody reads it.
      await new Promise<void>((resolve) => witness.once("readable", resolve));
      abort(breaker);
      const seen = outcome(witness);
      witness.resume();
      const { how } = await seen;
      const access = await stage.access();
      assert.equal(access.reason, `${by}_reset`);
      // Node itself may call a reset behind unread bytes an end; the record does not, and a write shows it.
      if (how === "end") assert.match(await writeError(witness), /ECONNRESET|EPIPE/);
      else assert.equal(how, "ECONNRESET");
    });
  }
}

function readUntilEnd(socket: Socket): Promise<string> {
  return new Promise((resolve) => {
    let text = "";
    socket.on("data", (chunk) => {
      text += chunk;
    });
    socket.on("end", () => resolve(text));
  });
}

/** Writes until that fails. */
function writeError(socket: Socket): Promise<string> {
  return new Promise((resolve) => {
    socket.on("error", (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message));
    void sendForever(socket);
  });
}
