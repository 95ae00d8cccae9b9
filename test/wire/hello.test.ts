/** What a ClientHello says and how wrong ones are refused. Against OpenSSL itself: test/wire/hello-openssl.test.ts. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { ALERT } from "../../lib/wire/alert.ts";
import { type Hello, type HelloVerdict, parseHello } from "../../lib/wire/hello.ts";
import * as gear from "../gear/hellos.ts";

const LIMIT = 65536;

function hello(bytes: Uint8Array, limit = LIMIT): Hello {
  const verdict = parseHello(bytes, limit);
  assert.equal(verdict.kind, "hello", JSON.stringify(verdict));
  return (verdict as Extract<HelloVerdict, { kind: "hello" }>).hello;
}

function assertBad(bytes: Uint8Array, alert: number, what?: string, limit = LIMIT): void {
  const verdict = parseHello(bytes, limit);
  assert.equal(verdict.kind, "bad", `${what}: ${JSON.stringify(verdict)}`);
  assert.equal((verdict as { alert: number }).alert, alert, `${what}: ${JSON.stringify(verdict)}`);
}

test("a browser's hello tells name and protocols", () => {
  const bytes = gear.records(gear.browserHello("Web.Example.Test"));
  assert.deepEqual(hello(bytes), {
    serverName: "web.example.test",
    alpn: ["h2", "http/1.1"],
    listsVersions: true,
    length: bytes.length,
  });
});

test("a hello without extensions has no name, no protocols and no list of versions", () => {
  for (const extensions of [null, []]) {
    const got = hello(gear.helloStream({ extensions, legacyVersion: 0x0301 }));
    assert.deepEqual([got.serverName, got.alpn, got.listsVersions], [null, [], false]);
  }
});

test("the legacy version counts only without supported_versions", () => {
  const listed = { legacyVersion: 0x0200, extensions: [gear.versions(0x0a0a)] };
  assert.equal(hello(gear.helloStream(listed)).listsVersions, true);
  hello(gear.helloStream({ legacyVersion: 0x0300 }));
  assertBad(gear.helloStream({ legacyVersion: 0x0200 }), ALERT.protocol_version);
});

test("of many names and protocols, long ones among them, none is taken for another", () => {
  const names = Array.from({ length: 5000 }, (_, n) => `${"n".repeat(n % 63)}${n}.${n % 7}.test`);
  for (const name of [...names, ...names.toReversed()]) {
    const extensions = [gear.sni(name), gear.alpn(name, "h2")];
    const got = hello(gear.helloStream({ extensions }));
    assert.deepEqual([got.serverName, got.alpn], [name, [name, "h2"]]);
  }
});

test("bytes behind the hello change nothing", () => {
  const stream = gear.helloStream();
  const more = gear.join(stream, Buffer.from("\x17\x03\x03 anything"));
  assert.deepEqual(hello(more), hello(stream));
  assert.equal(hello(more).length, stream.length);
});

test("a view into a larger buffer is read at its own offset", () => {
  const stream = gear.helloStream();
  const view = gear.join(Buffer.from("prefix"), stream).subarray(6);
  assert.equal(hello(view).serverName, "db.example.test");
});

test("a hello over many records is the same hello", () => {
  const message = gear.browserHello("web.example.test");
  const { length: _, ...whole } = hello(gear.records(message));
  for (const sizes of [
    [1],
    [3, 1, 16384],
    [4],
    [100],
    [1000],
    [message.length - 1, 1],
    [0, 2, 0, 0, 7, 0, 50],
  ]) {
    const stream = gear.records(message, sizes);
    const { length, ...got } = hello(stream);
    assert.deepEqual(got, whole, `${sizes}`);
    assert.equal(length, stream.length, `${sizes}`);
  }
});

test("32 empty records in a row pass, 33 do not", () => {
  const message = gear.helloMessage();
  const empty = (count: number) => gear.join(...new Array(count).fill(gear.record(new Uint8Array(0))));
  hello(
    gear.join(empty(32), gear.record(message.subarray(0, 9)), empty(32), gear.record(message.subarray(9))),
  );
  assertBad(gear.join(empty(33), gear.record(message)), ALERT.unexpected_message);
});

test("any minor record version passes, also one that changes", () => {
  const message = gear.helloMessage();
  hello(gear.join(gear.record(message.subarray(0, 20), 0x0300), gear.record(message.subarray(20), 0x03ff)));
});

test("what is not TLS is told at the first byte that says so", () => {
  for (const text of [
    "GET / HTTP/1.1\r\n",
    "SSH-2.0-OpenSSH",
    "\0\0\0\x08\x04\xd2\x16\x2f",
    "\x15\x03\x01\0\x02\x02\x28",
    "\x17",
  ])
    for (const cut of [1, text.length])
      assert.equal(parseHello(Buffer.from(text.slice(0, cut), "latin1"), LIMIT).kind, "not_tls", text);
  assert.deepEqual(parseHello(Buffer.from("\x16"), LIMIT), { kind: "more", need: 2 });
  assert.deepEqual(parseHello(Buffer.from("\x16\x03\x01\0\x50"), LIMIT), { kind: "more", need: 6 });
  assert.equal(parseHello(Buffer.from("\x16\x02"), LIMIT).kind, "not_tls");
  assert.deepEqual(parseHello(Buffer.of(0x80, 0x2e), LIMIT), { kind: "more", need: 3 });
  assert.equal(parseHello(Buffer.of(0x80, 0x2e, 2), LIMIT).kind, "not_tls");
  assert.equal(parseHello(Buffer.of(0x80, 0x2e, 1, 7), LIMIT).kind, "not_tls");
  assert.equal(parseHello(Buffer.of(0x80, 0x2e, 1, 0, 3), LIMIT).kind, "not_tls");
});

test("nothing at all needs one byte", () => {
  assert.deepEqual(parseHello(new Uint8Array(0), LIMIT), { kind: "more", need: 1 });
});

test("a hello in SSLv2 form is refused by version", () => {
  assertBad(Buffer.of(0x80, 0x2e, 1, 0, 2, 0, 21), ALERT.protocol_version);
  assertBad(Buffer.of(0x80, 0x2e, 1, 3, 1, 0, 21), ALERT.protocol_version);
});

test("another record or another message in place of the hello is refused", () => {
  const message = gear.helloMessage();
  assertBad(gear.record(gear.handshake(2, new Uint8Array(60))), ALERT.unexpected_message);
  const cut = gear.record(message.subarray(0, 30));
  assertBad(gear.join(cut, gear.record(message.subarray(30), 0x0301, 23)), ALERT.unexpected_message);
  assertBad(gear.join(cut, gear.record(Uint8Array.of(2, 40), 0x0301, 21)), ALERT.unexpected_message);
  assertBad(gear.join(cut, gear.record(message.subarray(30), 0x0201)), ALERT.protocol_version);
});

test("a record beyond 2^14 bytes is refused by its length alone", () => {
  assertBad(Buffer.of(22, 3, 1, 0x40, 0x01), ALERT.record_overflow);
  assertBad(Buffer.of(22, 3, 1, 0xff, 0xff, 1), ALERT.record_overflow);
  assert.equal(parseHello(Buffer.of(22, 3, 1, 0x40, 0x00, 1), LIMIT).kind, "more");
});

test("a hello as large as the limit passes, one byte more is refused as soon as its length is known", () => {
  const size = gear.helloStream({ extensions: [gear.extension(21, new Uint8Array(0))] }).length;
  for (const limit of [1700, 16384, 65536]) {
    for (const extra of [-1, 0, 1]) {
      const base = gear.helloMessage({
        extensions: [
          gear.extension(21, new Uint8Array(limit + extra - size - 5 * (Math.ceil(limit / 16389) - 1))),
        ],
      });
      const stream = gear.records(base);
      assert.equal(stream.length, limit + extra);
      if (extra <= 0) {
        hello(stream, limit);
      } else {
        assertBad(stream, ALERT.decode_error, `${limit}`, limit);
        assertBad(stream.subarray(0, 9), ALERT.decode_error, `${limit}`, limit);
      }
    }
  }
});

test("bytes past the limit are not looked at", () => {
  const stream = gear.records(gear.helloMessage(), [10, 1, 1]);
  assertBad(stream, ALERT.decode_error, "limit", stream.length - 1);
});

test("lengths that lie are refused", () => {
  const body = gear.helloMessage({ extensions: [gear.sni("a.test"), gear.alpn("h2")] }).subarray(4);
  for (const lie of [-1, 1, -40, 40, 70])
    if (lie < 0) assertBad(gear.record(gear.handshake(1, body, lie)), ALERT.decode_error, `message ${lie}`);
    else assert.equal(parseHello(gear.record(gear.handshake(1, body, lie)), LIMIT).kind, "more");
  const session = 4 + 34;
  const mutate = (at: number, value: number): Uint8Array => {
    const message = Buffer.from(gear.helloMessage());
    message[at] = value;
    return gear.record(message);
  };
  for (const value of [0, 31, 33, 255])
    assertBad(mutate(session, value), ALERT.decode_error, `session ${value}`);
  const ciphers = session + 33;
  assertBad(mutate(ciphers + 1, 0), ALERT.illegal_parameter, "no ciphers");
  for (const value of [1, 5, 7, 255])
    assertBad(mutate(ciphers + 1, value), ALERT.decode_error, `ciphers ${value}`);
  const compression = ciphers + 8;
  for (const value of [0, 2, 255])
    assertBad(mutate(compression, value), ALERT.decode_error, `compression ${value}`);
  const block = compression + 2;
  for (const value of [0, 1, 3, 255])
    assertBad(mutate(block + 1, value), ALERT.decode_error, `block ${value}`);
  const truncated = [
    gear.extension(0, Buffer.alloc(0)),
    gear.extension(0, Buffer.from("\0\0")),
    gear.extension(0, Buffer.from("\0\x04\0\0\x02a")),
    gear.extension(0, Buffer.from("\0\x05\0\0\x01ab")),
    gear.extension(16, Buffer.from("\0\0")),
    gear.extension(16, Buffer.from("\0\x01\0")),
    gear.extension(16, Buffer.from("\0\x03\x05h2")),
    gear.extension(16, Buffer.from("\0\x04\x02h2\0")),
    gear.extension(10, Buffer.from("\0\0")),
    gear.extension(10, Buffer.from("\0\x03\0\x1d\0")),
    gear.extension(43, Buffer.from("\0")),
    gear.extension(43, Buffer.from("\x03\x03\x04\x03")),
    gear.extension(0xffff, Buffer.from("x"), 1),
    gear.extension(0xffff, Buffer.from("xyz"), -1),
    Uint8Array.of(0, 23, 0),
  ];
  for (const [i, bytes] of truncated.entries())
    assertBad(gear.helloStream({ extensions: [bytes] }), ALERT.decode_error, `extension ${i}`);
});

test("a cipher list of odd length is refused", () => {
  const random = new Uint8Array(32);
  const odd = gear.vector(2, Buffer.of(0x13, 1, 0x13));
  const body = gear.join(Buffer.of(3, 3), random, gear.vector(1, random), odd, gear.vector(1, Buffer.of(0)));
  assertBad(gear.record(gear.handshake(1, body)), ALERT.decode_error);
});

test("a hello too short to be one is refused by its length", () => {
  assertBad(gear.record(gear.handshake(1, new Uint8Array(40))), ALERT.decode_error);
});

test("a second extension of a known type is refused, of an unknown type skipped", () => {
  for (const twin of [
    gear.sni("a.test"),
    gear.alpn("h2"),
    gear.versions(0x0304),
    gear.groups(29),
    gear.psk(),
  ])
    assertBad(gear.helloStream({ extensions: [twin, twin] }), ALERT.illegal_parameter);
  for (const type of [51, 23, 0xff01, 0xfe0d]) {
    const twin = gear.extension(type, Buffer.of(0));
    assertBad(
      gear.helloStream({ extensions: [twin, gear.sni("a.test"), twin] }),
      ALERT.illegal_parameter,
      `${type}`,
    );
  }
  const unknown = gear.extension(0x1234, Buffer.of(0));
  hello(gear.helloStream({ extensions: [unknown, unknown] }));
});

test("a server name is lower-cased, loses one trailing dot and must be a host name", () => {
  const named = (name: string | Uint8Array) => gear.helloStream({ extensions: [gear.sni(name)] });
  const long = `${"a".repeat(63)}.${"b".repeat(63)}.${"c".repeat(63)}.${"d".repeat(63)}`;
  const cases: [string, string | null][] = [
    ["A.Example.TEST", "a.example.test"],
    ["a.example.test.", "a.example.test"],
    ["xn--bcher-kva.example", "xn--bcher-kva.example"],
    ["_db._tcp.example.test", "_db._tcp.example.test"],
    ["localhost", "localhost"],
    [long, long],
    ["", null],
    ["192.0.2.1", null],
    ["192.0.2.1.", null],
    ["2001:db8::1", null],
    ["1.2.3", "1.2.3"],
  ];
  for (const [name, want] of cases) assert.equal(hello(named(name)).serverName, want, name);
  const wrong = [
    ".",
    "..",
    "a..b",
    ".a",
    "a\0b",
    "a b",
    'a"b',
    "a\nb",
    "*.example.test",
    "b\u00fccher.test",
    "[::1]",
  ];
  wrong.push(`${long}a`, "a..", "a/b", "a:443", "x".repeat(60_000));
  for (const name of wrong)
    assertBad(named(name), ALERT.unrecognized_name, JSON.stringify(name.slice(0, 40)));
});

test("a refusal says nothing the client sent", () => {
  const verdict = parseHello(gear.helloStream({ extensions: [gear.sni("evil\n\x1b[31mname")] }), LIMIT);
  assert.doesNotMatch((verdict as { why: string }).why, /evil|\n/);
});

test("one name of type host_name, no other", () => {
  assertBad(gear.helloStream({ extensions: [gear.sni("a.test", 1)] }), ALERT.decode_error);
  const entry = (name: string) => gear.join(Uint8Array.of(0), gear.vector(2, Buffer.from(name)));
  const two = gear.extension(0, gear.vector(2, gear.join(entry("a.test"), entry("b.test"))));
  assertBad(gear.helloStream({ extensions: [two] }), ALERT.decode_error);
});

test("ALPN names are bytes", () => {
  const got = hello(gear.helloStream({ extensions: [gear.alpn("\x0a\x0a", "acme-tls/1", "\xff\0")] }));
  assert.deepEqual(got.alpn, ["\x0a\x0a", "acme-tls/1", "\xff\0"]);
});
