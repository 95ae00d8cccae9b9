import assert from "node:assert/strict";
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { DnsClient } from "../../lib/dns/client.ts";
import { discover } from "../../lib/dns/discover.ts";
import type { ResolverEvent } from "../../lib/dns/event.ts";
import { noneIgnored } from "../../lib/dns/exchange.ts";
import { Resolver } from "../../lib/dns/resolver.ts";
import type { Target } from "../../lib/dns/srv.ts";
import { needs, startDnsmasq, startKnot, startNamed, startUnbound, zoneFile } from "../gear/nameservers.ts";

const range = (count: number): number[] => Array.from({ length: count }, (_, index) => index + 1);

// A headless service as CoreDNS answers for it: equal weights, one priority, a name per pod.
const KUBERNETES = {
  "cluster.local": range(3)
    .map(
      (pod) =>
        `_db._tcp.web.prod.svc SRV 0 33 5432 10-1-0-${pod}.web.prod.svc\n10-1-0-${pod}.web.prod.svc A 10.1.0.${pod}\n` +
        `10-1-0-${pod}.web.prod.svc AAAA fd00::${pod}`,
    )
    .join("\n"),
};
// Numbered targets, each with its own port, and a second tier.
const CONSUL = {
  consul:
    `${range(2)
      .map(
        (node) =>
          `_web._tcp SRV 1 ${node} 2000${node} web-${node}.node.dc1\nweb-${node}.node.dc1 A 10.2.0.${node}`,
      )
      .join(
        "\n",
      )}\n_web._tcp SRV 5 0 20009 spare.node.dc1\nspare.node.dc1 CNAME web-9.node.dc1\nweb-9.node.dc1 A 10.2.0.9\n` +
    `_gone._tcp SRV 0 0 0 .\n_far._tcp SRV 0 0 80 x.elsewhere.example.`,
};
const BIG = {
  "big.example": range(90)
    .map((node) => `_all._tcp SRV 0 1 80 node-${node}\nnode-${node} A 10.3.0.${node}`)
    .join("\n"),
};

const where = (discovery: Awaited<ReturnType<typeof discover>>): string[] =>
  discovery.tiers.flatMap((tier) =>
    tier.targets.flatMap((target) =>
      target.addresses.map(({ address }) => `${tier.priority} ${address}:${target.port}`),
    ),
  );
const KUBERNETES_TARGETS = range(3)
  .flatMap((pod) => [`0 10.1.0.${pod}:5432`, `0 fd00::${pod}:5432`])
  .sort();

for (const [program, start] of [
  ["knotd", startKnot],
  ["named", startNamed],
] as const) {
  test(`${program}: Kubernetes and Consul names, absence, big answers`, needs(program), async (t) => {
    const server = await start(t, { ...KUBERNETES, ...CONSUL, ...BIG });
    const client = new DnsClient({ servers: [server] });

    const kubernetes = await discover("_db._tcp.web.prod.svc.cluster.local", { client });
    assert.deepEqual(where(kubernetes).sort(), KUBERNETES_TARGETS);
    assert.equal(kubernetes.ttl, 30);
    assert.equal(kubernetes.edns, true);

    const consul = await discover("_web._tcp.consul", { client });
    assert.deepEqual(where(consul), ["1 10.2.0.2:20002", "1 10.2.0.1:20001", "5 10.2.0.9:20009"]);
    assert.deepEqual(
      consul.tiers.map((tier) => tier.targets.map(({ share }) => share)),
      [[66.7, 33.3], [100]],
    );

    assert.equal((await discover("_gone._tcp.consul", { client })).kind, "unavailable");
    assert.equal((await discover("_no._tcp.consul", { client })).kind, "nxdomain");
    const nodata = await client.query("web-1.node.dc1.consul", "AAAA");
    assert.deepEqual([nodata.kind, nodata.ttl], ["nodata", 7]);
    // Not its zone: the server refuses, which is a failure and not an absence.
    assert.equal((await discover("_far._tcp.consul", { client })).kind, "refused");

    const big = await discover("_all._tcp.big.example", { client });
    assert.equal(where(big).length, 90);
    assert.equal(big.transport, "tcp", "90 records are truncated at 1232 bytes");
    assert.deepEqual(client.ignored, noneIgnored());
  });
}

test("knotd: TCP only", needs("knotd"), async (t) => {
  const server = await startKnot(t, KUBERNETES);
  const client = new DnsClient({ servers: [server], tcp: true });
  const found = await discover("_db._tcp.web.prod.svc.cluster.local", { client });
  assert.deepEqual(where(found).sort(), KUBERNETES_TARGETS);
  assert.deepEqual(new Set(found.attempts.map(({ transport }) => transport)), new Set(["tcp"]));
});

