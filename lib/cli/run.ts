/**
 * `millrace run`, and what every long-running command shares: signals. SIGHUP reloads, SIGTERM and SIGINT drain, a second one
 * stops now.
 */
import { setFlagsFromString } from "node:v8";
import type { Config } from "../config/config.ts";
import { formatFaults, loadConfig } from "../config/parse.ts";
import { asProxyError } from "../errors.ts";
import { keepFreed } from "../ffi/malloc.ts";
import { Proxy } from "../proxy.ts";

// After a second signal: long enough to reset what lives and to write the log, short enough for somebody who waits.
const SECOND_SIGNAL_MS = 2_000;

// A worker's young generation is collected in a third of a millisecond. Shared among V8's helper threads it is not faster, and on
// a machine whose cores are busy it takes until the last of them had its turn: pauses of 4 to 9 ms.
const ALONE = "--no-parallel-scavenge";

// On `net` every read is a buffer outside of V8's heap, which V8 counts until it is freed. Freed by a helper thread that has to
// wait for its turn, dead ones count as live, and V8 collects the whole heap twenty times a second in vain: with one CPU for all
// threads some processes fell into that and stayed there, at twice the CPU per byte.
const FREED_AT_ONCE = "--no-concurrent-array-buffer-sweeping";

// Those buffers come and go by the thousand. As soon as 128 KiB at the top of its heap are free, glibc gives them back to the system and
// asks for them again, a page fault for every 4 KiB: by the luck of what lies on top, up to 290,000 a GB and twice the CPU per
// byte. V8 lets up to 64 MiB of them wait for a collection, so what one frees is kept for what comes next.
const KEPT_BYTES = 64 * 1024 * 1024;

export async function run(file: string): Promise<undefined> {
  await runUntilSignal(loadConfig(file), () => loadConfig(file));
  return undefined;
}

/** Starts a proxy and returns when it accepts; it then runs until a signal ends the process. */
export async function runUntilSignal(config: Config, again: (() => Config) | null): Promise<Proxy> {
  setFlagsFromString(ALONE);
  setFlagsFromString(FREED_AT_ONCE);
  keepFreed(KEPT_BYTES);
  const proxy = new Proxy(config, {
    onDeath: () => {
      // Give the fatal line time to leave, then go: systemd starts us again.
      setTimeout(() => process.exit(1), 100);
    },
  });
  let signals = 0;
  let reloadWaits = false;
  const started = proxy.start();
  let turn: Promise<unknown> = started.catch(() => {});
  const end = (signal: NodeJS.Signals): void => {
    signals += 1;
    if (signals > 1) {
      proxy.log.events.warn({ signal }, "second signal: stopping now");
      // A worker that does not answer must not keep the process from ending.
      setTimeout(() => process.exit(1), SECOND_SIGNAL_MS).unref();
      void proxy.close();
      return;
    }
    void proxy
      .drain()
      .catch((error: Error) => proxy.log.events.error({ error: error.message }, "drain failed"))
      .finally(() => process.exit(signals > 1 ? 1 : 0));
  };
  process.on("SIGTERM", end);
  process.on("SIGINT", end);
  process.on("SIGHUP", () => {
    // A storm of signals is one reload now and one after it.
    if (signals > 0 || again === null || reloadWaits) return;
    reloadWaits = true;
    turn = turn.then(async () => {
      reloadWaits = false;
      await reload(proxy, again);
    });
  });
  try {
    await started;
  } catch (thrown) {
    // Stopped by a signal before it ran: that is no failure, and `end` is on its way out.
    if (signals > 0) return proxy;
    await proxy.close();
    throw thrown;
  }
  return proxy;
}

/** A reload that cannot fail its caller: everything wrong is in the log, and the old generation goes on. */
async function reload(proxy: Proxy, again: () => Config): Promise<void> {
  let config: Config;
  try {
    config = again();
  } catch (thrown) {
    const error = asProxyError(thrown);
    proxy.log.events.error(
      // One line each: the terminal's line breaks are no use in a log.
      { error: formatFaults(error).replaceAll("\n    ", " ") },
      "reload refused, the running configuration stays",
    );
    proxy.countFailedReload();
    return;
  }
  await proxy.reload(config).catch(() => {});
}
