/**
 * Rows of works that differ in one number: they show how a cost grows with it, or that it does not. What must not grow is
 * measured by default, what may is among `more`.
 */
import { bulk, crr, ping, type Work } from "./works.ts";

interface Sweep {
  readonly name: string;
  readonly axis: string;
  readonly values: readonly number[];
  /** Values that are measured only with `more`. */
  readonly large?: readonly number[];
  readonly more?: boolean;
  make(x: number): Work;
}

const SWEPT: readonly Sweep[] = [
  {
    name: "by-idle",
    axis: "idle connections beside 16 busy ones",
    // As many as a process with 20,000 descriptors can carry.
    values: [0, 1000, 9000],
    make: (x) => {
      const work = ping("", "", 16);
      return { ...work, load: [...work.load, "--idle", String(x)], connections: 16 + x };
    },
  },
  {
    name: "by-routes",
    axis: "SNI routes",
    values: [10, 1000, 10_000],
    large: [40_000],
    make: (x) => ({ ...crr("", "", 32, "passthrough", "--hello"), routes: x }),
  },
  {
    name: "by-endpoints",
    axis: "endpoints of the cluster",
    values: [3, 100, 1000],
    make: (x) => ({ ...crr("", "", 32, "plain"), endpoints: x }),
  },
  {
    name: "by-size",
    axis: "message size (bytes)",
    values: [64, 1024, 16384, 131_072, 1_048_576],
    more: true,
    make: (x) => ({ ...ping("", "", 16), load: ["ping", "--connections", "16", "--size", String(x)] }),
  },
  {
    name: "by-connections",
    axis: "busy connections",
    values: [1, 16, 256, 2048],
    more: true,
    make: (x) => ping("", "", x),
  },
  {
    name: "by-streams",
    axis: "streams of bulk",
    values: [1, 8, 64],
    more: true,
    make: (x) => bulk("", "", "up", x),
  },
];

export const SWEEPS: readonly Work[] = SWEPT.flatMap(({ name, axis, values, large = [], more, make }) =>
  [...values, ...large].map((x) => ({
    ...make(x),
    name: `${name}-${x}`,
    title: `${axis}: ${x.toLocaleString("en-US")}`,
    sweep: { name, axis, x },
    ...(more || large.includes(x) ? { more: true } : {}),
  })),
);
