/** What no sequence of answers may break in a cluster: its set is the last answer, and nobody's load or drain is forgotten. */
import assert from "node:assert/strict";
import { it } from "node:test";
import fc from "fast-check";
import {
  ACTIVE,
  type Endpoint,
  type EndpointSet,
  enter,
  HEALTH,
  HEALTH_DRAINING,
  HEALTH_UP,
  leave,
} from "../../lib/cluster/endpoint.ts";
import { Cluster } from "../../lib/cluster/membership.ts";
import { ClusterView } from "../../lib/cluster/pool.ts";
import type { ResolvedTarget } from "../../lib/cluster/source.ts";
import { clusterConfig, HandClock, seeded } from "../cluster/gear.ts";

const target = fc
  .record({
    octet: fc.integer({ min: 1, max: 8 }),
    weight: fc.integer({ min: 0, max: 3 }),
    priority: fc.integer({ min: 0, max: 2 }),
  })
  .map(
    ({ octet, ...rest }): ResolvedTarget => ({ address: `10.0.0.${octet}`, port: 80, name: null, ...rest }),
  );
const answer = fc.uniqueArray(target, { selector: ({ address }) => address, maxLength: 8 });
const step = fc.oneof(
  fc.record({ do: fc.constant("answer" as const), answer }),
  { weight: 3, arbitrary: fc.record({ do: fc.constant("begin" as const) }) },
  fc.record({ do: fc.constant("end" as const), index: fc.nat(1000) }),
);
const policy = fc.constantFrom(
  "round_robin" as const,
  "random" as const,
  "least_connections" as const,
  "source_hash" as const,
);

const keyOf = ({ address, port }: ResolvedTarget): string => `${address}:${port}`;

it("serves the last answer, keeps the load of whoever stays, goes or returns, and never goes back a version", () => {
  fc.assert(
    fc.property(policy, fc.array(step, { maxLength: 60 }), fc.integer(), (balance, steps, seed) => {
      const config = clusterConfig({ balance, source: { kind: "srv", name: "_s._tcp.test" } });
      const view = new ClusterView(config, seeded(seed), () => {});
      let tell: (targets: readonly ResolvedTarget[]) => void = () => {};
      let version = 0;
      const cluster = new Cluster(config, {
        createSource: () => ({
          start: (onTargets) => {
            tell = onTargets;
          },
          stop: () => {},
          describe: () => ({}),
        }),
        connectTls: null,
        preamble: null,
        clock: new HandClock(),
        random: seeded(seed),
        onSet: (set: EndpointSet) => {
          assert.ok(set.version > version);
          version = set.version;
          // As it reaches a worker.
          view.update(structuredClone(set));
        },
        onEvent: () => {},
      });
      cluster.start();
      let last: readonly ResolvedTarget[] | null = null;
      const held: Endpoint[] = [];
      for (const each of steps) {
        if (each.do === "answer") {
          last = each.answer;
          tell(each.answer);
        } else if (each.do === "end") {
          const [gone] = held.splice(each.index % Math.max(held.length, 1), 1);
          if (gone !== undefined) leave(gone);
        } else {
          const picked = view.pick("10.1.1.1", null);
          assert.equal(picked === null, last === null || last.length === 0);
          if (picked === null) continue;
          const best = Math.min(...last!.map(({ priority }) => priority));
          const told: ResolvedTarget | undefined = last!.find((one) => keyOf(one) === picked.key);
          assert.equal(told?.priority, best, "somebody of the best tier of the last answer");
          assert.equal(told?.weight, picked.weight);
          enter(picked);
          held.push(picked);
        }
        const wanted: ReadonlyMap<string, ResolvedTarget> = new Map(
          (last ?? []).map((one) => [keyOf(one), one]),
        );
        assert.equal(view.resolved, last !== null);
        assert.deepEqual((view.set?.endpoints ?? []).map(({ key }) => key).sort(), [...wanted.keys()].sort());
        for (const endpoint of [...held, ...(view.set?.endpoints ?? [])]) {
          const own = held.filter(({ key }) => key === endpoint.key).length;
          assert.equal(endpoint.cell[ACTIVE], own, `${endpoint.key}: its load is counted in one place`);
          assert.equal(endpoint.cell[HEALTH], wanted.has(endpoint.key) ? HEALTH_UP : HEALTH_DRAINING);
        }
        const shown = cluster.describe().endpoints.map(({ key }) => key);
        const busy = held.map(({ key }) => key);
        assert.deepEqual(shown.sort(), [...new Set([...wanted.keys(), ...busy])].sort());
      }
      cluster.stop();
    }),
    { numRuns: 300 },
  );
});
