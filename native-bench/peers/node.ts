/** What Node alone gives: `socket.pipe` and `tls`, in as few lines as one would write. The baseline, not a peer. */
import type { Contender, Found, Hop, Launch, Programs } from "../contender.ts";
import { script, version, which } from "../program.ts";

function contender(node: string, suffix: string): Contender {
  return {
    name: `node-pipe${suffix}`,
    kind: "baseline",
    version: version(/^(.+)$/m, node, "--version"),
    shapes: ["plain", "terminate", "originate"],
    many: true,
    launch(hop: Hop): Launch {
      const c = hop.certificates;
      const files = hop.shape === "originate" ? [c.clientCert, c.clientKey] : [c.cert, c.key];
      const place = [hop.shape, String(hop.listen), String(hop.target), hop.accessLog ? "log" : "quiet"];
      return { command: [node, script("relay-node.js"), ...place, ...files, c.ca, c.name] };
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
