import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { test } from "node:test";
import {
  type ConfigInput,
  configJsonSchema,
  configWarnings,
  formatFaults,
  loadConfig,
  normalizeConfig,
  parseConfig,
} from "../../lib/config/parse.ts";
import { ProxyError } from "../../lib/errors.ts";
import { EXAMPLE, faultsOf } from "./example.ts";

const SMALL = `listeners:
  - name: plain
    address: 127.0.0.1:0
    routes:
      - cluster: web
clusters:
  web: { endpoints: ["10.0.0.7:8080"] }
`;

function caught(work: () => unknown): ProxyError {
  try {
    work();
  } catch (error) {
    assert.ok(error instanceof ProxyError, String(error));
    return error;
  }
  assert.fail("nothing was thrown");
}

test("the smallest configuration gets every default", () => {
  assert.deepEqual(parseConfig(SMALL), {
    file: null,
    transport: "auto",
    workers: "auto",
    log: { level: "info", access: true, format: "auto" },
    admin: null,
    limits: { connections: "auto", perSource: 0, helloBytes: 65_536 },
    timeouts: TIMEOUTS,
    dns: { servers: null, timeout: null, attempts: null },
    identities: {},
    listeners: [
      {
        name: "plain",
        address: { kind: "ip", host: "127.0.0.1", port: 0 },
        proxyProtocol: { mode: "off", trusted: [], position: "outer" },
        transparent: "off",
        limits: { connections: null, perSource: null },
        timeouts: TIMEOUTS,
        routes: [
          {
            name: "plain/0",
            match: { sni: [], alpn: [], from: [], destination: [] },
            tls: "none",
            identity: null,
            clientAuth: "none",
            allow: [],
            alpn: [],
            tlsMin: "1.2",
            cluster: "web",
          },
        ],
        default: null,
      },
    ],
    clusters: {
      web: {
        name: "web",
        source: {
          kind: "static",
          endpoints: [{ address: { kind: "ip", host: "10.0.0.7", port: 8080 }, weight: 1, priority: 0 }],
        },
        minTtl: 1000,
        maxTtl: 300_000,
        keepLastGood: true,
        maxRemoval: 0.5,
        balance: "round_robin",
        connect: { retries: 2, timeout: null },
        health: null,
        eject: null,
        tls: null,
        proxyProtocol: "off",
        sourceAddress: "proxy",
        slowStart: 0,
      },
    },
  });
});

const TIMEOUTS = {
  hello: 5000,
  handshake: 10_000,
  connect: 5000,
  idle: 3_600_000,
  halfClose: 60_000,
  lifetime: 0,
  drain: 30_000,
};

test("the example of the manual is accepted, with names resolved and units read", () => {
  const config = parseConfig(EXAMPLE, { file: "/etc/millrace/edge.yaml", env: {} });
  assert.equal(config.file, "/etc/millrace/edge.yaml");
  assert.deepEqual(config.identities["edge"], {
    name: "edge",
    cert: "/etc/millrace/edge.crt",
    key: "/etc/millrace/edge.key",
    ca: "/etc/millrace/ca.crt",
    crl: "/etc/millrace/ca.crl",
    watch: true,
  });
  const [db, web] = config.listeners[0]!.routes;
  assert.deepEqual(db!.match, {
    sni: ["db.example.test", "*.db.example.test"],
    alpn: ["postgresql"],
    from: ["10.0.0.0/8"],
    destination: ["10.0.0.0/8:5432", "[fd77::/64]:5432"],
  });
  assert.deepEqual(web!.allow, [
    { kind: "spiffe", value: "spiffe://example.test/ns/prod/*" },
    { kind: "dns", value: "*.clients.example.test" },
    { kind: "cn", value: "alice" },
    { kind: "ou", value: "ops" },
    { kind: "fingerprint", value: "ab".repeat(32) },
    { kind: "any" },
  ]);
  assert.deepEqual(config.clusters["db"], {
    name: "db",
    source: { kind: "srv", name: "_db._tcp.example.test" },
    minTtl: 1000,
    maxTtl: 300_000,
    keepLastGood: true,
    maxRemoval: 0.5,
    balance: "least_connections",
    connect: { retries: 2, timeout: 2000 },
    health: { interval: 5000, timeout: 1000, rise: 2, fall: 3, check: "tls", send: null, expect: null },
    eject: { failures: 5, for: 30_000, maxPercent: 50 },
    tls: {
      identity: "edge",
      serverName: "db.example.test",
      verify: [{ kind: "dns", value: "db.example.test" }],
      alpn: [],
      tlsMin: "1.2",
    },
    proxyProtocol: "v2",
    sourceAddress: "proxy",
    slowStart: 0,
  });
  assert.deepEqual(structuredClone(config), config);
});

