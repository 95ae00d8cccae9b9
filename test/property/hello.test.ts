/** A hello reads the same however it arrives; `need` never lies; no byte makes the parser throw. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { type HelloVerdict, parseHello } from "../../lib/wire/hello.ts";
import * as gear from "../gear/hellos.ts";

const LIMIT = 65536;

const label = fc.string({ unit: fc.constantFrom(..."abcXYZ019-_"), minLength: 1, maxLength: 20 });
const name = fc
  .array(label, { minLength: 1, maxLength: 5 })
  .map((labels) => labels.join("."))
  .filter((text) => !/^[\d.]+$/.test(text));
const u16 = fc.integer({ min: 0, max: 65535 }).filter((value) => (value & 0x0f0f) !== 0x0a0a);
const protocol = fc
  .uint8Array({ minLength: 1, maxLength: 20 })
  .map((raw) => Buffer.from(raw).toString("latin1"));
const list = <T>(one: fc.Arbitrary<T>) => fc.array(one, { minLength: 1, maxLength: 8 });

/** What a hello says, and the extra extensions that say nothing to us. */
const facts = fc.record({
  name: fc.option(name),
  alpn: fc.option(list(protocol)),
  versions: fc.option(list(u16)),
  groups: fc.option(list(u16)),
  ech: fc.constantFrom("none", "offered", "inner"),
  psk: fc.boolean(),
  legacy: fc.integer({ min: 0x0300, max: 0x0303 }),
  session: fc.uint8Array({ maxLength: 32 }),
  extras: fc.array(fc.tuple(fc.integer({ min: 0x1000, max: 0x2fff }), fc.uint8Array({ maxLength: 300 })), {
    maxLength: 4,
  }),
});
type Facts = typeof facts extends fc.Arbitrary<infer T> ? T : never;

function message(said: Facts): Uint8Array {
  const extensions = said.extras.map(([type, body]) => gear.extension(type, body));
  if (said.name !== null) extensions.push(gear.sni(said.name));
  if (said.alpn !== null) extensions.push(gear.alpn(...said.alpn));
  if (said.versions !== null) extensions.push(gear.versions(0x1a1a, ...said.versions));
  if (said.groups !== null) extensions.push(gear.groups(0xfafa, ...said.groups));
  if (said.ech === "offered") extensions.push(gear.echOuter());
  if (said.ech === "inner") extensions.push(gear.echInner);
  if (said.psk) extensions.push(gear.psk());
  return gear.helloMessage({ legacyVersion: said.legacy, sessionId: said.session, extensions });
}

const sizes = fc.array(
  fc.oneof(fc.constant(1), fc.integer({ min: 0, max: 40 }), fc.integer({ min: 1, max: 2000 })),
  {
    minLength: 1,
    maxLength: 12,
  },
);

test("what a hello says is what is read, over any records", () => {
  fc.assert(
    fc.property(facts, sizes, fc.uint8Array({ maxLength: 50 }), (said, cuts, rest) => {
      const stream = gear.records(message(said), cuts);
      const bytes = Buffer.from(gear.join(stream, rest));
      const verdict = parseHello(bytes, LIMIT);
      bytes.fill("x"); // nothing of it may be kept: a peek shows a buffer that is used again
      assert.deepEqual(verdict, {
        kind: "hello",
        hello: {
          serverName: said.name?.toLowerCase() ?? null,
          alpn: said.alpn ?? [],
          listsVersions: said.versions !== null,
          length: stream.length,
        },
      });
    }),
    { numRuns: 300 },
  );
});

/** Feeds a stream as a peek does: again only when `need` bytes are there. Asserts what `need` promises. */
function feed(stream: Uint8Array, limit: number): { verdict: HelloVerdict; looks: number } {
  let verdict = parseHello(stream.subarray(0, 0), limit);
  let looks = 1;
  for (let shown = 0; verdict.kind === "more" && verdict.need <= stream.length; looks++) {
    assert.ok(verdict.need > shown && verdict.need <= limit, `need ${verdict.need} of ${limit} at ${shown}`);
    shown = verdict.need;
    verdict = parseHello(stream.subarray(0, shown), limit);
  }
  return { verdict, looks };
}

