/**
 * Hellos by the dozen: names and shapes with the route that they find, and mutations of sound ones, of which nothing is known but
 * that every transport must say the same. Made by the same seed in every run.
 */
import * as hellos from "./hellos.ts";

const {
  alpn,
  answerableHello,
  browserHello,
  echInner,
  echOuter,
  extension,
  groups,
  handshake,
  helloMessage,
  helloStream,
  join,
  psk,
  record,
  records,
  sni,
  u16,
  vector,
  versions,
} = hellos;

export interface OddHello {
  readonly what: string;
  readonly bytes: Buffer;
  /** Reason and route, `no_route -`; null where nobody knows. */
  readonly verdict: string | null;
}

export const WEB = "web.example.test";
const PASS = "pass.example.test";

/** Names by the route that takes them, of those in hellos-agree.test.ts. */
const NAMES: readonly (readonly [name: string, verdict: string])[] = [
  [PASS, "ok pass"],
  ["PASS.Example.TEST", "ok pass"],
  ["pass.example.test.", "ok pass"],
  ["x.pass.example.test", "no_route -"],
  ["pass.example.tes", "no_route -"],
  ["ass.example.test", "no_route -"],
  ["a.wild.example.test", "ok wild"],
  ["A.WILD.example.test", "ok wild"],
  ["a.wild.example.test.", "ok wild"],
  ["xn--bcher-kva.wild.example.test", "ok wild"],
  ["_srv.wild.example.test", "ok wild"],
  ["127.wild.example.test", "ok wild"],
  [`${"l".repeat(63)}.wild.example.test`, "ok wild"],
  ["a.b.wild.example.test", "no_route -"],
  ["wild.example.test", "no_route -"],
  ["a.b.c.deep.example.test", "ok deep"],
  ["a.deep.example.test", "ok deep"],
  ["deep.example.test", "no_route -"],
  [`${"l.".repeat(117)}deep.example.test`, "ok deep"],
  ["localhost", "no_route -"],
  ["a", "no_route -"],
  ["1", "no_route -"],
  ["127.0.0.1", "no_route -"],
  ["::1", "no_route -"],
  ["[::1]", "bad_hello -"],
  [".", "bad_hello -"],
  ["..", "bad_hello -"],
  [".wild.example.test", "bad_hello -"],
  ["a..wild.example.test", "bad_hello -"],
  ["*.wild.example.test", "bad_hello -"],
  ["-.wild.example.test", "ok wild"],
  ["a b.wild.example.test", "bad_hello -"],
  ["a\0.wild.example.test", "bad_hello -"],
  ["a.wild.example.test\0", "bad_hello -"],
  ["\xe4.wild.example.test", "bad_hello -"],
  ["a/b.wild.example.test", "bad_hello -"],
  ['a".wild.example.test', "bad_hello -"],
  ["a\n.wild.example.test", "bad_hello -"],
  ["\u007f.wild.example.test", "bad_hello -"],
  [`${"l".repeat(64)}.wild.example.test`, "ok wild"],
  [`${"l.".repeat(119)}deep.example.test`, "ok deep"],
  [`${"l.".repeat(400)}deep.example.test`, "bad_hello -"],
  ["x".repeat(16_000), "bad_hello -"],
];

export function namedHellos(): OddHello[] {
  return NAMES.map(([name, verdict]) => ({
    what: `name ${JSON.stringify(name.length > 40 ? `${name.slice(0, 20)}… ${name.length}` : name)}`,
    bytes: helloStream({ extensions: [sni(name)] }),
    verdict,
  }));
}

