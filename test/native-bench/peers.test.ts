/** Every contender is configured so that its own program takes the configuration; those that are not here, by their manuals. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { loadConfig } from "../../lib/config/parse.ts";
import { type Certificates, makeCertificates } from "../../native-bench/certificates.ts";
import { type Contender, type Hop, type Launch, SHAPES, type Shape } from "../../native-bench/contender.ts";
import { choose, findAll } from "../../native-bench/peers/index.ts";

const PROGRAMS = { haproxy: [], node: [], builds: [], envoy: process.execPath, ghostunnel: process.execPath };
const { contenders } = findAll(PROGRAMS, "/floor");
const folder = mkdtempSync(join(tmpdir(), "millrace-test-"));
let ecdsa: Certificates;
let rsa: Certificates;

before(async () => {
  ecdsa = await makeCertificates(join(folder, "ecdsa"));
  rsa = await makeCertificates(join(folder, "rsa"), "rsa");
});
after(() => rmSync(folder, { recursive: true, force: true }));

/** Some programs bind when they check; nobody else uses this address. */
const LISTEN = "127.83.0.1:8001";

function hop(shape: Shape, more: Partial<Hop> = {}): Hop {
  const directory = mkdtempSync(join(folder, "hop-"));
  return {
    ...{ shape, listen: LISTEN, targets: ["127.0.0.1:8000"], directory, certificates: ecdsa },
    ...{ tls: "1.3", accessLog: true, workers: 1, connections: 100, routes: 3 },
    ...more,
  };
}

/** What a run may ask for. */
function hops(): Hop[] {
  return [
    ...SHAPES.map((shape) => hop(shape)),
    ...SHAPES.map((shape) => hop(shape, { tls: "1.2", accessLog: false })),
    hop("terminate", { certificates: rsa }),
    hop("plain", { workers: 2, targets: ["198.19.0.0:8000", "198.19.0.1:8000"] }),
  ];
}

function named(name: string): Contender | undefined {
  return contenders.find((c) => c.name === name);
}

/** The arguments that make a program check its configuration and end. */
const CHECKS: Readonly<Record<string, (command: readonly string[]) => readonly string[]>> = {
  haproxy: (command) => [...command, "-c"],
  "haproxy+splice": (command) => [...command, "-c"],
  nginx: (command) => [...command, "-t"],
  "nginx+tuned": (command) => [...command, "-t"],
  hitch: (command) => [...command, "--test"],
};

for (const [name, toCheck] of Object.entries(CHECKS)) {
  const contender = named(name);
  test(`${name} takes its configurations`, { skip: !contender && "not installed" }, () => {
    for (const one of hops().filter(({ shape }) => contender!.shapes.includes(shape))) {
      const [program, ...rest] = toCheck(contender!.launch(one).command);
      const { status, stdout, stderr } = spawnSync(program!, rest, { encoding: "utf8" });
      assert.equal(status, 0, `${one.shape} TLS ${one.tls}: ${stdout}${stderr}`);
    }
  });
}

test("Millrace takes its configurations", () => {
  for (const one of hops()) {
    const { command } = named("millrace-net")!.launch(one);
    const { listeners, workers } = loadConfig(command.at(-1)!);
    assert.equal(listeners.length, 1);
    assert.equal(workers, one.workers);
  }
});

/** A path of keys and indices into JSON. */
function at(value: unknown, path: string): unknown {
  return path.split(".").reduce((inner, key) => (inner as Record<string, unknown> | undefined)?.[key], value);
}

function envoy(one: Hop): { readonly launch: Launch; readonly json: unknown } {
  const launch = named("envoy")!.launch(one);
  return { launch, json: JSON.parse(readFileSync(join(one.directory, "envoy.json"), "utf8")) };
}

const LISTENER = "static_resources.listeners.0";
const CLUSTER = "static_resources.clusters.0";

test("Envoy is given what its API calls a listener, a tcp_proxy and a static cluster", () => {
  const targets = ["198.19.0.0:8000", "198.19.0.1:8000"];
  const { launch, json } = envoy(hop("plain", { targets, workers: 2 }));
  assert.match(launch.command.join(" "), /-c \S+\/envoy\.json --concurrency 2 /);
  assert.deepEqual(at(json, `${LISTENER}.address.socket_address`), {
    address: "127.83.0.1",
    port_value: 8001,
  });
  const filter = `${LISTENER}.filter_chains.0.filters.0`;
  assert.equal(at(json, `${filter}.name`), "envoy.filters.network.tcp_proxy");
  assert.match(String(at(json, `${filter}.typed_config.@type`)), /\.network\.tcp_proxy\.v3\.TcpProxy$/);
  assert.equal(at(json, `${filter}.typed_config.cluster`), at(json, `${CLUSTER}.name`));
  assert.equal(at(json, `${filter}.typed_config.access_log.0.typed_config.path`), launch.logs![0]);
  const endpoints = at(json, `${CLUSTER}.load_assignment.endpoints.0.lb_endpoints`) as unknown[];
  assert.deepEqual(
    endpoints.map((one) => at(one, "endpoint.address.socket_address.address")),
    ["198.19.0.0", "198.19.0.1"],
  );
  assert.equal(at(json, `${LISTENER}.filter_chains.0.transport_socket`), undefined);
  assert.equal(at(json, `${CLUSTER}.transport_socket`), undefined);
});

