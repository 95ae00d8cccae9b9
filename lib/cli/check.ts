/** `millrace check`: all faults of a configuration, without privileges and without a network. */
import { configWarnings, formatFault, formatFaults, loadConfig, located } from "../config/parse.ts";
import { ProxyError } from "../errors.ts";
import { loadIdentity } from "../tls/identity.ts";

/** Prints what is wrong and returns the exit code: 0 or 2. Certificates are read and rehearsed, too. */
export async function check(file: string, json: boolean): Promise<number> {
  try {
    const config = loadConfig(file);
    const warnings = configWarnings(config);
    const problems: string[] = [];
    const unusable: { path: string[]; message: string }[] = [];
    for (const identity of Object.values(config.identities)) {
      try {
        const loaded = await loadIdentity(identity);
        for (const warning of loaded.warnings) problems.push(`warning: ${warning}`);
      } catch (thrown) {
        if (!(thrown instanceof ProxyError)) throw thrown;
        unusable.push({ path: ["identities", identity.name], message: thrown.message });
      }
    }
    if (unusable.length > 0) {
      throw new ProxyError("CONFIG", `${file}: ${unusable[0]!.message}`, {
        faults: located(config, unusable),
      });
    }
    if (json) {
      console.log(JSON.stringify({ ok: true, warnings, notes: problems }));
      return 0;
    }
    for (const warning of warnings) console.log(`warning: ${formatFault(warning)}`);
    for (const problem of problems) console.log(problem);
    const { listeners, clusters, identities } = config;
    console.log(
      `${file}: ok (${count(listeners.length, "listener")}, ${count(Object.keys(clusters).length, "cluster")}, ` +
        `${Object.keys(identities).length === 1 ? "1 identity" : `${Object.keys(identities).length} identities`})`,
    );
    return 0;
  } catch (thrown) {
    if (!(thrown instanceof ProxyError)) throw thrown;
    if (json) console.log(JSON.stringify({ ok: false, faults: thrown.faults }));
    else console.error(formatFaults(thrown));
    return 2;
  }
}

function count(n: number, noun: string): string {
  return `${n} ${noun}${n === 1 ? "" : "s"}`;
}
