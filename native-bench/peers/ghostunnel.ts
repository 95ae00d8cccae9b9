/** ghostunnel, where there is one: TLS in or out, one CPU for Go's scheduler. Flags as in its `main.go`. */
import type { Found, Hop, Launch, Programs } from "../contender.ts";
import { version, which } from "../program.ts";

function options(hop: Hop): string[] {
  const c = hop.certificates;
  const place = ["--listen", hop.listen, "--target", hop.targets[0]!, "--cacert", c.ca];
  const timeouts = ["--connect-timeout", "5s", "--max-conn-lifetime", "0s"];
  const log = hop.accessLog ? [] : ["--quiet=conns"];
  if (hop.shape === "terminate")
    return [
      ...["server", ...place, ...timeouts, ...log, "--cert", c.cert, "--key", c.key],
      ...["--allow-all", "--unsafe-target"],
    ];
  return [
    "client",
    "--unsafe-listen",
    ...place,
    ...timeouts,
    ...log,
    "--cert",
    c.clientCert,
    "--key",
    c.clientKey,
    "--override-server-name",
    c.name,
  ];
}

export function find(programs: Programs): Found {
  const path = which(programs.ghostunnel ?? "ghostunnel");
  if (!path) {
    const reason = "no ghostunnel on the PATH (or --ghostunnel PATH)";
    return { contenders: [], missing: [{ name: "ghostunnel", reason }] };
  }
  const ghostunnel = {
    name: "ghostunnel",
    kind: "peer" as const,
    version: version(/v?(\d+\.\d+\S*)/, path, "--version"),
    shapes: ["terminate", "originate"] as const,
    many: true,
    note: "logs several lines per connection",
    launch: (hop: Hop): Launch => ({ command: [path, ...options(hop)], env: { GOMAXPROCS: "1" } }),
  };
  return { contenders: [ghostunnel], missing: [] };
}
