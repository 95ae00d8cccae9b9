/** Shares, tiers, panic and what changes in cells and sets do to picks; every policy where it makes sense. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { createBalancer } from "../../lib/cluster/balancer.ts";
import {
  ACTIVE,
  type Endpoint,
  enter,
  HEALTH,
  HEALTH_DOWN,
  HEALTH_DRAINING,
  HEALTH_EJECTED,
  HEALTH_UP,
  leave,
  SHARE,
} from "../../lib/cluster/endpoint.ts";
import { endpointsOf, equals, seeded, setOf, shares, sourceOf, write } from "./gear.ts";

const POLICIES = ["round_robin", "random", "least_connections", "source_hash"] as const;

/** Picks without connections, as when they are short; least_connections must follow the weights then as well. */
function sharesOf(
  policy: (typeof POLICIES)[number],
  endpoints: Endpoint[],
  picks: number,
): Map<string, number> {
  const balancer = createBalancer(policy, setOf(endpoints), seeded(1));
  return shares(picks, (turn) => balancer.pick(sourceOf(turn), null));
}

/** Every endpoint has the share that RFC 2782 gives its weight, to two percent of that share. */
function assertShares(actual: Map<string, number>, endpoints: readonly Endpoint[]): void {
  const expected = rfcShares(endpoints.map(({ weight }) => weight));
  for (const [index, { key, weight }] of endpoints.entries()) {
    const part = actual.get(key) ?? 0;
    const share = expected[index]!;
    assert.ok(Math.abs(part - share) <= 0.02 * share, `${key} weight ${weight}: ${part} of ${share}`);
  }
}

/** The selection of RFC 2782, word for word, weightless first; those without weight take turns at their one part. */
function rfcShares(weights: readonly number[]): number[] {
  const sum = weights.reduce((total, weight) => total + weight, 0);
  const zeros = weights.filter((weight) => weight === 0).length;
  if (sum === 0) return weights.map(() => 1 / weights.length);
  const numbers = zeros > 0 ? sum + 1 : sum;
  return weights.map((weight) => (weight === 0 ? 1 / zeros : weight) / numbers);
}

