#!/usr/bin/env node
/**
 * The command line. Declares the commands and their options; what a command does is in cli/, loaded when it is called for, so
 * that help comes at once. The only file that may end the process: 0 done, 1 failed at run time, 2 usage or configuration, 3 no match (explain).
 */
import { readFileSync } from "node:fs";
import yargs, { type Argv } from "yargs";
import { ProxyError } from "./errors.ts";

const { version } = JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8")) as {
  version: string;
};

const WIDTH = 80;
const COMMANDS = [
  "run",
  "check",
  "server",
  "client",
  "quickstart",
  "explain",
  "status",
  "discover",
  "pki",
  "schema",
];

/** Part of the interface, and not there yet; with what does the same meanwhile. */
const LATER: Readonly<Record<string, string | null>> = {
  top: null,
  connections: "GET /connections at the admin address",
  kill: null,
  reload: "kill -HUP PID",
  drain: "kill -TERM PID",
  doctor: null,
  systemd: null,
  nft: null,
};

/** What can be known before anything runs. */
const BEFOREHAND: ReadonlySet<string> = new Set(["CONFIG", "USAGE", "UNAVAILABLE", "IDENTITY"]);

/** Exit codes by what failed; anything else is 1. */
function exitCode(thrown: unknown): number {
  if (!(thrown instanceof ProxyError)) return 1;
  return BEFOREHAND.has(thrown.code) ? 2 : 1;
}

async function report(thrown: unknown): Promise<void> {
  if (thrown instanceof ProxyError && thrown.faults.length > 0) {
    const { formatFaults } = await import("./config/parse.ts");
    console.error(formatFaults(thrown));
  } else if (thrown instanceof ProxyError) console.error(`millrace: ${thrown.message}`);
  else console.error(thrown);
}

/** Runs a command and ends the process with its answer; a command that answers nothing goes on running. */
function command<T>(
  body: (args: T) => Promise<number | undefined> | number | undefined,
): (args: T) => Promise<void> {
  return async (args) => {
    try {
      const code = await body(args);
      if (code !== undefined) process.exit(code);
    } catch (thrown) {
      await report(thrown);
      process.exit(exitCode(thrown));
    }
  };
}

/** Examples below a command's options, as they can be pasted; yargs itself would break them into a narrow column. */
function examples(comment: string, ...commands: readonly string[]): string {
  return ["Examples:", `  # ${comment}`, ...commands.map((line) => `  millrace ${line}`)].join("\n");
}

/** What is wrong with the command line and where help is, in the words of somebody who does not know yargs. */
function misuse(message: string): string {
  const [first] = process.argv.slice(2);
  if (first === undefined)
    return "nothing to run\nTry: millrace run -c FILE, millrace quickstart, or millrace --help";
  const named = !first.startsWith("-");
  if (Object.hasOwn(LATER, first))
    return `${first} is not available in this version\nTry: ${LATER[first] ?? "millrace --help"}`;
  if (named && !COMMANDS.includes(first)) return `no such command: ${first}\nTry: millrace --help`;
  const missing = /^Not enough non-option arguments/.test(message) ? "an argument is missing" : message;
  return `${missing}\nTry: millrace ${named ? `${first} ` : ""}--help`;
}

const configFile = (argv: Argv) =>
  argv.option("config", {
    alias: "c",
    type: "string",
    demandOption: true,
    requiresArg: true,
    describe: "configuration file",
  });

const tunnelEnds = (argv: Argv) =>
  argv
    .option("listen", {
      type: "string",
      demandOption: true,
      requiresArg: true,
      describe: "address to listen on",
    })
    .option("target", {
      type: "string",
      demandOption: true,
      requiresArg: true,
      describe: "address to connect to",
    })
    .option("cert", { type: "string", requiresArg: true, describe: "own certificate chain (PEM)" })
    .option("key", { type: "string", requiresArg: true, describe: "its private key (PEM)" })
    .option("ca", { type: "string", requiresArg: true, describe: "trust bundle for the peer (PEM)" })
    .option("transport", {
      choices: ["auto", "epoll", "net"] as const,
      default: "auto" as const,
      describe: "data plane",
    })
    .option("log-level", { type: "string", default: "info", describe: "trace to fatal, or silent" });

const LIST = { type: "string", array: true, requiresArg: true, default: [] as string[] } as const;

