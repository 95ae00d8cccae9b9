/**
 * What every soak stands on: a proxy of its own process with an admin door, throw-away certificates, its access lines counted by
 * reason, and what the process holds at any moment.
 */
import { type ChildProcessByStdio, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { get } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Readable } from "node:stream";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import type { ConfigInput } from "../lib/config/parse.ts";
import { Authority, type Pair } from "../lib/tls/authority.ts";

/** The name that the proxy's certificate has, and that `alice.test` is let in under. */
export const NAME = "soak.test";
export const ALICE = "alice.test";

// Streams that linger behind an alert are gone after two seconds.
const LINGER_MS = 2_500;

/** What the process holds; memory in kB. */
export interface Held {
  readonly descriptors: number;
  readonly resident: number;
  /** Resident and its own: what cannot be shared or read again from a file. */
  readonly dirty: number;
  /** In use of what malloc(3) has; null where it cannot be asked. */
  readonly malloc: number | null;
}

export interface Certificates {
  readonly ca: string;
  readonly alice: Pair;
  /** Of the same CA, and named by no rule. */
  readonly mallory: Pair;
  /** Alice's name from a CA that nobody trusts. */
  readonly strange: Pair;
}

type Listeners = NonNullable<ConfigInput["listeners"]>;

export interface RigOptions {
  readonly transport: string;
  /** Where each cluster leads, by name. */
  readonly targets: Readonly<Record<string, string>>;
  readonly timeouts: NonNullable<ConfigInput["timeouts"]>;
  readonly listeners: Listeners;
}

/** A route that lets alice in, for `listeners`. */
export const MUTUAL = {
  match: { sni: [NAME] },
  tls: "terminate",
  identity: "edge",
  client_auth: "required",
  allow: [{ dns: ALICE }],
  cluster: "out",
} satisfies NonNullable<Listeners[number]["routes"]>[number];

export class Rig {
  readonly folder: string;
  readonly certificates: Certificates;
  /** By listener. */
  readonly ports: ReadonlyMap<string, number>;
  /** Access lines by reason. */
  readonly reasons = new Map<string, number>();
  readonly #proxy: ChildProcessByStdio<null, Readable, null>;
  readonly #admin: string;

  private constructor(
    folder: string,
    certificates: Certificates,
    ports: ReadonlyMap<string, number>,
    proxy: ChildProcessByStdio<null, Readable, null>,
    admin: string,
  ) {
    this.folder = folder;
    this.certificates = certificates;
    this.ports = ports;
    this.#proxy = proxy;
    this.#admin = admin;
  }

  static async start(options: RigOptions): Promise<Rig> {
    const folder = mkdtempSync(join(tmpdir(), "millrace-soak-"));
    const authority = await Authority.create({ commonName: "soak CA", days: 1 });
    const elsewhere = await Authority.create({ commonName: "another CA", days: 1 });
    const edge = await authority.issue({ commonName: "edge", dns: [NAME], days: 1 });
    const certificates: Certificates = {
      ca: authority.cert,
      alice: await authority.issue({ commonName: "alice", dns: [ALICE], days: 1 }),
      mallory: await authority.issue({ commonName: "mallory", dns: ["mallory.test"], days: 1 }),
      strange: await elsewhere.issue({ commonName: "alice", dns: [ALICE], days: 1 }),
    };
    const write = (name: string, text: string): void =>
      writeFileSync(join(folder, name), text, { mode: 0o600 });
    write("ca.crt", certificates.ca);
    write("edge.crt", edge.cert);
    write("edge.key", edge.key);
    for (const name of ["alice", "mallory", "strange"] as const) {
      write(`${name}.crt`, certificates[name].cert);
      write(`${name}.key`, certificates[name].key);
    }
    const admin = join(folder, "admin.sock");
    const config: ConfigInput = {
      transport: options.transport as "auto" | "epoll" | "net",
      workers: 2,
      log: { level: "info", access: true, format: "json" },
      admin: { listen: `unix:${admin}` },
      timeouts: options.timeouts,
      identities: { edge: { cert: "edge.crt", key: "edge.key", ca: "ca.crt" } },
      listeners: options.listeners,
      clusters: Object.fromEntries(
        Object.entries(options.targets).map(([name, target]) => [name, { endpoints: [target] }]),
      ),
    };
    write("soak.yaml", JSON.stringify(config));
    // The channel is for the probe, which tells what malloc holds.
    const proxy = spawn(
      process.execPath,
      [
        "--expose-gc",
        "--import",
        fileOf("./soak-probe.js"),
        fileOf("../lib/main.js"),
        "run",
        "-c",
        join(folder, "soak.yaml"),
      ],
      { stdio: ["ignore", "pipe", "inherit", "ipc"] },
    ) as ChildProcessByStdio<null, Readable, null>;
    const ports = new Map<string, number>();
    const rig = new Rig(folder, certificates, ports, proxy, admin);
    await rig.#read(ports);
    return rig;
  }

