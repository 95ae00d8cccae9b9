/** Rise, fall, schedule: the check of one endpoint with a scripted probe and a clock turned by hand. */
import assert from "node:assert/strict";
import { it } from "node:test";
import { HealthCheck } from "../../lib/cluster/health.ts";
import type { HealthConfig } from "../../lib/config/config.ts";
import { HandClock, seeded } from "./gear.ts";

const HEALTH: HealthConfig = {
  interval: 5000,
  timeout: 1000,
  rise: 2,
  fall: 3,
  check: "tcp",
  send: null,
  expect: null,
};

function checkOf(options: { before?: "up" | "down"; health?: Partial<HealthConfig> } = {}) {
  const clock = new HandClock();
  const verdicts: (string | null)[] = [];
  const probes: number[] = [];
  const script: (string | null)[] = [];
  const check = new HealthCheck({
    health: { ...HEALTH, ...options.health },
    probe: async () => {
      probes.push(clock.now());
      return script.shift() ?? null;
    },
    onVerdict: (reason) => verdicts.push(reason),
    clock,
    random: seeded(1),
    before: options.before ?? null,
  });
  /** Lets the probes answer one after the other; "" stands for a failure without words. */
  const run = async (...answers: (string | null)[]) => {
    script.push(...answers);
    while (script.length > 0) await clock.pass(100);
  };
  return { check, clock, verdicts, probes, run };
}

it("calls down after `fall` failures in a row and up after `rise` successes in a row", async () => {
  const { check, verdicts, run } = checkOf();
  check.start();
  await run(null, "refused", "refused", null, "refused", "refused");
  assert.deepEqual(verdicts, []);
  await run("refused the third time");
  assert.deepEqual(verdicts, ["refused the third time"]);
  await run("refused", null, "refused", null);
  assert.equal(verdicts.length, 1);
  await run(null);
  assert.deepEqual(verdicts, ["refused the third time", null]);
  await run("refused", "refused", null, "refused", "refused");
  assert.equal(verdicts.length, 2);
});

it("lets the very first probe decide alone", async () => {
  const { check, verdicts, run } = checkOf();
  check.start();
  await run("refused");
  assert.deepEqual(verdicts, ["refused"]);
  await run(null, null);
  assert.deepEqual(verdicts, ["refused", null]);
});

it("goes on from the verdict of before", async () => {
  const down = checkOf({ before: "down" });
  down.check.start();
  await down.run("refused", null, null);
  assert.deepEqual(down.verdicts, [null]);
  const up = checkOf({ before: "up" });
  up.check.start();
  await up.run("refused", "refused");
  assert.deepEqual(up.verdicts, [], "the first failure does not decide alone");
  await up.run("refused");
  assert.deepEqual(up.verdicts, ["refused"]);
});

it("probes within the first second and then every interval, give or take a tenth, never the same twice", async () => {
  const { check, clock, probes } = checkOf();
  const begin = clock.now();
  check.start();
  await clock.pass(60_000);
  assert.ok(probes[0]! - begin <= 1000);
  const gaps = probes.slice(1).map((at, index) => at - probes[index]!);
  assert.ok(gaps.length >= 10);
  for (const gap of gaps) assert.ok(gap >= 4500 && gap <= 5500, `${gap} ms`);
  assert.equal(new Set(gaps).size, gaps.length);
});

it("gives no verdict and starts no probe once stopped, even with a probe under way", async () => {
  const clock = new HandClock();
  const verdicts: (string | null)[] = [];
  const answers: ((fault: string | null) => void)[] = [];
  const check = new HealthCheck({
    health: HEALTH,
    probe: () => new Promise((resolve) => answers.push(resolve)),
    onVerdict: (reason) => verdicts.push(reason),
    clock,
    random: seeded(1),
    before: null,
  });
  check.start();
  await clock.pass(1000);
  assert.equal(answers.length, 1);
  check.stop();
  answers[0]!("refused");
  await clock.pass(60_000);
  assert.deepEqual(verdicts, []);
  assert.equal(answers.length, 1);
  assert.equal(clock.pending, 0);
});
