/** The command line of `npm run bench`. */
import yargs from "yargs";
import { hideBin } from "yargs/helpers";

function words(list: readonly string[] | undefined): string[] {
  return (list ?? []).flatMap((entry) => entry.split(",")).filter((word) => word !== "");
}

export interface Options {
  readonly quick: boolean;
  readonly only: readonly string[];
  readonly peers: readonly string[];
  readonly node: readonly string[];
  readonly haproxy: readonly string[];
  readonly envoy: string | null;
  readonly ghostunnel: string | null;
  readonly seconds: number;
  readonly runs: number;
  readonly warmup: number;
  readonly log: boolean;
  readonly namespace: boolean;
  readonly save: string | null;
  readonly list: boolean;
  readonly compare: readonly [string, string] | null;
  readonly readme: string | null;
  readonly from: readonly string[];
}

export async function readOptions(argv: readonly string[]): Promise<Options> {
  const o = await yargs(hideBin([...argv]))
    .scriptName("npm run bench --")
    .usage(
      "$0 [options]\n\nMeasures what a hop costs: CPU per unit of work, rate, latency, memory, system calls.",
    )
    .option("quick", {
      type: "boolean",
      default: false,
      describe: "under a minute: few works, short runs; a guide, not a result",
    })
    .option("only", {
      type: "string",
      array: true,
      describe: "works or sweeps by name, comma-separated (see --list)",
    })
    .option("peers", {
      type: "string",
      array: true,
      describe: "contenders beside Millrace by name, comma-separated",
    })
    .option("node", { type: "string", array: true, describe: "further Node binaries to run Millrace on" })
    .option("haproxy", {
      type: "string",
      array: true,
      describe: "further HAProxy binaries, PATH or NAME=PATH",
    })
    .option("envoy", { type: "string", describe: "an Envoy binary" })
    .option("ghostunnel", { type: "string", describe: "a ghostunnel binary" })
    .option("seconds", { type: "number", describe: "length of a run (1; quick: 0.3)" })
    .option("runs", { type: "number", describe: "runs of each contender (5; quick: 3)" })
    .option("warmup", { type: "number", describe: "seconds before the first run (1; quick: 0.3)" })
    .option("log", {
      type: "boolean",
      default: true,
      describe: "access log of all contenders (--no-log: off)",
    })
    .option("namespace", {
      type: "boolean",
      default: true,
      describe: "use a network namespace where possible",
    })
    .option("save", { type: "string", describe: "store the result as native-bench/results/NAME" })
    .option("list", {
      type: "boolean",
      default: false,
      describe: "print works and contenders, measure nothing",
    })
    .option("compare", {
      type: "string",
      nargs: 2,
      describe: "two stored results: do their ratios agree? measure nothing",
    })
    .option("readme", { type: "string", describe: "put the table of --from into this file, measure nothing" })
    .option("from", { type: "array", string: true, describe: "stored results (JSON)" })
    .strict()
    .parse();
  const pair = o.compare as unknown as string[] | undefined;
  return {
    quick: o.quick,
    only: words(o.only),
    peers: words(o.peers),
    node: words(o.node),
    haproxy: words(o.haproxy),
    envoy: o.envoy ?? null,
    ghostunnel: o.ghostunnel ?? null,
    seconds: o.seconds ?? (o.quick ? 0.3 : 1),
    runs: o.runs ?? (o.quick ? 3 : 5),
    warmup: o.warmup ?? (o.quick ? 0.3 : 1),
    log: o.log,
    namespace: o.namespace,
    save: o.save ?? null,
    list: o.list,
    compare: pair ? [pair[0]!, pair[1]!] : null,
    readme: o.readme ?? null,
    from: o.from ?? [],
  };
}
