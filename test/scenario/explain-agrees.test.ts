/** Ensures that `millrace explain` gives for a table of hellos the verdict that the running proxy gives. */
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { mock } from "node:test";
import { explain } from "../../lib/cli/explain.ts";
import type { ConfigInput } from "../../lib/config/parse.ts";
import { ProxyError } from "../../lib/errors.ts";
import { directoryWith } from "../gear/certificates.ts";
import { edgeConfig, TERMINATE } from "../gear/edge.ts";
import {
  alpn,
  browserHello,
  echOuter,
  extension,
  helloStream,
  records,
  sni,
  versions,
} from "../gear/hellos.ts";
import { ended, lastWords } from "../gear/peers.ts";
import { scenario } from "../gear/scene.ts";

const named = (name: string, ...more: Uint8Array[]) => helloStream({ extensions: [sni(name), ...more] });

const HELLOS: Readonly<Record<string, Buffer>> = {
  exact: named("web.example.test"),
  "upper case": named("WEB.Example.TEST"),
  "trailing dot": named("web.example.test."),
  "one label": named("a.db.example.test"),
  "two labels": named("a.b.db.example.test"),
  "any labels": named("a.b.deep.example.test"),
  "bare domain of a wildcard": named("db.example.test"),
  "exact before wildcard, but for its protocol": named("special.db.example.test"),
  "exact with its protocol": named("special.db.example.test", alpn("h3", "postgresql")),
  "a protocol without a name": helloStream({ extensions: [alpn("ssh")] }),
  "no extension": helloStream({ extensions: null }),
  "TLS 1.0 only": helloStream({ legacyVersion: 0x0301, extensions: [sni("web.example.test")] }),
  "unknown version": named("web.example.test", versions(0x7f1c)),
  browser: records(browserHello("web.example.test"), [700]),
  ECH: named("public.example.test", echOuter()),
  "IP literal": named("127.0.0.1"),
  "empty name": named(""),
  "hostile name": named('a"b.test'),
  "broken extension": helloStream({ extensions: [extension(0, Buffer.from([0, 9, 0]))] }),
  "no TLS": Buffer.from("GET / HTTP/1.1\r\n\r\n"),
  "SSLv2 form": Buffer.from([0x80, 0x2e, 1, 3, 1, 0, 21, 0, 0, 0, 16, ...Array(40).fill(0)]),
};

for (const fallback of ["refuse", "default"] as const) {
  scenario(`explain and the running proxy agree on each hello: ${fallback}`, async (scene) => {
    const service = await scene.service((socket) => socket.end());
    const config: ConfigInput = await edgeConfig(scene, service, [
      { ...TERMINATE, name: "web", match: { sni: ["web.example.test"] } },
      {
        name: "special",
        tls: "passthrough",
        match: { sni: ["special.db.example.test"], alpn: ["postgresql"] },
      },
      { name: "one", tls: "passthrough", match: { sni: ["*.db.example.test"] } },
      { name: "deep", tls: "passthrough", match: { sni: ["**.deep.example.test"], from: ["127.0.0.0/8"] } },
      { name: "far", tls: "passthrough", match: { sni: ["**.example.test"], from: ["192.0.2.0/24"] } },
      { name: "ssh", tls: "passthrough", match: { alpn: ["ssh"] } },
    ]);
    if (fallback === "default") config.listeners![0]!.default = { name: "rest", tls: "none", cluster: "out" };
    const stage = await scene.proxy(config);
    // JSON is YAML.
    const files = directoryWith({ "config.yaml": JSON.stringify(config) });
    scene.onClose(files.remove);

    const told: (string | null)[] = [];
    for (const [what, bytes] of Object.entries(HELLOS)) {
      const hello = join(files.path, `${told.length}.hello`);
      writeFileSync(hello, bytes);
      told.push(oracle(join(files.path, "config.yaml"), hello));
      const client = await scene.client(stage.port("in"));
      const last = lastWords(client);
      client.end(bytes);
      await last;
      assert(told.length > 0, what);
    }
    const lines = await ended(stage, told.length);
    const ran = lines.map(({ route, reason }) => route ?? (reason === "bad_hello" ? "bad_hello" : null));
    const names = Object.keys(HELLOS);
    // Plaintext where every route needs TLS is a matter of form to the proxy and of routes to the oracle: both refuse it.
    const refused = (verdict: string | null, at: number) =>
      names[at] === "no TLS" && verdict === null ? "bad_hello" : verdict;
    assert.deepEqual(
      names.map((name, at) => [name, ran[at]]),
      names.map((name, at) => [name, fallback === "refuse" ? refused(told[at]!, at) : told[at]]),
    );
    assert(new Set(ran).size >= 6, "the table tells routes apart");
  });
}

/** The route, null for none, or `bad_hello`. */
function oracle(config: string, hello: string): string | null {
  let text = "";
  const log = mock.method(console, "log", (line: string) => {
    text += line;
  });
  try {
    explain({
      ...{ config, listener: "in", hello, json: true, plain: false },
      ...{ from: "127.0.0.1", sni: undefined, alpn: [], destination: undefined },
    });
    return (JSON.parse(text) as { route: string | null }).route;
  } catch (error) {
    assert(error instanceof ProxyError);
    assert.match(error.message, /refused as bad_hello/);
    return "bad_hello";
  } finally {
    log.mock.restore();
  }
}
