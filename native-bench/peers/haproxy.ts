/**
 * HAProxy, twice: with its defaults, and tuned for bulk (splice, 64 KiB buffers). Further binaries may be named.
 * It logs one line per connection to its standard output, which is a file.
 */
import { writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import {
  type Contender,
  type Found,
  type Hop,
  type Launch,
  type Missing,
  names,
  type Programs,
  SHAPES,
  TLS12_CIPHERS,
  TLS13_CIPHER,
  tlsIn,
  tlsOut,
} from "../contender.ts";
import { version, which } from "../program.ts";

/** Enough for every bulk run, and few enough for the descriptor limit beside 10,000 connections. */
const MAX_PIPES = 128;

function configuration(hop: Hop, tuned: boolean): string {
  const { certificates: c, shape } = hop;
  const versions = `ssl-min-ver TLSv${hop.tls} ssl-max-ver TLSv${hop.tls}`;
  const tls = `${versions} ciphersuites ${TLS13_CIPHER} ciphers ${TLS12_CIPHERS}`;
  const bindTls = tlsIn(shape)
    ? `ssl crt ${c.both} ca-file ${c.ca} verify required curves P-256:X25519 ${tls}`
    : "";
  const outTls = tlsOut(shape)
    ? `ssl crt ${c.clientBoth} ca-file ${c.ca} verify required sni str(${c.name}) verifyhost ${c.name} ${tls}`
    : "";
  const lines = [
    "global",
    `  nbthread ${hop.workers}`,
    `  maxconn ${hop.connections}`,
    ...(hop.accessLog ? ["  log fd@1 format raw local0"] : []),
    ...(tuned ? ["  tune.bufsize 65536", `  maxpipes ${MAX_PIPES}`] : []),
    "defaults",
    "  mode tcp",
    ...(hop.accessLog ? ["  log global", "  option tcplog"] : []),
    ...(tuned ? ["  option splice-auto"] : []),
    "  timeout connect 5s",
    "  timeout client 60s",
    "  timeout server 60s",
    "frontend bench",
    `  bind ${hop.listen} backlog 4096 ${bindTls}`,
  ];
  if (shape === "passthrough") {
    const map = join(hop.directory, "names.map");
    writeFileSync(
      map,
      names(hop)
        .map((name) => `${name} service\n`)
        .join(""),
    );
    lines.push("  tcp-request inspect-delay 5s", "  tcp-request content accept if { req.ssl_hello_type 1 }");
    lines.push(`  use_backend %[req.ssl_sni,lower,map_str(${map})]`);
  } else {
    lines.push("  default_backend service");
  }
  lines.push("backend service", "  balance roundrobin");
  lines.push(...hop.targets.map((target, i) => `  server s${i} ${target} ${outTls}`));
  return `${lines.join("\n")}\n`;
}

function contender(name: string, path: string, tuned: boolean): Contender {
  return {
    name: tuned ? `${name}+splice` : name,
    kind: "peer",
    version: version(/version (\S+)/, path, "-v"),
    shapes: tuned ? ["plain"] : SHAPES,
    many: true,
    scales: true,
    launch(hop: Hop): Launch {
      const file = join(hop.directory, "haproxy.cfg");
      writeFileSync(file, configuration(hop, tuned));
      return { command: [path, "-db", "-f", file] };
    },
  };
}

export function find(programs: Programs): Found {
  const found: Contender[] = [];
  const missing: Missing[] = [];
  const path = which("haproxy");
  if (path) found.push(contender("haproxy", path, false), contender("haproxy", path, true));
  else missing.push({ name: "haproxy", reason: "no haproxy on the PATH" });
  for (const entry of programs.haproxy) {
    const [first, second] = entry.split("=", 2) as [string, string | undefined];
    const other = which(second ?? first);
    const name = second ? first : `haproxy-${basename(first)}`;
    if (other) found.push(contender(name, other, false), contender(name, other, true));
    else missing.push({ name, reason: `cannot run ${second ?? first}` });
  }
  return { contenders: found, missing };
}
