/**
 * Real DNS servers on loopback ports, with zones that the test wrote: knotd, named, dnsmasq and unbound, as Debian ships
 * them. Each runs in the foreground in a folder of its own and ends with the test. A test whose program is missing skips
 * and says so.
 */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Nameserver } from "../../lib/dns/resolv-conf.ts";
import type { Lasting } from "./dns.ts";
import { type RunningProgram, startProgram as start } from "./programs.ts";

export { needs } from "./programs.ts";

export interface RunningServer extends Nameserver, RunningProgram {}

/** Zone names to the text of their files, without SOA and NS: those are written by `zoneFile`. */
export type Zones = Readonly<Record<string, string>>;

/** A master file; the negative TTL is 7 s. */
export function zoneFile(zone: string, records: string, serial = 1): string {
  return `$ORIGIN ${zone}.\n$TTL 30\n@ SOA ns op ${serial} 3600 600 86400 7\n@ NS ns\nns A 127.0.0.1\n${records}\n`;
}

/** Knot DNS, authoritative for the zones. SIGHUP reads the files again. */
export function startKnot(t: Lasting, zones: Zones): Promise<RunningServer> {
  return start(t, "knotd", /server started/, (folder, port) => {
    writeZones(folder, zones);
    const list = Object.keys(zones).map(
      (zone) => `  - domain: ${zone}\n    file: ${zone}.zone\n    zonefile-load: whole\n`,
    );
    writeFileSync(
      join(folder, "conf"),
      `server:\n  listen: 127.0.0.1@${port}\n  rundir: ${folder}\n  udp-workers: 1\n  tcp-workers: 1\n` +
        `  background-workers: 1\ndatabase:\n  storage: ${folder}\nlog:\n  - target: stderr\n    any: info\n` +
        `template:\n  - id: default\n    storage: ${folder}\nzone:\n${list.join("")}`,
    );
    return ["-c", join(folder, "conf")];
  });
}

/** BIND, authoritative for the zones. */
export function startNamed(t: Lasting, zones: Zones): Promise<RunningServer> {
  return start(t, "named", /running$/m, (folder, port) => {
    writeZones(folder, zones);
    const list = Object.keys(zones).map((zone) => `zone "${zone}" { type primary; file "${zone}.zone"; };`);
    writeFileSync(
      join(folder, "conf"),
      `options { directory "${folder}"; listen-on port ${port} { 127.0.0.1; }; listen-on-v6 { none; };\n` +
        `recursion no; pid-file none; session-keyfile none; dnssec-validation no; };\ncontrols { };\n${list.join("\n")}\n`,
    );
    return ["-g", "-n", "1", "-c", join(folder, "conf")];
  });
}

/** dnsmasq with the given options, which knows nothing else. */
export function startDnsmasq(t: Lasting, options: readonly string[]): Promise<RunningServer> {
  return start(t, "dnsmasq", /started/, (folder, port) => [
    "--no-daemon",
    "--conf-file=/dev/null",
    "--user=root",
    `--port=${port}`,
    "--listen-address=127.0.0.1",
    "--bind-interfaces",
    "--no-resolv",
    "--no-hosts",
    `--pid-file=${join(folder, "pid")}`,
    ...options,
  ]);
}

/** unbound, which forwards everything to `to`. */
export function startUnbound(t: Lasting, to: Nameserver): Promise<RunningServer> {
  return start(t, "unbound", /start of service/, (folder, port) => {
    writeFileSync(
      join(folder, "conf"),
      `server:\n  interface: 127.0.0.1@${port}\n  directory: "${folder}"\n  chroot: ""\n  username: ""\n` +
        `  pidfile: ""\n  use-syslog: no\n  logfile: ""\n  verbosity: 1\n  num-threads: 1\n  do-not-query-localhost: no\n` +
        `  module-config: "iterator"\n  use-caps-for-id: yes\nremote-control:\n  control-enable: no\n` +
        `forward-zone:\n  name: "."\n  forward-addr: ${to.host}@${to.port}\n`,
    );
    return ["-d", "-c", join(folder, "conf")];
  });
}

function writeZones(folder: string, zones: Zones): void {
  for (const [zone, records] of Object.entries(zones)) {
    writeFileSync(join(folder, `${zone}.zone`), zoneFile(zone, records));
  }
}
