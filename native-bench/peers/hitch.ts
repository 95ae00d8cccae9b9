/** hitch: TLS in, plain out, one worker process. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Found, Hop, Launch } from "../contender.ts";
import { version, which } from "../program.ts";

function configuration(hop: Hop): string {
  const c = hop.certificates;
  return `frontend = "[127.0.0.1]:${hop.listen}"
backend = "[127.0.0.1]:${hop.target}"
pem-file = "${c.both}"
workers = 1
backlog = 4096
daemon = off
${process.getuid?.() === 0 ? 'user = "root"' : ""}
tls-protos = TLSv1.3
ciphersuites = "TLS_AES_128_GCM_SHA256"
ecdh-curve = "P-256"
client-verify = required
client-verify-ca = "${c.ca}"
log-level = ${hop.accessLog ? 2 : 1}
log-filename = "${hop.directory}/access.log"
`;
}

export function find(): Found {
  const path = which("hitch");
  if (!path) return { contenders: [], missing: [{ name: "hitch", reason: "no hitch on the PATH" }] };
  const hitch = {
    name: "hitch",
    kind: "peer" as const,
    version: version(/hitch (\d\S*)/, path, "--version"),
    shapes: ["terminate"] as const,
    many: true,
    note: "its connection log has several lines",
    launch(hop: Hop): Launch {
      const file = join(hop.directory, "hitch.conf");
      writeFileSync(file, configuration(hop));
      return { command: [path, `--config=${file}`], logs: [`${hop.directory}/access.log`] };
    },
  };
  return { contenders: [hitch], missing: [] };
}
