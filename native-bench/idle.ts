/**
 * Memory of idle connections: a fresh process is filled with connections that each carried one byte each way. What it grows by in
 * three equal steps from the first tenth of them to all is theirs, and the median of the three counts: what every process takes
 * or gives back once (pools, a young generation that grows, a collector that clears away what a start left) is in one step only.
 * Read again after all have gone.
 */
import { setTimeout as delay } from "node:timers/promises";
import type { Contender } from "./contender.ts";
import { holdIdle } from "./generator.ts";
import { affordable, hopFor, loadOptions, type Setting } from "./hop.ts";
import { IDLE_SETTLE_MS, IDLE_TENTHS, idleStart } from "./pace.ts";
import { memory, start } from "./process.ts";
import type { IdleRow } from "./result.ts";
import { median } from "./statistics.ts";

/** TLS connections are larger, so fewer give the same precision. */
const WANTED = { plain: 10_000, terminate: 5_000 };
const WANTED_QUICK = { plain: 1_000, terminate: 500 };

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
      await delay(quick ? IDLE_SETTLE_MS : idleStart(contender.kind));
      const atStart = memory(running.pid);
      // What an idle connection keeps depends on the group, and this one all clients of today offer first.
      const group = shape === "terminate" ? ["--group", "X25519"] : [];
      const load = ["idle", ...group, "--connections", String(connections), "--sources", "8"];
      const held = await holdIdle(setting.generator, loadOptions(setting, running, load), 90_000);
      await delay(IDLE_SETTLE_MS);
      const seen = [memory(running.pid)];
      for (let stage = 1; stage < IDLE_TENTHS.length; stage++) {
        await held.more();
        await delay(IDLE_SETTLE_MS);
        seen.push(memory(running.pid));
      }
      const user = growth(seen);
      await held.release();
      await delay(IDLE_SETTLE_MS);
      return { ...base, atStart, user, afterRelease: memory(running.pid), failed: null };
    } finally {
      await running.stop();
    }
  } catch (error) {
    return { ...base, ...nothing, failed: (error as Error).message };
  }
}

/** What all connections take, from what was in use at each stage: the median of the steps. */
export function growth(seen: readonly number[]): number {
  const steps = seen.slice(1).map((now, i) => (now - seen[i]!) / (IDLE_TENTHS[i + 1]! - IDLE_TENTHS[i]!));
  return 10 * median(steps);
}
