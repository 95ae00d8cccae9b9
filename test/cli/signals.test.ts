/**
 * Ensures that `millrace run` obeys signals: SIGHUP reloads or keeps what it has, SIGTERM and SIGINT drain and exit 0, a second
 * one ends it now and exits 1, one before the start is through exits 0, SIGUSR2 says that it does nothing.
 */
import assert from "node:assert/strict";
import { connect, type Socket } from "node:net";
import { type TestContext, test } from "node:test";
import type { ConfigInput } from "../../lib/config/parse.ts";
import { configured, start } from "../gear/running.ts";
import { ending, readAll, readBytes, TRANSPORTS } from "../gear/scene.ts";
import { serve } from "../gear/services.ts";
import { shut } from "../gear/streams.ts";

for (const transport of TRANSPORTS) {
  test(`SIGHUP: a new file, a broken file, a storm (${transport})`, { timeout: 30_000 }, async (t) => {
    const one = await serve(t, (socket) => socket.end("one"));
    const two = await serve(t, (socket) => socket.end("two"));
    const { file, write } = configured(t, config(transport, one));
    const running = start(t, ["run", "-c", file]);
    const port = (await running.ports())["in"]!;
    assert.equal(await ask(port), "one");

    write(config(transport, two));
    running.child.kill("SIGHUP");
    assert.equal((await running.says("reloaded"))["generation"], 2);
    assert.equal(await ask(port), "two");

    write("listeners: [{ name: in, adress: oops }]\n");
    running.child.kill("SIGHUP");
    const refused = await running.line(({ level }) => level === "error");
    assert.match(refused.msg, /refused, the running configuration stays/);
    assert.match(
      String(refused["error"]),
      /millrace\.yaml:1:\d+ listeners\[0\]\.adress: is an unknown key \(did you mean address\?\)/,
    );
    assert.equal(await ask(port), "two");

    write(config(transport, one));
    for (let i = 0; i < 20; i += 1) running.child.kill("SIGHUP");
    await running.says("reloaded");
    assert.equal(await ask(port), "one");
    running.child.kill("SIGTERM");
    assert.equal(await running.exited, 0);
  });

  for (const signal of ["SIGTERM", "SIGINT"] as const) {
    test(`${signal} drains: the connection ends in its own time, exit 0 (${transport})`, async (t) => {
      const { running, port, client } = await talking(t, transport);
      running.child.kill(signal);
      await running.says("draining");
      await shut(port);
      // A reload during a drain is nothing.
      running.child.kill("SIGHUP");
      client.write("still here");
      assert.equal((await readBytes(client, 10)).toString(), "still here");
      client.end();
      assert.equal((await running.line((line) => line["bytes_up"] === 15))["reason"], "ok");
      assert.equal(await running.exited, 0);
    });
  }

  test(`a second SIGTERM ends it now, exit 1, and the record is written (${transport})`, async (t) => {
    const { running, client } = await talking(t, transport);
    const seen = ending(client);
    running.child.kill("SIGTERM");
    await running.says("draining");
    running.child.kill("SIGTERM");
    assert.equal(await seen, "ECONNRESET");
    assert.equal((await running.line(({ msg }) => msg === "connection"))["reason"], "drain");
    assert.equal(await running.exited, 1);
  });

  test(`the drain deadline ends it, exit 0 (${transport})`, async (t) => {
    const { running, client } = await talking(t, transport, { drain: "200ms" });
    const seen = ending(client);
    running.child.kill("SIGTERM");
    assert.equal(await seen, "ECONNRESET");
    assert.equal((await running.line(({ msg }) => msg === "connection"))["reason"], "drain");
    assert.equal(await running.exited, 0);
  });
}

test("SIGUSR2 is no upgrade in this version, and no end either", { timeout: 30_000 }, async (t) => {
  const one = await serve(t, (socket) => socket.end("one"));
  const { file } = configured(t, config("net", one));
  const running = start(t, ["run", "-c", file]);
  const port = (await running.ports())["in"]!;
  running.child.kill("SIGUSR2");
  const line = await running.line(({ level }) => level === "warn");
  assert.match(line.msg, /upgrade in place is not available in this version/);
  assert.equal(await ask(port), "one");
  running.child.kill("SIGTERM");
  assert.equal(await running.exited, 0);
});

test("no service behind and no DNS: it starts", async (t) => {
  const { file } = configured(t, {
    log: { format: "json" },
    dns: { servers: ["127.0.0.1:1"] },
    listeners: [{ name: "in", address: "127.0.0.1:0", routes: [{ tls: "none", cluster: "a" }] }],
    clusters: { a: { dns: "nowhere.example.test:80" } },
  });
  const running = start(t, ["run", "-c", file]);
  await running.ports();
  running.child.kill("SIGTERM");
  assert.equal(await running.exited, 0);
});

function config(transport: "net" | "epoll", endpoint: string, timeouts = {}): ConfigInput {
  return {
    transport,
    workers: 1,
    log: { format: "json" },
    timeouts,
    listeners: [{ name: "in", address: "127.0.0.1:0", routes: [{ tls: "none", cluster: "a" }] }],
    clusters: { a: { endpoints: [endpoint] } },
  };
}

/** A running process with one live connection to an echo. */
async function talking(t: TestContext, transport: "net" | "epoll", timeouts = {}) {
  const echo = await serve(t, (socket) => socket.pipe(socket));
  const { file } = configured(t, config(transport, echo, timeouts));
  const running = start(t, ["run", "-c", file]);
  const port = (await running.ports())["in"]!;
  const client = connect({ port, host: "127.0.0.1", allowHalfOpen: true });
  t.after(() => {
    client.destroy();
  });
  client.write("hello");
  assert.equal((await readBytes(client, 5)).toString(), "hello");
  return { running, port, client: client as Socket };
}

async function ask(port: number): Promise<string> {
  return (await readAll(connect({ port, host: "127.0.0.1" }))).toString();
}