export function shapedHellos(): OddHello[] {
  const pass = sni(PASS);
  const shaped = (what: string, bytes: Uint8Array, verdict: string): OddHello => ({
    what,
    bytes: Buffer.from(bytes),
    verdict,
  });
  const stream = (what: string, shape: hellos.HelloShape, verdict: string) =>
    shaped(what, helloStream(shape), verdict);
  const sound = helloMessage({ extensions: [pass] });
  const twice = vector(
    2,
    join(Uint8Array.of(0), vector(2, Buffer.from(PASS)), Uint8Array.of(0), vector(2, Buffer.from(WEB))),
  );
  const many = Array.from({ length: 200 }, (_, index) => extension(0x4000 + index, Buffer.alloc(3)));
  return [
    stream("every version but ours", { extensions: [pass, versions(0x0302, 0x0301)] }, "ok pass"),
    stream(
      "GREASE for everything",
      { ciphers: [0x1a1a], extensions: [extension(0x2a2a, u16(0)), pass, groups(0x3a3a), versions(0x4a4a)] },
      "ok pass",
    ),
    stream("TLS 1.0 only", { legacyVersion: 0x0301, extensions: [pass] }, "ok pass"),
    stream("SSL 3.0 only", { legacyVersion: 0x0300, extensions: [pass] }, "ok pass"),
    stream("a later version in the old place", { legacyVersion: 0x0305, extensions: [pass] }, "ok pass"),
    stream("legacy version 0", { legacyVersion: 0, extensions: [pass] }, "bad_hello -"),
    stream("no session id", { sessionId: new Uint8Array(0), extensions: [pass] }, "ok pass"),
    stream("a session id of 33 bytes", { sessionId: new Uint8Array(33), extensions: [pass] }, "bad_hello -"),
    stream("no compression", { compression: new Uint8Array(0), extensions: [pass] }, "bad_hello -"),
    stream("other compressions", { compression: Uint8Array.of(1, 0, 64), extensions: [pass] }, "ok pass"),
    stream("without null compression", { compression: Uint8Array.of(1), extensions: [pass] }, "ok pass"),
    stream("one cipher", { ciphers: [0x1301], extensions: [pass] }, "ok pass"),
    stream("3000 ciphers", { ciphers: Array(3000).fill(0x1301) as number[], extensions: [pass] }, "ok pass"),
    stream("no extension block", { extensions: null }, "no_route -"),
    stream("no extensions", { extensions: [] }, "no_route -"),
    stream("extensions without a name", { extensions: [versions(0x0304), alpn("h2")] }, "no_route -"),
    stream("the name last of 200", { extensions: [...many, pass] }, "ok pass"),
    stream(
      "an unknown extension twice",
      { extensions: [extension(0x4444, u16(1)), extension(0x4444, u16(2)), pass] },
      "ok pass",
    ),
    stream("two lists of names", { extensions: [pass, sni(WEB)] }, "bad_hello -"),
    stream("two names in one list", { extensions: [extension(0, twice)] }, "bad_hello -"),
    stream(
      "an empty list of names",
      { extensions: [extension(0, vector(2, new Uint8Array(0)))] },
      "bad_hello -",
    ),
    stream(
      "a list of names that is too long",
      { extensions: [extension(0, vector(2, join(Uint8Array.of(0), vector(2, Buffer.from(PASS))), 1))] },
      "bad_hello -",
    ),
    stream(
      "a list of names that is too short",
      { extensions: [extension(0, vector(2, join(Uint8Array.of(0), vector(2, Buffer.from(PASS))), -1))] },
      "bad_hello -",
    ),
    stream(
      "bytes behind the list of names",
      {
        extensions: [
          extension(0, join(vector(2, join(Uint8Array.of(0), vector(2, Buffer.from(PASS)))), u16(0))),
        ],
      },
      "bad_hello -",
    ),
    stream("a name of another type", { extensions: [sni(PASS, 7)] }, "bad_hello -"),
    stream("ALPN acme-tls/1", { extensions: [sni("any.test"), alpn("acme-tls/1")] }, "ok acme"),
    stream(
      "ALPN acme-tls/1 among others",
      { extensions: [sni("any.test"), alpn("h2", "acme-tls/1")] },
      "ok acme",
    ),
    stream("ALPN ACME-TLS/1", { extensions: [sni("any.test"), alpn("ACME-TLS/1")] }, "no_route -"),
    stream("ALPN before a name that has a route", { extensions: [alpn("acme-tls/1"), pass] }, "ok pass"),
    stream(
      "an empty ALPN list",
      { extensions: [pass, extension(16, vector(2, new Uint8Array(0)))] },
      "bad_hello -",
    ),
    stream("an empty ALPN protocol", { extensions: [pass, alpn("")] }, "bad_hello -"),
    stream("ALPN of 255 bytes", { extensions: [pass, alpn("p".repeat(255))] }, "ok pass"),
    stream("ALPN that is no text", { extensions: [pass, alpn("\0\xff\n")] }, "ok pass"),
    stream(
      "ALPN that lies about its length",
      { extensions: [pass, extension(16, vector(2, Buffer.from([9, 104])))] },
      "bad_hello -",
    ),
    stream("ECH outer", { extensions: [pass, echOuter()] }, "ok pass"),
    stream("ECH inner", { extensions: [pass, echInner] }, "ok pass"),
    stream("a pre-shared key last", { extensions: [pass, psk()] }, "ok pass"),
    stream("a pre-shared key first", { extensions: [psk(), pass] }, "ok pass"),
    stream("padding of 4 KiB", { extensions: [pass, extension(21, new Uint8Array(4096))] }, "ok pass"),
    stream(
      "40 KiB",
      {
        extensions: [
          pass,
          ...Array.from({ length: 5 }, (_, i) => extension(0x5000 + i, new Uint8Array(8000))),
        ],
      },
      "ok pass",
    ),
    stream(
      "more than we read",
      {
        extensions: [
          pass,
          ...Array.from({ length: 9 }, (_, i) => extension(0x5000 + i, new Uint8Array(7500))),
        ],
      },
      "bad_hello -",
    ),
    shaped("a browser's", records(browserHello(PASS)), "ok pass"),
    shaped("a browser's, in many records", records(browserHello(PASS), [7, 100, 0, 1]), "ok pass"),
    shaped("records of one byte", records(sound, [1]), "ok pass"),
    shaped(
      "32 empty records before it",
      join(...Array.from({ length: 32 }, () => record(new Uint8Array(0))), records(sound)),
      "ok pass",
    ),
    shaped(
      "33 empty records before it",
      join(...Array.from({ length: 33 }, () => record(new Uint8Array(0))), records(sound)),
      "bad_hello -",
    ),
    shaped("records of version 3.3", record(sound, 0x0303), "ok pass"),
    shaped("records of version 3.0", record(sound, 0x0300), "ok pass"),
    shaped("records of version 3.255", record(sound, 0x03ff), "ok pass"),
    shaped("records of version 2.0", record(sound, 0x0200), "bad_hello -"),
    shaped("records of version 4.0", record(sound, 0x0400), "bad_hello -"),
    shaped(
      "an alert between its records",
      join(record(sound.subarray(0, 50)), Buffer.from([21, 3, 3, 0, 2, 1, 0]), record(sound.subarray(50))),
      "bad_hello -",
    ),
    shaped(
      "a ChangeCipherSpec before it",
      join(record(Uint8Array.of(1), 0x0303, 20), records(sound)),
      "bad_hello -",
    ),
    shaped("data before it", join(record(Buffer.from("hello"), 0x0303, 23), records(sound)), "bad_hello -"),
    shaped("a HelloRequest", Buffer.from(record(handshake(0, new Uint8Array(0)))), "bad_hello -"),
    shaped("a ServerHello", Buffer.from(record(handshake(2, Buffer.alloc(70)))), "bad_hello -"),
    shaped(
      "a message that is longer than it",
      record(handshake(1, sound.subarray(4), 40)),
      "hello_timeout -",
    ),
    shaped("a message that is shorter than it", record(handshake(1, sound.subarray(4), -10)), "bad_hello -"),
    shaped("a message of 16 MiB", record(handshake(1, sound.subarray(4), 0xffff00)), "bad_hello -"),
    shaped("bytes behind it in its record", record(join(sound, Buffer.from("more"))), "ok pass"),
    shaped(
      "another hello behind it",
      join(records(sound), records(helloMessage({ extensions: [sni(WEB)] }))),
      "ok pass",
    ),
    shaped("plaintext behind it", join(records(sound), Buffer.from("GET / HTTP/1.1\r\n\r\n")), "ok pass"),
    shaped("SSH", Buffer.from("SSH-2.0-OpenSSH_9.6\r\n"), "bad_hello -"),
    shaped("a TLS header only", Buffer.from([22, 3, 1, 0, 100]), "hello_timeout -"),
    shaped("one byte of TLS", Buffer.from([22]), "hello_timeout -"),
  ];
}