  /** Resolves when the proxy runs. */
  #read(ports: Map<string, number>): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#proxy.once("exit", () => reject(new Error("the proxy ended")));
      let rest = "";
      this.#proxy.stdout.on("data", (chunk: Buffer) => {
        const lines = (rest + chunk.toString()).split("\n");
        rest = lines.pop() ?? "";
        for (const line of lines) {
          const reason = /"reason":"(\w+)"/.exec(line)?.[1];
          if (reason !== undefined) this.reasons.set(reason, (this.reasons.get(reason) ?? 0) + 1);
          else if (line.includes('"msg":"running"')) {
            const { listeners } = JSON.parse(line) as { listeners: Record<string, string> };
            for (const [name, address] of Object.entries(listeners)) {
              ports.set(name, Number(/:(\d+)$/.exec(address)?.[1]));
            }
            resolve();
          }
        }
      });
    });
  }

  port(listener: string): number {
    return this.ports.get(listener)!;
  }

  /** Waits until no connection lives and nothing lingers, and says what the process holds. */
  async held(): Promise<Held> {
    for (;;) {
      const { connections } = JSON.parse(await this.#ask("/status")) as { connections: { active: number } };
      if (connections.active === 0) break;
      await delay(100);
    }
    await delay(LINGER_MS);
    this.#proxy.send("held");
    const [answer] = (await once(this.#proxy, "message")) as [{ malloc: number | null }];
    const rollup = readFileSync(`/proc/${this.#proxy.pid}/smaps_rollup`, "utf8");
    const kilobytes = (field: string): number =>
      Number(new RegExp(`^${field}:\\s+(\\d+)`, "m").exec(rollup)?.[1] ?? 0);
    return {
      descriptors: readdirSync(`/proc/${this.#proxy.pid}/fd`).length,
      resident: kilobytes("Rss"),
      dirty: kilobytes("Private_Dirty"),
      malloc: answer.malloc === null ? null : Math.round(answer.malloc / 1024),
    };
  }

  /** The sum of a counter over the label sets that `labels` matches. */
  async counted(metric: string, labels = /./): Promise<number> {
    let sum = 0;
    for (const line of (await this.#ask("/metrics")).split("\n")) {
      const found = /^(\w+)\{(.*)\} (\S+)$/.exec(line);
      if (found?.[1] === metric && labels.test(found[2]!)) sum += Number(found[3]);
    }
    return sum;
  }

  #ask(path: string): Promise<string> {
    return new Promise((resolve, reject) => {
      get({ socketPath: this.#admin, path, agent: false }, (response) => {
        let body = "";
        response.on("data", (chunk: Buffer) => {
          body += chunk;
        });
        response.on("end", () => resolve(body));
      }).on("error", reject);
    });
  }

  async stop(): Promise<void> {
    this.#proxy.removeAllListeners("exit");
    const gone = once(this.#proxy, "exit");
    this.#proxy.kill("SIGTERM");
    await gone;
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/** The reasons so far, as text. */
export function tally(reasons: ReadonlyMap<string, number>): string {
  return [...reasons].map(([reason, count]) => `${reason} ${count}`).join(", ");
}

function fileOf(name: string): string {
  return fileURLToPath(new URL(name, import.meta.url));
}
