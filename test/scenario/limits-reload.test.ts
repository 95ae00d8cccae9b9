/**
 * Ensures that a reload applies `limits.connections`, up and down: more find room at once; after a lower one those inside stay,
 * and the next client is refused.
 */
import assert from "node:assert/strict";
import type { Socket } from "node:net";
import type { ConfigInput } from "../../lib/config/parse.ts";
import { knock } from "../gear/peers.ts";
import { readBytes, scenario } from "../gear/scene.ts";

scenario("limits.connections changes with a reload", async (scene) => {
  const service = await scene.service((socket) => socket.pipe(socket));
  const input = (connections: number): ConfigInput => ({
    limits: { connections },
    listeners: [
      { name: "in", address: "127.0.0.1:0", default: { name: "all", tls: "none", cluster: "echo" } },
    ],
    clusters: { echo: { endpoints: [service.address] } },
  });
  const stage = await scene.proxy(input(1));
  const enter = async (): Promise<Socket> => {
    const client = await scene.client(stage.port("in"));
    client.write("in");
    assert.equal((await readBytes(client, 2)).toString(), "in");
    return client;
  };
  const refused = async (limit: number): Promise<void> => {
    const { bytes } = await knock(stage.port("in"), () => {});
    assert.equal(bytes.length, 0);
    const { reason, error } = await stage.access();
    assert.equal(reason, "limit");
    assert.equal(error, `limits.connections: ${limit} reached`);
  };
  const clients = [await enter()];
  await refused(1);
  await stage.reload(input(2));
  clients.push(await enter());
  await refused(2);
  await stage.reload(input(1));
  await refused(1);
  for (const client of clients) {
    client.write("still");
    assert.equal((await readBytes(client, 5)).toString(), "still");
    client.end();
    assert.equal((await stage.access()).reason, "ok");
  }
});
