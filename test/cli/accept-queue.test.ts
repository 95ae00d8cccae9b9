/**
 * Ensures that who waits in the kernel's queue when a drain or a reload closes the door is served: for him the connection stands
 * already. The process stands still while they come, so that all of them wait when it hears of the end.
 */
import assert from "node:assert/strict";
import { connect, type Socket } from "node:net";
import { type TestContext, test } from "node:test";
import type { ConfigInput } from "../../lib/config/parse.ts";
import { standStill } from "../gear/far.ts";
import { configured, start } from "../gear/running.ts";
import { readBytes, TRANSPORTS } from "../gear/scene.ts";
import { serve } from "../gear/services.ts";

// More than a worker accepts in one turn.
const CROWD = 500;

for (const transport of TRANSPORTS) {
  test(`who waits when the drain begins is served (${transport})`, {
    timeout: 30_000,
  }, async (t) => {
    const { running, ports } = await run(t, transport);
    await standStill(running.child.pid!);
    const crowd = await waiting(t, ports["in"]!);
    running.child.kill("SIGTERM");
    running.child.kill("SIGCONT");
    await served(crowd);
    assert.equal(await running.exited, 0);
  });

  test(`who waits when a reload removes the listener is served (${transport})`, {
    timeout: 30_000,
  }, async (t) => {
    const { running, ports, write } = await run(t, transport);
    await standStill(running.child.pid!);
    const crowd = await waiting(t, ports["gone"]!);
    write(["in"]);
    running.child.kill("SIGHUP");
    running.child.kill("SIGCONT");
    await served(crowd);
    await running.says("reloaded");
  });
}

async function run(t: TestContext, transport: "net" | "epoll") {
  const echo = await serve(t, (socket) => socket.pipe(socket));
  const config = (names: readonly string[]): ConfigInput => ({
    transport,
    workers: transport === "net" ? 1 : 2,
    log: { format: "json", access: false },
    listeners: names.map((name) => ({
      name,
      address: "127.0.0.1:0",
      routes: [{ tls: "none" as const, cluster: "a" }],
    })),
    clusters: { a: { endpoints: [echo] } },
  });
  const { file, write } = configured(t, config(["in", "gone"]));
  const running = start(t, ["run", "-c", file]);
  return {
    running,
    ports: await running.ports(),
    write: (names: readonly string[]) => write(config(names)),
  };
}

/** Clients whose connection stands, and whom nobody has accepted. */
function waiting(t: TestContext, port: number): Promise<Socket[]> {
  return Promise.all(
    Array.from(
      { length: CROWD },
      () =>
        new Promise<Socket>((resolve, reject) => {
          const socket = connect({ port, host: "127.0.0.1" });
          t.after(() => {
            socket.destroy();
          });
          socket.once("error", reject);
          socket.once("connect", () => resolve(socket));
        }),
    ),
  );
}

async function served(crowd: readonly Socket[]): Promise<void> {
  for (const socket of crowd) socket.write("x");
  const echoes = await Promise.all(
    crowd.map((socket) =>
      readBytes(socket, 1).then(
        () => "served",
        (error: Error) => error.message,
      ),
    ),
  );
  const how: Record<string, number> = {};
  for (const echo of echoes) how[echo] = (how[echo] ?? 0) + 1;
  assert.deepEqual(how, { served: CROWD });
  for (const socket of crowd) socket.end();
}
