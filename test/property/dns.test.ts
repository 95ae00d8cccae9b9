import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { interpret } from "../../lib/dns/answer.ts";
import { decodeMessage, encodeQuery, type SrvRecord } from "../../lib/dns/message.ts";
import { canonicalName, isWithin, mixCase } from "../../lib/dns/name.ts";
import { absorb } from "../../lib/dns/removal.ts";
import { candidates, parseResolvConf } from "../../lib/dns/resolv-conf.ts";
import { assemble, readSrv, shares, type Target, targetKey, tiersOf } from "../../lib/dns/srv.ts";

const weight = fc.integer({ min: 0, max: 65535 });
const record = fc.record({
  priority: fc.integer({ min: 0, max: 4 }),
  weight,
  port: fc.integer({ min: 1, max: 65535 }),
  node: fc.integer({ min: 0, max: 40 }),
});
const records = fc.uniqueArray(record, { selector: ({ node }) => node, maxLength: 12 }).map((list) =>
  list.map(
    ({ node, ...rest }): SrvRecord => ({
      type: "SRV",
      name: "_s._tcp.test",
      ttl: 1,
      target: `n${node}.test`,
      ...rest,
    }),
  ),
);
/** One to four addresses of its own for each target. */
const addressesOf = (target: string): string[] => {
  const node = Number(target.slice(1, -5));
  return Array.from({ length: (node % 4) + 1 }, (_, index) => `10.0.${node}.${index}`);
};
const sum = (list: readonly number[]): number => list.reduce((total, one) => total + one, 0);

/** The selection of RFC 2782, word for word, as the chance of each record: draws 0..sum with the weightless first. */
function drawn(weights: readonly number[]): number[] {
  const order = weights
    .map((_, index) => index)
    .sort((left, right) => Number(weights[left]! > 0) - Number(weights[right]! > 0));
  const hits = weights.map(() => 0);
  const total = sum(weights);
  for (let number = 0; number <= total; number++) {
    let running = 0;
    for (const index of order) {
      running += weights[index]!;
      if (running >= number) {
        hits[index]!++;
        break;
      }
    }
  }
  return hits.map((hit) => hit / (total + 1));
}

test("shares add up to 1 and follow the weights", () => {
  fc.assert(
    fc.property(fc.array(weight, { minLength: 1, maxLength: 20 }), (weights) => {
      const parts = shares(weights);
      assert.ok(Math.abs(sum(parts) - 1) < 1e-9);
      for (const [i, left] of weights.entries()) {
        for (const [j, right] of weights.entries()) {
          if (left === right) assert.ok(Math.abs(parts[i]! - parts[j]!) < 1e-12);
          if (left > right) assert.ok(parts[i]! >= parts[j]!);
        }
      }
    }),
  );
});

test("shares are the chances of the RFC's own selection; those without weight get at most 1 % together", () => {
  const weights = fc.array(fc.integer({ min: 0, max: 60 }), { minLength: 1, maxLength: 8 });
  fc.assert(
    fc.property(weights, (list) => {
      const parts = shares(list);
      const exact = drawn(list);
      const total = sum(list);
      const idle = (of: number[]): number => sum(of.filter((_, index) => list[index] === 0));
      const zeros = list.filter((own) => own === 0);
      if (total === 0) return assert.ok(parts.every((part) => Math.abs(part - 1 / zeros.length) < 1e-9));
      const most = Math.min(idle(exact), 0.01 / 1.01);
      if (zeros.length > 0) assert.ok(Math.abs(idle(parts) - most) < 1e-9, `${idle(parts)} of ${most}`);
      for (const [index, own] of list.entries()) {
        const share = ((1 - idle(parts)) * own) / total;
        if (own > 0) assert.ok(Math.abs(parts[index]! - share) < 1e-9);
        else assert.ok(Math.abs(parts[index]! - idle(parts) / zeros.length) < 1e-9);
        // Without any zero the RFC's draw favours whoever is first in the list by that one part.
        if (total >= 100 && own > 0 && zeros.length > 0) {
          assert.ok(Math.abs(parts[index]! - exact[index]!) < 1e-9);
        }
      }
    }),
  );
});

test("a target's share does not depend on how many addresses it has", () => {
  fc.assert(
    fc.property(records, (list) => {
      const targets = assemble(list, addressesOf);
      for (const { members } of tiersOf(list)) {
        const wanted = members.map((member) => member.weight);
        const total = sum(wanted);
        const weightOf = (name: string): number =>
          sum(targets.filter((one) => one.name === name).map((one) => one.weight));
        const all = sum(members.map((member) => weightOf(member.target)));
        for (const member of members) {
          const share = total === 0 ? 1 / members.length : member.weight / total;
          const own = all === 0 ? 1 / members.length : weightOf(member.target) / all;
          // Weights are whole numbers up to 65535, and one that is not zero must not become zero.
          assert.ok(Math.abs(own - share) < 1e-3, `${member.target}: ${own} instead of ${share}`);
        }
      }
      for (const one of targets)
        assert.ok(Number.isInteger(one.weight) && one.weight >= 0 && one.weight <= 65535);
    }),
  );
});

