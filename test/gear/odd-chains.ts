/** Odd chains: their length and order, who signed, who may sign, and for which names. RFC 5280 sections 4.2.1.9, 4.2.1.10 and 6. */
import { element, sequence } from "./der.ts";
import {
  attribute,
  below,
  constraints,
  dnsName,
  extended,
  ipName,
  keyOf,
  keyUsage,
  mailName,
  purposes,
  type Root,
  root,
  type Shape,
  uriName,
  utcTime,
} from "./mint.ts";
import {
  asServer,
  BAD,
  DAY,
  EXPIRED,
  FIRST,
  FORGED,
  leaf,
  NOT_YET,
  NOW,
  type Odd,
  OK,
  OLD,
  ORPHAN,
  odd,
  PURPOSE,
  ROOT,
  SHORT,
  STRANGE,
  SUBJECT,
  through,
  UNKNOWN,
  unknownExtension,
  type Verdict,
} from "./odd-certificates.ts";

export function oddChains(): Odd[] {
  return [...signers(), ...authorities(), ...nameConstraints()];
}

function signers(): Odd[] {
  const middle = below(ROOT, "mint middle 1");
  const deeper = below(middle, "mint middle 2");
  const impostor: Root = { ...root("mint impostor"), name: ROOT.name };
  const self = { name: sequence(SUBJECT), key: keyOf("p256") };
  const past = { to: utcTime(NOW - DAY / 2) };
  return [
    ...[1, 2, 3, 4, 6, 7, 8, 9, 10, 12].map(long),
    odd("authority not sent", leaf(middle), UNKNOWN),
    odd("one of two authorities not sent", [leaf(deeper), deeper.der], UNKNOWN),
    odd("in the wrong order", [leaf(deeper), middle.der, deeper.der], OK),
    odd("with the root", [leaf(middle), middle.der, ROOT.der], OK),
    odd("with somebody else's root", [leaf(ROOT), STRANGE.der], OK),
    odd("with two leaves", [leaf(ROOT), leaf(ROOT)], OK),
    odd("with the authority twice", [leaf(middle), middle.der, middle.der], OK),
    odd("another CA", leaf(STRANGE), UNKNOWN),
    odd("another CA that is sent along", [leaf(STRANGE), STRANGE.der], UNKNOWN),
    odd("another CA, expired", leaf(STRANGE, past), UNKNOWN),
    odd("another CA, for mail", leaf(STRANGE, { beside: [purposes(["email"])] }), UNKNOWN),
    odd("the name of our root, another key", leaf(impostor), FORGED),
    odd("an authority of the bundle without its root", leaf(ORPHAN), UNKNOWN),
    odd("the same, and its root is sent along", [leaf(ORPHAN), STRANGE.der], UNKNOWN),
    odd("self-signed", leaf(self), UNKNOWN),
    odd("self-signed and expired", leaf(self, past), UNKNOWN),
    odd("self-signed authority", leaf(self, { beside: [constraints(true)] }), UNKNOWN),
    odd("a leaf that signs", [leaf(self), leaf(ROOT)], UNKNOWN),
    odd("the root itself", [ROOT.der], PURPOSE, { key: ROOT.key }),
    odd("an expired root", leaf(OLD), EXPIRED),
    odd("a version 1 root", leaf(FIRST), OK),
  ];
}

function long(length: number): Odd {
  const sent: Buffer[] = [];
  let signer: Root = ROOT;
  for (let depth = 1; depth <= length; depth++) {
    signer = below(signer, `mint middle ${depth}`);
    sent.unshift(signer.der);
  }
  return odd(`${length} authorities between`, [leaf(signer), ...sent], OK);
}

