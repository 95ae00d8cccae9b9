/** socat: a process per connection, plain only; 64 KiB blocks instead of its 8 KiB. */
import { type Found, type Hop, type Launch, split } from "../contender.ts";
import { version, which } from "../program.ts";

export function find(): Found {
  const path = which("socat");
  if (!path) return { contenders: [], missing: [{ name: "socat", reason: "no socat on the PATH" }] };
  const socat = {
    name: "socat",
    kind: "peer" as const,
    version: version(/socat version (\S+)/, path, "-V"),
    shapes: ["plain"] as const,
    many: false,
    note: "forks per connection; logs several lines per connection",
    launch(hop: Hop): Launch {
      const log = hop.accessLog ? ["-d", "-d"] : [];
      const [ip, port] = split(hop.listen);
      const listen = `TCP-LISTEN:${port},bind=${ip},fork,reuseaddr,backlog=4096,nodelay`;
      return { command: [path, "-b", "65536", ...log, listen, `TCP:${hop.targets[0]},nodelay`] };
    },
  };
  return { contenders: [socat], missing: [] };
}