test("Envoy speaks TLS on the sides of the hop that do, in the version asked for", () => {
  const { json } = envoy(hop("reencrypt", { tls: "1.2" }));
  const down = `${LISTENER}.filter_chains.0.transport_socket.typed_config`;
  assert.match(String(at(json, `${down}.@type`)), /\.tls\.v3\.DownstreamTlsContext$/);
  assert.equal(at(json, `${down}.require_client_certificate`), true);
  const params = at(json, `${down}.common_tls_context.tls_params`);
  assert.equal(at(params, "tls_minimum_protocol_version"), "TLSv1_2");
  assert.equal(at(params, "tls_maximum_protocol_version"), "TLSv1_2");
  assert.equal(at(json, `${down}.common_tls_context.tls_certificates.0.private_key.filename`), ecdsa.key);
  const up = `${CLUSTER}.transport_socket.typed_config`;
  assert.match(String(at(json, `${up}.@type`)), /\.tls\.v3\.UpstreamTlsContext$/);
  assert.equal(at(json, `${up}.sni`), ecdsa.name);
  const verified = at(json, `${up}.common_tls_context.validation_context`);
  assert.deepEqual(verified, {
    trusted_ca: { filename: ecdsa.ca },
    match_typed_subject_alt_names: [{ san_type: "DNS", matcher: { exact: ecdsa.name } }],
  });
});

test("Envoy routes by SNI with its TLS inspector", () => {
  const { json } = envoy(hop("passthrough"));
  assert.match(
    String(at(json, `${LISTENER}.listener_filters.0.typed_config.@type`)),
    /\.tls_inspector\.v3\./,
  );
  const names = at(json, `${LISTENER}.filter_chains.0.filter_chain_match.server_names`);
  assert.deepEqual(names, ["n0.example.test", "n1.example.test", ecdsa.name]);
});

/** The flags that `ghostunnel --help` lists for each mode and for both. */
const FLAGS = {
  server: ["listen", "target", "allow-all", "unsafe-target"],
  client: ["listen", "target", "override-server-name", "unsafe-listen"],
  both: ["cert", "key", "cacert", "connect-timeout", "max-conn-lifetime", "quiet"],
};

for (const [shape, mode] of [
  ["terminate", "server"],
  ["originate", "client"],
] as const) {
  test(`ghostunnel is started as a ${mode} with flags that it has`, () => {
    const launch = named("ghostunnel")!.launch(hop(shape, { accessLog: false }));
    const [, command, ...rest] = launch.command;
    assert.equal(command, mode);
    const flags = rest.filter((word) => word.startsWith("--")).map((word) => word.slice(2).split("=")[0]!);
    assert.deepEqual(
      flags.filter((flag) => ![...FLAGS[mode], ...FLAGS.both].includes(flag)),
      [],
    );
    const value = (flag: string): string => rest[rest.indexOf(`--${flag}`) + 1]!;
    assert.deepEqual([value("listen"), value("target")], [LISTEN, "127.0.0.1:8000"]);
    assert.equal(value("cert"), mode === "server" ? ecdsa.cert : ecdsa.clientCert);
    assert.equal(launch.env!["GOMAXPROCS"], "1");
  });
}

test("programs that are not there are named as missing", () => {
  const nowhere = {
    haproxy: ["new=/nowhere/haproxy"],
    node: ["/nowhere/node"],
    envoy: "/nowhere/envoy",
    builds: ["old=/nowhere"],
  };
  const { missing } = findAll({ ...nowhere, ghostunnel: "/nowhere/ghostunnel" }, null);
  const names = missing.map((m) => m.name);
  for (const name of ["new", "millrace on /nowhere/node", "millrace@old", "envoy", "ghostunnel", "floor"])
    assert.ok(names.includes(name), name);
});

test("contenders are chosen by name with their variants, Millrace always", () => {
  const make = (name: string, kind: Contender["kind"]): Contender => ({
    ...{ name, kind, version: "", shapes: [], many: true },
    launch: () => ({ command: [] }),
  });
  const all = [
    make("floor", "floor"),
    make("millrace-net", "millrace"),
    make("haproxy", "peer"),
    make("haproxy+splice", "peer"),
    make("nginx", "peer"),
  ];
  const names = choose(all, ["haproxy"]).map((c) => c.name);
  assert.deepEqual(names, ["millrace-net", "haproxy", "haproxy+splice"]);
  assert.equal(choose(all, []).length, all.length);
});