test("JSON is YAML, and a program's value gives the same as the same text", () => {
  const input: ConfigInput = {
    listeners: [
      {
        name: "edge",
        address: "[0:0::1]:443",
        timeouts: { idle: "0s" },
        default: { tls: "terminate", identity: "edge", tls_min: 1.3, cluster: "constructor" },
      },
    ],
    identities: { edge: { cert: "a.crt", key: "a.key" } },
    clusters: { constructor: { dns: "API.internal.:443", slow_start: "10s" } },
  };
  const config = normalizeConfig(input, { directory: "/srv" });
  assert.deepEqual(parseConfig(JSON.stringify(input, null, 2), { directory: "/srv" }), config);
  assert.deepEqual(config.listeners[0]!.address, { kind: "ip", host: "::1", port: 443 });
  assert.deepEqual(config.listeners[0]!.timeouts, { ...TIMEOUTS, idle: 0 });
  assert.equal(config.listeners[0]!.default!.name, "edge/default");
  assert.equal(config.listeners[0]!.default!.tlsMin, "1.3");
  assert.deepEqual(config.clusters["constructor"]!.source, {
    kind: "dns",
    host: "api.internal.", // the dot keeps the search list away
    port: 443,
  });
  assert.equal(config.identities["edge"]!.cert, "/srv/a.crt");
});

test("variables stand in any string, and for numbers and booleans too", () => {
  const text = SMALL.replace("127.0.0.1:0", `"\${ADDRESS:-127.0.0.1}:\${PORT}"`).replace(
    "listeners:",
    `workers: \${N}\nlog: { access: "\${ACCESS:-false}" }\nlisteners:`,
  );
  const config = parseConfig(text, { env: { PORT: "8443", N: "3", ADDRESS: "" } });
  assert.deepEqual(config.listeners[0]!.address, { kind: "ip", host: "127.0.0.1", port: 8443 });
  assert.equal(config.workers, 3);
  assert.equal(config.log.access, false);
});

test("variables stand for numbers inside endpoints, too, and what is wrong beside them stays a text", () => {
  const endpoint = (more: string): string =>
    SMALL.replace('["10.0.0.7:8080"]', `[{ address: "10.0.0.7:8080", weight: "\${W}"${more} }]`);
  const { source } = parseConfig(endpoint(""), { env: { W: "2" } }).clusters["web"]!;
  assert(source.kind === "static");
  assert.equal(source.endpoints[0]!.weight, 2);
  const named = SMALL.replace(
    "cluster: web\n",
    `cluster: web\n    default: { name: "\${N}", client_auth: 7, cluster: web }\n`,
  );
  assert.deepEqual(faultsOf(named, { env: { N: "12" } }), [
    "6:43 listeners[0].default.client_auth: must be none, optional or required; found 7",
  ]);
});

test("a variable's value is not expanded again, and $$ keeps a reference as it is", () => {
  const text = SMALL.replace(
    "web: {",
    () => `web: { health: { send: "$\${X} \${A}", expect: "\${EMPTY}" }, `,
  );
  const health = parseConfig(text, { env: { A: `\${B}`, EMPTY: "" } }).clusters["web"]!.health;
  assert.equal(health!.send, `\${X} \${B}`);
  assert.equal(health!.expect, "");
});

test("names that every object has are no variables and no clusters", () => {
  assert.deepEqual(faultsOf(SMALL.replace("cluster: web", "cluster: toString")), [
    '5:18 listeners[0].routes[0].cluster: must name a cluster: there is no "toString" (clusters has "web")',
  ]);
  assert.deepEqual(faultsOf(SMALL.replace("cluster: web", `cluster: \${constructor}`)), [
    `5:18 listeners[0].routes[0].cluster: needs the environment variable constructor: set it or write \${constructor:-default}`,
  ]);
  assert.deepEqual(faultsOf(SMALL.replace("web: {", "__proto__: { dns: a:1 }\n  web: {")), [
    "7:3 clusters.__proto__: is no name that can be used here",
  ]);
});

