/**
 * The relay conserves bytes under any interleaving of write, pause, resume, end and reset on both sides: without a reset each
 * side gets exactly what the other sent, with one a prefix of it, and the record agrees with both.
 */
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import type { Socket } from "node:net";
import fc from "fast-check";
import { type Leg, legs } from "../gear/legs.ts";
import { eventually, type Stage, scenario } from "../gear/scene.ts";
import { Arrivals, abort } from "../gear/streams.ts";

const RUNS = 15;
// What both sides send is a piece of this from its beginning, so that a prefix is easily told.
const TEXT = randomBytes(1 << 21);

type Action =
  | { readonly side: 0 | 1; readonly do: "write"; readonly size: number }
  | { readonly side: 0 | 1; readonly do: "pause" | "resume" | "end" | "reset" | "yield" };

const side = fc.constantFrom(0 as const, 1 as const);
const size = fc.oneof(
  fc.integer({ min: 1, max: 20 }),
  fc.integer({ min: 1_400, max: 1_500 }),
  fc.integer({ min: 16_000, max: 17_000 }),
  fc.integer({ min: 60_000, max: 150_000 }),
);
const action: fc.Arbitrary<Action> = fc.oneof(
  { weight: 6, arbitrary: fc.record({ side, do: fc.constant("write" as const), size }) },
  { weight: 5, arbitrary: fc.record({ side, do: fc.constantFrom("pause", "resume", "yield") }) },
  { weight: 1, arbitrary: fc.record({ side, do: fc.constantFrom("end", "reset") }) },
);
const script = fc.array(action, { maxLength: 25 });

for (const combination of [
  ["plain", "plain"],
  ["tls", "tls"],
] as const satisfies readonly (readonly [Leg, Leg])[]) {
  scenario(`any interleaving conserves bytes: ${combination.join(" to ")}`, async (scene) => {
    const arrivals = new Arrivals();
    const { stage, connect } = await legs(scene, combination, arrivals.talk);
    await fc.assert(
      // Several at once: each waits for its line in the log, and pipes and buffers are shared.
      fc.asyncProperty(fc.array(script, { minLength: 1, maxLength: 6 }), async (scripts) => {
        const pairs: (readonly [End, End])[] = [];
        // Ports come again: only what is logged from here on is about these.
        const logged = stage.log.seen.length;
        for (const _ of scripts) {
          const client = await connect();
          pairs.push([new End(client), new End(await arrivals.next())]);
        }
        await Promise.all(scripts.map((actions, i) => play(stage, logged, actions, pairs[i]!)));
      }),
      // Shrinking would wait for every deadline again: the script as it was found says enough.
      { numRuns: RUNS, endOnFailure: true, includeErrorInReport: true },
    );
  });
}

/** Plays one script on one connection, and holds the outcome against the record. */
async function play(
  stage: Stage,
  logged: number,
  actions: readonly Action[],
  ends: readonly [End, End],
): Promise<void> {
  const source = `127.0.0.1:${ends[0].socket.localPort}`;
  const broken = new Set<0 | 1>();
  for (const act of actions) {
    if (act.do === "yield") await new Promise((resolve) => setImmediate(resolve));
    else if (act.do === "reset") broken.add(act.side);
    ends[act.side].act(act);
  }
  for (const end of ends) end.act({ side: 0, do: "resume" });
  for (const [i, end] of ends.entries()) if (!broken.has(i as 0 | 1)) end.act({ side: 0, do: "end" });
  const find = () => stage.log.seen.slice(logged).find((access) => access.source === source);
  await eventually(() => find() !== undefined, "its record");
  const access = find()!;
  const [up, down] = [ends[0].sent, ends[1].sent];
  if (broken.size === 0) {
    await Promise.all(ends.map((end) => end.heardAll));
    assert.equal(access.reason, "ok");
    assert.deepEqual([ends[1].received, ends[0].received], [up, down]);
    assert.deepEqual([access.bytes_up, access.bytes_down], [up, down]);
  } else {
    for (const end of ends) end.socket.destroy();
    // Both may have ended in order before the reset.
    const reasons = ["client_reset", "upstream_reset"].filter((_, i) => broken.has(i as 0 | 1));
    assert([...reasons, "ok"].includes(access.reason), access.reason);
    assert(ends[1].received <= access.bytes_up && access.bytes_up <= up);
    assert(ends[0].received <= access.bytes_down && access.bytes_down <= down);
  }
  for (const end of ends) assert.equal(end.wrong, null);
}

/** One side: sends the text from its beginning, and checks that what it receives is the text from its beginning. */
class End {
  readonly socket: Socket;
  readonly heardAll: Promise<void>;
  sent = 0;
  received = 0;
  /** Where the first wrong byte was received. */
  wrong: number | null = null;
  #ended = false;

  constructor(socket: Socket) {
    this.socket = socket;
    socket.on("error", () => {});
    socket.on("data", (chunk: Buffer) => {
      if (!chunk.equals(TEXT.subarray(this.received, this.received + chunk.length))) {
        this.wrong ??= this.received;
      }
      this.received += chunk.length;
    });
    this.heardAll = new Promise((resolve) => socket.on("end", resolve));
  }

  act(action: Action): void {
    const { socket } = this;
    switch (action.do) {
      case "write": {
        const piece = TEXT.subarray(this.sent, this.sent + action.size);
        if (this.#ended || socket.destroyed || piece.length === 0) return;
        this.sent += piece.length;
        socket.write(piece);
        return;
      }
      case "pause":
        socket.pause();
        return;
      case "resume":
        socket.resume();
        return;
      case "end":
        this.#ended = true;
        socket.end();
        return;
      case "reset":
        this.#ended = true;
        abort(socket);
        return;
    }
  }
}
