/** Ensures that names as Kubernetes and Consul make them work through the proxy, against the DNS servers that people run. */
import assert from "node:assert/strict";
import { get } from "../gear/admin.ts";
import { greeter, plainProxy, roll, tally, visit } from "../gear/fleet.ts";
import { needs, startDnsmasq, startKnot, startUnbound } from "../gear/nameservers.ts";
import { type Scene, type Service, type Stage, scenario, TRANSPORTS } from "../gear/scene.ts";

interface Answering {
  readonly host: string;
  readonly port: number;
}

function searching(scene: Scene, dns: Answering, srv: string): Promise<Stage> {
  return plainProxy(
    scene,
    { discover: { srv } },
    { admin: { listen: "127.0.0.1:0" }, dns: { servers: [`${dns.host}:${dns.port}`] } },
  );
}

/** Three pods of a headless service: one port, a name and an address each. */
async function pods(scene: Scene): Promise<Service[]> {
  const first = await greeter(scene, "a", { host: "127.0.0.21" });
  const { port } = first;
  return [
    first,
    await greeter(scene, "b", { host: "127.0.0.22", port }),
    await greeter(scene, "c", { host: "127.0.0.23", port }),
  ];
}

function kubernetesZone([pod]: readonly Service[]): string {
  return [21, 22, 23]
    .map(
      (host) =>
        `_db._tcp.web.prod.svc SRV 0 33 ${pod!.port} 127-0-0-${host}.web.prod.svc\n` +
        `127-0-0-${host}.web.prod.svc A 127.0.0.${host}`,
    )
    .join("\n");
}

scenario(
  "a Kubernetes headless service, from unbound before knot",
  async (scene) => {
    const zones = { "cluster.local": kubernetesZone(await pods(scene)) };
    const dns = await startUnbound(scene, await startKnot(scene, zones));
    const stage = await searching(scene, dns, "_db._tcp.web.prod.svc.cluster.local");
    assert.deepEqual(tally(await roll(scene, stage, 9)), { a: 3, b: 3, c: 3 });
    const [{ endpoints }] = JSON.parse((await get(stage, "/clusters")).body);
    assert.deepEqual(
      endpoints.map(({ name }: { name: string }) => name).sort(),
      [21, 22, 23].map((host) => `127-0-0-${host}.web.prod.svc.cluster.local`),
    );
  },
  TRANSPORTS,
  needs("knotd", "unbound"),
);

scenario(
  "Consul's numbered targets with ports of their own, a second tier and an alias, from knot",
  async (scene) => {
    const [one, two, spare] = [
      await greeter(scene, "a"),
      await greeter(scene, "b"),
      await greeter(scene, "s"),
    ];
    const dns = await startKnot(scene, {
      consul:
        `_web._tcp SRV 1 1 ${one.port} web-1.node.dc1\nweb-1.node.dc1 A ${one.at.host}\n` +
        `_web._tcp SRV 1 3 ${two.port} web-2.node.dc1\nweb-2.node.dc1 A ${two.at.host}\n` +
        `_web._tcp SRV 5 0 ${spare.port} spare.node.dc1\nspare.node.dc1 CNAME web-9.node.dc1\nweb-9.node.dc1 A ${spare.at.host}`,
    });
    const stage = await searching(scene, dns, "_web._tcp.consul");
    assert.deepEqual(tally(await roll(scene, stage, 12)), { a: 3, b: 9 });
    await one.close();
    await two.close();
    assert.equal(await roll(scene, stage, 2), "ss", "refused by the first tier, served by the second");
  },
  TRANSPORTS,
  needs("knotd"),
);

scenario(
  "services, several addresses and an alias, from dnsmasq",
  async (scene) => {
    const [first] = await pods(scene);
    const dns = await startDnsmasq(scene, [
      "--local=/dm.example/",
      "--local-ttl=20",
      `--srv-host=_db._tcp.dm.example,both.dm.example,${first!.port},0,10`,
      `--srv-host=_db._tcp.dm.example,alias.dm.example,${first!.port},0,20`,
      "--host-record=real.dm.example,127.0.0.23",
      "--cname=alias.dm.example,real.dm.example",
      "--host-record=both.dm.example,127.0.0.21",
      "--host-record=both.dm.example,127.0.0.22",
    ]);
    const stage = await searching(scene, dns, "_db._tcp.dm.example");
    // Weight 10 is that of the target: its two addresses share it.
    assert.deepEqual(tally(await roll(scene, stage, 12)), { a: 2, b: 2, c: 8 });
    const hosts = await plainProxy(
      scene,
      { dns: `both.dm.example:${first!.port}` },
      { dns: { servers: [`${dns.host}:${dns.port}`] } },
    );
    assert.deepEqual(tally(await roll(scene, hosts, 4)), { a: 2, b: 2 });
  },
  TRANSPORTS,
  needs("dnsmasq"),
);

scenario(
  "the only name server dies: the last answer is served on",
  async (scene) => {
    const dns = await startKnot(scene, { "cluster.local": kubernetesZone(await pods(scene)) });
    const stage = await searching(scene, dns, "_db._tcp.web.prod.svc.cluster.local");
    const one = await visit(scene, stage);
    dns.child.kill("SIGKILL");
    assert.deepEqual(tally(await roll(scene, stage, 9)), { a: 3, b: 3, c: 3 });
    assert.ok(await one.echo());
    await one.end();
  },
  TRANSPORTS,
  needs("knotd"),
);
