/** stunnel: TLS in or TLS out, a thread per connection. Its log has several lines per connection at level notice. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { type Found, type Hop, type Launch, TLS12_CIPHERS, TLS13_CIPHER, tlsOut } from "../contender.ts";
import { version, which } from "../program.ts";

/** Without DHE among its `ciphers` it does not compute DH parameters in the background. */
function configuration(hop: Hop): string {
  const c = hop.certificates;
  const client = tlsOut(hop.shape);
  return `foreground = yes
pid =
debug = ${hop.accessLog ? "notice" : "err"}
output = ${hop.directory}/access.log
socket = l:TCP_NODELAY=1
socket = r:TCP_NODELAY=1
[bench]
client = ${client ? "yes" : "no"}
accept = ${hop.listen}
connect = ${hop.targets[0]}
cert = ${client ? c.clientCert : c.cert}
key = ${client ? c.clientKey : c.key}
CAfile = ${c.ca}
verifyChain = yes
${client ? `checkHost = ${c.name}\nsni = ${c.name}` : "requireCert = yes"}
sslVersion = TLSv${hop.tls}
ciphersuites = ${TLS13_CIPHER}
curves = P-256:X25519
ciphers = ${TLS12_CIPHERS}
TIMEOUTclose = 0
TIMEOUTconnect = 5
TIMEOUTidle = 60
`;
}

export function find(): Found {
  const path = which("stunnel4") ?? which("stunnel");
  if (!path) return { contenders: [], missing: [{ name: "stunnel", reason: "no stunnel on the PATH" }] };
  const stunnel = {
    name: "stunnel",
    kind: "peer" as const,
    version: version(/stunnel (\d\S*)/, path, "-version"),
    shapes: ["terminate", "originate"] as const,
    many: false,
    note: "logs several lines per connection: it has no access log of one line",
    launch(hop: Hop): Launch {
      const file = join(hop.directory, "stunnel.conf");
      writeFileSync(file, configuration(hop));
      return { command: [path, file], logs: [`${hop.directory}/access.log`] };
    },
  };
  return { contenders: [stunnel], missing: [] };
}