/** Sound hellos with a few bytes changed, cut out or put in. */
export function mutatedHellos(count: number): OddHello[] {
  const random = seeded(20_260_801);
  const sound = [
    records(browserHello(WEB)),
    records(answerableHello(WEB)),
    records(browserHello(PASS)),
    helloStream({ extensions: [sni("a.wild.example.test"), alpn("acme-tls/1")] }),
    records(answerableHello(WEB), [60]),
  ];
  return Array.from({ length: count }, (_, index) => {
    let bytes: Buffer = Buffer.from(sound[index % sound.length]!);
    const changes = 1 + random(3);
    for (let change = 0; change < changes; change++) {
      const at = random(bytes.length);
      const kind = random(4);
      if (kind === 0) bytes[at] = random(256);
      else if (kind === 1) bytes[at]! ^= 1 << random(8);
      else if (kind === 2) bytes = join(bytes.subarray(0, at), bytes.subarray(at + 1 + random(4)));
      else bytes = join(bytes.subarray(0, at), Buffer.alloc(1 + random(4), random(256)), bytes.subarray(at));
    }
    return { what: `mutation ${index}`, bytes, verdict: null };
  });
}

/** Mulberry32: the same numbers below `limit` for the same seed. */
function seeded(seed: number): (limit: number) => number {
  let state = seed;
  return (limit) => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) % limit;
  };
}
