/** Ensures that `check`, `schema` and `explain` say what is right and what is not, for people and for programs. */
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { leaf } from "../gear/certificates.ts";
import { millraceIn80 } from "../gear/command.ts";
import { helloStream, sni } from "../gear/hellos.ts";
import { configured } from "../gear/running.ts";

const GOOD = `
listeners:
  - name: edge
    address: 127.0.0.1:8443
    routes:
      - name: db
        match: { sni: [db.example.test], from: [10.0.0.0/8] }
        tls: passthrough
        cluster: db
      - name: web
        match: { sni: ["*.example.test"], alpn: [h2] }
        tls: passthrough
        cluster: web
clusters:
  db: { endpoints: ["10.0.0.7:5432"] }
  web: { endpoints: ["10.0.0.8:443", { address: "10.0.0.9:443", weight: 2 }] }
`;

const BAD = `listeners:
  - name: edge
    address: 127.0.0.1:99999
    routes:
      - { tls: maybe, cluster: nowhere }
clusters:
  web: { endpoints: ["10.0.0.8:443"], balance: luck }
timeouts: { idle: soon }
colour: blue
`;

test("check: a good file", async (t) => {
  const { file } = configured(t, GOOD);
  const { code, stdout, stderr } = await millraceIn80(["check", "-c", file]);
  assert.deepEqual([code, stderr], [0, ""]);
  assert.match(stdout, /: ok \(1 listener, 2 clusters, 0 identities\)\n$/);
  const json = await millraceIn80(["check", "-c", file, "--json"]);
  assert.equal((JSON.parse(json.stdout) as { ok: boolean }).ok, true);
});

test("check: every fault at once, each with its line", async (t) => {
  const { file } = configured(t, BAD);
  const { code, stderr } = await millraceIn80(["check", "-c", file]);
  assert.equal(code, 2);
  for (const [line, path] of [
    [3, "listeners[0].address"],
    [5, "listeners[0].routes[0].tls"],
    [7, "clusters.web.balance"],
    [8, "timeouts.idle"],
    [9, "colour"],
  ] as const) {
    assert(stderr.includes(`${file}:${line}:`), `line ${line} in\n${stderr}`);
    assert(stderr.includes(path), `${path} in\n${stderr}`);
  }
  const json = await millraceIn80(["check", "-c", file, "--json"]);
  assert.equal(json.code, 2);
  const { ok, faults } = JSON.parse(json.stdout) as { ok: boolean; faults: { line: number }[] };
  assert.equal(ok, false);
  assert.deepEqual([...new Set(faults.map(({ line }) => line))].sort(), [3, 5, 7, 8, 9]);
});

test("check: every identity that cannot be used, each with its line; what surprises is told once", async (t) => {
  const { file, directory } = configured(
    t,
    `${GOOD}identities:
  one: { ca: one.pem }
  two: { ca: two.pem }
`,
  );
  writeFileSync(join(directory, "two.pem"), "nothing");
  const { code, stderr } = await millraceIn80(["check", "-c", file]);
  assert.equal(code, 2);
  const words = stderr.replaceAll(/\s+/g, " ");
  assert.match(words, /:18:3 identities\.one: identity one: ca \S+one\.pem: no such file/);
  assert.match(words, /:19:3 identities\.two: identity two: ca \S+two\.pem: is not PEM/);
  const json = await millraceIn80(["check", "-c", file, "--json"]);
  const { faults } = JSON.parse(json.stdout) as { faults: { path: string; line: number }[] };
  assert.deepEqual(
    faults.map(({ path, line }) => [path, line]),
    [
      ["identities.one", 18],
      ["identities.two", 19],
    ],
  );

  const { cert } = await leaf("alice");
  for (const name of ["one", "two"]) writeFileSync(join(directory, `${name}.pem`), cert);
  const fine = await millraceIn80(["check", "-c", file]);
  assert.equal(fine.code, 0, fine.stderr);
  assert.match(fine.stdout, /^warning: identity one: ca \S+: \S+ is no certificate authority/m);
});

