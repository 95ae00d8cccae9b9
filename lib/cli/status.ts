/** `millrace status`: asks a running proxy over its admin address. */
import { request } from "node:http";
import { loadConfig } from "../config/parse.ts";
import { ProxyError } from "../errors.ts";
import { formatAddress, parseAddress, type SocketAddress } from "../wire/address.ts";

export interface AdminTarget {
  readonly config: string | undefined;
  readonly admin: string | undefined;
}

interface Status {
  readonly version: string;
  readonly state: string;
  readonly generation: number;
  readonly transport: string;
  readonly workers: number;
  readonly uptime_s: number;
  readonly connections: { readonly active: number; readonly limit: number };
  readonly listeners: readonly { name: string; address: string; active: number; total: number }[];
  readonly clusters: readonly { name: string; state: string; endpoints: number; up: number }[];
}

export async function status(args: AdminTarget & { readonly json: boolean }): Promise<number> {
  const body = await ask(adminAddress(args), "/status");
  if (args.json) {
    process.stdout.write(body);
    return 0;
  }
  const s = JSON.parse(body) as Status;
  console.log(`millrace ${s.version}: ${s.state}, up ${s.uptime_s} s, generation ${s.generation}`);
  console.log(`transport ${s.transport}, ${s.workers} worker${s.workers === 1 ? "" : "s"}`);
  console.log(`connections ${s.connections.active} of at most ${s.connections.limit}`);
  for (const l of s.listeners)
    console.log(`  listener ${l.name}  ${l.address}  ${l.active} now, ${l.total} ended`);
  for (const c of s.clusters)
    console.log(`  cluster ${c.name}  ${c.up} of ${c.endpoints} endpoints up, ${c.state}`);
  return 0;
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
          else
            reject(
              new ProxyError(
                "INTERNAL",
                `${formatAddress(address)}${path}: HTTP ${response.statusCode}: ${body}`,
              ),
            );
        });
      },
    );
    asked.on("error", (error) =>
      reject(
        new ProxyError("DIAL", `no proxy answers at ${formatAddress(address)}: ${error.message}`, {
          cause: error,
        }),
      ),
    );
    asked.end();
  });
}
