/** `millrace server` and `millrace client`: one tunnel from the command line, through the same configuration as a file. */
import { type ConfigInput, normalizeConfig } from "../config/parse.ts";
import { ProxyError } from "../errors.ts";
import { runUntilSignal } from "./run.ts";

interface Ends {
  readonly listen: string;
  readonly target: string;
  readonly cert: string | undefined;
  readonly key: string | undefined;
  readonly ca: string | undefined;
  readonly transport: "auto" | "epoll" | "net";
  readonly logLevel: string;
}

type Rule = NonNullable<
  NonNullable<NonNullable<ConfigInput["listeners"]>[number]["routes"]>[number]["allow"]
>[number];

export async function tunnelServer(
  args: Ends & {
    readonly allowDns: readonly string[];
    readonly allowSpiffe: readonly string[];
    readonly allowCn: readonly string[];
    readonly allowOu: readonly string[];
    readonly allowFingerprint: readonly string[];
    readonly allowAny: boolean;
    readonly disableClientAuth: boolean;
  },
): Promise<undefined> {
  const allow: Rule[] = [
    ...rules(args.allowDns, args.allowSpiffe, args.allowCn, args.allowOu, args.allowFingerprint),
    ...(args.allowAny ? (["any"] as const) : []),
  ];
  if (args.cert === undefined || args.key === undefined) {
    throw new ProxyError("USAGE", "server needs --cert and --key: what it shows to clients");
  }
  if (allow.length === 0 && !args.disableClientAuth) {
    throw new ProxyError(
      "USAGE",
      "server lets nobody in by default: name clients with --allow-dns, --allow-spiffe, --allow-cn, --allow-ou or " +
        "--allow-fingerprint; or write --allow-any or --disable-client-auth",
    );
  }
  if (allow.length > 0 && args.disableClientAuth) {
    throw new ProxyError(
      "USAGE",
      "--disable-client-auth asks nobody for a certificate, so no --allow rule can hold",
    );
  }
  if (allow.length > 0 && args.ca === undefined) {
    throw new ProxyError("USAGE", "server needs --ca: the bundle that client certificates are verified with");
  }
  await start(args, {
    identities: { own: identity(args) },
    listeners: [
      {
        name: "tunnel",
        address: args.listen,
        routes: [
          {
            name: "tunnel",
            tls: "terminate",
            identity: "own",
            client_auth: args.disableClientAuth ? "none" : "required",
            ...(allow.length > 0 ? { allow } : {}),
            cluster: "target",
          },
        ],
      },
    ],
    clusters: { target: { endpoints: [args.target] } },
  });
  return undefined;
}

export async function tunnelClient(
  args: Ends & {
    readonly verifyDns: readonly string[];
    readonly verifySpiffe: readonly string[];
    readonly verifyCn: readonly string[];
    readonly verifyOu: readonly string[];
    readonly verifyFingerprint: readonly string[];
    readonly serverName: string | undefined;
  },
): Promise<undefined> {
  if ((args.cert === undefined) !== (args.key === undefined)) {
    throw new ProxyError("USAGE", "--cert and --key go together");
  }
  const verify = rules(
    args.verifyDns,
    args.verifySpiffe,
    args.verifyCn,
    args.verifyOu,
    args.verifyFingerprint,
  );
  const has = args.cert !== undefined || args.ca !== undefined;
  // One exact name to verify is also the name to ask for, where none was given.
  const name = args.serverName ?? args.verifyDns.find((dns) => !dns.includes("*"));
  await start(args, {
    ...(has ? { identities: { own: identity(args) } } : {}),
    listeners: [
      { name: "tunnel", address: args.listen, routes: [{ name: "tunnel", tls: "none", cluster: "target" }] },
    ],
    clusters: {
      target: {
        endpoints: [args.target],
        tls: {
          ...(has ? { identity: "own" } : {}),
          ...(name === undefined ? {} : { server_name: name }),
          ...(verify.length > 0 ? { verify } : {}),
        },
      },
    },
  });
  return undefined;
}

async function start(
  args: Ends,
  parts: Pick<ConfigInput, "identities" | "listeners" | "clusters">,
): Promise<void> {
  const config = inOptions(() =>
    normalizeConfig(
      {
        transport: args.transport,
        log: { level: args.logLevel as "info" },
        ...parts,
      },
      { directory: process.cwd() },
    ),
  );
  await runUntilSignal(config, () => config);
}

/** Where an option ends up in the configuration. */
const OPTIONS: readonly (readonly [path: string, option: string])[] = [
  ["listeners[0].address", "--listen"],
  ["listeners[0].routes[0].allow", "--allow-…"],
  ["clusters.target.endpoints", "--target"],
  ["clusters.target.tls.server_name", "--server-name"],
  ["clusters.target.tls.verify", "--verify-…"],
  ["identities.own.cert", "--cert"],
  ["identities.own.key", "--key"],
  ["identities.own.ca", "--ca"],
  ["log.level", "--log-level"],
];

/** Who wrote no file wants to hear of options. */
function inOptions<T>(normalize: () => T): T {
  try {
    return normalize();
  } catch (thrown) {
    if (!(thrown instanceof ProxyError)) throw thrown;
    const faults = thrown.faults.map((fault) => ({
      ...fault,
      path: OPTIONS.find(([path]) => fault.path.startsWith(path))?.[1] ?? fault.path,
    }));
    throw new ProxyError(thrown.code, thrown.message, { cause: thrown, faults });
  }
}

function identity(args: Ends): { cert?: string; key?: string; ca?: string } {
  return {
    ...(args.cert === undefined ? {} : { cert: args.cert }),
    ...(args.key === undefined ? {} : { key: args.key }),
    ...(args.ca === undefined ? {} : { ca: args.ca }),
  };
}

function rules(
  dns: readonly string[],
  spiffe: readonly string[],
  cn: readonly string[],
  ou: readonly string[],
  fingerprint: readonly string[],
): Exclude<Rule, "any">[] {
  return [
    ...dns.map((value) => ({ dns: value })),
    ...spiffe.map((value) => ({ spiffe: value })),
    ...cn.map((value) => ({ cn: value })),
    ...ou.map((value) => ({ ou: value })),
    ...fingerprint.map((value) => ({ fingerprint: value })),
  ];
}