test("check: no file, a folder, and no YAML", async (t) => {
  const { file, directory } = configured(t, "listeners: [\n  { name: a\n");
  for (const path of [`${directory}/not-there.yaml`, directory, file]) {
    const { code, stderr } = await millraceIn80(["check", "-c", path]);
    assert.equal(code, 2, stderr);
    assert(stderr.includes(path), stderr);
    assert(!stderr.includes("    at "), `no stack: ${stderr}`);
  }
});

test("schema: JSON that knows the top level", async () => {
  const { code, stdout } = await millraceIn80(["schema"]);
  assert.equal(code, 0);
  const schema = JSON.parse(stdout) as { properties: Record<string, unknown> };
  for (const key of ["listeners", "clusters", "identities", "timeouts", "limits"]) {
    assert(key in schema.properties, key);
  }
});

test("explain: the rule hit, the rules missed and why, by words, JSON and a captured hello", async (t) => {
  const { file, directory } = configured(t, GOOD);
  const ask = (...args: string[]) => millraceIn80(["explain", "-c", file, "--listener", "edge", ...args]);
  const hit = await ask("--sni", "db.example.test", "--from", "10.1.2.3");
  assert.equal(hit.code, 0, hit.stderr);
  assert.match(hit.stdout, /route +db\n/);
  assert.match(hit.stdout, /10\.0\.0\.7:5432/);

  const second = await ask("--sni", "db.example.test", "--from", "192.0.2.1", "--alpn", "h2", "--json");
  const answer = JSON.parse(second.stdout) as { route: string; steps: { route: string; why: string }[] };
  assert.equal(answer.route, "web");
  assert.match(answer.steps.find(({ route }) => route === "db")!.why, /192\.0\.2\.1|from|source/);

  const blind = await ask("--sni", "db.example.test", "--json");
  const { steps, timeouts } = JSON.parse(blind.stdout) as { steps: { why: string }[]; timeouts: object };
  assert.match(steps[0]!.why, /no client address was given \(--from\)/);
  assert.deepEqual(Object.keys(timeouts), [
    "hello",
    "handshake",
    "connect",
    "idle",
    "half_close",
    "lifetime",
    "drain",
  ]);

  const miss = await ask("--sni", "elsewhere.test");
  assert.equal(miss.code, 3);
  assert.match(miss.stdout, /no route/);
  const missJson = await ask("--sni", "elsewhere.test", "--json");
  assert.equal(missJson.code, 3);
  assert.equal((JSON.parse(missJson.stdout) as { route: null }).route, null);

  const unknown = await millraceIn80(["explain", "-c", file, "--listener", "side", "--sni", "a.test"]);
  assert.equal(unknown.code, 2);
  assert.match(unknown.stderr, /side: no such listener; there (is|are) edge/);

  const captured = join(directory, "hello.bin");
  writeFileSync(captured, helloStream({ extensions: [sni("db.example.test")] }));
  const replayed = await ask("--hello", captured, "--from", "10.1.2.3");
  assert.equal(replayed.code, 0, replayed.stderr);
  assert.match(replayed.stdout, /route +db\n/);
});

test("explain: a name that the proxy refuses, and an address that is none, are no questions", async (t) => {
  const { file } = configured(t, GOOD);
  const ask = (...args: string[]) => millraceIn80(["explain", "-c", file, "--listener", "edge", ...args]);
  for (const name of [
    "a b.example.test",
    "*.example.test",
    "é.example.test",
    `${"a.".repeat(160)}example.test`,
  ]) {
    const { code, stderr } = await ask("--sni", name, "--alpn", "h2");
    assert.equal(code, 2, name);
    assert.match(
      stderr.replaceAll(/\s+/g, " "),
      /refused as bad_hello: a server name that is no host name/,
      name,
    );
  }
  const literal = await ask("--sni", "10.0.0.7", "--json");
  assert.deepEqual([literal.code, (JSON.parse(literal.stdout) as { sni: null }).sni], [3, null]);
  const upper = await ask("--sni", "A.EXAMPLE.test.", "--alpn", "h2", "--json");
  assert.deepEqual([upper.code, (JSON.parse(upper.stdout) as { sni: string }).sni], [0, "a.example.test"]);
  for (const from of ["10.0.0.300", "garbage"]) {
    const { code, stderr } = await ask("--sni", "db.example.test", "--from", from);
    assert.equal(code, 2, from);
    assert.match(stderr, /--from .*: must be an IP address/);
  }
});