for (const policy of POLICIES) {
  describe(policy, () => {
    // Sources are drawn by nobody but their clients: a share by hash is as exact as the sample is large.
    const few = policy === "source_hash" ? 1_000_000 : 100_000;

    for (const [what, weights] of [
      ["one endpoint", [1]],
      ["two equal ones", [1, 1]],
      ["ten equal ones", Array.from({ length: 10 }, () => 1)],
      ["weights 1 to 10", [1, 2, 3, 4, 10]],
      ["weights as in the RFC's example", [1, 3]],
      ["large weights", [65_535, 32_768, 16_384]],
      ["weight 0 beside others", [10, 0, 60, 30]],
      ["nothing but weight 0", [0, 0, 0]],
    ] as const) {
      it(`gives RFC 2782's shares to 2 %: ${what}`, () => {
        const endpoints = endpointsOf(weights.map((weight) => ({ weight })));
        // One in a hundred takes a larger sample, too.
        assertShares(
          sharesOf(policy, endpoints, weights.some((one) => one === 0) ? 1_000_000 : few),
          endpoints,
        );
      });
    }

    it("gives them to many endpoints, too", () => {
      const equal = equals(40);
      assertShares(sharesOf(policy, equal, 1_000_000), equal);
      const mixed = endpointsOf(Array.from({ length: 12 }, (_, index) => ({ weight: 1 + (index % 3) })));
      assertShares(sharesOf(policy, mixed, 1_000_000), mixed);
    });

    it("gives them in each tier, as the better ones fail and return", () => {
      const tiers = [
        [1, 4],
        [10, 30, 60],
        [5, 5],
      ] as const;
      const specs = tiers.flatMap((weights, priority) => weights.map((weight) => ({ weight, priority })));
      const endpoints = endpointsOf(specs);
      const set = setOf(endpoints);
      const balancer = createBalancer(policy, set, seeded(1));
      const tierOf = (wanted: number) => endpoints.filter(({ priority }) => priority === wanted);
      const look = (wanted: number): void => {
        const actual = shares(few, (turn) => balancer.pick(sourceOf(turn), null));
        assertShares(actual, tierOf(wanted));
        assert.equal(actual.size, tierOf(wanted).length, "nobody of another tier");
      };
      look(0);
      for (const endpoint of tierOf(0)) write(set, endpoint, HEALTH, HEALTH_DOWN);
      look(1);
      for (const endpoint of tierOf(1)) write(set, endpoint, HEALTH, HEALTH_EJECTED);
      look(2);
      for (const endpoint of tierOf(0)) write(set, endpoint, HEALTH, HEALTH_UP);
      look(0);
    });

    it("gives weight 0 a very small share beside small weights, where the RFC's draw would not", () => {
      const endpoints = endpointsOf([{ weight: 0 }, { weight: 1 }, { weight: 1 }, { weight: 0 }]);
      const actual = sharesOf(policy, endpoints, 100_000);
      const zeros = [0, 3].map((index) => actual.get(endpoints[index]!.key) ?? 0);
      for (const part of zeros) assert.ok(part > 0.004 && part < 0.006, `${part}`);
    });

    it("stays in the lowest priority that has a usable endpoint, and returns to it", () => {
      const endpoints = endpointsOf([{ priority: 20 }, { priority: 10 }, { priority: 10 }, { priority: 5 }]);
      const set = setOf(endpoints);
      const balancer = createBalancer(policy, set, seeded(2));
      const picked = () => [...shares(500, (turn) => balancer.pick(sourceOf(turn), null)).keys()].sort();
      const keys = (...indices: number[]) => indices.map((index) => endpoints[index]!.key);
      assert.deepEqual(picked(), keys(3));
      write(set, endpoints[3]!, HEALTH, HEALTH_DOWN);
      assert.deepEqual(picked(), keys(1, 2));
      write(set, endpoints[1]!, HEALTH, HEALTH_EJECTED);
      assert.deepEqual(picked(), keys(2));
      write(set, endpoints[2]!, HEALTH, HEALTH_DRAINING);
      assert.deepEqual(picked(), keys(0));
      write(set, endpoints[3]!, HEALTH, HEALTH_UP);
      assert.deepEqual(picked(), keys(3));
    });

    it("lets a retry go on in the next tier once one is used up", () => {
      const endpoints = endpointsOf([{}, {}, { priority: 1 }]);
      const balancer = createBalancer(policy, setOf(endpoints), seeded(3));
      const tried: Endpoint[] = [];
      for (let turn = 0; turn < 3; turn++) tried.push(balancer.pick("10.1.1.1", tried)!);
      assert.equal(tried[2], endpoints[2]);
      assert.equal(new Set(tried).size, 3);
      assert.equal(balancer.pick("10.1.1.1", tried), null);
    });

    it("dials everybody but the draining when nobody is usable", () => {
      const endpoints = endpointsOf([
        { health: HEALTH_DOWN },
        { health: HEALTH_EJECTED },
        { health: HEALTH_DRAINING },
      ]);
      const set = setOf(endpoints);
      const balancer = createBalancer(policy, set, seeded(4));
      const picked = shares(1000, (turn) => balancer.pick(sourceOf(turn), null));
      assert.deepEqual([...picked.keys()].sort(), [endpoints[0]!.key, endpoints[1]!.key]);
      write(set, endpoints[1]!, HEALTH, HEALTH_UP);
      assert.deepEqual([...shares(100, () => balancer.pick("10.1.1.1", null)).keys()], [endpoints[1]!.key]);
    });

    it("has nobody in an empty set, and in one where all drain", () => {
      assert.equal(createBalancer(policy, setOf([]), seeded(5)).pick("10.1.1.1", null), null);
      const draining = endpointsOf([{ health: HEALTH_DRAINING }]);
      assert.equal(createBalancer(policy, setOf(draining), seeded(5)).pick("10.1.1.1", null), null);
    });

    it("knows a tried endpoint by its key, also in the copy of a newer set", () => {
      const old = equals(3);
      const copies = equals(3);
      const balancer = createBalancer(policy, setOf(copies), seeded(6));
      for (let turn = 0; turn < 100; turn++) {
        const endpoint = balancer.pick(sourceOf(turn), [old[0]!, old[1]!]);
        assert.equal(endpoint, copies[2]);
      }
    });

    it("sees health change in cells of a set without an epoch", () => {
      const { epoch: _, ...set } = setOf(equals(2));
      const balancer = createBalancer(policy, set, seeded(7));
      Atomics.store(set.endpoints[0]!.cell, HEALTH, HEALTH_DOWN);
      for (let turn = 0; turn < 50; turn++)
        assert.equal(balancer.pick(sourceOf(turn), null), set.endpoints[1]);
    });
  });
}

