/**
 * Ensures that both transports give the same reason, the same alert, the same peer and the same words on a table of
 * certificates and hellos. One difference is known: Node has no call that sends an alert of ours in TLS 1.2.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { DAY, type Pair } from "../../lib/tls/authority.ts";
import { issue, type LeafName, leaf, selfSigned, strange, strangeAuthority } from "../gear/certificates.ts";
import { edge, MUTUAL } from "../gear/edge.ts";
import * as hellos from "../gear/hellos.ts";
import { words } from "../gear/judged.ts";
import { ended, lastWords, tlsVerdict } from "../gear/peers.ts";
import { scenario, TRANSPORTS } from "../gear/scene.ts";

const past = { notBefore: Date.now() - 2 * DAY, notAfter: Date.now() - DAY };
const own = (name: LeafName) => () => leaf(name);

/** Reason and alert (TLS 1.3) of each client certificate; only alice is let in. */
const CERTIFICATES: readonly (readonly [string, () => Promise<Pair | null>, string])[] = [
  ["alice", own("alice"), "ok -"],
  ["mallory", own("mallory"), "denied 46"],
  ["a server of ours", own("server"), "denied 46"],
  ["expired", own("expired"), "expired 45"],
  ["not yet valid", own("future"), "expired 42"],
  ["revoked", own("revoked"), "revoked 44"],
  ["RSA", own("rsa"), "denied 46"],
  ["IP address only", own("ipOnly"), "denied 46"],
  ["SPIFFE only", own("spiffe"), "denied 46"],
  ["common name only", own("cnOnly"), "denied 46"],
  ["wildcard", own("wildcard"), "denied 46"],
  ["client's purpose", own("clientPurpose"), "denied 46"],
  ["server's purpose", own("serverPurpose"), "handshake_failed 43"],
  ["self-signed", selfSigned, "handshake_failed 48"],
  ["another CA", strange, "handshake_failed 48"],
  [
    "another CA and expired",
    async () => (await strangeAuthority()).issue({ commonName: "alice", ...past }),
    "handshake_failed 48",
  ],
  ["alice, expired", () => issue({ commonName: "alice", ...past }), "expired 45"],
  ["alice, for a moment only", () => issue({ commonName: "alice", notAfter: Date.now() + 60_000 }), "ok -"],
  ["alice beside another name", () => issue({ commonName: "alice", dns: ["mallory.test"] }), "ok -"],
  ["Alice in capitals", () => issue({ commonName: "ALICE" }), "denied 46"],
  ["nobody", () => issue({}), "denied 46"],
  ["none", async () => null, "denied 116"],
];

const {
  alpn,
  browserHello,
  echInner,
  echOuter,
  extension,
  handshake,
  helloMessage,
  helloStream,
  records,
  sni,
  versions,
} = hellos;
const WEB = sni("web.example.test");

