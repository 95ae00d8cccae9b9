/** What no sequence of picks, connections and health changes may break, for every policy. */
import assert from "node:assert/strict";
import { it } from "node:test";
import fc from "fast-check";
import { createBalancer } from "../../lib/cluster/balancer.ts";
import {
  ACTIVE,
  type Endpoint,
  enter,
  HEALTH,
  HEALTH_DRAINING,
  HEALTH_UP,
  isAmong,
  leave,
  SHARE,
} from "../../lib/cluster/endpoint.ts";
import { shares } from "../../lib/dns/srv.ts";
import { endpointsOf, seeded, setOf, write } from "../cluster/gear.ts";

const policy = fc.constantFrom(
  "round_robin" as const,
  "random" as const,
  "least_connections" as const,
  "source_hash" as const,
);
const spec = fc.record({
  weight: fc.oneof(fc.integer({ min: 0, max: 10 }), fc.constantFrom(0, 1, 65_535)),
  priority: fc.integer({ min: 0, max: 2 }),
  health: fc.integer({ min: 0, max: 3 }),
});
const source = fc.option(fc.constantFrom("10.0.0.1", "10.0.0.2", "2001:db8::1"), { nil: null });
const index = fc.nat(1000);
const step = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant("pick" as const),
      source,
      tried: fc.array(index, { maxLength: 4 }),
    }),
  },
  fc.record({ do: fc.constant("health" as const), index, value: fc.integer({ min: 0, max: 3 }) }),
  fc.record({ do: fc.constant("share" as const), index, value: fc.integer({ min: 0, max: 1000 }) }),
  fc.record({ do: fc.constant("leave" as const), index }),
);

it("picks an untried endpoint that may be dialled, of the best tier that has one, whenever there is one", () => {
  fc.assert(
    fc.property(
      policy,
      fc.array(spec, { maxLength: 40 }),
      fc.boolean(),
      fc.array(step, { maxLength: 60 }),
      fc.integer(),
      (name, specs, hasEpoch, steps, seed) => {
        const endpoints = endpointsOf(specs);
        const whole = setOf(endpoints);
        const { epoch: _, ...bare } = whole;
        const balancer = createBalancer(name, hasEpoch ? whole : bare, seeded(seed));
        const at = (position: number): Endpoint | undefined =>
          endpoints[position % Math.max(endpoints.length, 1)];
        const held: Endpoint[] = [];
        for (const each of steps) {
          if (each.do === "pick") {
            const tried = each.tried.flatMap((position) => at(position) ?? []);
            const panic = endpoints.every((endpoint) => endpoint.cell[HEALTH] !== HEALTH_UP);
            const eligible = endpoints.filter(
              (endpoint) =>
                !isAmong(tried, endpoint) &&
                (panic ? endpoint.cell[HEALTH] !== HEALTH_DRAINING : endpoint.cell[HEALTH] === HEALTH_UP),
            );
            const best = Math.min(...eligible.map((endpoint) => endpoint.priority));
            const picked = balancer.pick(each.source, tried.length === 0 && seed % 2 === 0 ? null : tried);
            if (eligible.length === 0) assert.equal(picked, null);
            else {
              assert.ok(picked !== null && eligible.includes(picked));
              assert.equal(picked.priority, best);
              enter(picked);
              held.push(picked);
            }
          } else if (each.do === "leave") {
            const [gone] = held.splice(each.index % Math.max(held.length, 1), 1);
            if (gone !== undefined) leave(gone);
          } else {
            const endpoint = at(each.index);
            if (endpoint !== undefined)
              write(whole, endpoint, each.do === "health" ? HEALTH : SHARE, each.value);
          }
        }
        for (const endpoint of held) leave(endpoint);
        for (const endpoint of endpoints) assert.equal(endpoint.cell[ACTIVE], 0);
      },
    ),
    { numRuns: 300 },
  );
});

it("takes weighted turns that are exact to one turn over any stretch", () => {
  const weights = fc.array(fc.integer({ min: 1, max: 20 }), { minLength: 1, maxLength: 30 });
  fc.assert(
    fc.property(weights, fc.integer({ min: 1, max: 500 }), fc.integer(), (all, picks, seed) => {
      const endpoints = endpointsOf(all.map((weight) => ({ weight })));
      const balancer = createBalancer("round_robin", setOf(endpoints), seeded(seed));
      const counts = new Map<Endpoint, number>();
      let clock = 0;
      for (let turn = 0; turn < picks; turn++) {
        const endpoint = balancer.pick(null, null)!;
        counts.set(endpoint, (counts.get(endpoint) ?? 0) + 1);
        // The first turn may come at the very beginning of an interval.
        clock = Math.max(clock, (counts.get(endpoint)! - 1) / endpoint.weight);
      }
      for (const endpoint of endpoints) {
        const due = Math.floor(clock * endpoint.weight);
        assert.ok((counts.get(endpoint) ?? 0) >= due - 1, `${counts.get(endpoint)} turns of ${due}`);
      }
    }),
    { numRuns: 200 },
  );
});

