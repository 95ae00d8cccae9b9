/** The verdict on a peer: dates, rules, names, and a message an operator can act on. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { PeerRule } from "../../lib/config/config.ts";
import { authoriser } from "../../lib/tls/authorise.ts";
import { peerFromDer } from "../../lib/tls/peer.ts";
import { pemBytes } from "../../lib/tls/pem.ts";
import { type LeafName, leaf } from "../gear/certificates.ts";

const peerOf = async (name: LeafName) => peerFromDer(pemBytes((await leaf(name)).cert));
const judge = (rules: PeerRule[], now = Date.now(), subjects: "clients" | "servers" = "clients") =>
  authoriser({ rules, label: "route web", now: () => now, subjects });

test("who a rule names is let in", async () => {
  assert.equal(judge([{ kind: "cn", value: "alice" }])(await peerOf("alice"), null), null);
});

test("a denial names the peer, the rules and the rule that would let it in", async () => {
  const peer = await peerOf("mallory");
  const error = judge([{ kind: "cn", value: "alice" }])(peer, null);
  assert.equal(error?.code, "DENIED");
  assert.equal(error.alert, 46);
  for (const part of [
    "route web",
    "CN=mallory",
    "DNS:mallory.elsewhere.test",
    peer.fingerprint.slice(0, 16),
  ]) {
    assert.ok(error.message.includes(part), `${part} in ${error.message}`);
  }
  assert.match(error.message, /\{ cn: "alice" \}; \{ dns: "mallory.elsewhere.test" \} would let it in$/);
});

test("a SPIFFE ID is suggested before a name, and a fingerprint where there is nothing else", async () => {
  const rules: PeerRule[] = [{ kind: "cn", value: "nobody" }];
  assert.match(
    judge(rules)(await peerOf("spiffe"), null)!.message,
    /\{ spiffe: "spiffe:\/\/example.test\/ns\/prod\/web" \} would/,
  );
  assert.match(
    judge(rules)(await peerOf("ipOnly"), null)!.message,
    /\{ fingerprint: "sha256:[0-9a-f]{64}" \} would/,
  );
});

test("dates are judged before rules, also where any is let in", async () => {
  const peer = await peerOf("alice");
  const any: PeerRule[] = [{ kind: "any" }];
  assert.equal(judge(any, peer.notAfter)(peer, null), null);
  const late = judge(any, peer.notAfter + 1)(peer, null);
  assert.equal(late?.code, "EXPIRED");
  assert.equal(late.alert, 45);
  assert.match(late.message, /CN=alice.* expired at 20\d\d-/);
  const early = judge(any, peer.notBefore - 1)(peer, null);
  assert.equal(early?.code, "EXPIRED");
  assert.equal(early.alert, 42);
});

test("a certificate that cannot be read is denied even by any", () => {
  const error = judge([{ kind: "any" }])(peerFromDer(new Uint8Array([0x30, 0x00])), null);
  assert.equal(error?.code, "DENIED");
  assert.equal(error.alert, 42);
});

test("without rules the expected name decides, and without a name nobody is let in", async () => {
  const verdict = judge([], Date.now(), "servers");
  const server = await peerOf("server");
  assert.equal(verdict(server, "web.example.test"), null);
  assert.equal(verdict(server, "127.0.0.1"), null);
  assert.equal(verdict(await peerOf("wildcard"), "any.example.test"), null);
  assert.match(verdict(server, "db.example.test")!.message, /does not prove the name db.example.test/);
  assert.equal(verdict(await peerOf("cnOnly"), "localhost")?.code, "DENIED");
  assert.equal(verdict(server, null)?.code, "DENIED");
});

test("with rules the name does not count", async () => {
  const verdict = judge(
    [{ kind: "spiffe", value: "spiffe://example.test/ns/prod/*" }],
    Date.now(),
    "servers",
  );
  assert.equal(verdict(await peerOf("server"), "another.test"), null);
  assert.equal(verdict(await peerOf("mallory"), "mallory.elsewhere.test")?.code, "DENIED");
});
