/** Millrace from this checkout, on both transports, on this Node and on others that are named; further builds of it. */
import { existsSync, writeFileSync } from "node:fs";
import { basename, join, resolve } from "node:path";
import {
  type Contender,
  type Found,
  type Hop,
  type Launch,
  type Missing,
  names,
  type Programs,
  SHAPES,
  tlsIn,
  tlsOut,
} from "../contender.ts";
import { packageRoot, version, which } from "../program.ts";

function configuration(hop: Hop, transport: string): object {
  const { certificates: c, shape } = hop;
  const route = { name: "bench", tls: "none", cluster: "service" };
  const listener = { name: "bench", address: hop.listen };
  const terminate = {
    ...route,
    tls: "terminate",
    identity: "edge",
    client_auth: "required",
    allow: ["any"],
    tls_min: hop.tls,
  };
  // Without a name of its own a route is short enough for tens of thousands in the 4 MiB that a file may have.
  const passthrough = names(hop).map((name) => ({
    ...{ tls: "passthrough", cluster: "service" },
    match: { sni: [name] },
  }));
  const listenerOf = {
    plain: { ...listener, default: route },
    originate: { ...listener, default: route },
    terminate: { ...listener, default: terminate },
    reencrypt: { ...listener, default: terminate },
    passthrough: { ...listener, routes: passthrough },
  };
  return {
    transport,
    workers: hop.workers,
    log: { level: "info", access: hop.accessLog, format: "json" },
    timeouts: { hello: "5s", connect: "5s", idle: "60s" },
    identities: {
      ...(tlsIn(shape) ? { edge: { cert: c.cert, key: c.key, ca: c.ca } } : {}),
      ...(tlsOut(shape) ? { out: { cert: c.clientCert, key: c.clientKey, ca: c.ca } } : {}),
    },
    listeners: [listenerOf[shape]],
    clusters: {
      service: {
        endpoints: hop.targets,
        ...(tlsOut(shape)
          ? { tls: { identity: "out", server_name: c.name, tls_min: hop.tls, verify: [{ dns: c.name }] } }
          : {}),
      },
    },
  };
}

function contender(transport: string, node: string, suffix: string, main: string): Contender {
  const known = version(/^(.+)$/m, node, "-p", "process.version + ' OpenSSL ' + process.versions.openssl");
  return {
    name: `millrace-${transport}${suffix}`,
    kind: "millrace",
    version: `Node ${known}`,
    shapes: SHAPES,
    many: true,
    // The net transport is one thread.
    scales: transport === "epoll",
    launch(hop: Hop): Launch {
      const file = join(hop.directory, "millrace.yaml");
      writeFileSync(file, JSON.stringify(configuration(hop, transport)));
      return { command: [node, main, "run", "-c", file] };
    },
  };
}

/** The program of a build: a folder where `npm run build` was run. */
function programOf(folder: string): string {
  return join(folder, "dist/lib/main.js");
}

export function find(programs: Programs): Found {
  const main = programOf(packageRoot());
  if (!existsSync(main))
    return { contenders: [], missing: [{ name: "millrace", reason: "not built (npm run build)" }] };
  const missing: Missing[] = [];
  const transports = process.platform === "linux" ? ["epoll", "net"] : ["net"];
  const contenders = transports.map((transport) => contender(transport, process.execPath, "", main));
  for (const node of programs.node) {
    const path = which(node);
    const major = path ? version(/^v(\d+)/, path, "--version") : "";
    if (path)
      contenders.push(...transports.map((transport) => contender(transport, path, `-n${major}`, main)));
    else missing.push({ name: `millrace on ${node}`, reason: "cannot be run" });
  }
  for (const entry of programs.builds) {
    const [first, second] = entry.split("=", 2) as [string, string | undefined];
    const other = programOf(resolve(second ?? first));
    const suffix = `@${second ? first : basename(resolve(first))}`;
    if (existsSync(other))
      contenders.push(...transports.map((one) => contender(one, process.execPath, suffix, other)));
    else missing.push({ name: `millrace${suffix}`, reason: `no ${other}` });
  }
  return { contenders, missing };
}
