/** What Node alone gives: `socket.pipe` and `tls`, in as few lines as one would write. The baseline, not a peer. */
import type { Contender, Found, Hop, Launch, Programs } from "../contender.ts";
import { script, version, which } from "../program.ts";

function contender(node: string, suffix: string): Contender {
  return {
    name: `node-pipe${suffix}`,
    kind: "baseline",
    version: version(/^(.+)$/m, node, "--version"),
    shapes: ["plain", "terminate", "originate", "reencrypt"],
    many: true,
    launch(hop: Hop): Launch {
      const c = hop.certificates;
      const files = [c.cert, c.key, c.clientCert, c.clientKey, c.ca, c.name];
      const place = [hop.shape, hop.listen, hop.targets[0]!, hop.accessLog ? "log" : "quiet"];
      return { command: [node, script("relay-node.js"), ...place, `TLSv${hop.tls}`, ...files] };
    },
  };
}

export function find(programs: Programs): Found {
  const others = programs.node.map((node) => which(node)).filter((path) => path !== null);
  return {
    contenders: [
      contender(process.execPath, ""),
      ...others.map((path) => contender(path, `-n${version(/^v(\d+)/, path, "--version")}`)),
    ],
    missing: [],
  };
}
