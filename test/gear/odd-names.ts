/**
 * Certificates that differ in whom they name, and which doors that opens: the allow rules of a route, the names and verify rules
 * of a cluster. RFC 5280 sections 4.1.2.6 and 4.2.1.6, RFC 9525, the X.509-SVID standard.
 */
import { element, oid, sequence, text } from "./der.ts";
import type { ClusterInput, RouteInput } from "./edge.ts";
import { alternatives, attribute, dnsName, ipName, mailName, mint, uriName } from "./mint.ts";
import { ROOT } from "./odd-certificates.ts";

/** Routes by their allow rule; each also is the name that leads there. */
export const CLIENT_DOORS: Readonly<Record<string, NonNullable<RouteInput["allow"]>>> = {
  any: ["any"],
  cn: [{ cn: "alice" }],
  ou: [{ ou: "ops" }],
  dns: [{ dns: "web.example.test" }, { dns: "*.clients.example.test" }],
  ip: [{ dns: "127.0.0.1" }],
  spiffe: [{ spiffe: "spiffe://example.test/ns/*/alice" }],
};

/** Clusters by whom they want. `name` and `ip`: without rules, by the name that is dialled. */
export const SERVER_DOORS: Readonly<Record<string, NonNullable<ClusterInput["tls"]>>> = {
  any: { server_name: "web.example.test", verify: ["any"] },
  name: { server_name: "web.example.test" },
  ip: {},
  cn: { server_name: "web.example.test", verify: [{ cn: "alice" }] },
  wild: { server_name: "web.example.test", verify: [{ dns: "*.example.test" }] },
  spiffe: { server_name: "web.example.test", verify: [{ spiffe: "spiffe://example.test/ns/*/alice" }] },
};

export interface Named {
  readonly what: string;
  readonly certificate: Buffer;
  /** The doors that open, one blank between. */
  readonly client: string;
  readonly server: string;
}

const UTF8 = 12;
const PRINTABLE = 19;
const T61 = 20;
const IA5 = 22;
const NUMERIC = 18;
const UNIVERSAL = 28;
const BMP = 30;

export function oddNames(): Named[] {
  return [...subjects(), ...alternativeNames()];
}

/** Who is named in the subject only; no server is who it says by that, but for a rule about its common name. */
function subjects(): Named[] {
  const subject = (what: string, parts: readonly Uint8Array[], doors: string): Named => ({
    what: `subject: ${what}`,
    certificate: mint(ROOT, { subject: Buffer.concat(parts) }),
    client: `any ${doors}`.trimEnd(),
    server: doors.includes("cn") ? "any cn" : "any",
  });
  const cn = (value: string, tag = UTF8) => attribute("cn", value, tag);
  const wide = (value: string, before: string) => Array.from(value, (one) => before + one).join("");
  const both = element(
    0x31,
    sequence(oid("2.5.4.3"), text(UTF8, "alice")),
    sequence(oid("2.5.4.11"), text(UTF8, "ops")),
  );
  return [
    subject("nobody", [], ""),
    subject("UTF8String", [cn("alice")], "cn"),
    subject("PrintableString", [cn("alice", PRINTABLE)], "cn"),
    subject("IA5String", [cn("alice", IA5)], "cn"),
    subject("T61String", [cn("alice", T61)], ""),
    subject("NumericString", [cn("alice", NUMERIC)], ""),
    subject("BMPString", [cn(wide("alice", "\0"), BMP)], ""),
    subject("UniversalString", [cn(wide("alice", "\0\0\0"), UNIVERSAL)], ""),
    subject("a NUL behind it", [cn("alice\0")], ""),
    subject("a NUL inside", [cn("alice\0.example.test")], ""),
    subject("a blank behind it", [cn("alice ")], ""),
    subject("in capitals", [cn("ALICE")], ""),
    subject("a line behind it", [cn("alice\n")], ""),
    subject("written from right to left", [cn("\xe2\x80\xaealice")], ""),
    subject("an accent", [cn("alic\xc3\xa9")], ""),
    subject("a comma and another name", [cn("alice,OU=ops")], ""),
    subject("nothing in it", [cn("")], ""),
    subject("300 characters", [cn("alice".repeat(60))], ""),
    subject("another one behind it", [cn("alice"), cn("mallory")], ""),
    subject("another one before it", [cn("mallory"), cn("alice")], "cn"),
    subject("an odd one behind it", [cn("alice"), cn("alice", T61)], ""),
    subject("unit", [attribute("ou", "ops")], "ou"),
    subject("two units", [attribute("ou", "dev"), attribute("ou", "ops")], "ou"),
    subject("an odd unit beside", [attribute("ou", "dev", T61), attribute("ou", "ops")], "ou"),
    subject("an odd unit", [attribute("ou", wide("ops", "\0"), BMP)], ""),
    subject("organization, not unit", [attribute("o", "ops")], ""),
    subject("unit and name in one", [both], "cn ou"),
    subject(
      "an unknown attribute",
      [element(0x31, sequence(oid("1.3.6.1.4.1.99999.3"), text(UTF8, "alice")))],
      "",
    ),
    subject("a DNS name as common name", [cn("web.example.test")], ""),
  ];
}

