/** `millrace discover`: what the proxy would see behind a name. */
import { DnsClient } from "../dns/client.ts";
import { discover, formatDiscovery } from "../dns/discover.ts";
import { ProxyError } from "../errors.ts";
import { type IpAddress, parseAddress } from "../wire/address.ts";

export async function discoverName(args: {
  readonly name: string;
  readonly server: readonly string[];
  readonly json: boolean;
}): Promise<number> {
  const servers = args.server.map((text): IpAddress => {
    const address = parseAddress(text.includes(":") ? text : `${text}:53`);
    if (address?.kind !== "ip") throw new ProxyError("USAGE", `--server ${text}: must be IP:PORT`);
    return address;
  });
  const found = await discover(args.name, {
    client: new DnsClient({ servers: servers.length > 0 ? servers : null }),
  });
  process.stdout.write(args.json ? `${JSON.stringify(found, null, 2)}\n` : `${formatDiscovery(found)}\n`);
  return found.tiers.length > 0 ? 0 : 1;
}
