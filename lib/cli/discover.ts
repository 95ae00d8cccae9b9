/** `millrace discover`: what the proxy would see behind a name. */
import { isIP } from "node:net";
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
    const version = isIP(text);
    const address = parseAddress(version === 0 ? text : version === 6 ? `[${text}]:53` : `${text}:53`);
    if (address?.kind === "ip" && address.port > 0) return address;
    throw new ProxyError("USAGE", `--server ${text}: must be an IP address, or IP:PORT`);
  });
  const found = await discover(args.name, {
    client: new DnsClient({ servers: servers.length > 0 ? servers : null }),
  });
  process.stdout.write(args.json ? `${JSON.stringify(found, null, 2)}\n` : formatDiscovery(found));
  return found.tiers.length > 0 ? 0 : 1;
}