function authorities(): Odd[] {
  const usual = [constraints(true), keyUsage("keyCertSign")];
  const authority = (what: string, shape: Shape, client: Verdict, server = asServer(client)) =>
    odd(`authority: ${what}`, through(what, shape), client, { server });
  const bounded = (length: number) => ({ extensions: [constraints(true, length)] });
  const short = below(ROOT, "mint short middle", bounded(0));
  const tooDeep = below(short, "mint too deep");
  const longer = below(ROOT, "mint longer middle", bounded(1));
  const justDeep = below(longer, "mint just deep");
  const underShort = below(SHORT, "mint under short");
  return [
    authority("path length 0", bounded(0), OK),
    authority("a path length of two bytes", bounded(1000), OK),
    odd("path length 0 exceeded", [leaf(tooDeep), tooDeep.der, short.der], UNKNOWN),
    odd("path length 1 used up", [leaf(justDeep), justDeep.der, longer.der], OK),
    odd("below a root of path length 0", leaf(SHORT), OK),
    odd("two below a root of path length 0", [leaf(underShort), underShort.der], UNKNOWN),
    authority("no basic constraints", { extensions: [] }, UNKNOWN),
    authority("no extensions", { extensions: null }, UNKNOWN),
    authority("version 1", { version: null, extensions: null }, UNKNOWN),
    authority("no authority", { extensions: [constraints(false)] }, UNKNOWN),
    authority("may sign lists only", { extensions: [constraints(true), keyUsage("cRLSign")] }, UNKNOWN),
    authority("expired", { from: utcTime(NOW - 2 * DAY), to: utcTime(NOW - DAY) }, EXPIRED),
    authority("not yet valid", { from: utcTime(NOW + DAY / 2) }, NOT_YET),
    authority("for servers", { extensions: [...usual, purposes(["server"])] }, PURPOSE, OK),
    authority("for clients", { extensions: [...usual, purposes(["client"])] }, OK, asServer(PURPOSE)),
    authority("for mail", { extensions: [...usual, purposes(["email"])] }, PURPOSE),
    authority("unknown critical extension", { extensions: [...usual, unknownExtension(true)] }, BAD),
  ];
}

function nameConstraints(): Odd[] {
  const subtrees = (tag: number) => (names: readonly Uint8Array[]) =>
    element(tag, ...names.map((name) => sequence(name)));
  const [permitted, excluded] = [subtrees(0xa0), subtrees(0xa1)];
  const limited = (what: string, parts: readonly Uint8Array[], verdict: Verdict): Odd => {
    const list = [constraints(true), extended("2.5.29.30", sequence(...parts), true)];
    return odd(`names: ${what}`, through(what, { extensions: list }), verdict);
  };
  const subject = (ou: string) => element(0xa4, sequence(attribute("ou", ou)));
  const ours = dnsName("example.test");
  const other = dnsName("other.test");
  const past = { from: utcTime(NOW - 2 * DAY), to: utcTime(NOW - DAY) };
  const elsewhere = { extensions: [constraints(true), extended("2.5.29.30", sequence(permitted([other])))] };
  return [
    limited("permitted domain", [permitted([ours])], OK),
    limited("permitted domain with a dot", [permitted([dnsName(".example.test")])], OK),
    limited("permitted in capitals", [permitted([dnsName("EXAMPLE.TEST")])], OK),
    limited("another domain permitted", [permitted([other])], BAD),
    limited("one of two permitted", [permitted([other, ours])], OK),
    limited("excluded domain", [excluded([ours])], BAD),
    limited("another domain excluded", [excluded([other])], OK),
    limited("permitted and excluded", [permitted([ours]), excluded([dnsName("web.example.test")])], BAD),
    limited("every domain permitted", [permitted([dnsName("")])], OK),
    limited("permitted trust domain", [permitted([uriName("example.test")])], OK),
    limited("another trust domain permitted", [permitted([uriName("other.test")])], BAD),
    limited("excluded trust domain", [excluded([uriName("example.test")])], BAD),
    limited("addresses only", [permitted([ipName(10, 0, 0, 0, 255, 0, 0, 0)])], OK),
    limited("an address without a mask", [permitted([ipName(10, 0, 0, 0)])], OK),
    limited("mail only", [permitted([mailName("example.test")])], OK),
    limited("permitted subject", [permitted([subject("ops")])], OK),
    limited("another subject permitted", [permitted([subject("dev")])], BAD),
    limited("excluded subject", [excluded([subject("ops")])], BAD),
    limited("a minimum", [element(0xa0, sequence(ours, element(0x80, Buffer.from([1]))))], BAD),
    limited("a registered id", [permitted([element(0x88, Buffer.from([42, 3]))])], OK),
    limited("nothing at all", [], OK),
    odd("names: another domain permitted, and expired", through("elsewhere", elsewhere, past), EXPIRED),
  ];
}
