/**
 * The parser beside OpenSSL: real hellos of `openssl s_client` and `node:tls` say what was asked for, and a server on Node's
 * OpenSSL gets past the framing of every hello that the parser lets pass, and of no more than the documented rest.
 */
import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import net from "node:net";
import { type TestContext, test } from "node:test";
import tls from "node:tls";
import { ALERT } from "../../lib/wire/alert.ts";
import { type Hello, type HelloVerdict, parseHello } from "../../lib/wire/hello.ts";
import * as gear from "../gear/hellos.ts";

const LIMIT = 65536;
const missing = spawnSync("openssl", ["version"]).status === 0 ? false : "openssl is not installed";

/** Listens, hands back the port and the promise of the first hello that arrives. */
async function capture(t: TestContext): Promise<{ port: number; hello: Promise<Hello> }> {
  const listener = net.createServer();
  t.after(() => listener.close());
  listener.listen(0, "127.0.0.1");
  await once(listener, "listening");
  const hello = new Promise<Hello>((resolve, reject) => {
    listener.once("connection", (socket) => {
      let bytes = Buffer.alloc(0);
      t.after(() => socket.destroy());
      socket.on("error", () => {});
      socket.on("data", (chunk) => {
        bytes = Buffer.concat([bytes, chunk]);
        const verdict = parseHello(bytes, LIMIT);
        if (verdict.kind === "more") return;
        if (verdict.kind === "hello") {
          assert.equal(verdict.hello.length, bytes.length);
          resolve(verdict.hello);
        } else {
          reject(new Error(JSON.stringify(verdict)));
        }
        socket.destroy();
      });
    });
  });
  return { port: (listener.address() as net.AddressInfo).port, hello };
}

async function client(t: TestContext, ...options: string[]): Promise<Hello> {
  const { port, hello } = await capture(t);
  const child = spawn("openssl", ["s_client", "-connect", `127.0.0.1:${port}`, ...options], {
    stdio: "ignore",
  });
  t.after(() => child.kill());
  return hello;
}

test("openssl s_client's hello says what its options say", { skip: missing }, async (t) => {
  const plain = await client(t, "-noservername");
  assert.deepEqual([plain.serverName, plain.alpn, plain.listsVersions], [null, [], true]);
  const named = await client(t, "-servername", "DB.Example.test", "-alpn", "h2,postgresql,http/1.1");
  assert.deepEqual([named.serverName, named.alpn], ["db.example.test", ["h2", "postgresql", "http/1.1"]]);
  const old = await client(t, "-tls1_2", "-servername", "old.example.test");
  assert.deepEqual([old.listsVersions, old.serverName], [false, "old.example.test"]);
});

test("node:tls's hello says what its options say", async (t) => {
  const { port, hello } = await capture(t);
  const socket = tls.connect({
    port,
    host: "127.0.0.1",
    servername: "node.example.test",
    ALPNProtocols: ["a", "b"],
  });
  t.after(() => socket.destroy());
  socket.on("error", () => {});
  const got = await hello;
  assert.deepEqual([got.serverName, got.alpn, got.listsVersions], ["node.example.test", ["a", "b"], true]);
});

/** What a server on Node's OpenSSL answers: the type of the first record, and the alert if it is one. */
async function ask(t: TestContext, port: number, bytes: Uint8Array): Promise<string> {
  const socket = net.connect(port, "127.0.0.1");
  t.after(() => socket.destroy());
  let answer = Buffer.alloc(0);
  socket.on("error", () => {});
  socket.on("data", (chunk) => {
    answer = Buffer.concat([answer, chunk]);
    if (answer.length >= 7) socket.destroy();
  });
  socket.write(bytes);
  await once(socket, "close");
  if (answer.length < 7) return "closed";
  return answer[0] === 21 ? `alert ${answer[6]}` : answer[0] === 22 ? "handshake" : `record ${answer[0]}`;
}

/** A hello that any server can answer: a HelloRetryRequest or a ServerHello comes back, certificate or not. */
function acceptable(...more: Uint8Array[]): Uint8Array {
  const signatures = gear.extension(13, gear.vector(2, gear.join(gear.u16(0x0403), gear.u16(0x0804))));
  const key = Buffer.from("8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a", "hex");
  const share = gear.extension(51, gear.vector(2, gear.join(gear.u16(29), gear.vector(2, key))));
  return gear.helloMessage({
    extensions: [...more, gear.versions(0x0304), gear.groups(29), signatures, share],
  });
}