describe("round_robin", () => {
  it("is smooth: no endpoint twice in a row where another is due", () => {
    const endpoints = endpointsOf([{ weight: 3 }, { weight: 2 }, { weight: 2 }]);
    const balancer = createBalancer("round_robin", setOf(endpoints), seeded(8));
    const picks = Array.from({ length: 70 }, () => balancer.pick(null, null)!);
    for (let turn = 1; turn < picks.length; turn++) assert.notEqual(picks[turn], picks[turn - 1]);
    for (let turn = 0; turn < 70; turn += 7) {
      const window = picks.slice(turn, turn + 7);
      for (const endpoint of endpoints) {
        const count = window.filter((each) => each === endpoint).length;
        assert.ok(Math.abs(count - endpoint.weight) <= 1);
      }
    }
  });

  it("keeps shares right while health and shares of others keep changing", () => {
    const endpoints = equals(10);
    const set = setOf(endpoints);
    const balancer = createBalancer("round_robin", set, seeded(9));
    const actual = shares(9000, (turn) => {
      write(set, endpoints[9]!, HEALTH, turn % 2 === 0 ? HEALTH_DOWN : HEALTH_EJECTED);
      write(set, endpoints[9]!, SHARE, turn % 1000);
      return balancer.pick(null, null);
    });
    for (const { key } of endpoints.slice(0, 9)) assert.ok(Math.abs(actual.get(key)! - 1 / 9) < 0.001);
    assert.equal(actual.has(endpoints[9]!.key), false);
  });

  it("keeps shares right while an endpoint's own weight changes between picks", () => {
    const endpoints = equals(4);
    const set = setOf(endpoints);
    const balancer = createBalancer("round_robin", set, seeded(9));
    const actual = shares(4000, (turn) => {
      write(set, endpoints[2]!, SHARE, 490 + (turn % 20));
      return balancer.pick(null, null);
    });
    assert.ok(Math.abs(actual.get(endpoints[2]!.key)! - 0.5 / 3.5) < 0.005);
  });

  it("begins at different places in different workers", () => {
    const endpoints = equals(20);
    const firsts = new Set<Endpoint | null>();
    for (let seed = 0; seed < 20; seed++) {
      firsts.add(createBalancer("round_robin", setOf(endpoints), seeded(seed)).pick(null, null));
    }
    assert.ok(firsts.size > 5);
  });
});

describe("random", () => {
  it("is even after every 1,024 picks, and without a pattern in between", () => {
    const endpoints = equals(4);
    const balancer = createBalancer("random", setOf(endpoints), seeded(19));
    let repeats = 0;
    let last: Endpoint | null = null;
    for (let deck = 0; deck < 20; deck++) {
      const counts = shares(1024, () => {
        const endpoint = balancer.pick(null, null);
        if (endpoint === last) repeats++;
        last = endpoint;
        return endpoint;
      });
      for (const part of counts.values()) assert.equal(part, 0.25);
    }
    // A quarter follows itself by chance; round robin never would. Five standard deviations.
    assert.ok(Math.abs(repeats - 5120) < 310, `${repeats} of 20,480`);
  });

  it("has an endpoint for every number that chance can yield", () => {
    for (const number of [0, 1 - 2 ** -53]) {
      const balancer = createBalancer("random", setOf(equals(3)), () => number);
      for (let turn = 0; turn < 3000; turn++) assert.notEqual(balancer.pick(null, null), undefined);
    }
  });
});

