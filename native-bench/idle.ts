/**
 * Memory of idle connections: a fresh process is filled with connections that each carried one byte each way. What it grows by
 * from the first tenth of them to all is theirs: what comes with the first ones, pools and a heap's young generation, every
 * process has once. Read again after all have gone.
 */
import { setTimeout as delay } from "node:timers/promises";
import type { Contender, Kind } from "./contender.ts";
import { holdIdle } from "./generator.ts";
import { affordable, hopFor, loadOptions, type Setting } from "./hop.ts";
import { memory, start } from "./process.ts";
import type { IdleRow } from "./result.ts";

/** TLS connections are larger, so fewer give the same precision. */
const WANTED = { plain: 10_000, terminate: 5_000 };
const WANTED_QUICK = { plain: 1_000, terminate: 500 };
/** Time for buffers to be given back: nginx and HAProxy do so at once, a garbage collector after a second or two of quiet. */
const SETTLE_MS = 2_500;
/** V8 gives back what a start left behind when a thread was idle for eight seconds (its memory reducer); it is no connection's. */
const START_MS: Partial<Record<Kind, number>> = { millrace: 12_000, baseline: 12_000 };

export async function measureIdle(
  setting: Setting,
  contender: Contender,
  shape: IdleRow["shape"],
  index: number,
  quick: boolean,
): Promise<IdleRow> {
  const connections = affordable(setting.descriptors, (quick ? WANTED_QUICK : WANTED)[shape]);
  const base = { contender: contender.name, kind: contender.kind, shape, connections };
  const nothing = { atStart: 0, user: 0, afterRelease: 0 };
  try {
    const hop = hopFor(setting, contender, { shape, connections }, index);
    const running = await start(setting.generator, setting.link, contender, hop, setting.place.proxyCpu);
    try {
      await delay(quick ? SETTLE_MS : (START_MS[contender.kind] ?? SETTLE_MS));
      const atStart = memory(running.pid);
      // What an idle connection keeps depends on the group, and this one all clients of today offer first.
      const group = shape === "terminate" ? ["--group", "X25519"] : [];
      const load = ["idle", ...group, "--connections", String(connections), "--sources", "8"];
      const held = await holdIdle(setting.generator, loadOptions(setting, running, load), 90_000);
      await delay(SETTLE_MS);
      const tenth = memory(running.pid);
      await held.all();
      await delay(SETTLE_MS);
      const user =
        ((memory(running.pid) - tenth) * connections) / (connections - Math.floor(connections / 10));
      await held.release();
      await delay(SETTLE_MS);
      return { ...base, atStart, user, afterRelease: memory(running.pid), failed: null };
    } finally {
      await running.stop();
    }
  } catch (error) {
    return { ...base, ...nothing, failed: (error as Error).message };
  }
}
