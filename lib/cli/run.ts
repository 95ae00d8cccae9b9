/**
 * `millrace run`, and what every long-running command shares: signals. SIGHUP reloads, SIGTERM and SIGINT drain, a second one
 * stops now. Exit 0 after a drain; 1 when it was cut short, by a second signal or because a worker died.
 */
import type { Config } from "../config/config.ts";
import { formatFaults, loadConfig } from "../config/parse.ts";
import { asProxyError } from "../errors.ts";
import { LOG_CLOSE_MS, Proxy } from "../proxy.ts";
import { keepReadBuffers, tuneHeaps } from "../service/heaps.ts";

// After a second signal: long enough to reset what lives and to write the log, short enough for somebody who waits.
const SECOND_SIGNAL_MS = 2_000;

export async function run(file: string): Promise<undefined> {
  await runUntilSignal(loadConfig(file), () => loadConfig(file));
  return undefined;
}

/** Starts a proxy and returns when it accepts; it then runs until a signal ends the process. */
export async function runUntilSignal(config: Config, again: (() => Config) | null): Promise<Proxy> {
  tuneHeaps();
  let signals = 0;
  let died = false;
  // Before it exits the log must be closed: what is left in it would be written then, and waited for as long as nobody reads.
  const exit = (): void => {
    const code = signals > 1 || died ? 1 : 0;
    void proxy.log.close(LOG_CLOSE_MS).finally(() => process.exit(code));
  };
  const proxy = new Proxy(config, {
    onDeath: () => {
      died = true;
      // systemd starts us again.
      exit();
    },
  });
  let reloadWaits = false;
  const started = proxy.start();
  let turn: Promise<unknown> = started.catch(() => {});
  const end = (signal: NodeJS.Signals): void => {
    signals += 1;
    if (signals > 1) {
      proxy.log.events.warn({ signal }, "second signal: stopping now");
      // A worker that does not answer must not keep the process from ending.
      setTimeout(exit, SECOND_SIGNAL_MS).unref();
      void proxy.close();
      return;
    }
    void proxy
      .drain()
      .catch((error: Error) => proxy.log.events.error({ error: error.message }, "drain failed"))
      .finally(exit);
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
  // Node would end the process at once.
  process.on("SIGUSR2", (signal) =>
    proxy.log.events.warn({ signal }, "an upgrade in place is not available in this version"),
  );
  try {
    await started;
  } catch (thrown) {
    // Stopped by a signal before it ran: that is no failure, and `end` is on its way out.
    if (signals > 0) return proxy;
    await proxy.close();
    throw thrown;
  }
  if (proxy.choice?.transport === "net") keepReadBuffers();
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
