import assert from "node:assert/strict";
import { test } from "node:test";
import { type Contender, type Kind, SHAPES, type Shape } from "../../native-bench/contender.ts";
import { isReborn, rhythm } from "../../native-bench/pace.ts";
import { ALL_WORKS, type Asked, type Machine, plan, unknownWorks } from "../../native-bench/plan.ts";

function contender(
  name: string,
  kind: Kind,
  shapes: readonly Shape[] = SHAPES,
  more: object = {},
): Contender {
  return { name, kind, version: "", shapes, many: true, launch: () => ({ command: [] }), ...more };
}

/** What a Debian machine with all peers has. */
const EVERYONE = [
  contender("direct", "direct"),
  contender("floor", "floor", ["plain", "passthrough"]),
  contender("millrace-epoll", "millrace", SHAPES, { scales: true }),
  contender("millrace-net", "millrace"),
  contender("haproxy", "peer", SHAPES, { scales: true }),
  contender("haproxy+splice", "peer", ["plain"], { scales: true }),
  contender("nginx", "peer", SHAPES, { scales: true }),
  contender("nginx+tuned", "peer", SHAPES, { scales: true }),
  contender("stunnel", "peer", ["terminate", "originate"], { many: false }),
  contender("hitch", "peer", ["terminate"]),
  contender("socat", "peer", ["plain"], { many: false }),
  contender("node-pipe", "baseline", ["plain", "terminate", "originate", "reencrypt"]),
];
const MACHINE: Machine = { descriptors: 1 << 18, tls: true, linux: true, strace: true };
const ASKED: Asked = { only: [], quick: false, peers: [], pace: { seconds: 0.3, runs: 12, warmup: 1.5 } };

function worksOf(asked: Partial<Asked>, machine: Partial<Machine> = {}): string[] {
  return plan({ ...ASKED, ...asked }, EVERYONE, { ...MACHINE, ...machine }).works.map(
    (step) => step.work.name,
  );
}

function whoDoes(name: string): string[] {
  const [step] = plan({ ...ASKED, only: [name] }, EVERYONE, MACHINE).works;
  return step!.contenders.map((c) => c.name);
}

test("by default a run takes about half an hour, with everyone in it", () => {
  const { seconds, works, missing } = plan(ASKED, EVERYONE, MACHINE);
  assert.ok(seconds > 10 * 60 && seconds < 35 * 60, `${Math.round(seconds / 60)} min`);
  assert.deepEqual(missing, []);
  assert.ok(works.every((step) => !step.work.more));
});

test("more is what the default leaves out, and both together are everything", () => {
  const more = worksOf({ only: ["more"] });
  assert.ok(more.includes("hs-rsa") && more.includes("by-size-64") && more.includes("crr-workers"));
  assert.deepEqual([...worksOf({}), ...more].sort(), ALL_WORKS.map((work) => work.name).sort());
});

test("a sweep is asked for by its name, a work by its own", () => {
  assert.deepEqual(worksOf({ only: ["by-endpoints", "hs"] }), [
    "hs",
    "by-endpoints-3",
    "by-endpoints-100",
    "by-endpoints-1000",
  ]);
  assert.deepEqual(unknownWorks(["crr", "more", "idle", "by-size", "nonsense"]), ["nonsense"]);
});

test("only those take part who can do the work", () => {
  assert.deepEqual(whoDoes("by-endpoints-3"), [
    ...["millrace-epoll", "millrace-net", "haproxy", "nginx", "nginx+tuned"],
  ]);
  assert.ok(!whoDoes("by-connections-256").includes("socat"));
  assert.ok(whoDoes("crr").includes("socat"));
  assert.deepEqual(whoDoes("hs-workers"), ["millrace-epoll", "haproxy", "nginx", "nginx+tuned"]);
});

test("a fixed rate has a direct connection beside it, whoever is named", () => {
  const asked = { ...ASKED, only: ["latency", "ping64"], peers: ["haproxy"] };
  const [ping, latency] = plan(asked, EVERYONE, MACHINE).works.map((step) =>
    step.contenders.map((c) => c.name),
  );
  assert.deepEqual(ping, ["millrace-epoll", "millrace-net", "haproxy", "haproxy+splice"]);
  assert.deepEqual(latency, ["direct", ...ping!]);
});

test("what cannot be done here is said", () => {
  const asked = { ...ASKED, only: ["by-idle", "hs", "calls"] };
  const poor = { ...MACHINE, descriptors: 4096, tls: false, strace: false };
  const { works, calls, missing } = plan(asked, EVERYONE, poor);
  assert.deepEqual(
    works.map((step) => step.work.name),
    ["by-idle-0", "by-idle-1000"],
  );
  assert.deepEqual(calls, []);
  assert.deepEqual(
    missing.map((m) => m.name),
    ["hs", "by-idle-9000", "strace"],
  );
});

test("contenders have two lives, half of the rounds each, where there are enough", () => {
  const births = (rounds: number): number[] =>
    Array.from({ length: rounds }, (_, round) => round).filter((round) => isReborn(round, rounds));
  assert.deepEqual([1, 3, 4, 5, 20].map(births), [[], [], [2], [3], [10]]);
});

test("a fixed rate has as much time as any other work, in windows", () => {
  const rate = { of: "ping64", share: 0.6 };
  assert.deepEqual(rhythm(ASKED.pace, {}), { rounds: 12, seconds: 0.3, settle: 0.2 });
  assert.deepEqual(rhythm(ASKED.pace, { rate }), { rounds: 14, seconds: 0.25, settle: 0.1 });
  // As published: windows grow instead of becoming too many.
  const long = rhythm({ seconds: 10, runs: 7, warmup: 3 }, { rate });
  assert.equal(long.rounds, 60);
  assert.ok(Math.abs(long.rounds * long.seconds - 70) < 1);
  assert.deepEqual(rhythm({ seconds: 0.1, runs: 1, warmup: 0 }, { rate }).rounds, 1);
});
