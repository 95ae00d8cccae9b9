/** The command line of `npm run bench`. */
import yargs from "yargs";
import { hideBin } from "yargs/helpers";
import type { Programs } from "./contender.ts";
import type { LinkKind } from "./link.ts";
import type { Pace } from "./pace.ts";

export interface Options {
  readonly quick: boolean;
  readonly only: readonly string[];
  readonly peers: readonly string[];
  readonly programs: Programs;
  readonly pace: Pace;
  readonly log: boolean;
  readonly namespace: boolean;
  readonly link: LinkKind;
  readonly save: string | null;
  readonly list: boolean;
  readonly compare: readonly [string, string] | null;
  readonly readme: string | null;
  readonly from: readonly string[];
}

/** A run as published, and a look while developing. */
// Many short runs: a machine has bad seconds, and a median of twelve leaves them out where one of five cannot.
const PACE: Pace = { seconds: 0.3, runs: 12, warmup: 1.5 };
const QUICK_PACE: Pace = { seconds: 0.3, runs: 3, warmup: 0.3 };

/** Terminals, and what a README quotes. */
const COLUMNS = 80;

function words(list: readonly string[] | undefined): string[] {
  return (list ?? []).flatMap((entry) => entry.split(",")).filter((word) => word !== "");
}

export async function readOptions(argv: readonly string[]): Promise<Options> {
  const o = await yargs(hideBin([...argv]))
    .scriptName("npm run bench --")
    .usage(
      "$0 [options]\n\nMeasures what a hop costs: CPU per unit of work, rate, latency, memory, system calls.",
    )
    .wrap(COLUMNS)
    .options({
      quick: {
        type: "boolean",
        default: false,
        describe: "under a minute: few works, short runs; a guide, not a result",
      },
      only: {
        type: "string",
        array: true,
        describe: "works or sweeps by name, comma-separated (see --list)",
      },
      peers: { type: "string", array: true, describe: "contenders beside Millrace by name, comma-separated" },
      node: { type: "string", array: true, describe: "further Node binaries to run Millrace on" },
      build: { type: "string", array: true, describe: "further builds of Millrace, FOLDER or NAME=FOLDER" },
      haproxy: { type: "string", array: true, describe: "further HAProxy binaries, PATH or NAME=PATH" },
      envoy: { type: "string", describe: "an Envoy binary" },
      ghostunnel: { type: "string", describe: "a ghostunnel binary" },
      seconds: { type: "number", describe: "length of a run (0.3)" },
      runs: { type: "number", describe: "runs of each contender (12; quick: 3)" },
      warmup: { type: "number", describe: "seconds before a process is measured (1.5; quick: 0.3)" },
      log: { type: "boolean", default: true, describe: "access log of all contenders (--no-log: off)" },
      namespace: { type: "boolean", default: true, describe: "use a network namespace where possible" },
      link: {
        choices: ["loopback", "veth"] as const,
        default: "loopback" as const,
        describe: "veth: MTU 1500 without offloads, between two namespaces",
      },
      save: {
        type: "string",
        describe: "store as native-bench/results/NAME, or as a path without extension",
      },
      list: { type: "boolean", default: false, describe: "print works and contenders, measure nothing" },
      compare: {
        type: "string",
        nargs: 2,
        describe: "two stored results: do their ratios agree? measure nothing",
      },
      readme: { type: "string", describe: "put the table of --from into this file, measure nothing" },
      from: { type: "string", array: true, describe: "stored results (JSON)" },
    })
    .strict()
    .parse();
  const pair = o.compare as unknown as string[] | undefined;
  const pace = o.quick ? QUICK_PACE : PACE;
  return {
    quick: o.quick,
    only: words(o.only),
    peers: words(o.peers),
    programs: {
      node: words(o.node),
      builds: words(o.build),
      haproxy: words(o.haproxy),
      envoy: o.envoy ?? null,
      ghostunnel: o.ghostunnel ?? null,
    },
    pace: {
      seconds: o.seconds ?? pace.seconds,
      runs: o.runs ?? pace.runs,
      warmup: o.warmup ?? pace.warmup,
    },
    log: o.log,
    namespace: o.namespace,
    link: o.link,
    save: o.save ?? null,
    list: o.list,
    compare: pair ? [pair[0]!, pair[1]!] : null,
    readme: o.readme ?? null,
    from: o.from ?? [],
  };
}
