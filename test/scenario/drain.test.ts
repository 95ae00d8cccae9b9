/**
 * Ensures that a drain takes no new connection and loses none that was accepted, that its deadline ends the rest as `drain`,
 * and that kill, close and their repetition do what they say.
 */
import assert from "node:assert/strict";
import { normalizeConfig } from "../../lib/config/parse.ts";
import { Proxy } from "../../lib/proxy.ts";
import { legs } from "../gear/legs.ts";
import { CapturedLog, ending, eventually, readBytes, scenario } from "../gear/scene.ts";
import { Arrivals, hashAll, sendBulk, shut } from "../gear/streams.ts";

scenario("under load: what was accepted is delivered, nothing new comes in", async (scene) => {
  const size = 4 * 1024 * 1024;
  const arrivals = new Arrivals();
  const { stage, connect: dial } = await legs(scene, ["tls", "plain"], arrivals.talk);
  const client = await dial();
  const service = await arrivals.next();
  const down = hashAll(client);
  const drained = stage.proxy.drain();
  assert.equal(stage.proxy.state, "draining");
  const port = stage.port("in");
  await eventually(() => stage.log.messages.some(({ msg }) => msg === "draining"), "it says so");
  await shut(port);
  const sent = await sendBulk(service, size);
  service.end();
  client.end();
  assert.equal(await down, sent);
  await drained;
  assert.equal(stage.proxy.state, "stopped");
  assert.equal(stage.log.seen.find(({ bytes_down }) => bytes_down === size)?.reason, "ok");
});

scenario("the deadline ends the rest, and a second drain joins the first", async (scene) => {
  const arrivals = new Arrivals();
  const { stage, connect: dial } = await legs(scene, ["plain", "plain"], arrivals.talk);
  const client = await dial();
  const service = await arrivals.next();
  const seen = Promise.all([ending(client), ending(service)]);
  const began = performance.now();
  await Promise.all([stage.proxy.drain(200), stage.proxy.drain(0)]);
  // Node's timers may fire up to a millisecond early.
  assert(performance.now() - began >= 199);
  assert.deepEqual(await seen, ["ECONNRESET", "ECONNRESET"]);
  const access = await stage.access();
  assert.equal(access.reason, "drain");
  await assert.rejects(stage.proxy.reload(stage.proxy.config), /the proxy is stopped/);
});

scenario("a drain that overtakes reloads: they are refused, and the door stays shut", async (scene) => {
  const service = await scene.service((socket) => socket.pipe(socket));
  const config = {
    transport: scene.transport,
    workers: 1,
    listeners: [{ name: "in", address: "127.0.0.1:0", routes: [{ tls: "none" as const, cluster: "a" }] }],
    clusters: { a: { endpoints: [service.address] } },
  };
  const stage = await scene.proxy(config);
  const client = await scene.client(stage.port("in"));
  client.write("1");
  await readBytes(client, 1);
  const more = normalizeConfig({
    ...config,
    listeners: [
      ...config.listeners,
      { name: "more", address: "127.0.0.1:0", routes: [{ tls: "none", cluster: "a" }] },
    ],
  });
  const reloading = [stage.proxy.reload(more), stage.proxy.reload(more)].map((done) =>
    done.then(
      () => "done",
      (error: Error) => error.message,
    ),
  );
  const drained = stage.proxy.drain();
  for (const outcome of await Promise.all(reloading)) assert.match(outcome, /the proxy is draining/);
  for (const address of stage.proxy.addresses.values()) {
    assert(address.kind === "ip");
    await shut(address.port);
  }
  client.end();
  await drained;
});

scenario("kill ends one, and one only; close ends all, however often it is called", async (scene) => {
  const { stage, connect: dial } = await legs(scene, ["plain", "plain"], (socket) => socket.pipe(socket));
  const clients = [await dial(), await dial(), await dial()];
  for (const client of clients) {
    client.write("?");
    await readBytes(client, 1);
  }
  const rows = await stage.proxy.connections();
  const doomed = rows.find(({ source }) => source === `127.0.0.1:${clients[1]!.localPort}`)!;
  const seen = ending(clients[1]!);
  assert.equal(await stage.proxy.kill(doomed["id"] as string), true);
  assert.equal(await seen, "ECONNRESET");
  const killed = await stage.access();
  assert.deepEqual([killed.reason, killed.id], ["killed", doomed["id"]]);
  assert.equal(await stage.proxy.kill(doomed["id"] as string), false);
  clients[0]!.write("!");
  assert.equal((await readBytes(clients[0]!, 1)).toString(), "!");

  const rest = [clients[0]!, clients[2]!].map(ending);
  await Promise.all([stage.proxy.close(), stage.proxy.close()]);
  await stage.proxy.close();
  assert.deepEqual(await Promise.all(rest), ["ECONNRESET", "ECONNRESET"]);
  assert.equal((await stage.access()).reason, "drain");
  assert.deepEqual(await stage.proxy.connections(), []);
  assert.equal(await stage.proxy.kill(doomed["id"] as string), false);
});

scenario("closed while it starts: nothing runs, nothing is left", async (scene) => {
  const config = normalizeConfig({
    transport: scene.transport,
    workers: 1,
    listeners: [{ name: "in", address: "127.0.0.1:0", routes: [{ tls: "none", cluster: "a" }] }],
    clusters: { a: { endpoints: ["127.0.0.1:1"] } },
  });
  const proxy = new Proxy(config, { log: new CapturedLog() });
  const started = proxy.start();
  const closed = proxy.close();
  await assert.rejects(started, /closed meanwhile|is stopped/);
  await closed;
  assert.equal(proxy.state, "stopped");
  await assert.rejects(proxy.start(), /start: the proxy is stopped/);
});
