/**
 * Ensures that revocation lists, right, wrong and odd, decide alike on both transports: of leaves and of authorities, out of date,
 * missing for one authority of a chain, forged.
 */
import assert from "node:assert/strict";
import { join } from "node:path";
import { directoryWith, leaf as usual } from "../gear/certificates.ts";
import { bothSayTheSame, keep, type Seen } from "../gear/judged.ts";
import { below, integerOf, keyOf, list, listPem, mint, pem, root, utcTime } from "../gear/mint.ts";
import { DAY, NOW, SUBJECT, unknownExtension } from "../gear/odd-certificates.ts";
import { ended, tlsVerdict } from "../gear/peers.ts";
import { scenario } from "../gear/scene.ts";

const ROOT = root("listed root");
const OTHER = root("another root");
const SERIAL = Buffer.from([0x11]);
const MIDDLE_SERIAL = Buffer.from([0x22]);
const MIDDLE = below(ROOT, "listed middle", { serial: MIDDLE_SERIAL });
const ALICE = [mint(ROOT, { subject: SUBJECT, serial: SERIAL })];
const DEEP = [mint(MIDDLE, { subject: SUBJECT, serial: SERIAL }), MIDDLE.der];
const PAST = [mint(ROOT, { subject: SUBJECT, serial: SERIAL, to: utcTime(NOW - DAY / 2) })];

const EMPTY = list(ROOT);
const OLD = list(ROOT, { from: utcTime(NOW - 2 * DAY) });
const REVOKED = "revoked 44";

interface Case {
  readonly what: string;
  readonly lists: readonly Buffer[];
  readonly chain: readonly Buffer[];
  /** Reason, and alert of TLS 1.3. */
  readonly verdict: string;
  /** Where Node tells the last of several faults. */
  readonly net?: string;
}

const CASES: readonly Case[] = [
  { what: "nobody listed", lists: [EMPTY], chain: ALICE, verdict: "ok" },
  { what: "listed", lists: [list(ROOT, { revoked: [SERIAL] })], chain: ALICE, verdict: REVOKED },
  {
    what: "listed among 500",
    lists: [list(ROOT, { revoked: [...Array.from({ length: 500 }, (_, i) => integerOf(1000 + i)), SERIAL] })],
    chain: ALICE,
    verdict: REVOKED,
  },
  {
    what: "another listed",
    lists: [list(ROOT, { revoked: [Buffer.from([0x12])] })],
    chain: ALICE,
    verdict: "ok",
  },
  { what: "no next list announced", lists: [list(ROOT, { next: null })], chain: ALICE, verdict: "ok" },
  {
    what: "out of date",
    lists: [list(ROOT, { next: utcTime(NOW - DAY / 2) })],
    chain: ALICE,
    verdict: "handshake_failed 45",
  },
  {
    what: "not yet",
    lists: [list(ROOT, { from: utcTime(NOW + DAY) })],
    chain: ALICE,
    verdict: "handshake_failed 42",
  },
  { what: "forged", lists: [list(ROOT, { forged: true })], chain: ALICE, verdict: "handshake_failed 51" },
  {
    what: "of another CA",
    lists: [list(OTHER, { revoked: [SERIAL] })],
    chain: ALICE,
    verdict: "handshake_failed 48",
  },
  // Of several lists of one authority the newest counts.
  {
    what: "an old list, and a new one that names it",
    lists: [OLD, list(ROOT, { revoked: [SERIAL] })],
    chain: ALICE,
    verdict: REVOKED,
  },
  {
    what: "a list that names it, and a newer one that does not",
    lists: [list(ROOT, { revoked: [SERIAL], from: utcTime(NOW - 2 * DAY) }), EMPTY],
    chain: ALICE,
    verdict: "ok",
  },
  {
    what: "unknown critical extension",
    lists: [list(ROOT, { extensions: [unknownExtension(true)] })],
    chain: ALICE,
    verdict: "handshake_failed 42",
  },
  {
    what: "unknown extension",
    lists: [list(ROOT, { extensions: [unknownExtension(false)] })],
    chain: ALICE,
    verdict: "ok",
  },
  { what: "below an authority", lists: [EMPTY, list(MIDDLE)], chain: DEEP, verdict: "ok" },
  { what: "below an authority without a list", lists: [EMPTY], chain: DEEP, verdict: "handshake_failed 48" },
  {
    what: "listed below an authority",
    lists: [EMPTY, list(MIDDLE, { revoked: [SERIAL] })],
    chain: DEEP,
    verdict: REVOKED,
  },
  {
    what: "below a listed authority",
    lists: [list(ROOT, { revoked: [MIDDLE_SERIAL] }), list(MIDDLE)],
    chain: DEEP,
    verdict: REVOKED,
  },
  {
    what: "listed and expired",
    lists: [list(ROOT, { revoked: [SERIAL] })],
    chain: PAST,
    verdict: REVOKED,
    net: "expired 45",
  },
];

scenario("revocation lists have the verdict of the table", async (scene) => {
  const service = await scene.service((socket) => {
    socket.once("data", () => socket.end("welcome"));
  });
  const { cert, key } = await usual("server");
  const lists = Object.fromEntries(CASES.map((one, at) => [`crl-${at}`, listPem(...one.lists)]));
  const files = directoryWith({ crt: cert, key, ca: pem(ROOT.der, OTHER.der), ...lists });
  scene.onClose(files.remove);
  const file = (name: string) => join(files.path, name);
  const stage = await scene.proxy({
    identities: Object.fromEntries(
      CASES.map((_, at) => [
        `edge-${at}`,
        { cert: file("crt"), key: file("key"), ca: file("ca"), crl: file(`crl-${at}`) },
      ]),
    ),
    listeners: [
      {
        name: "in",
        address: "127.0.0.1:0",
        routes: CASES.map((_, at) => ({
          name: `case-${at}`,
          match: { sni: [`case-${at}.test`] },
          tls: "terminate" as const,
          identity: `edge-${at}`,
          client_auth: "required" as const,
          allow: ["any" as const],
          cluster: "out",
        })),
      },
    ],
    clusters: { out: { endpoints: [service.address] } },
  });
  const rows: (Seen & { readonly heard: number | null; readonly verdict: string })[] = [];
  for (const [at, { what, chain, verdict, net = verdict }] of CASES.entries()) {
    const { alert } = await tlsVerdict(stage.port("in"), {
      servername: `case-${at}.test`,
      minVersion: "TLSv1.3",
      cert: pem(...chain),
      key: keyOf("p256").pem,
    });
    rows.push({ what, heard: alert, alert, verdict: scene.transport === "net" ? net : verdict });
  }
  const lines = await ended(stage, rows.length);
  assert.deepEqual(
    lines.map(
      ({ reason }, at) =>
        `${rows[at]!.what}: ${reason}${rows[at]!.heard === null ? "" : ` ${rows[at]!.heard}`}`,
    ),
    rows.map(({ what, verdict }) => `${what}: ${verdict}`),
  );
  const single = (_: unknown, at: number) => CASES[at]!.net === undefined;
  keep(scene.transport, rows.filter(single), lines.filter(single));
});

bothSayTheSame();
