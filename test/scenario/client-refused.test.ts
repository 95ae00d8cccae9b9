/**
 * Ensures that a client that must not come in is told so by alert, that the line says who it was and which name it asked for,
 * and that no service ever sees it: with TLS 1.2 and 1.3, from Node and from openssl.
 */
import assert from "node:assert/strict";
import { join } from "node:path";
import type { Pair } from "../../lib/tls/authority.ts";
import { directoryWith, type LeafName, leaf, selfSigned, strange } from "../gear/certificates.ts";
import { edge, MUTUAL } from "../gear/edge.ts";
import { ended, reasons, tlsVerdict } from "../gear/peers.ts";
import { sClient } from "../gear/s-client.ts";
import { scenario } from "../gear/scene.ts";

interface Refusal {
  readonly who: string;
  readonly pair: () => Promise<Pair | null>;
  readonly reason: string;
  /** In TLS 1.3. Each of them has been in TLS 1.2, too, but for `certificate_required`. */
  readonly alert: number;
  readonly alert12?: number;
  /** In the line's `error`. */
  readonly says: RegExp;
  readonly subject: string | null;
}

const one = (name: LeafName) => () => leaf(name);

const REFUSALS: readonly Refusal[] = [
  {
    who: "another CA",
    pair: strange,
    reason: "handshake_failed",
    alert: 48,
    says: /not vouched for/,
    subject: "CN=alice,OU=ops",
  },
  {
    who: "self-signed",
    pair: selfSigned,
    reason: "handshake_failed",
    alert: 48,
    says: /vouches for itself/,
    subject: "CN=localhost",
  },
  {
    who: "no rule's name",
    pair: one("mallory"),
    reason: "denied",
    alert: 46,
    says: /matches none of .*dns.*mallory/,
    subject: "CN=mallory",
  },
  {
    who: "expired",
    pair: one("expired"),
    reason: "expired",
    alert: 45,
    says: /has expired/,
    subject: "CN=expired",
  },
  {
    who: "not yet valid",
    pair: one("future"),
    reason: "expired",
    alert: 42,
    says: /not valid yet/,
    subject: "CN=future",
  },
  {
    who: "revoked",
    pair: one("revoked"),
    reason: "revoked",
    alert: 44,
    says: /revocation list/,
    subject: "CN=revoked",
  },
  {
    who: "a server's purpose",
    pair: one("serverPurpose"),
    reason: "handshake_failed",
    alert: 43,
    says: /another purpose/,
    subject: "CN=server purpose",
  },
  {
    who: "no certificate",
    pair: async () => null,
    reason: "denied",
    alert: 116,
    alert12: 40,
    says: /showed no certificate/,
    subject: null,
  },
];

for (const version of ["TLSv1.2", "TLSv1.3"] as const) {
  scenario(`refusals of clients in ${version}`, async (scene) => {
    const service = await scene.service((socket) => socket.end("never"));
    const stage = await edge(
      scene,
      service,
      [{ ...MUTUAL, name: "web", match: { sni: ["web.example.test"] }, allow: [{ cn: "alice" }] }],
      { crl: true },
    );
    const port = stage.port("in");
    for (const { who, pair, alert, alert12 } of REFUSALS) {
      const shown = await pair();
      // Node has no call that sends an alert in TLS 1.2: there a close has to do, unless OpenSSL itself refuses.
      const ownWord = version === "TLSv1.3" || scene.transport === "epoll" || alert12 !== undefined;
      const told = ownWord ? (version === "TLSv1.2" ? (alert12 ?? alert) : alert) : null;
      const options = { servername: "web.example.test", minVersion: version, maxVersion: version, ...shown };
      const node = await tlsVerdict(port, options);
      assert.equal(node.alert, told, `${who}, told to Node`);
      assert.equal(node.answer, "", who);
      const files = directoryWith(shown === null ? {} : { crt: shown.cert, key: shown.key });
      scene.onClose(files.remove);
      const openssl = await sClient(port, [
        ...["-servername", "web.example.test", version === "TLSv1.2" ? "-tls1_2" : "-tls1_3"],
        ...(shown === null ? [] : ["-cert", join(files.path, "crt"), "-key", join(files.path, "key")]),
      ]);
      assert.equal(openssl.alert, told, `${who}, told to openssl`);
    }
    const lines = await ended(stage, REFUSALS.length * 2);
    const expected: Record<string, number> = {};
    for (const [index, { who, reason, says, subject }] of REFUSALS.entries()) {
      for (const line of lines.slice(index * 2, index * 2 + 2)) {
        assert.equal(line.reason, reason, who);
        assert.match(line.error!, says, who);
        assert.equal(line.sni, "web.example.test", who);
        assert.equal(line.route, "web", who);
        assert.equal(line.peer?.subject ?? null, subject, who);
        assert.equal(line.cluster, undefined, who);
        expected[reason] = (expected[reason] ?? 0) + 1;
      }
    }
    assert.equal(service.accepted, 0);
    assert.deepEqual(reasons(stage, "in"), expected);
  });
}
