/**
 * Ensures that a client whose certificate cannot be parsed, or is not the one that its key belongs to, is refused with the same
 * reason and alert on both transports; and that BER for DER, which OpenSSL takes, changes nobody's name.
 */
import assert from "node:assert/strict";
import { pemBytes } from "../../lib/tls/pem.ts";
import { shakeHands } from "../gear/bare-client.ts";
import { leaf } from "../gear/certificates.ts";
import { element, sequence, text } from "../gear/der.ts";
import { edge, MUTUAL } from "../gear/edge.ts";
import { bothSayTheSame, keep } from "../gear/judged.ts";
import { attribute, keyOf, mint, root, type Shape } from "../gear/mint.ts";
import { unknownExtension } from "../gear/odd-certificates.ts";
import { ended, reasons } from "../gear/peers.ts";
import { scenario } from "../gear/scene.ts";

const UNREADABLE = "handshake_failed 50";

const ROOT = root("mint root");

const shaped = (what: string, shape: Shape): readonly [string, readonly Uint8Array[], string] => [
  what,
  [mint(ROOT, shape)],
  UNREADABLE,
];

/** Certificates in the order in which they are sent, and what comes of it. */
async function cases(): Promise<(readonly [string, readonly Uint8Array[], string])[]> {
  const alice = await leaf("alice");
  const good = pemBytes(alice.cert);
  const body = good.subarray(4);
  const large = unknownExtension(false, text(0x0c, "x".repeat(60_000)));
  return [
    ["nothing at all", [], "denied 116"],
    ["an empty certificate", [Buffer.alloc(0)], UNREADABLE],
    ["noise", [Buffer.alloc(300, 0x5a)], UNREADABLE],
    ["text", [Buffer.from(alice.cert)], UNREADABLE],
    ["cut short", [good.subarray(0, -1)], UNREADABLE],
    ["a byte too many", [Buffer.concat([good, Buffer.from([0])])], UNREADABLE],
    ["an empty sequence", [sequence()], UNREADABLE],
    ["noise behind it", [good, Buffer.alloc(300, 0x5a)], UNREADABLE],
    shaped("a name in VisibleString", { subject: attribute("cn", "alice", 26) }),
    shaped("a name that is not UTF-8", { subject: attribute("cn", "\xff\xfe") }),
    shaped("a serial without bytes", { serial: Buffer.alloc(0) }),
    shaped("a serial with a zero before it", { serial: Buffer.from([0, 1]) }),
    shaped("a date in text", { to: text(12, "30010101") }),
    shaped("one date only", { to: Buffer.alloc(0) }),
    shaped("an extension without value", { extensions: [sequence(element(6, Buffer.from([42])))] }),
    shaped("noise as key", { key: { ...keyOf("p256"), spki: sequence(sequence(), text(3, "x")) } }),
    ["more than OpenSSL reads", [mint(ROOT, { extensions: [large, large] })], "handshake_failed 47"],
    ["a certificate of another key", [pemBytes((await leaf("rsa")).cert)], "handshake_failed 47"],
    ["somebody else's certificate", [pemBytes((await leaf("mallory")).cert)], "handshake_failed 51"],
    ["BER of indefinite length", [Buffer.concat([Buffer.from([0x30, 0x80]), body, Buffer.alloc(2)])], "ok"],
    ["BER with a longer length", [Buffer.concat([Buffer.from([0x30, 0x83, 0]), good.subarray(2)])], "ok"],
  ];
}

scenario("certificates that cannot be parsed are refused with an alert", async (scene) => {
  const service = await scene.service((socket) => socket.end("welcome"));
  const stage = await edge(scene, service, [MUTUAL]);
  const alice = await leaf("alice");
  const rows = await cases();
  const heard: string[] = [];
  for (const [, certificates] of rows) {
    heard.push((await shakeHands(stage.port("in"), alice, { certificates })).join(" "));
  }
  const lines = await ended(stage, rows.length);
  assert.deepEqual(
    lines.map(
      ({ reason }, at) => `${rows[at]![0]}: ${reason} ${heard[at]!.replaceAll(/ticket |alert /g, "")}`,
    ),
    rows.map(([what, , expected]) => `${what}: ${expected === "ok" ? "ok data welcome 0" : expected}`),
  );
  for (const [at, { peer, reason }] of lines.entries()) {
    if (reason === "ok") assert.equal(peer?.subject, "CN=alice,OU=ops", rows[at]![0]);
  }
  assert.equal(service.accepted, reasons(stage, "in")["ok"]);
  const seen = rows.map(([what]) => ({ what }));
  keep(scene.transport, seen, lines);
});

bothSayTheSame();
