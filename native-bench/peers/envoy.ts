/**
 * Envoy, where there is one: a tcp_proxy with one worker (--concurrency 1) and a text access log to a file. Fields as in
 * its v3 API: listener.proto, cluster.proto, tcp_proxy.proto and transport_sockets/tls/v3.
 */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import {
  type Found,
  type Hop,
  type Launch,
  names,
  type Programs,
  SHAPES,
  split,
  TLS12_CIPHERS,
  type TlsVersion,
  tlsIn,
  tlsOut,
} from "../contender.ts";
import { version, which } from "../program.ts";

const TYPE = "type.googleapis.com/envoy";
const TLS = `${TYPE}.extensions.transport_sockets.tls.v3`;

function address(text: string): object {
  const [ip, port] = split(text);
  return { socket_address: { address: ip, port_value: Number(port) } };
}

/** TLS terms of either side. */
function terms(version: TlsVersion, cert: string, key: string, ca: string, san: string | null): object {
  const protocol = `TLSv${version.replace(".", "_")}`;
  const match = san ? { match_typed_subject_alt_names: [{ san_type: "DNS", matcher: { exact: san } }] } : {};
  return {
    tls_params: {
      tls_minimum_protocol_version: protocol,
      tls_maximum_protocol_version: protocol,
      cipher_suites: TLS12_CIPHERS.split(":"),
      ecdh_curves: ["P-256", "X25519"],
    },
    tls_certificates: [{ certificate_chain: { filename: cert }, private_key: { filename: key } }],
    validation_context: { trusted_ca: { filename: ca }, ...match },
  };
}

function configuration(hop: Hop): object {
  const c = hop.certificates;
  const format = "%START_TIME% %DOWNSTREAM_REMOTE_ADDRESS% %BYTES_RECEIVED% %BYTES_SENT% %DURATION%\n";
  const log = {
    name: "file",
    typed_config: {
      "@type": `${TYPE}.extensions.access_loggers.file.v3.FileAccessLog`,
      path: join(hop.directory, "access.log"),
      log_format: { text_format_source: { inline_string: format } },
    },
  };
  const proxy = {
    name: "envoy.filters.network.tcp_proxy",
    typed_config: {
      "@type": `${TYPE}.extensions.filters.network.tcp_proxy.v3.TcpProxy`,
      stat_prefix: "bench",
      cluster: "service",
      idle_timeout: "60s",
      ...(hop.accessLog ? { access_log: [log] } : {}),
    },
  };
  const downstream = {
    name: "tls",
    typed_config: {
      "@type": `${TLS}.DownstreamTlsContext`,
      common_tls_context: terms(hop.tls, c.cert, c.key, c.ca, null),
      require_client_certificate: true,
    },
  };
  const upstream = {
    name: "tls",
    typed_config: {
      "@type": `${TLS}.UpstreamTlsContext`,
      common_tls_context: terms(hop.tls, c.clientCert, c.clientKey, c.ca, c.name),
      sni: c.name,
    },
  };
  const inspector = {
    name: "inspector",
    typed_config: { "@type": `${TYPE}.extensions.filters.listener.tls_inspector.v3.TlsInspector` },
  };
  return {
    static_resources: {
      listeners: [
        {
          name: "bench",
          address: address(hop.listen),
          tcp_backlog_size: 4096,
          ...(hop.shape === "passthrough" ? { listener_filters: [inspector] } : {}),
          filter_chains: [
            {
              filters: [proxy],
              ...(hop.shape === "passthrough" ? { filter_chain_match: { server_names: names(hop) } } : {}),
              ...(tlsIn(hop.shape) ? { transport_socket: downstream } : {}),
            },
          ],
        },
      ],
      clusters: [
        {
          name: "service",
          type: "STATIC",
          connect_timeout: "5s",
          circuit_breakers: {
            thresholds: [{ max_connections: hop.connections, max_pending_requests: hop.connections }],
          },
          load_assignment: {
            cluster_name: "service",
            endpoints: [{ lb_endpoints: hop.targets.map((t) => ({ endpoint: { address: address(t) } })) }],
          },
          ...(tlsOut(hop.shape) ? { transport_socket: upstream } : {}),
        },
      ],
    },
  };
}

export function find(programs: Programs): Found {
  const path = which(programs.envoy ?? "envoy");
  if (!path)
    return { contenders: [], missing: [{ name: "envoy", reason: "no envoy on the PATH (or --envoy PATH)" }] };
  const envoy = {
    name: "envoy",
    kind: "peer" as const,
    version: version(/version: \w*\/?([\d.]+)/, path, "--version"),
    shapes: SHAPES,
    many: true,
    scales: true,
    note: "TLS 1.3 cipher chosen by the client; BoringSSL does not let the server name it",
    launch(hop: Hop): Launch {
      const file = join(hop.directory, "envoy.json");
      writeFileSync(file, JSON.stringify(configuration(hop)));
      const command = [
        path,
        "-c",
        file,
        "--concurrency",
        String(hop.workers),
        "--disable-hot-restart",
        "-l",
        "warning",
      ];
      return { command, logs: [join(hop.directory, "access.log")] };
    },
  };
  return { contenders: [envoy], missing: [] };
}
