/**
 * Ensures that some two hundred client certificates, right, wrong and odd, are let in or refused by the table, with the same
 * reason, alert and words on both transports. Certificates of several faults are let in by neither; there the words may differ.
 */
import assert from "node:assert/strict";
import { join } from "node:path";
import { directoryWith, leaf } from "../gear/certificates.ts";
import { bothSayTheSame, keep, type Seen } from "../gear/judged.ts";
import { keyOf, pem } from "../gear/mint.ts";
import { BUNDLE, BY_LEVEL, type Odd, OK } from "../gear/odd-certificates.ts";
import { oddChains } from "../gear/odd-chains.ts";
import { oddLeaves, severalFaults } from "../gear/odd-leaves.ts";
import { CLIENT_DOORS, oddNames } from "../gear/odd-names.ts";
import { ended, tlsVerdict } from "../gear/peers.ts";
import { type Access, type Scene, type Stage, scenario } from "../gear/scene.ts";

const VERSIONS = ["TLSv1.2", "TLSv1.3"] as const;

/** One route per door, each behind its own name. */
async function doors(scene: Scene): Promise<Stage> {
  const service = await scene.service((socket) => {
    socket.once("data", () => socket.end("welcome"));
  });
  const { cert, key } = await leaf("server");
  const files = directoryWith({ crt: cert, key, ca: pem(...BUNDLE) });
  scene.onClose(files.remove);
  const file = (name: string) => join(files.path, name);
  return scene.proxy({
    identities: { edge: { cert: file("crt"), key: file("key"), ca: file("ca") } },
    listeners: [
      {
        name: "in",
        address: "127.0.0.1:0",
        routes: Object.entries(CLIENT_DOORS).map(([name, allow]) => ({
          name,
          match: { sni: [`${name}.test`] },
          tls: "terminate" as const,
          identity: "edge",
          client_auth: "required" as const,
          allow,
          cluster: "out",
        })),
      },
    ],
    clusters: { out: { endpoints: [service.address] } },
  });
}

interface Row extends Seen {
  /** What the table says: `denied 46`; null: the version of OpenSSL decides. */
  readonly expected: string | null;
  readonly heard: number | null;
}

/** Shows a certificate at a door. */
async function show(
  scene: Scene,
  port: number,
  door: string,
  version: "TLSv1.2" | "TLSv1.3",
  odd: Pick<Odd, "what" | "chain" | "key" | "client">,
): Promise<Row> {
  const what = `${odd.what}, ${door}, ${version}`;
  const { alert, answer } = await tlsVerdict(port, {
    servername: `${door}.test`,
    minVersion: version,
    maxVersion: version,
    cert: pem(...odd.chain),
    key: odd.key.pem,
    // The peer may be as careless as it likes.
    ciphers: "DEFAULT@SECLEVEL=0",
  });
  const expected = odd.client === BY_LEVEL ? null : odd.client;
  if (expected !== null) assert.equal(answer, expected === OK ? "welcome" : "", what);
  if (version === "TLSv1.3") return { what, alert, heard: alert, expected };
  // Node has no call that sends an alert of ours in TLS 1.2.
  if (scene.transport === "epoll") return { what, heard: alert, expected };
  assert.equal(alert, null, what);
  return { what, heard: null, expected: expected?.split(" ")[0] ?? null };
}

async function judge(scene: Scene, stage: Stage, rows: readonly Row[]): Promise<Access[]> {
  const lines = await ended(stage, rows.length);
  const found = rows.map(({ what, heard }, at) => {
    const reason = lines[at]!.reason;
    return `${what}: ${heard === null ? reason : `${reason} ${heard}`}`;
  });
  assert.deepEqual(
    found.filter((_, at) => rows[at]!.expected !== null),
    rows.filter(({ expected }) => expected !== null).map(({ what, expected }) => `${what}: ${expected}`),
  );
  assert.equal(scene.transport, lines[0]!.transport);
  return lines;
}

scenario("client certificates have the verdict of the table", async (scene) => {
  const stage = await doors(scene);
  const port = stage.port("in");
  const rows: Row[] = [];
  for (const odd of [...oddLeaves(), ...oddChains()]) {
    for (const version of VERSIONS) rows.push(await show(scene, port, "any", version, odd));
  }
  for (const [index, { what, certificate, client }] of oddNames().entries()) {
    for (const door of Object.keys(CLIENT_DOORS)) {
      const verdict = client.split(" ").includes(door) ? OK : "denied 46";
      const odd = { what, chain: [certificate], key: keyOf("p256"), client: verdict };
      rows.push(await show(scene, port, door, VERSIONS[index % 2]!, odd));
    }
  }
  keep(scene.transport, rows, await judge(scene, stage, rows));
});

bothSayTheSame();

scenario("a certificate of several faults is let in by neither transport", async (scene) => {
  const stage = await doors(scene);
  const rows: Row[] = [];
  for (const odd of severalFaults()) {
    const client = scene.transport === "net" ? (odd.net ?? odd.client) : odd.client;
    for (const version of VERSIONS) {
      rows.push(await show(scene, stage.port("in"), "any", version, { ...odd, client }));
    }
  }
  await judge(scene, stage, rows);
});