test("OpenSSL and the parser judge framing alike", { skip: missing }, async (t) => {
  const made = spawnSync("openssl", [
    ...["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=x"],
    ...["-keyout", "-", "-out", "-"],
  ]).stdout.toString();
  const server = tls.createServer({ cert: made, key: made });
  t.after(() => server.close());
  server.on("tlsClientError", () => {});
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const port = (server.address() as net.AddressInfo).port;

  const message = acceptable(gear.sni("a.test"));
  const empty = (count: number) =>
    gear.join(...new Array<Uint8Array>(count).fill(gear.record(new Uint8Array(0))));
  const tail = gear.record(message.subarray(60));
  const second = (bytes: Uint8Array) => gear.join(gear.record(message.subarray(0, 60)), bytes);
  const twin = gear.extension(0x1234, Buffer.of(0));
  const cases: Record<string, Uint8Array> = {
    "one record": gear.record(message),
    "records of one byte": gear.records(message, [1]),
    "records of three": gear.records(message, [3]),
    "large, over records": gear.records(acceptable(gear.extension(0x4321, new Uint8Array(40_000)))),
    "32 empty records": gear.join(empty(32), gear.record(message)),
    "33 empty records": gear.join(empty(33), gear.record(message)),
    "32 and 32 empty records": gear.join(empty(32), gear.record(message.subarray(0, 60)), empty(32), tail),
    "record versions that differ": second(gear.record(message.subarray(60), 0x03ff)),
    "record version 2.0 in the second": second(gear.record(message.subarray(60), 0x0200)),
    "application data in the middle": second(gear.record(message.subarray(60), 0x0303, 23)),
    "another message": gear.record(gear.handshake(2, message.subarray(4))),
    "a record beyond 2^14": gear.join(Buffer.of(22, 3, 1, 0x40, 1), new Uint8Array(16385)),
    "unknown extension twice": gear.record(acceptable(twin, twin)),
    "name twice": gear.record(acceptable(gear.sni("a.test"), gear.sni("a.test"))),
    "extended_master_secret twice": gear.record(
      acceptable(gear.extension(23, Buffer.alloc(0)), gear.extension(23, Buffer.alloc(0))),
    ),
    "empty name": gear.record(acceptable(gear.sni(""))),
    "IP literal": gear.record(acceptable(gear.sni("192.0.2.1"))),
    "NUL in the name": gear.record(acceptable(gear.sni("a\0b"))),
    "name of 255": gear.record(acceptable(gear.sni("a".repeat(255)))),
    "name of 256": gear.record(acceptable(gear.sni("a".repeat(256)))),
    "name type 1": gear.record(acceptable(gear.sni("a.test", 1))),
    "empty ALPN": gear.record(acceptable(gear.extension(16, Buffer.from("\0\0")))),
    "ALPN entry past the end": gear.record(acceptable(gear.extension(16, Buffer.from("\0\x03\x05h2")))),
    "session id of 33": gear.record(gear.helloMessage({ sessionId: new Uint8Array(33) })),
    "no ciphers": gear.record(gear.helloMessage({ ciphers: [] })),
    "no compression method": gear.record(gear.helloMessage({ compression: new Uint8Array(0) })),
    "extension past the end": gear.record(acceptable(gear.extension(0x1234, Buffer.of(0), 9999))),
    "version 2.0": gear.record(gear.helloMessage({ legacyVersion: 0x0200 })),
    "SSLv2 form, version 2": Buffer.from(`801c0100020003000000100700c0${"55".repeat(16)}`, "hex"),
  };
  for (const [what, bytes] of Object.entries(cases)) {
    const verdict: HelloVerdict = parseHello(bytes, LIMIT);
    const answer = await ask(t, port, bytes);
    if (verdict.kind === "hello") assert.equal(answer, "handshake", what);
    else if (verdict.kind === "bad") assert.match(answer, /alert/, what);
    else assert.fail(`${what}: ${JSON.stringify(verdict)}`);
    // The very alert is compared where it was looked up: later versions may choose another.
    if (verdict.kind === "bad" && process.versions.openssl.startsWith("3.0."))
      assert.equal(answer, `alert ${verdict.alert}`, what);
  }

  // The documented exception: names that are no host names.
  for (const name of ["a b", "a..b", "*.test"]) {
    const bytes = gear.record(acceptable(gear.sni(name)));
    assert.equal(await ask(t, port, bytes), "handshake", name);
    const verdict = parseHello(bytes, LIMIT);
    assert.equal(verdict.kind === "bad" && verdict.alert, ALERT.unrecognized_name, name);
  }
});