/** Reason and alert in the clear of each hello; the client ends behind it. */
const HELLOS: readonly (readonly [string, Uint8Array, string])[] = [
  ["another name", helloStream({ extensions: [sni("other.test")] }), "no_route 112"],
  ["no extension", helloStream({ extensions: null }), "no_route 112"],
  ["empty name", helloStream({ extensions: [sni("")] }), "no_route 112"],
  ["IP literal", helloStream({ extensions: [sni("127.0.0.1")] }), "no_route 112"],
  ["NUL in the name", helloStream({ extensions: [sni("web.example.test\0")] }), "bad_hello 112"],
  ["name of another type", helloStream({ extensions: [sni("web.example.test", 1)] }), "bad_hello 50"],
  ["two names", helloStream({ extensions: [WEB, WEB] }), "bad_hello 47"],
  ["extension too long", helloStream({ extensions: [extension(0, Buffer.alloc(3), 9)] }), "bad_hello 50"],
  ["odd cipher list", helloStream({ ciphers: [] }), "bad_hello 47"],
  ["TLS 1.0 only", helloStream({ legacyVersion: 0x0301, extensions: [WEB] }), "handshake_failed 70"],
  ["unknown version", helloStream({ extensions: [WEB, versions(0x7f1c)] }), "handshake_failed 70"],
  ["legacy version 2", helloStream({ legacyVersion: 0x0200, extensions: [WEB] }), "bad_hello 70"],
  ["no common cipher", helloStream({ ciphers: [0x00ff], extensions: [WEB] }), "handshake_failed 40"],
  ["no key share group", helloStream({ extensions: [WEB, versions(0x0304)] }), "handshake_failed 109"],
  ["browser, then the end", records(browserHello("web.example.test")), "handshake_failed 109"],
  ["ECH outer", helloStream({ extensions: [sni("ech.test"), echOuter()] }), "no_route 112"],
  ["ECH inner", helloStream({ extensions: [sni("ech.test"), echInner] }), "no_route 112"],
  [
    "record too long",
    Buffer.concat([Buffer.from([22, 3, 1, 0x48, 0]), Buffer.alloc(20_000)]),
    "bad_hello 22",
  ],
  ["another handshake message", Buffer.from(records(handshake(2, Buffer.alloc(60)))), "bad_hello 10"],
  ["alert instead of a hello", Buffer.from([21, 3, 3, 0, 2, 2, 40]), "bad_hello -"],
  [
    "alert inside a hello",
    Buffer.concat([records(helloMessage().subarray(0, 60)), Buffer.from([21, 3, 3, 0, 2, 2, 40])]),
    "bad_hello 10",
  ],
  [
    "SSLv2 form",
    Buffer.from([0x80, 0x2e, 1, 3, 1, 0, 21, 0, 0, 0, 16, ...Array(40).fill(0)]),
    "bad_hello 70",
  ],
  ["plaintext", Buffer.from("GET / HTTP/1.1\r\n\r\n"), "bad_hello -"],
  ["hostile protocol", helloStream({ extensions: [sni("x.test"), alpn('"\n')] }), "no_route 112"],
];

/** What is not about this one run: ports, fingerprints, times. */
interface Verdict {
  readonly what: string;
  readonly verdict: string;
  readonly peer: string | undefined;
  readonly tls: string | undefined;
  readonly error: string | undefined;
}

const verdicts = new Map<string, Verdict[]>();

scenario("certificates and hellos have the verdict of the table", async (scene) => {
  const service = await scene.service((socket) => {
    socket.once("data", () => socket.end("welcome"));
  });
  const stage = await edge(
    scene,
    service,
    [{ ...MUTUAL, name: "web", match: { sni: ["web.example.test"] }, allow: [{ cn: "alice" }] }],
    { crl: true },
  );
  const rows: { what: string; alert: number | null; expected: string; silent: boolean }[] = [];
  for (const version of ["TLSv1.2", "TLSv1.3"] as const) {
    for (const [what, pair, expected] of CERTIFICATES) {
      const options = { servername: "web.example.test", minVersion: version, maxVersion: version };
      const { alert } = await tlsVerdict(stage.port("in"), { ...options, ...(await pair()) });
      const old = version === "TLSv1.2";
      const silent = old && scene.transport === "net" && what !== "none";
      rows.push({
        what: `${what}, ${version}`,
        alert,
        silent,
        expected: old ? expected.replace("116", "40") : expected,
      });
    }
  }
  for (const [what, bytes, expected] of HELLOS) {
    const client = await scene.client(stage.port("in"));
    const last = lastWords(client);
    client.write(bytes);
    const heard = (await last).bytes;
    client.end();
    rows.push({ what, alert: heard[0] === 21 ? heard[6]! : null, silent: false, expected });
  }
  const lines = await ended(stage, rows.length);
  const seen = rows.map(({ what, alert, silent, expected }, at): Verdict => {
    const { reason, peer, tls, error } = lines[at]!;
    const told = silent ? expected.split(" ")[1] : (alert ?? "-");
    if (silent) assert.equal(alert, null, what);
    return { what, verdict: `${reason} ${told}`, peer: peer?.subject, tls, error: words(error) };
  });
  verdicts.set(scene.transport, seen);
  assert.deepEqual(
    seen.map(({ what, verdict }) => `${what}: ${verdict}`),
    rows.map(({ what, expected }) => `${what}: ${expected}`),
  );
});

test("both transports say the same", { skip: TRANSPORTS.length < 2 && "epoll does not run here" }, () => {
  assert.deepEqual(verdicts.get("net"), verdicts.get("epoll"));
});