it("bounds the load of every endpoint under source_hash, whatever the sources", () => {
  const weights = fc.array(fc.integer({ min: 1, max: 5 }), { minLength: 1, maxLength: 16 });
  const sources = fc.array(fc.integer({ min: 0, max: 5 }), { minLength: 1, maxLength: 8 });
  fc.assert(
    fc.property(weights, sources, fc.integer({ min: 1, max: 1500 }), (all, from, count) => {
      const endpoints = endpointsOf(all.map((weight) => ({ weight })));
      const balancer = createBalancer("source_hash", setOf(endpoints), seeded(1));
      for (let turn = 0; turn < count; turn++)
        enter(balancer.pick(`10.0.0.${from[turn % from.length]}`, null)!);
      const sum = all.reduce((total, weight) => total + weight, 0);
      for (const { cell, weight } of endpoints) {
        const bound = Math.max(32, Math.ceil((1.25 * count * weight) / sum));
        assert.ok(cell[ACTIVE]! <= bound, `${cell[ACTIVE]} of at most ${bound}`);
      }
    }),
    { numRuns: 60 },
  );
});

it("keeps equal endpoints within one of each other under least_connections, one worker", () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 32 }),
      fc.integer({ min: 1, max: 300 }),
      fc.integer(),
      (size, count, seed) => {
        const endpoints = endpointsOf(Array.from({ length: size }, () => ({ weight: 3 })));
        const balancer = createBalancer("least_connections", setOf(endpoints), seeded(seed));
        for (let turn = 0; turn < count; turn++) enter(balancer.pick(null, null)!);
        const active = endpoints.map((endpoint) => endpoint.cell[ACTIVE]!);
        assert.ok(Math.max(...active) - Math.min(...active) <= 1);
      },
    ),
    { numRuns: 100 },
  );
});

it("shares by weight within the tier in use, weights of 0 included, over any stretch of turns", () => {
  const members = fc.array(
    fc.record({ weight: fc.integer({ min: 0, max: 20 }), priority: fc.integer({ min: 0, max: 2 }) }),
    { minLength: 1, maxLength: 20 },
  );
  fc.assert(
    fc.property(members, fc.integer({ min: 1, max: 2000 }), fc.integer(), (specs, picks, seed) => {
      const endpoints = endpointsOf(specs);
      const balancer = createBalancer("round_robin", setOf(endpoints), seeded(seed));
      const counts = new Map<Endpoint, number>();
      for (let turn = 0; turn < picks; turn++) {
        const endpoint = balancer.pick(null, null)!;
        counts.set(endpoint, (counts.get(endpoint) ?? 0) + 1);
      }
      const best = Math.min(...specs.map(({ priority }) => priority));
      const tier = endpoints.filter(({ priority }) => priority === best);
      const expected = shares(tier.map(({ weight }) => weight));
      for (const [place, endpoint] of tier.entries()) {
        const fair = picks * expected[place]!;
        // Each other one may be a turn ahead or behind, which is shared out by weight.
        const allowed = 1 + tier.length * expected[place]!;
        const count = counts.get(endpoint) ?? 0;
        assert.ok(Math.abs(count - fair) <= allowed, `weight ${endpoint.weight}: ${count} of ${fair}`);
        counts.delete(endpoint);
      }
      assert.equal(counts.size, 0, "nobody of another tier");
    }),
    { numRuns: 200 },
  );
});

it("least_connections raises nobody above the level, and nobody is further below it than connections are missing", () => {
  const order = fc.array(fc.integer({ min: 0, max: 1000 }), { maxLength: 400 });
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 12 }),
      fc.integer({ min: 1, max: 100 }),
      fc.integer({ min: 1, max: 8 }),
      order,
      fc.integer(),
      (size, clients, gap, steps, seed) => {
        const endpoints = endpointsOf(Array.from({ length: size }, () => ({})));
        const balancer = createBalancer("least_connections", setOf(endpoints), seeded(seed));
        const held: Endpoint[] = [];
        const begin = (): void => {
          const endpoint = balancer.pick(null, null)!;
          enter(endpoint);
          held.push(endpoint);
        };
        for (let client = 0; client < clients; client++) begin();
        for (const step of steps) {
          // Each client is connected or between two connections; at most `gap` of them at once, in any order.
          const missing = clients - held.length;
          if (held.length > 0 && missing < gap && (step % 2 === 0 || missing === 0)) {
            leave(held.splice(step % held.length, 1)[0]!);
          } else begin();
          const counts = endpoints.map(({ cell }) => cell[ACTIVE]!);
          assert.ok(Math.max(...counts) <= Math.ceil(clients / size), counts.join(" "));
          const least = Math.floor(clients / size) - (clients - held.length);
          assert.ok(Math.min(...counts) >= least, `${counts.join(" ")}, ${clients - held.length} missing`);
        }
      },
    ),
    { numRuns: 200 },
  );
});