test(
  "unbound before knotd: letters' case is kept all the way, TTLs count down, absence is cached",
  needs("unbound", "knotd"),
  async (t) => {
    const knot = await startKnot(t, { ...KUBERNETES, ...BIG });
    const server = await startUnbound(t, knot);
    const client = new DnsClient({ servers: [server], random: () => 0.9 });
    for (let turn = 0; turn < 2; turn++) {
      const found = await discover("_db._tcp.web.prod.svc.cluster.local", { client });
      assert.deepEqual(where(found).sort(), KUBERNETES_TARGETS);
      assert.ok(found.ttl !== null && found.ttl <= 30);
    }
    assert.equal(client.ignored.wrongCase, 0);
    // Case that got lost would show as a second try at once.
    const plain = await client.query("10-1-0-1.web.prod.svc.cluster.local", "A");
    assert.equal(plain.attempts.length, 1);
    const absent = await client.query("no.cluster.local", "A");
    assert.deepEqual([absent.kind, absent.ttl], ["nxdomain", 7]);
    assert.equal((await discover("_all._tcp.big.example", { client })).transport, "tcp");
  },
);

test("dnsmasq: services, aliases, absence without SOA, several addresses", needs("dnsmasq"), async (t) => {
  const server = await startDnsmasq(t, [
    "--local=/dm.example/",
    "--local-ttl=20",
    "--srv-host=_db._tcp.dm.example,a.dm.example,5432,0,10",
    "--srv-host=_db._tcp.dm.example,b.dm.example,5432,0,30",
    "--host-record=a.dm.example,10.4.0.1,fd00:4::1",
    "--host-record=real.dm.example,10.4.0.2",
    "--cname=b.dm.example,real.dm.example",
  ]);
  const client = new DnsClient({ servers: [server] });
  const found = await discover("_db._tcp.dm.example", { client });
  assert.deepEqual(where(found).sort(), ["0 10.4.0.1:5432", "0 10.4.0.2:5432", "0 fd00:4::1:5432"]);
  assert.deepEqual(
    found.tiers[0]?.targets.map(({ name, share }) => [name, share]),
    [
      ["b.dm.example", 75],
      ["a.dm.example", 25],
    ],
  );
  assert.deepEqual(where(await discover("a.dm.example:80", { client })), ["0 10.4.0.1:80", "0 fd00:4::1:80"]);
  const absent = await client.query("no.dm.example", "A");
  assert.deepEqual([absent.kind, absent.ttl], ["nxdomain", null]);
});

test(
  "a resolver follows a zone as it changes, and serves on when its server dies",
  needs("knotd"),
  async (t) => {
    const zone = (...nodes: number[]): string =>
      nodes.map((node) => `_db._tcp 0 SRV 0 1 80 n${node}\nn${node} 0 A 10.5.0.${node}`).join("\n");
    const server = await startKnot(t, { "live.example": zone(1, 2) });
    let heard = (): void => {};
    let served = "";
    let stale = false;
    const resolver = new Resolver({
      source: { kind: "srv", name: "_db._tcp.live.example" },
      client: new DnsClient({ servers: [server], timeout: 100, attempts: 1 }),
      minTtl: 100,
      maxTtl: 300_000,
      keepLastGood: true,
      maxRemoval: 0.5,
      onTargets: (targets: readonly Target[]) => {
        served = targets.map(({ address }) => address.split(".")[3]).join(",");
        heard();
      },
      onEvent: (event: ResolverEvent) => {
        if (event.kind === "stale") stale = true;
        heard();
      },
    });
    t.after(() => resolver.stop());
    // The resolver's timers do not keep the process alive; this test must.
    const alive = setInterval(() => {}, 1000);
    t.after(() => clearInterval(alive));
    const until = async (done: () => boolean): Promise<void> => {
      while (!done()) {
        await new Promise<void>((resolve) => {
          heard = resolve;
        });
      }
    };
    resolver.start();
    await until(() => served === "1,2");
    writeFileSync(join(server.folder, "live.example.zone"), zoneFile("live.example", zone(2, 3), 2));
    server.child.kill("SIGHUP");
    await until(() => served === "2,3");
    server.child.kill("SIGKILL");
    await once(server.child, "exit");
    await until(() => stale);
    assert.equal(served, "2,3");
    assert.equal(resolver.state.phase, "stale");
  },
);
