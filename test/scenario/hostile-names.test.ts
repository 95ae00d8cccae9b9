/** Ensures that hostile names (SNI, ALPN, certificate) cannot break a line of the log, forge another, or reach the metrics. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { Pair } from "../../lib/tls/authority.ts";
import { authority, directoryWith } from "../gear/certificates.ts";
import { edge, MUTUAL } from "../gear/edge.ts";
import { alpn, helloStream, sni } from "../gear/hellos.ts";
import { ended, fatalAlert, lastWords, reasons, tlsVerdict } from "../gear/peers.ts";
import { type Access, type Scene, scenario } from "../gear/scene.ts";

const FORGED = 'x","reason":"ok"}\n{"msg":"connection","reason":"ok';

scenario("hostile server names are refused and not repeated", async (scene) => {
  const service = await scene.service((socket) => socket.end("never"));
  const stage = await edge(scene, service, [{ ...MUTUAL, match: { sni: ["web.example.test"] } }]);
  const hostile: (string | Buffer)[] = [
    "web.example.test\0.evil.test",
    FORGED,
    '"><script>',
    "a\r\nb.test",
    "..",
    ".",
    "*",
    "\u001b[31mred.test",
    Buffer.from("münchen.test"),
    Buffer.from([0xff, 0xfe, 0x00]),
    "a".repeat(256),
    `${"a.".repeat(20_000)}test`,
  ];
  for (const name of hostile) {
    const client = await scene.client(stage.port("in"));
    const last = lastWords(client);
    client.write(helloStream({ extensions: [sni(name)] }).subarray(0, 70_000));
    const { bytes, how } = await last;
    client.end();
    assert.equal(how, "end");
    assert.deepEqual(bytes, fatalAlert(name.length > 16_000 ? bytes[6]! : 112));
  }
  const lines = await ended(stage, hostile.length);
  for (const line of lines) {
    assert.equal(line.reason, "bad_hello");
    assert.equal(line.sni, undefined);
    assert.match(line.error!, /^[\x20-\x7e]{1,200}$/);
  }
  assert.deepEqual(reasons(stage, "in"), { bad_hello: hostile.length });
});

scenario(
  "long and odd names that are names, hostile protocols and subjects stay inside their line",
  async (scene) => {
    const service = await scene.service((socket) => socket.end("never"));
    const stage = await edge(scene, service, [
      { ...MUTUAL, match: { sni: ["web.example.test"] }, allow: [{ cn: "alice" }] },
    ]);
    const longest = `${"a".repeat(63)}.`.repeat(3) + "b".repeat(61);
    for (const name of [longest, "_service.UPPER.example.test", "xn--mnchen-3ya.test", "127.0.0.1"]) {
      const client = await scene.client(stage.port("in"));
      const last = lastWords(client);
      client.write(helloStream({ extensions: [sni(name), alpn(FORGED)] }));
      assert.deepEqual((await last).bytes, fatalAlert(112));
      client.end();
    }
    const forged = await signedByOpenssl(scene, FORGED);
    assert.equal(
      (await tlsVerdict(stage.port("in"), { ...forged, servername: "web.example.test" })).alert,
      46,
    );
    const lines: Access[] = await ended(stage, 5);
    assert.deepEqual(
      lines.map(({ reason, sni: name }) => [reason, name]),
      [
        ["no_route", longest],
        ["no_route", "_service.upper.example.test"],
        ["no_route", "xn--mnchen-3ya.test"],
        ["no_route", undefined],
        ["denied", "web.example.test"],
      ],
    );
    for (const { alpn: protocol } of lines.slice(0, 4)) assert.equal(protocol, FORGED);
    assert.equal(lines[4]!.peer!.subject, `CN=#${Buffer.from(FORGED).toString("hex")}`);
    assert.match(lines[4]!.error!, /^[\x20-\x7e…]+$/);
    assert.deepEqual(reasons(stage, "in"), { no_route: 4, denied: 1 });
  },
);

/** A certificate with this common name, letter for letter: our own authority knows no such names. */
async function signedByOpenssl(scene: Scene, commonName: string): Promise<Pair> {
  const { cert, key } = await authority();
  const files = directoryWith({ "ca.crt": cert, "ca.key": key });
  scene.onClose(files.remove);
  const run = (args: string[]) => execFileSync("openssl", args, { cwd: files.path, stdio: "pipe" });
  const ec = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
  run(["req", "-new", ...ec, "-keyout", "key", "-out", "csr", "-subj", `/CN=${commonName}`]);
  run(["x509", "-req", "-in", "csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-days", "1", "-out", "crt"]);
  const read = (name: string) => readFileSync(join(files.path, name), "utf8");
  return { cert: read("crt"), key: read("key") };
}