test("shown byte by byte, by need or whole, a stream gets one verdict, and none before need", () => {
  const limits = fc.oneof(fc.constant(LIMIT), fc.integer({ min: 64, max: 1500 }));
  fc.assert(
    fc.property(facts, sizes, limits, (said, cuts, limit) => {
      const stream = gear.records(message(said), cuts);
      const whole = parseHello(stream, limit);
      assert.notEqual(whole.kind, "more");
      assert.deepEqual(feed(stream, limit).verdict, whole);
      let need = 1;
      for (let shown = 0; shown <= stream.length; shown++) {
        const verdict = parseHello(stream.subarray(0, shown), limit);
        if (verdict.kind !== "more") {
          assert.deepEqual(verdict, whole);
          if (verdict.kind === "hello") assert.ok(shown >= need && shown === verdict.hello.length);
          return;
        }
        assert.ok(verdict.need > shown && verdict.need >= need && verdict.need <= limit);
        need = verdict.need;
      }
    }),
    { numRuns: 100 },
  );
});

test("one-byte records cost a logarithm of looks, not one each", () => {
  const stream = gear.records(
    gear.helloMessage({ extensions: [gear.extension(21, new Uint8Array(9000))] }),
    [1],
  );
  const { verdict, looks } = feed(stream, LIMIT);
  assert.equal(verdict.kind, "hello");
  assert.ok(looks < 70, `${looks} looks at ${stream.length} bytes`);
});

test("mutated hellos never throw and get one verdict however they are shown", () => {
  const mutation = fc.tuple(
    fc.constantFrom("set", "cut", "insert", "swap"),
    fc.nat(),
    fc.nat(),
    fc.nat({ max: 255 }),
  );
  const corpus = [
    gear.records(gear.browserHello("web.example.test")),
    gear.records(gear.browserHello("web.example.test"), [7, 1, 0, 300]),
    gear.helloStream(),
    gear.helloStream({ extensions: null }),
    gear.helloStream({ extensions: [gear.psk(), gear.alpn("h2"), gear.versions(0x0304)] }),
    Buffer.from(`801c0100020003000000100700c0${"55".repeat(16)}`, "hex"),
  ];
  fc.assert(
    fc.property(
      fc.constantFrom(...corpus),
      fc.array(mutation, { minLength: 1, maxLength: 4 }),
      (seed, mutations) => {
        let stream: Buffer = Buffer.from(seed);
        for (const [how, a, b, value] of mutations) {
          const at = stream.length === 0 ? 0 : a % Math.min(stream.length, b % 2 === 0 ? stream.length : 120);
          if (how === "set" && stream.length > 0) stream[at] = value;
          else if (how === "cut")
            stream = gear.join(stream.subarray(0, at), stream.subarray(at + (value % 8)));
          else if (how === "insert")
            stream = gear.join(stream.subarray(0, at), Buffer.alloc(value % 8, b), stream.subarray(at));
          else if (how === "swap" && stream.length > 1) stream.subarray(at, at + 2).reverse();
        }
        const whole = parseHello(stream, LIMIT);
        const { verdict } = feed(stream, LIMIT);
        // A fault past what `need` asked for may be seen in the whole already.
        if (verdict.kind !== "more" || whole.kind === "hello") assert.deepEqual(verdict, whole);
        else assert.ok(whole.kind === "more" || whole.kind === "bad");
      },
    ),
    { numRuns: 4000 },
  );
});

test("random bytes never throw", () => {
  const begins = [
    [],
    [22],
    [22, 3],
    [22, 3, 1],
    [22, 3, 1, 0],
    [22, 3, 1, 0, 60, 1, 0, 0, 56],
    [0x80, 50, 1],
  ];
  fc.assert(
    fc.property(fc.constantFrom(...begins), fc.uint8Array({ maxLength: 200 }), (begin, rest) => {
      const stream = Uint8Array.from([...begin, ...rest]);
      const { verdict } = feed(stream, LIMIT);
      if (verdict.kind !== "more") assert.deepEqual(parseHello(stream, LIMIT), verdict);
    }),
    { numRuns: 3000 },
  );
});
