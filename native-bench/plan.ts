/** What a run will measure, with whom, and how long that should take. Pure. */
import type { Contender, Missing, Shape } from "./contender.ts";
import { affordable } from "./hop.ts";
import { able } from "./measure.ts";
import { expected, idleSeconds, type Pace } from "./pace.ts";
import { choose } from "./peers/index.ts";
import { SWEEPS } from "./sweeps.ts";
import { WORKS, type Work } from "./works.ts";

/** What is not a piece of work of the generator, but can be asked for by --only. */
export const EXTRAS = {
  idle: "memory of idle plain connections",
  tidle: "memory of idle TLS connections",
  calls: "system calls per connection",
};
/** The name of the set of works that are measured only when they are asked for. */
const MORE = "more";
export const ALL_WORKS: readonly Work[] = [...WORKS, ...SWEEPS];

const QUICK = ["millrace-epoll", "haproxy", "haproxy+splice", "nginx+tuned", "floor"];
/** A sweep asks for a shape, not for a ratio: fewer and shorter runs, and the contenders that matter. */
const SWEEP_PEERS = ["millrace-epoll", "millrace-net", "haproxy", "nginx+tuned"];
const SWEEP_RUNS = 8;
const SWEEP_WARMUP = 1;

/** Seconds for one contender, as seen on a machine with two CPUs. */
const CALLS_SECONDS = 4;
export const IDLE_STEPS: readonly (readonly [keyof typeof EXTRAS, "plain" | "terminate"])[] = [
  ["idle", "plain"],
  ["tidle", "terminate"],
];

export interface Asked {
  readonly only: readonly string[];
  readonly quick: boolean;
  /** Contenders beside Millrace by name; none: all. */
  readonly peers: readonly string[];
  readonly pace: Pace;
}

export interface Machine {
  readonly descriptors: number;
  /** Whether the generator speaks TLS, and what else can be done here. */
  readonly tls: boolean;
  readonly linux: boolean;
  readonly strace: boolean;
}

interface Step {
  readonly work: Work;
  readonly contenders: readonly Contender[];
  readonly pace: Pace;
}

export interface Plan {
  readonly works: readonly Step[];
  readonly idle: readonly {
    readonly shape: "plain" | "terminate";
    readonly contender: Contender;
    readonly seconds: number;
  }[];
  readonly calls: readonly { readonly contender: Contender; readonly seconds: number }[];
  readonly seconds: number;
  /** What was asked for and cannot be done here. */
  readonly missing: readonly Missing[];
}

/** Names that `--only` does not know. */
export function unknownWorks(only: readonly string[]): string[] {
  const known = new Set([MORE, ...ALL_WORKS.flatMap((w) => [w.name, w.sweep?.name]), ...Object.keys(EXTRAS)]);
  return only.filter((name) => !known.has(name));
}

function isAsked(work: Work, { only, quick }: Asked): boolean {
  if (only.length === 0) return quick ? work.quick === true : !work.more;
  return (
    only.includes(work.name) ||
    only.includes(work.sweep?.name ?? "") ||
    (work.more === true && only.includes(MORE))
  );
}

function speaks(work: { readonly shape: Shape }, { tls }: Machine): boolean {
  return tls || work.shape === "plain";
}

/** `found` are all contenders that are here. */
export function plan(asked: Asked, found: readonly Contender[], machine: Machine): Plan {
  const { only, quick, peers, pace } = asked;
  const named = peers.length > 0;
  const all = quick && !named ? found.filter((c) => QUICK.includes(c.name)) : choose(found, peers);
  const sweepers = named || only.length > 0 ? all : all.filter((c) => SWEEP_PEERS.includes(c.name));
  const slow = Math.min(SWEEP_WARMUP, pace.warmup);
  const sweeping: Pace = { ...pace, runs: Math.min(SWEEP_RUNS, pace.runs), warmup: slow };

  const missing: Missing[] = [];
  const works: Step[] = [];
  for (const work of ALL_WORKS.filter((one) => isAsked(one, asked))) {
    if (!speaks(work, machine)) {
      missing.push({ name: work.name, reason: "the generator has no TLS" });
    } else if (affordable(machine.descriptors, work.connections) < work.connections) {
      const reason = `${work.connections} connections need more than ${machine.descriptors} descriptors`;
      missing.push({ name: work.name, reason });
    } else {
      const [how, who] = work.sweep ? [sweeping, sweepers] : [pace, all];
      // What a hop adds is the difference to none.
      const yardsticks = work.rate ? found.filter((c) => c.kind === "direct" && !who.includes(c)) : [];
      works.push({ work, contenders: able([...yardsticks, ...who], work), pace: how });
    }
  }
  const extra = (name: keyof typeof EXTRAS): boolean => (only.length === 0 ? !quick : only.includes(name));
  const programs = all.filter((c) => c.many && c.kind !== "direct");
  const idle = IDLE_STEPS.filter(
    ([name, shape]) => extra(name) && machine.linux && speaks({ shape }, machine),
  ).flatMap(([, shape]) =>
    programs
      .filter((c) => c.shapes.includes(shape))
      .map((contender) => ({ shape, contender, seconds: idleSeconds(contender.kind, shape) })),
  );
  const traced = extra("calls") && machine.strace ? programs.filter((c) => c.shapes.includes("plain")) : [];
  if (extra("calls") && !machine.strace)
    missing.push({ name: "strace", reason: "no strace on the PATH: system calls are not counted" });
  const calls = traced.map((contender) => ({ contender, seconds: CALLS_SECONDS }));
  const seconds = [
    ...works.map((step) => expected(step.pace, step.work, step.contenders.length)),
    ...[...idle, ...calls].map((step) => step.seconds),
  ].reduce((sum, each) => sum + each, 0);
  return { works, idle, calls, seconds, missing };
}