function alternativeNames(): Named[] {
  const named = (
    what: string,
    names: readonly Uint8Array[],
    client: string,
    server: string,
    critical = false,
  ) => ({
    what: `names: ${what}`,
    certificate: mint(ROOT, { extensions: [alternatives(names, critical)] }),
    client: `any ${client}`.trimEnd(),
    server: `any ${server}`.trimEnd(),
  });
  const web = dnsName("web.example.test");
  const id = uriName("spiffe://example.test/ns/prod/alice");
  const many = Array.from({ length: 200 }, (_, index) => dnsName(`n${index}.other.test`));
  const otherName = element(
    0xa0,
    oid("1.3.6.1.4.1.311.20.2.3"),
    element(0xa0, text(UTF8, "web.example.test")),
  );
  const directory = element(0xa4, sequence(attribute("cn", "alice")));
  return [
    named("an empty list", [], "", ""),
    named("the name", [web], "dns", "name wild"),
    named("critical", [web], "dns", "name wild", true),
    named("in capitals", [dnsName("WEB.Example.TEST")], "dns", "name wild"),
    named("a dot behind it", [dnsName("web.example.test.")], "", ""),
    named("a dot before it", [dnsName(".example.test")], "", ""),
    named("a star for it", [dnsName("*.example.test")], "", "name wild"),
    named("a star for too much", [dnsName("*.test")], "", ""),
    named("a star for all", [dnsName("*")], "", ""),
    named("two stars", [dnsName("*.*.test")], "", ""),
    named("a star in a label", [dnsName("w*b.example.test")], "", ""),
    named("a star at the end of a label", [dnsName("w*.example.test")], "", ""),
    named("a double star", [dnsName("**.example.test")], "", ""),
    named("a star below the rule's", [dnsName("*.clients.example.test")], "", ""),
    named("one label below the rule's star", [dnsName("a.clients.example.test")], "dns", ""),
    named("two labels below the rule's star", [dnsName("a.b.clients.example.test")], "", ""),
    named("a NUL behind it", [dnsName("web.example.test\0")], "", ""),
    named("a NUL and another name", [dnsName("web.example.test\0.evil.test")], "", ""),
    named("a comma and another name", [dnsName("evil.test, DNS:web.example.test")], "", ""),
    named("a blank in it", [dnsName("web .example.test")], "", ""),
    named("nothing in it", [dnsName("")], "", ""),
    named("not ASCII", [dnsName("w\xebb.example.test")], "", ""),
    named("an A-label", [dnsName("xn--bb-eka.example.test")], "", "wild"),
    named("an underscore", [dnsName("_web.example.test")], "", "wild"),
    named("254 characters", [dnsName(`${"a.".repeat(120)}example.test.x`)], "", ""),
    named("behind 200 others", [...many, web], "dns", "name wild"),
    named("an odd one before it", [dnsName("\xff"), web], "dns", "name wild"),
    named("an address", [ipName(127, 0, 0, 1)], "ip", "ip"),
    named("another address", [ipName(127, 0, 0, 2)], "", ""),
    named("the address as text", [dnsName("127.0.0.1")], "", ""),
    named(
      "the address mapped to IPv6",
      [ipName(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 127, 0, 0, 1)],
      "",
      "",
    ),
    named("an address of five bytes", [ipName(127, 0, 0, 1, 0)], "", ""),
    named("an address with a mask", [ipName(127, 0, 0, 1, 255, 255, 255, 255)], "", ""),
    named("an address without bytes", [ipName()], "", ""),
    named("a SPIFFE ID", [id], "spiffe", "spiffe"),
    named("a SPIFFE ID in capitals", [uriName("SPIFFE://example.test/ns/prod/alice")], "", ""),
    named("a SPIFFE ID with a capital", [uriName("spiffe://example.test/ns/prod/Alice")], "", ""),
    named("a SPIFFE ID of another domain", [uriName("spiffe://example.tes/ns/prod/alice")], "", ""),
    named("a SPIFFE ID with a slash too many", [uriName("spiffe://example.test//ns/prod/alice")], "", ""),
    named("a SPIFFE ID with a query", [uriName("spiffe://example.test/ns/prod/alice?x")], "", ""),
    named("a SPIFFE ID with a NUL", [uriName("spiffe://example.test/ns/prod/alice\0")], "", ""),
    named("a SPIFFE ID with a star", [uriName("spiffe://example.test/ns/*/alice")], "", ""),
    named("two SPIFFE IDs", [id, uriName("spiffe://example.test/ns/prod/mallory")], "", ""),
    named("a SPIFFE ID and an odd one", [id, uriName("spiffe://example.test/\x01")], "", ""),
    named("a SPIFFE ID and a name", [id, web], "dns spiffe", "name wild spiffe"),
    named("another URI", [uriName("https://web.example.test")], "", ""),
    named("a mail address", [mailName("alice@web.example.test")], "", ""),
    named("a principal name", [otherName], "", ""),
    named("a directory name", [directory], "", ""),
    named("a registered id", [element(0x88, Buffer.from([42, 3]))], "", ""),
    named(
      "of every kind",
      [mailName("a@b.test"), otherName, directory, ipName(127, 0, 0, 1), id, web],
      "dns ip spiffe",
      "name ip wild spiffe",
    ),
  ];
}
