/** `millrace status`: asks a running proxy over its admin address. */
import { request } from "node:http";
import { loadConfig } from "../config/parse.ts";
import { ProxyError } from "../errors.ts";
import { formatAddress, parseAddress, type SocketAddress } from "../wire/address.ts";
import { cut, formatSize, formatSpan, table } from "./text.ts";

// The door answers from memory; who takes longer is stuck.
const ANSWER_MS = 10_000;

export interface AdminTarget {
  readonly config: string | undefined;
  readonly admin: string | undefined;
}

/** What `GET /status` answers, as far as it is shown. */
interface Status {
  readonly version: string;
  readonly state: string;
  readonly generation: number;
  readonly transport: string;
  readonly transport_why?: string;
  readonly io_uring?: boolean;
  readonly workers: number;
  readonly uptime_s: number;
  readonly connections: { readonly active: number; readonly limit: number };
  readonly descriptors: { readonly open: number; readonly limit: number };
  readonly log_dropped: number;
  readonly listeners: readonly {
    name: string;
    address: string;
    active: number;
    total: number;
    bytes_up: number;
    bytes_down: number;
  }[];
  readonly clusters: readonly {
    name: string;
    state: string;
    endpoints: number;
    up: number;
    draining: number;
  }[];
  readonly identities: readonly { name: string; subject: string | null; not_after: string | null }[];
}

export async function status(args: AdminTarget & { readonly json: boolean }): Promise<number> {
  const address = adminAddress(args);
  const body = await ask(address, "/status");
  const answer = readStatus(body);
  if (answer === null) throw stranger(address);
  process.stdout.write(args.json ? body : formatStatus(answer, Date.now()));
  return 0;
}

/** Null: it is no answer of a Millrace. */
function readStatus(body: string): Status | null {
  try {
    const answer = JSON.parse(body) as Partial<Status> | null;
    return Array.isArray(answer?.listeners) && answer.version !== undefined ? (answer as Status) : null;
  } catch {
    return null;
  }
}

function stranger(address: SocketAddress): ProxyError {
  return new ProxyError(
    "DIAL",
    `${formatAddress(address)} is the admin address of no Millrace: something else answers there`,
  );
}

/** `now`: Unix ms. */
export function formatStatus(s: Status, now: number): string {
  const lines = [
    `millrace ${s.version} is ${s.state}, started ${formatSpan(s.uptime_s)} ago, generation ${s.generation}`,
    `transport    ${s.transport}, ${s.workers} worker${s.workers === 1 ? "" : "s"}${s.io_uring === true ? ", io_uring" : ""}`,
    ...(s.transport_why === undefined ? [] : [`             ${s.transport_why}`]),
    `connections  ${s.connections.active} of at most ${s.connections.limit}`,
    `descriptors  ${s.descriptors.open} of at most ${s.descriptors.limit}`,
  ];
  if (s.log_dropped > 0) lines.push(`log          ${s.log_dropped} access lines dropped: nobody reads it`);
  section(
    lines,
    ["listener", "address", "now", "ended", "up", "down"],
    s.listeners.map((l) => [
      l.name,
      l.address,
      l.active,
      l.total,
      formatSize(l.bytes_up),
      formatSize(l.bytes_down),
    ]),
  );
  section(
    lines,
    ["cluster", "state", "up", "of", "draining"],
    s.clusters.map((c) => [c.name, STATES[c.state] ?? c.state, c.up, c.endpoints, c.draining]),
  );
  section(
    lines,
    ["identity", "subject", "certificate"],
    s.identities.map((i) => [i.name, i.subject ?? "trust bundle only", expiry(i.not_after, now)]),
  );
  return `${lines.join("\n")}\n`;
}

const STATES: Readonly<Record<string, string>> = {
  unresolved: "waits for the first DNS answer",
  panic: "nobody is up, so all are dialled",
};

function expiry(notAfter: string | null, now: number): string {
  if (notAfter === null) return "";
  const left = (Date.parse(notAfter) - now) / 1000;
  return left > 0 ? `expires in ${formatSpan(left)}` : `expired ${formatSpan(-left)} ago`;
}

function section(
  lines: string[],
  head: readonly string[],
  rows: readonly (readonly (string | number)[])[],
): void {
  if (rows.length > 0) lines.push("", ...table(head, rows));
}

function adminAddress(args: AdminTarget): SocketAddress {
  if (args.admin !== undefined) {
    const address = parseAddress(args.admin);
    if (address?.kind === "unix" || address?.kind === "ip") return address;
    throw new ProxyError("USAGE", `--admin ${args.admin}: must be unix:/path or IP:PORT`);
  }
  if (args.config === undefined) throw new ProxyError("USAGE", "say where: --admin ADDRESS, or -c FILE");
  const { admin } = loadConfig(args.config);
  if (admin === null)
    throw new ProxyError("USAGE", `${args.config} has no admin address: add \`admin: { listen: … }\``);
  return admin.listen;
}

function ask(address: SocketAddress, path: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const asked = request(
      {
        ...(address.kind === "unix"
          ? { socketPath: address.path }
          : { host: address.host, port: address.port }),
        path,
      },
      (response) => {
        let body = "";
        response.setEncoding("utf8");
        response.on("data", (chunk: string) => {
          body += chunk;
        });
        response.on("end", () => {
          if (response.statusCode === 200) resolve(body);
          else {
            const what = `HTTP ${response.statusCode}: ${cut(body.trim(), 200)}`;
            reject(new ProxyError("INTERNAL", `${formatAddress(address)}${path}: ${what}`));
          }
        });
      },
    );
    // What is told first holds.
    const fail = (why: string, cause?: Error): void =>
      reject(new ProxyError("DIAL", `no proxy answers at ${formatAddress(address)}: ${why}`, { cause }));
    const late = setTimeout(() => {
      fail(`no answer within ${ANSWER_MS / 1000} s`);
      asked.destroy();
    }, ANSWER_MS);
    asked.on("error", (error: NodeJS.ErrnoException) => {
      const { code = "", message } = error;
      if (code.startsWith("HPE_")) reject(stranger(address));
      else fail(code in UNREACHABLE ? `${UNREACHABLE[code]} (${code})` : message, error);
    });
    asked.on("close", () => {
      clearTimeout(late);
      fail("it broke off");
    });
    asked.end();
  });
}

/** By errno name: what it means for the operator. */
const UNREACHABLE: Readonly<Record<string, string>> = {
  ENOENT: "there is no such socket; it does not run, or has another admin address",
  ECONNREFUSED: "nothing listens there; it does not run, or has another admin address",
  EACCES: "permission denied; the admin socket is for the user that runs the proxy and for root",
};