describe("slow start", () => {
  it("gives the SHARE of the weight", () => {
    for (const policy of ["round_robin", "random", "least_connections"] as const) {
      const endpoints = equals(3);
      const set = setOf(endpoints);
      const balancer = createBalancer(policy, set, seeded(10));
      write(set, endpoints[1]!, SHARE, 100);
      const actual = shares(20_000, () => balancer.pick(null, null));
      assert.ok(Math.abs(actual.get(endpoints[1]!.key)! - 0.1 / 2.1) < 0.01, policy);
    }
  });

  it("does not shut out an endpoint whose SHARE is still 0", () => {
    for (const policy of POLICIES) {
      const endpoints = equals(1);
      const set = setOf(endpoints);
      const balancer = createBalancer(policy, set, seeded(10));
      write(set, endpoints[0]!, SHARE, 0);
      assert.equal(balancer.pick("10.1.1.1", null), endpoints[0]);
    }
  });

  it("does not flood an idle newcomer under least_connections", () => {
    const endpoints = equals(3);
    const set = setOf(endpoints);
    for (const endpoint of endpoints.slice(0, 2)) endpoint.cell[ACTIVE] = 50;
    write(set, endpoints[2]!, SHARE, 100);
    const balancer = createBalancer("least_connections", set, seeded(11));
    for (let turn = 0; turn < 30; turn++) enter(balancer.pick(null, null)!);
    assert.ok(
      endpoints[2]!.cell[ACTIVE]! <= 7,
      `${endpoints[2]!.cell[ACTIVE]} connections at a tenth of the share`,
    );
  });
});

describe("least_connections", () => {
  it("keeps two workers over the same cells within two of each other", () => {
    const endpoints = equals(10);
    const workers = [1, 2].map((seed) => createBalancer("least_connections", setOf(endpoints), seeded(seed)));
    const random = seeded(12);
    const held: Endpoint[] = [];
    for (let turn = 0; turn < 5000; turn++) {
      // Both pick before either counts: the worst that two threads can do.
      const picks = workers.map((balancer) => balancer.pick(null, null)!);
      for (const endpoint of picks) {
        enter(endpoint);
        held.push(endpoint);
      }
      const counts = endpoints.map((endpoint) => endpoint.cell[ACTIVE]!);
      assert.ok(Math.max(...counts) - Math.min(...counts) <= 2, counts.join(" "));
      // Oldest first, so that leaving does not tilt the counts by itself.
      if (held.length > 200 + 100 * random()) for (const endpoint of held.splice(0, 2)) leave(endpoint);
    }
  });

  it("goes to the one that lost its connections", () => {
    const endpoints = equals(5);
    const balancer = createBalancer("least_connections", setOf(endpoints), seeded(13));
    for (let turn = 0; turn < 50; turn++) enter(balancer.pick(null, null)!);
    endpoints[3]!.cell[ACTIVE] = 0;
    for (let turn = 0; turn < 10; turn++) {
      const endpoint = balancer.pick(null, null)!;
      assert.equal(endpoint, endpoints[3]);
      enter(endpoint);
    }
  });

  it("does not let one that stood aside for long make up for all it missed", () => {
    const endpoints = equals(2);
    const balancer = createBalancer("least_connections", setOf(endpoints), seeded(13));
    endpoints[0]!.cell[ACTIVE] = 5;
    for (let turn = 0; turn < 1000; turn++) assert.equal(balancer.pick(null, null), endpoints[1]);
    endpoints[0]!.cell[ACTIVE] = 0;
    const actual = shares(10, () => balancer.pick(null, null));
    assert.ok(actual.get(endpoints[1]!.key)! >= 0.4);
  });

  it("holds connections in proportion to weights, by scan and by two draws", () => {
    for (const count of [5, 100]) {
      const weights = [1, 2, 3, 4, 10];
      const endpoints = endpointsOf(
        Array.from({ length: count }, (_, index) => ({ weight: weights[index % 5]! })),
      );
      const balancer = createBalancer("least_connections", setOf(endpoints), seeded(14));
      const total = 200 * count;
      for (let turn = 0; turn < total; turn++) enter(balancer.pick(null, null)!);
      const sum = endpoints.reduce((all, endpoint) => all + endpoint.weight, 0);
      for (const { cell, weight } of endpoints) {
        const fair = (total * weight) / sum;
        assert.ok(Math.abs(cell[ACTIVE]! - fair) <= Math.max(2, 0.1 * fair), `${cell[ACTIVE]} of ${fair}`);
      }
    }
  });
});

