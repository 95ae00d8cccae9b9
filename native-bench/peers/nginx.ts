/**
 * The stream module of nginx, twice: with its defaults, and tuned (64 KiB buffers, buffered access log).
 */
import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import {
  type Contender,
  type Found,
  type Hop,
  type Launch,
  names,
  SHAPES,
  TLS12_CIPHERS,
  TLS13_CIPHER,
  tlsIn,
  tlsOut,
} from "../contender.ts";
import { ask, version, which } from "../program.ts";

/** Debian's and Alpine's, Fedora's, the project's own packages'. */
const MODULES = ["/usr/lib/nginx/modules", "/usr/lib64/nginx/modules", "/etc/nginx/modules"];

function configuration(hop: Hop, tuned: boolean, module: string | null): string {
  const { certificates: c, directory } = hop;
  const log = `log_format line '$remote_addr [$time_iso8601] $status $bytes_sent $bytes_received $session_time $upstream_addr'; access_log ${directory}/access.log line ${tuned ? "buffer=64k flush=1s" : ""};`;
  const server = [`listen ${hop.listen} backlog=4096 ${tlsIn(hop.shape) ? "ssl" : ""};`];
  const top: string[] = [];
  if (tlsIn(hop.shape)) {
    server.push(
      `ssl_certificate ${c.cert}; ssl_certificate_key ${c.key};`,
      `ssl_client_certificate ${c.ca}; ssl_verify_client on; ssl_verify_depth 2;`,
      `ssl_protocols TLSv${hop.tls}; ssl_ecdh_curve P-256:X25519;`,
      `ssl_conf_command Ciphersuites ${TLS13_CIPHER}; ssl_ciphers ${TLS12_CIPHERS};`,
    );
  }
  if (tlsOut(hop.shape)) {
    server.push(
      `proxy_ssl on; proxy_ssl_certificate ${c.clientCert}; proxy_ssl_certificate_key ${c.clientKey};`,
      `proxy_ssl_trusted_certificate ${c.ca}; proxy_ssl_verify on; proxy_ssl_name ${c.name}; proxy_ssl_server_name on;`,
      `proxy_ssl_protocols TLSv${hop.tls}; proxy_ssl_ciphers ${TLS12_CIPHERS};`,
      `proxy_ssl_conf_command Ciphersuites ${TLS13_CIPHER};`,
    );
  }
  if (hop.shape === "passthrough") {
    const lines = names(hop).map((name) => `${name} service;`);
    top.push("map_hash_max_size 262144; map_hash_bucket_size 128;");
    top.push(`map $ssl_preread_server_name $chosen { ${lines.join("\n")} }`);
    server.push("ssl_preread on; preread_timeout 5s; proxy_pass $chosen;");
  } else {
    server.push("proxy_pass service;");
  }
  return `${module ? `load_module ${module};` : ""}
daemon off; worker_processes ${hop.workers}; ${process.getuid?.() === 0 ? "user root;" : ""}
error_log ${directory}/error.log error; pid ${directory}/nginx.pid;
worker_rlimit_nofile ${2 * hop.connections + 100};
events { worker_connections ${2 * hop.connections + 100}; }
stream {
  ${hop.accessLog ? log : "access_log off;"}
  proxy_connect_timeout 5s; proxy_timeout 60s; ${tuned ? "proxy_buffer_size 64k;" : ""}
  upstream service { ${hop.targets.map((target) => `server ${target} max_fails=0;`).join("\n")} }
  ${top.join("\n")}
  server { ${server.join("\n")} }
}
`;
}

function contender(path: string, tuned: boolean, module: string | null): Contender {
  return {
    name: tuned ? "nginx+tuned" : "nginx",
    kind: "peer",
    version: version(/nginx\/(\S+)/, path, "-v"),
    shapes: SHAPES,
    many: true,
    scales: true,
    launch(hop: Hop): Launch {
      const file = join(hop.directory, "nginx.conf");
      writeFileSync(file, configuration(hop, tuned, module));
      return {
        command: [path, "-c", file, "-e", `${hop.directory}/error.log`],
        logs: [`${hop.directory}/access.log`],
      };
    },
  };
}

export function find(): Found {
  const path = which("nginx");
  if (!path) return { contenders: [], missing: [{ name: "nginx", reason: "no nginx on the PATH" }] };
  const built = ask(path, "-V") ?? "";
  const dynamic = MODULES.map((folder) => join(folder, "ngx_stream_module.so")).find((file) =>
    existsSync(file),
  );
  const inside = /--with-stream(?!=dynamic)(\s|$)/.test(built);
  if (!inside && !dynamic) {
    return { contenders: [], missing: [{ name: "nginx", reason: "no stream module (libnginx-mod-stream)" }] };
  }
  const module = inside ? null : dynamic!;
  return { contenders: [contender(path, false, module), contender(path, true, module)], missing: [] };
}