test("tiers keep every record, in order of priority; the order of the answer changes nothing", () => {
  fc.assert(
    fc.property(records, fc.infiniteStream(fc.nat()), (list, salt) => {
      const shuffled = list
        .map((one) => ({ one, key: salt.next().value as number }))
        .sort((left, right) => left.key - right.key)
        .map(({ one }) => one);
      assert.deepEqual(readSrv(shuffled), readSrv(list));
      assert.deepEqual(
        assemble(readSrv(shuffled).entries, addressesOf),
        assemble(readSrv(list).entries, addressesOf),
      );
      const tiers = tiersOf(list);
      assert.equal(sum(tiers.map(({ members }) => members.length)), list.length);
      for (const [index, tier] of tiers.entries()) {
        if (index > 0) assert.ok(tier.priority > tiers[index - 1]!.priority);
        for (const member of tier.members) assert.equal(member.priority, tier.priority);
      }
    }),
  );
});

const set = fc
  .uniqueArray(fc.integer({ min: 1, max: 12 }))
  .map((octets) =>
    octets.map(
      (octet): Target => ({ address: `10.0.0.${octet}`, port: 80, name: null, weight: 1, priority: 0 }),
    ),
  );

test("removals: one answer never removes more than the floor, and a lasting one prevails with its second telling", () => {
  fc.assert(
    fc.property(
      set,
      fc.array(set, { maxLength: 8 }),
      set,
      fc.double({ min: 0, max: 1, noNaN: true }),
      (first, answers, last, floor) => {
        let state = { targets: first as readonly Target[], held: new Set<string>() as ReadonlySet<string> };
        let missedBefore = new Set<string>();
        for (const answer of [...answers, last, last]) {
          const keys = new Set(answer.map(targetKey));
          const missing = state.targets.map(targetKey).filter((key) => !keys.has(key));
          const result = absorb(state.targets, state.held, answer, floor);
          const served = new Set(result.targets.map(targetKey));
          for (const key of keys) assert.ok(served.has(key), "what the answer has is served");
          const sudden = missing.filter((key) => !served.has(key) && !missedBefore.has(key));
          assert.ok(sudden.length <= state.targets.length * floor + 1e-6, "no more than the floor at once");
          assert.equal(result.targets.length, keys.size + result.held.size);
          missedBefore = new Set(missing);
          state = result;
        }
        assert.deepEqual(new Set(state.targets.map(targetKey)), new Set(last.map(targetKey)));
        assert.equal(state.held.size, 0);
      },
    ),
  );
});

test("the decoder takes any bytes, and what it reads can be interpreted", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), fc.boolean(), (bytes, response) => {
      const wire = Buffer.from(bytes);
      if (response && wire.length > 2) wire[2] = 0x80;
      const decoded = decodeMessage(wire);
      if ("message" in decoded) interpret(decoded.message, "a.test", "A");
    }),
    { numRuns: 2000 },
  );
});

const label = fc.stringMatching(/^[a-z0-9_]([a-z0-9_-]{0,20}[a-z0-9_])?$/);
const name = fc.array(label, { minLength: 1, maxLength: 6 }).map((labels) => labels.join("."));

test("names survive the way over the wire in any mixture of case", () => {
  fc.assert(
    fc.property(
      name,
      fc.integer({ min: 0, max: 65535 }),
      fc.infiniteStream(fc.double({ min: 0, max: 0.999, noNaN: true })),
      (plain, id, chance) => {
        const sent = mixCase(plain, () => chance.next().value as number);
        const wire = encodeQuery(id, sent, "A", true);
        wire.writeUInt16BE(wire.readUInt16BE(2) | 0x8000, 2);
        const decoded = decodeMessage(wire);
        assert.ok("message" in decoded);
        assert.equal(decoded.message.question?.name, sent);
        assert.equal(decoded.message.id, id);
        assert.equal(canonicalName(sent), plain);
        assert.ok(isWithin(plain, plain) && isWithin(`x.${plain}`, plain) && !isWithin(`x${plain}`, plain));
      },
    ),
  );
});

test("any text is a resolv.conf, and candidates are names that can be asked for", () => {
  fc.assert(
    fc.property(fc.string({ unit: "binary" }), fc.array(fc.string()), fc.string(), (text, words, written) => {
      const conf = parseResolvConf(`${text}\nsearch ${words.join(" ")}\noptions ${words.join(" ")}`);
      assert.ok(conf.nameservers.length > 0);
      for (const one of candidates(written, conf.search, conf.ndots)) assert.equal(canonicalName(one), one);
    }),
  );
});