test("all faults are told at once, in the order of the text, also where entries are broken", () => {
  const text = EXAMPLE.replace("hello: 5s", "hello: 5")
    .replace("tls: terminate", "tls: terminator")
    .replace("identity: edge\n", "identity: gone\n")
    .replace("weight: 2", "wait: 2")
    .replace("{ dns: db.example.test }", "{ dns: db.example.test, cn: a }")
    .replace("source: proxy", "source: client");
  assert.deepEqual(
    faultsOf(text).map((fault) => fault.split(": ")[0]),
    [
      "6:20 timeouts.hello",
      "26:14 listeners[0].routes[1].tls",
      "27:19 listeners[0].routes[1].identity",
      "41:67 clusters.web.endpoints[1].wait",
      "48:71 clusters.db.tls.verify[0]",
      "50:13 clusters.db.source",
    ],
  );
});

test("a wrong route does not hide what its listener has wrong", () => {
  const text = EXAMPLE.replace("tls: terminate", "tls: terminator")
    .replace("mode: off", "mode: accept")
    .replace("listen: ", "listen: 0.0.0.0:443 #");
  assert.deepEqual(
    faultsOf(text.replace("443 #", "443 } #")).map((fault) => fault.split(": ")[0]),
    ["4:21 admin.listen", "15:21 listeners[0].proxy_protocol", "26:14 listeners[0].routes[1].tls"],
  );
});

test("client certificates without an explicit rule are refused, any must be written", () => {
  const route = (auth: string, allow: string) =>
    `{ tls: terminate, identity: i, ${auth} cluster: web${allow} }`;
  const text = (auth: string, allow: string) =>
    `${SMALL.replace("routes:\n      - cluster: web", `default: ${route(auth, allow)}`)}identities: { i: { cert: c, key: k, ca: a } }\n`;
  for (const mode of ["required", "optional"]) {
    for (const allow of ["", ", allow: []"]) {
      const [fault, ...others] = faultsOf(text(`client_auth: ${mode},`, allow));
      assert.deepEqual(others, []);
      assert.match(
        fault ?? "",
        new RegExp(`default\\.allow: is missing: with client_auth ${mode} it must list .* \\[any\\]`),
      );
    }
    assert.deepEqual(faultsOf(text(`client_auth: ${mode},`, ", allow: [any]")), []);
  }
  assert.deepEqual(faultsOf(text("", "")), []);
});

test("anchors and aliases work, within bounds", () => {
  const text = SMALL.replace('["10.0.0.7:8080"]', "&e [a.test:1] }\n  other: { endpoints: *e");
  assert.deepEqual(parseConfig(text).clusters["other"]!.source, parseConfig(text).clusters["web"]!.source);
  const bomb = [..."abcdefgh"].map(
    (name, i, all) => `${name}: &${name} [${`*${all[i - 1] ?? "x"},`.repeat(9)}]`,
  );
  assert.match(faultsOf(["x: &x y", ...bomb].join("\n")).join(), /aliases for more than 100000 values/);
  assert.match(faultsOf("a: &a [*a, *a]").join(), /deeper than 32 levels/);
});

test("hostile nesting and length are refused before they cost anything", () => {
  for (const piece of ["[", "{a: ", "- ", "? ", "a: [", "&a [", "!!seq ["]) {
    const faults = faultsOf(piece.repeat(100_000)).join();
    assert.match(faults, /deeper than 32 levels|no valid YAML/, piece);
    assert.doesNotMatch(faults, /call stack/, piece);
  }
  assert.match(faultsOf("#".repeat(2 ** 22 + 1)).join(), /at most 4 MiB/);
});

test("a file that is not there, is no file or is no text is a fault of the configuration", (t) => {
  const directory = mkdtempSync(join(tmpdir(), "millrace-config-"));
  t.after(() => rmSync(directory, { recursive: true }));
  const file = join(directory, "c.yaml");
  const gone = caught(() => loadConfig(file));
  assert.equal(gone.code, "CONFIG");
  assert.match(gone.message, /cannot be read: ENOENT/);
  assert.deepEqual(
    gone.faults.map(({ file: at, line }) => [at, line]),
    [[file, null]],
  );
  assert.match(caught(() => loadConfig(directory)).message, /cannot be read/);
  writeFileSync(file, Buffer.from([0x61, 0xff]));
  assert.match(caught(() => loadConfig(file)).message, /must be text in UTF-8/);
  writeFileSync(
    file,
    SMALL.replace("web: {", "web: { tls: { identity: i }, ").concat("identities: { i: { ca: x/ca.pem } }\n"),
  );
  assert.equal(loadConfig(file).identities["i"]!.ca, join(directory, "x/ca.pem"));
  assert.equal(loadConfig(file).file, resolve(file));
});