const allowed = <T>(argv: Argv<T>) =>
  argv
    .option("allow-dns", { ...LIST, describe: "let in by DNS name" })
    .option("allow-spiffe", { ...LIST, describe: "let in by SPIFFE id" })
    .option("allow-cn", { ...LIST, describe: "let in by common name" })
    .option("allow-ou", { ...LIST, describe: "let in by unit (OU)" })
    .option("allow-fingerprint", { ...LIST, describe: "let in by sha256:…" })
    .option("allow-any", { type: "boolean", default: false, describe: "let in whoever the CA vouches for" });

const verified = <T>(argv: Argv<T>) =>
  argv
    .option("verify-dns", { ...LIST, describe: "expect this DNS name" })
    .option("verify-spiffe", { ...LIST, describe: "expect this SPIFFE id" })
    .option("verify-cn", { ...LIST, describe: "expect this common name" })
    .option("verify-ou", { ...LIST, describe: "expect this unit (OU)" })
    .option("verify-fingerprint", { ...LIST, describe: "expect sha256:…" });

await yargs(process.argv.slice(2))
  .scriptName("millrace")
  .usage(
    "$0 — a Layer-4 TCP/TLS proxy: SNI routing, mTLS tunnels, DNS discovery\n\nUsage: $0 <command> [options]",
  )
  .command(
    ["run", "$0"],
    "run the proxy",
    (argv) =>
      configFile(argv).epilogue(examples("run until SIGTERM; SIGHUP reloads", "run -c millrace.yaml")),
    command(async (args) => (await import("./cli/run.ts")).run(args.config)),
  )
  .command(
    "check",
    "validate a configuration: every fault with its line",
    (argv) =>
      configFile(argv)
        .option("json", { type: "boolean", default: false, describe: "faults as JSON" })
        .epilogue(examples("exit 0 when it is right, 2 when not", "check -c millrace.yaml")),
    command(async (args) => (await import("./cli/check.ts")).check(args.config, args.json)),
  )
  .command(
    "server",
    "mTLS in, plain out: one line, no file",
    (argv) =>
      allowed(tunnelEnds(argv))
        .option("disable-client-auth", {
          type: "boolean",
          default: false,
          describe: "ask no client for a certificate",
        })
        .epilogue(
          examples(
            "PostgreSQL behind mTLS",
            "server --listen :8443 --target 127.0.0.1:5432 \\\n    --cert s.crt --key s.key --ca ca.crt --allow-dns app.internal",
          ),
        ),
    command(async (args) => (await import("./cli/tunnel.ts")).tunnelServer(args)),
  )
  .command(
    "client",
    "plain in, mTLS out: one line, no file",
    (argv) =>
      verified(tunnelEnds(argv))
        .option("server-name", { type: "string", requiresArg: true, describe: "SNI, and the name to verify" })
        .epilogue(
          examples(
            "its other end",
            "client --listen 127.0.0.1:5432 --target db.internal:8443 \\\n    --cert c.crt --key c.key --ca ca.crt --verify-dns db.internal",
          ),
        ),
    command(async (args) => (await import("./cli/tunnel.ts")).tunnelClient(args)),
  )
  .command(
    "quickstart",
    "show an mTLS tunnel at work, with a throw-away CA",
    (argv) =>
      argv
        .option("once", { type: "boolean", default: false, describe: "exit after the demonstration" })
        .option("transport", {
          choices: ["auto", "epoll", "net"] as const,
          default: "auto" as const,
          describe: "data plane",
        })
        .epilogue(examples("keeps running, for you to play with", "quickstart")),
    command(async (args) => (await import("./cli/quickstart.ts")).quickstart(args)),
  )
  .command(
    "explain",
    "say which route a client would take, and why not the others",
    (argv) =>
      configFile(argv)
        .option("listener", {
          type: "string",
          demandOption: true,
          requiresArg: true,
          describe: "listener by name",
        })
        .option("sni", { type: "string", requiresArg: true, describe: "server name in the hello" })
        .option("alpn", { type: "string", array: true, default: [], describe: "protocols in the hello" })
        .option("from", { type: "string", requiresArg: true, describe: "client's IP address" })
        .option("destination", { type: "string", requiresArg: true, describe: "address the client dialled" })
        .option("hello", {
          type: "string",
          requiresArg: true,
          describe: "file with a ClientHello as captured",
        })
        .option("plain", { type: "boolean", default: false, describe: "a client that does not speak TLS" })
        .option("json", { type: "boolean", default: false, describe: "as JSON" })
        .epilogue(
          examples(
            "exit 3 where nothing matches",
            "explain -c m.yaml --listener edge --sni web.example.test",
          ),
        ),
    command(async (args) => (await import("./cli/explain.ts")).explain(args)),
  )
  .command(
    "status",
    "ask a running proxy how it is",
    (argv) =>
      argv
        .option("config", {
          alias: "c",
          type: "string",
          requiresArg: true,
          describe: "take the admin address from this file",
        })
        .option("admin", {
          type: "string",
          requiresArg: true,
          describe: "admin address: unix:/path or IP:PORT",
        })
        .option("json", { type: "boolean", default: false, describe: "as JSON" })
        .epilogue(
          examples(
            "by the address in the configuration, or by the address itself",
            "status -c millrace.yaml",
            "status --admin unix:/run/millrace/admin.sock",
          ),
        ),
    command(async (args) => (await import("./cli/status.ts")).status(args)),
  )
  .command(
    "discover [name]",
    "resolve a name as the proxy would: SRV tiers, shares, TTLs",
    (argv) =>
      argv
        .positional("name", {
          type: "string",
          describe: "_service._tcp.name (SRV) or host:port; with -c a cluster",
        })
        .option("config", {
          alias: "c",
          type: "string",
          requiresArg: true,
          describe: "find the endpoints of this file's clusters",
        })
        .option("server", {
          type: "string",
          array: true,
          default: [],
          requiresArg: true,
          describe: "name server IP:PORT",
        })
        .option("json", { type: "boolean", default: false, describe: "as JSON" })
        .epilogue(
          examples(
            "by the name servers of the system, by others, or as a configuration says",
            "discover _db._tcp.example.test",
            "discover api.internal:443 --server 127.0.0.1:5353",
            "discover -c millrace.yaml db",
          ),
        ),
    command(async (args) => (await import("./cli/discover.ts")).discoverName(args)),
  )
  .command("pki <action>", "a development CA: init, issue", (argv) =>
    argv
      .command(
        "init",
        "make a CA: ca.crt and ca.key",
        (sub) =>
          sub
            .option("dir", { type: "string", default: "./pki", describe: "where the files go" })
            .option("name", {
              type: "string",
              default: "Millrace development CA",
              describe: "its common name",
            })
            .option("days", { type: "number", default: 365, describe: "validity" })
            .option("force", { type: "boolean", default: false, describe: "overwrite" })
            .epilogue(examples("./pki/ca.crt and ./pki/ca.key", "pki init")),
        command(async (args) => (await import("./cli/pki.ts")).pkiInit(args)),
      )
      .command(
        "issue <name>",
        "issue a certificate: NAME.crt and NAME.key",
        (sub) =>
          sub
            .positional("name", { type: "string", demandOption: true, describe: "file name and common name" })
            .option("dir", { type: "string", default: "./pki", describe: "where the CA is" })
            .option("dns", { type: "string", array: true, default: [], describe: "DNS names" })
            .option("ip", { type: "string", array: true, default: [], describe: "IP addresses" })
            .option("spiffe", { type: "string", array: true, default: [], describe: "SPIFFE URIs" })
            .option("ou", { type: "string", describe: "organizational unit" })
            .option("days", { type: "number", default: 90, describe: "validity" })
            .option("force", { type: "boolean", default: false, describe: "overwrite" })
            .epilogue(
              examples("./pki/db.crt and ./pki/db.key", "pki issue db --dns db.internal --ip 10.0.0.7"),
            ),
        command(async (args) => (await import("./cli/pki.ts")).pkiIssue(args)),
      )
      .demandCommand(1, 1, "pki needs an action: init or issue")
      .epilogue(
        examples("a CA, and a certificate for one service", "pki init", "pki issue db --dns db.internal"),
      ),
  )
  .command(
    "schema",
    "print the JSON Schema of the configuration",
    (argv) => argv.epilogue(examples("for editors that check YAML as you type", "schema > millrace.json")),
    command(async () => {
      const { configJsonSchema } = await import("./config/parse.ts");
      process.stdout.write(`${JSON.stringify(configJsonSchema(), null, 2)}\n`);
      return undefined;
    }),
  )
  .version(version)
  .alias("version", "V")
  .help()
  .alias("help", "h")
  .strict()
  .wrap(Math.min(WIDTH, process.stdout.columns ?? WIDTH))
  .epilogue("Exit codes: 0 done, 1 failed at run time, 2 usage or configuration, 3 no match.\n")
  .fail((message, error) => {
    // What yargs finds wrong comes as a message, or as an error of its own.
    if (error && error.name !== "YError") {
      console.error(error);
      process.exit(1);
    }
    console.error(`millrace: ${misuse(message ?? error?.message ?? "")}`);
    process.exit(2);
  })
  .parseAsync();