describe("source_hash", () => {
  const SOURCES = 20_000;
  const mapOf = (endpoints: readonly Endpoint[], seed = 1) => {
    const balancer = createBalancer("source_hash", setOf(endpoints), seeded(seed));
    return Array.from({ length: SOURCES }, (_, turn) => balancer.pick(sourceOf(turn * 31), null)!.key);
  };
  const moved = (one: string[], two: string[]) =>
    one.filter((key, index) => key !== two[index]).length / SOURCES;

  it("sends a source to the same endpoint in every worker, whatever the order of the set", () => {
    const endpoints = endpointsOf(Array.from({ length: 12 }, (_, index) => ({ weight: 1 + (index % 3) })));
    assert.deepEqual(mapOf(endpoints, 1), mapOf(endpoints.toReversed(), 2));
  });

  it("moves about 1/n when one of n leaves or joins", () => {
    for (const count of [3, 10, 50, 200]) {
      const endpoints = equals(count);
      const without = endpoints.toSpliced(count >> 1, 1);
      const part = moved(mapOf(endpoints), mapOf(without));
      // A Maglev table shuffles up to two percent more.
      assert.ok(part >= 0.9 / count && part <= 1 / count + 0.02, `${part} moved of 1/${count}`);
    }
  });

  it("moves only the sources of the endpoint that is down, scatters them, and brings them back", () => {
    const endpoints = equals(10);
    const set = setOf(endpoints);
    const balancer = createBalancer("source_hash", set, seeded(15));
    const map = () => Array.from({ length: SOURCES }, (_, turn) => balancer.pick(sourceOf(turn), null)!.key);
    const before = map();
    write(set, endpoints[4]!, HEALTH, HEALTH_DOWN);
    const during = map();
    const heirs = new Map<string, number>();
    for (const [index, key] of before.entries()) {
      if (key !== endpoints[4]!.key) assert.equal(during[index], key);
      else heirs.set(during[index]!, (heirs.get(during[index]!) ?? 0) + 1);
    }
    assert.equal(heirs.size, 9);
    for (const count of heirs.values()) assert.ok(Math.abs(count - SOURCES / 90) < SOURCES / 270);
    write(set, endpoints[4]!, HEALTH, HEALTH_UP);
    assert.deepEqual(map(), before);
  });

  it("keeps a source with many connections at one endpoint until that is overloaded", () => {
    const endpoints = equals(4);
    const balancer = createBalancer("source_hash", setOf(endpoints), seeded(16));
    const first = balancer.pick("10.9.9.9", null)!;
    for (let turn = 0; turn < 32; turn++) {
      const endpoint = balancer.pick("10.9.9.9", null)!;
      assert.equal(endpoint, first);
      enter(endpoint);
    }
    for (let turn = 0; turn < 1000; turn++) enter(balancer.pick("10.9.9.9", null)!);
    const counts = endpoints.map((endpoint) => endpoint.cell[ACTIVE]!);
    assert.ok(Math.max(...counts) <= Math.ceil((1.25 * 1032) / 4), counts.join(" "));
    for (const endpoint of endpoints) endpoint.cell[ACTIVE] = 0;
    assert.equal(balancer.pick("10.9.9.9", null), first);
  });

  it("measures overload by the load of all, not by a number", () => {
    const endpoints = equals(20);
    const balancer = createBalancer("source_hash", setOf(endpoints), seeded(16));
    const first = balancer.pick("10.9.9.9", null)!;
    for (const endpoint of endpoints) endpoint.cell[ACTIVE] = 100;
    // With more members than one pick surveys, a second one has seen them all.
    balancer.pick("10.9.9.9", null);
    for (let turn = 0; turn < 25; turn++) {
      assert.equal(balancer.pick("10.9.9.9", null), first);
      enter(first);
    }
    for (let turn = 0; turn < 5; turn++) enter(balancer.pick("10.9.9.9", null)!);
    assert.ok(first.cell[ACTIVE]! <= 127, `${first.cell[ACTIVE]}`);
  });

  it("finds the few usable ones among many that are down", () => {
    const endpoints = equals(300);
    const set = setOf(endpoints);
    for (const endpoint of endpoints.slice(2)) endpoint.cell[HEALTH] = HEALTH_DOWN;
    const balancer = createBalancer("source_hash", set, seeded(17));
    const actual = shares(2000, (turn) => balancer.pick(sourceOf(turn), null));
    assert.deepEqual(
      [...actual.keys()].sort(),
      endpoints.slice(0, 2).map((endpoint) => endpoint.key),
    );
  });

  it("picks by chance where there is no source", () => {
    const endpoints = equals(4);
    const balancer = createBalancer("source_hash", setOf(endpoints), seeded(18));
    const actual = shares(4000, () => balancer.pick(null, null));
    for (const { key } of endpoints) assert.ok(Math.abs(actual.get(key)! - 0.25) < 0.04);
  });
});