test("warnings tell what is accepted and hardly meant", () => {
  const config = parseConfig(EXAMPLE.replace("trusted: []", "trusted: [::1]"), { file: "/etc/edge.yaml" });
  const shown = configWarnings(config).map(({ file, line, column, path, message }) =>
    [file, line, column, path, message.slice(0, 30)].join(" "),
  );
  assert.deepEqual(shown, [
    "/etc/edge.yaml 15 5 listeners[0].proxy_protocol has no effect: its mode is off",
    "/etc/edge.yaml 23 9 listeners[0].routes[0].cluster wraps the client's TLS in the ",
    "/etc/edge.yaml 51 3 clusters.names is used by no route",
  ]);
  // A copy has no places, and still the same warnings.
  const copied = configWarnings(structuredClone(config)).map(({ line, path }) => [line, path]);
  assert.deepEqual(copied, [
    [null, "clusters.names"],
    [null, "listeners[0].routes[0].cluster"],
    [null, "listeners[0].proxy_protocol"],
  ]);
  const idle = SMALL.replace('["10.0.0.7:8080"]', "[]")
    .replace("cluster: web", "cluster: web\n    default: { cluster: web }")
    .concat("identities: { i: { ca: a } }\n");
  assert.deepEqual(
    configWarnings(parseConfig(idle)).map(({ path, message }) => `${path}: ${message}`),
    [
      "listeners[0].default: is never reached: routes[0] takes everything",
      "clusters.web.endpoints: is empty: every connection to it will fail",
      "identities.i: is used by no route and no cluster",
    ],
  );
  assert.deepEqual(configWarnings(parseConfig(SMALL)), []);
});

test("warnings tell of a listener's settings that do nothing, or more than is meant", () => {
  const warned = (settings: string): string[] =>
    configWarnings(parseConfig(SMALL.replace("routes:", `${settings}\n    routes:`))).map(
      ({ line, path, message }) => `${line} ${path}: ${message}`,
    );
  const inner = (mode: string): string =>
    `proxy_protocol: { mode: ${mode}, trusted: [10.0.0.0/8], position: inner }`;
  assert.deepEqual(warned(inner("require")), [
    '4 listeners[0].proxy_protocol.position: refuses everybody who takes "plain/0": TLS does not end there, so no header can be inside it',
  ]);
  assert.deepEqual(warned(inner("accept")), [
    "4 listeners[0].proxy_protocol.position: has no effect: no route terminates TLS, so there is nothing inside it",
  ]);
  assert.deepEqual(warned("timeouts: { drain: 5s }"), [
    "4 listeners[0].timeouts.drain: has no effect: a drain is of the whole process, and the timeouts of the process say how long",
  ]);
  assert.deepEqual(warned("timeouts: { drain: 30s, idle: 1m }"), []);
});

test("faults are shown by place and path, in at most 80 columns", () => {
  const text = EXAMPLE.replace("hello: 5s", "hello: 5").replace(
    "balance: least_connections",
    "balance: fair",
  );
  const error = caught(() => parseConfig(text, { file: "edge.yaml" }));
  assert.equal(
    error.message,
    "edge.yaml has 2 faults, the first: line 6: timeouts.hello: must be a duration such as 500ms, 5s, 2m or 1h; found 5",
  );
  assert.equal(
    formatFaults(error),
    [
      "edge.yaml:6:20 timeouts.hello: must be a duration such as 500ms, 5s, 2m or 1h;",
      "    found 5",
      "edge.yaml:44:14 clusters.db.balance: must be round_robin, random,",
      '    least_connections or source_hash; found "fair"',
    ].join("\n"),
  );
  assert.equal(formatFaults(new ProxyError("DIAL", "no")), "no");
});

test("the JSON Schema knows every key, refuses others and explains itself", () => {
  const schema = configJsonSchema() as { properties: Record<string, { default?: unknown }> };
  const text = JSON.stringify(schema);
  assert.deepEqual(Object.keys(schema.properties), [
    ...["transport", "workers", "log", "admin", "limits", "timeouts", "dns"],
    ...["identities", "listeners", "clusters"],
  ]);
  assert.equal(schema.properties["transport"]!.default, "auto");
  assert.match(text, /"hello_bytes":\{[^}]*"default":"64KiB"/);
  assert.match(text, /"additionalProperties":false/);
  assert.match(
    text,
    /"announced_destination":\{[^}]*"description"|"description":"Dial what the trusted PROXY header says."/,
  );
});
