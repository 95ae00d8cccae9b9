/**
 * Ensures that a reset is carried as a reset, whoever sends it and whenever: the other side gets what was sent before, then
 * ECONNRESET, and the record says who it was.
 */
import assert from "node:assert/strict";
import type { Socket } from "node:net";
import { COMBINATIONS, legs } from "../gear/legs.ts";
import { ending, readBytes, scenario } from "../gear/scene.ts";
import { Arrivals, abort, outcome, sendForever } from "../gear/streams.ts";

/** What the breaker does before it breaks off, and what the other side sees. */
const CASES: Readonly<Record<string, (breaker: Socket, witness: Socket) => Promise<void>>> = {
  "before any byte": async (breaker, witness) => {
    const seen = ending(witness);
    abort(breaker);
    assert.equal(await seen, "ECONNRESET");
  },
  "after data": async (breaker, witness) => {
    breaker.write("x".repeat(10_007));
    await readBytes(witness, 10_007);
    const seen = ending(witness);
    abort(breaker);
    assert.equal(await seen, "ECONNRESET");
  },
  "after its own half-close": async (breaker, witness) => {
    breaker.end("last words");
    assert.equal(await readUntilEnd(witness), "last words");
    abort(breaker);
    // Nothing is read any more after the end, so the reset shows when something is written.
    assert.match(await writeError(witness), /ECONNRESET|EPIPE/);
  },
  "right behind its own end": async (breaker, witness) => {
    breaker.end("x".repeat(60_000));
    abort(breaker);
    await outcome(witness);
  },
  "while it is being sent to": async (breaker, witness) => {
    const seen = outcome(witness);
    void sendForever(witness);
    await readBytes(breaker, 200_003);
    abort(breaker);
    assert.match((await seen).how, /ECONNRESET|EPIPE/);
  },
  "with unread data at the other side": async (breaker, witness) => {
    witness.pause();
    void sendForever(breaker);
    // Some of it has arrived, and nobody reads it.
    await new Promise<void>((resolve) => witness.once("readable", resolve));
    abort(breaker);
    const seen = outcome(witness);
    witness.resume();
    const { how } = await seen;
    // Node itself may call a reset behind unread bytes an end; the record does not, and a write shows it.
    if (how === "end") assert.match(await writeError(witness), /ECONNRESET|EPIPE/);
    else assert.equal(how, "ECONNRESET");
  },
};

// Both TLS legs at once meet every case that one of them meets.
for (const combination of [COMBINATIONS[0]!, COMBINATIONS[3]!]) {
  scenario(`resets by either side at any time: ${combination.join(" to ")}`, async (scene) => {
    const arrivals = new Arrivals();
    const { stage, connect } = await legs(scene, combination, arrivals.talk);
    for (const by of ["client", "upstream"] as const) {
      for (const [when, breakOff] of Object.entries(CASES)) {
        // Node does not watch a socket that has ended: there, such a reset is noticed with the next write.
        if (when === "right behind its own end" && scene.transport === "net") continue;
        const client = await connect();
        const service = await arrivals.next();
        const [breaker, witness] = by === "client" ? [client, service] : [service, client];
        await breakOff(breaker, witness);
        const access = await stage.access();
        assert.equal(access.reason, `${by}_reset`, `${by} resets ${when}`);
        if (when === "before any byte") assert.equal(access.bytes_up + access.bytes_down, 0);
        if (when === "after data") {
          assert.equal(by === "client" ? access.bytes_up : access.bytes_down, 10_007);
        }
        witness.destroy();
      }
    }
  });
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
