/**
 * Memory of idle connections: a fresh process is filled with connections that each carried one byte each way, then
 * read again; what the process grew by is theirs. Read a third time after all have gone.
 */
import { setTimeout as delay } from "node:timers/promises";
import type { Contender } from "./contender.ts";
import { holdIdle } from "./generator.ts";
import { affordable, hopFor, loadOptions, type Setting } from "./hop.ts";
import { memory, start } from "./process.ts";
import type { IdleRow } from "./result.ts";

/** TLS connections are larger, so fewer give the same precision, and their handshakes take the time of a run. */
const WANTED = { plain: 10_000, terminate: 2_000 };
const WANTED_QUICK = { plain: 1_000, terminate: 500 };
/** Time for buffers to be given back: nginx and HAProxy do so at once, a garbage collector later. */
const SETTLE_MS = 1_000;

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
      await delay(SETTLE_MS / 2);
      const atStart = memory(running.pid);
      const load = ["idle", "--connections", String(connections), "--sources", "8"];
      const held = await holdIdle(setting.generator, loadOptions(setting, running, load), 90_000);
      await delay(SETTLE_MS);
      const user = memory(running.pid) - atStart;
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
