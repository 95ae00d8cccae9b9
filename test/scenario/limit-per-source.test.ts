/** Ensures that limits per source count clients: whom a PROXY header names, not the proxy that sent it, and over reloads. */
import assert from "node:assert/strict";
import { connect } from "node:net";
import { type ConfigInput, normalizeConfig } from "../../lib/config/parse.ts";
import { encodeProxyHeader } from "../../lib/wire/proxy-header.ts";
import { lastWords } from "../gear/peers.ts";
import { readBytes, type Scene, type Service, scenario } from "../gear/scene.ts";

function header(host: string): Buffer {
  const destination = { kind: "ip", host: "192.0.2.1", port: 443 } as const;
  const source = { kind: "ip", host, port: 1000 } as const;
  return encodeProxyHeader({ version: 2, command: "proxy", source, destination, tlvs: {} });
}

function greeter(scene: Scene): Promise<Service> {
  return scene.service((socket) => {
    socket.write("hi");
    socket.on("end", () => socket.end()).resume();
  });
}

function configuration(service: Service, names: readonly string[], proxied: boolean): ConfigInput {
  return {
    listeners: names.map((name) => ({
      name,
      address: "127.0.0.1:0",
      ...(proxied ? { proxy_protocol: { mode: "accept" as const, trusted: ["127.0.0.0/8"] } } : {}),
      limits: { per_source: 1 },
      routes: [{ tls: "none" as const, cluster: "out" }],
    })),
    clusters: { out: { endpoints: [service.address] } },
  };
}

scenario("clients behind one proxy have a limit each", async (scene) => {
  const stage = await scene.proxy(configuration(await greeter(scene), ["in"], true));
  const port = stage.port("in");
  const first = await scene.client(port);
  first.write(header("192.0.2.7"));
  await readBytes(first, 2);
  const other = await scene.client(port);
  other.write(header("192.0.2.8"));
  await readBytes(other, 2);

  const second = await scene.client(port);
  second.write(header("192.0.2.7"));
  assert.equal((await lastWords(second)).how, "ECONNRESET");
  const refused = await stage.access();
  assert.equal(refused.reason, "limit");
  assert.equal(refused.source, "192.0.2.7:1000");

  first.resetAndDestroy();
  await stage.access();
  const again = await scene.client(port);
  again.write(header("192.0.2.7"));
  await readBytes(again, 2);
});

scenario("the proxy itself counts where it speaks for itself", async (scene) => {
  const stage = await scene.proxy(configuration(await greeter(scene), ["in"], true));
  const first = await scene.client(stage.port("in"));
  first.write("no header");
  await readBytes(first, 2);
  const second = await scene.client(stage.port("in"));
  second.write("no header");
  assert.equal((await lastWords(second)).how, "ECONNRESET");
  assert.equal((await stage.access()).reason, "limit");
});

scenario("a listener's counts stay its own when a reload moves it to another place", async (scene) => {
  const service = await greeter(scene);
  const stage = await scene.proxy(configuration(service, ["one", "two"], false));
  const live = await scene.client(stage.port("two"));
  await readBytes(live, 2);
  const next = { transport: scene.transport, workers: 1, ...configuration(service, ["two", "three"], false) };
  await stage.proxy.reload(normalizeConfig(next));

  const { how } = await lastWords(connect(stage.port("two"), "127.0.0.1"));
  assert.equal(how, "ECONNRESET");
  assert.equal((await stage.access()).reason, "limit");
  await readBytes(await scene.client(stage.port("three")), 2);
});
