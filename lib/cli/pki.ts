/** `millrace pki`: the development CA from the command line. */
import { ProxyError } from "../errors.ts";
import { initPki, issueLeaf } from "../tls/pki.ts";

// A hundred years: dates in certificates end with the year 9999, RFC 5280 section 4.1.2.5.
const MAX_DAYS = 36_500;

export async function pkiInit(args: {
  readonly dir: string;
  readonly name: string;
  readonly days: number;
  readonly force: boolean;
}): Promise<number> {
  const files = await initPki({
    directory: args.dir,
    commonName: args.name,
    days: validity(args.days),
    force: args.force,
  });
  console.log(
    `${files.cert}\n${files.key}  (keep it: who has it can issue)\n\nNext: millrace pki issue NAME --dns NAME`,
  );
  return 0;
}

export async function pkiIssue(args: {
  readonly name: string;
  readonly dir: string;
  readonly dns: readonly string[];
  readonly ip: readonly string[];
  readonly spiffe: readonly string[];
  readonly ou: string | undefined;
  readonly days: number;
  readonly force: boolean;
}): Promise<number> {
  const nameless = args.dns.length + args.ip.length + args.spiffe.length === 0;
  const files = await issueLeaf(args.name, {
    directory: args.dir,
    force: args.force,
    commonName: args.name,
    // A certificate without any alternative name verifies as nobody.
    dns: nameless ? [args.name] : args.dns,
    ips: args.ip,
    uris: args.spiffe,
    days: validity(args.days),
    ...(args.ou === undefined ? {} : { organizationalUnit: args.ou }),
  });
  console.log(`${files.cert}\n${files.key}`);
  return 0;
}

/** What yargs makes of a word is NaN. */
function validity(days: number): number {
  if (Number.isInteger(days) && days >= 1 && days <= MAX_DAYS) return days;
  throw new ProxyError("USAGE", `--days must be a whole number from 1 to ${MAX_DAYS}`);
}
