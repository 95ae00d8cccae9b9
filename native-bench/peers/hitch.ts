/** hitch: TLS in, plain out, one worker process. */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type Found, type Hop, type Launch, split, TLS12_CIPHERS, TLS13_CIPHER } from "../contender.ts";
import { version, which } from "../program.ts";

function configuration(hop: Hop): string {
  const c = hop.certificates;
  const [listen, target] = [hop.listen, hop.targets[0]!].map((address) => {
    const [ip, port] = split(address);
    return `[${ip}]:${port}`;
  });
  return `frontend = "${listen}"
backend = "${target}"
pem-file = "${c.both}"
workers = 1
backlog = 4096
daemon = off
${process.getuid?.() === 0 ? 'user = "root"' : ""}
tls-protos = TLSv${hop.tls}
ciphersuites = "${TLS13_CIPHER}"
ciphers = "${TLS12_CIPHERS}"
ecdh-curve = "P-256:X25519"
client-verify = required
client-verify-ca = "${c.ca}"
log-level = ${hop.accessLog ? 2 : 1}
log-filename = "${hop.directory}/access.log"
`;
}

/** Its workers change their user, which a namespace made by an ordinary user does not allow (user_namespaces(7)). */
function cannotChangeUser(): boolean {
  try {
    return process.getuid?.() === 0 && readFileSync("/proc/self/setgroups", "utf8").trim() === "deny";
  } catch {
    return false;
  }
}

export function find(): Found {
  const path = which("hitch");
  if (!path) return { contenders: [], missing: [{ name: "hitch", reason: "no hitch on the PATH" }] };
  if (cannotChangeUser())
    return {
      contenders: [],
      missing: [{ name: "hitch", reason: "it must be run by root or without a namespace" }],
    };
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
