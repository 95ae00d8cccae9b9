/** The worker between prepare and commit, and what it tells of faults that were contained. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { directEndpoint, type EndpointSet } from "../lib/cluster/endpoint.ts";
import type { Config } from "../lib/config/config.ts";
import { type ConfigInput, normalizeConfig } from "../lib/config/parse.ts";
import { ProxyError } from "../lib/errors.ts";
import { createSharedSources } from "../lib/listen/sources.ts";
import { createSharedLines, linesIn } from "../lib/observe/lines.ts";
import { Rows } from "../lib/rows.ts";
import type { Identity } from "../lib/tls/identity.ts";
import type { TlsContextSpec } from "../lib/transport/transport.ts";
import { parseAddress, type SocketAddress } from "../lib/wire/address.ts";
import { BEATS, CONNECTION_LIMIT, CONNECTIONS, type Event, Worker } from "../lib/worker.ts";
import { helloStream, sni } from "./gear/hellos.ts";
import { type ScriptedListening, type ScriptedStream, ScriptedTransport } from "./gear/scripted.ts";

const ENDPOINT = "10.0.0.7:80";
const OTHER = "10.0.0.8:80";

/** An access line, as far as these tests look at it. */
interface Line {
  readonly reason: string;
  readonly error?: string;
  readonly generation: number;
  readonly endpoint?: string;
  readonly upstream_tls?: string;
  readonly sniff_ms?: number;
  readonly dial_ms?: number;
}

/** A worker on a scripted transport; the test plays control. */
class Bench {
  readonly transport = new ScriptedTransport();
  readonly gauges = new Int32Array(new SharedArrayBuffer((BEATS + 1) * 4));
  readonly lines = createSharedLines();
  readonly events: Event[] = [];
  readonly worker: Worker;
  readonly #rows = new Rows();

  constructor() {
    const shared = { gauges: this.gauges, sources: createSharedSources() };
    this.gauges[CONNECTION_LIMIT] = 100;
    this.worker = new Worker(this.transport, 0, shared, this.lines, (event) => this.events.push(event));
  }

  prepare(
    generation: number,
    config: Config,
    sets: readonly EndpointSet[],
    identities: Readonly<Record<string, Identity>> = {},
  ): void {
    const [rows] = this.#rows.of(config, 1);
    const ticketKeys = new Uint8Array(48);
    const plan = { generation, config, identities, ticketKeys, sets, descriptors: {}, ...rows! };
    this.worker.receive({ type: "prepare", plan });
  }

  /** Prepares the first generation; its listener stands. */
  open(config: Config, sets: readonly EndpointSet[]): ScriptedListening {
    this.prepare(1, config, sets);
    const [listening] = this.transport.listenings;
    listening!.ready(null);
    assert.deepEqual(
      this.events.map((event) => event.type === "prepared" && event.error),
      [null],
    );
    return listening!;
  }

  commit(generation: number): void {
    this.worker.receive({ type: "commit", generation });
  }

  /** A client whose relay runs. */
  relaying(listening: ScriptedListening): ScriptedStream {
    const client = listening.client();
    this.transport.dials.at(-1)!.done(null);
    assert.equal(this.transport.relays.at(-1)!.downstream, client);
    return client;
  }

  /** The access lines so far. */
  access(): Line[] {
    this.worker.flush();
    const texts = this.events.flatMap((event) =>
      event.type === "lines" ? [linesIn(this.lines, event.slot, event.length).toString()] : [],
    );
    const lines = texts.join("").split("\n").slice(0, -1);
    return lines.map((line) => JSON.parse(line));
  }

  dialled(): string[] {
    return this.transport.dials.map(({ target }) => target);
  }
}

function configOf(
  cluster: NonNullable<ConfigInput["clusters"]>[string] = {},
  listener: Partial<NonNullable<ConfigInput["listeners"]>[number]> = {
    default: { name: "all", tls: "none", cluster: "web" },
  },
): Config {
  return normalizeConfig({
    listeners: [{ name: "in", address: "127.0.0.1:443", ...listener }],
    clusters: { web: { dns: "web.example.test:80", ...cluster } },
  });
}

/** Without endpoints: a set that waits for its first answer. */
function setOf(version: number, ...addresses: string[]): EndpointSet {
  const endpoints = addresses.map((text) => directEndpoint(parseAddress(text) as SocketAddress));
  return { cluster: "web", version, resolved: endpoints.length > 0, endpoints };
}

test("of TLS contexts those in force are kept, and those of the generation before", () => {
  const bench = new Bench();
  const kept = (): string[] =>
    [...bench.transport.kept].map((context) => (context as { spec: TlsContextSpec }).spec.alpn[0]!);
  const config = (protocol: string) =>
    configOf({ tls: { server_name: "web.example.test", alpn: [protocol] } });
  bench.open(config("a"), [setOf(1, ENDPOINT)]);
  bench.commit(1);
  assert.deepEqual(kept(), ["a"]);
  bench.prepare(2, config("b"), [setOf(1, ENDPOINT)]);
  bench.commit(2);
  assert.deepEqual(kept(), ["a", "b"]);
  bench.prepare(3, config("c"), [setOf(1, ENDPOINT)]);
  bench.commit(3);
  assert.deepEqual(kept(), ["b", "c"]);
});

test("who comes between prepare and commit waits, and is served under the new limits", () => {
  const bench = new Bench();
  // As a process that has no limit yet: whoever began before the commit would be refused by it.
  bench.gauges[CONNECTION_LIMIT] = 0;
  const listening = bench.open(configOf(), [setOf(1, ENDPOINT)]);
  const [first, second] = [listening.client(), listening.client()];
  assert.deepEqual(bench.dialled(), []);
  assert.equal(bench.gauges[CONNECTIONS], 0);
  bench.gauges[CONNECTION_LIMIT] = 1;
  bench.commit(1);
  assert.deepEqual(bench.dialled(), [ENDPOINT]);
  assert.equal(first.released, null);
  assert.equal(second.released, "reset");
  assert.deepEqual(
    bench.access().map(({ reason, generation, sniff_ms }) => ({ reason, generation, sniff_ms })),
    [{ reason: "limit", generation: 1, sniff_ms: undefined }],
  );
  // From now on nobody waits.
  bench.gauges[CONNECTION_LIMIT] = 2;
  bench.relaying(listening);
  assert.equal(bench.gauges[CONNECTIONS], 2);
});

test("who comes before an abort is reset, and its listener closed", () => {
  const bench = new Bench();
  const listening = bench.open(configOf(), [setOf(1, ENDPOINT)]);
  const client = listening.client();
  assert.equal(client.released, null);
  bench.worker.receive({ type: "abort", generation: 1 });
  assert.equal(client.released, "reset");
  assert(listening.closed);
  bench.commit(1);
  assert.deepEqual(bench.dialled(), []);
  assert.deepEqual(bench.access(), []);
});

test("a set that comes between prepare and commit is not lost", () => {
  const bench = new Bench();
  const listening = bench.open(configOf(), [setOf(1)]);
  bench.worker.receive({ type: "set", set: setOf(2, ENDPOINT) });
  bench.commit(1);
  listening.client();
  assert.deepEqual(bench.dialled(), [ENDPOINT]);
});

test("a set that comes while a changed cluster is prepared reaches it", () => {
  const bench = new Bench();
  const listening = bench.open(configOf(), [setOf(1, OTHER)]);
  bench.commit(1);
  bench.prepare(2, configOf({ balance: "random" }), [setOf(1, OTHER)]);
  bench.worker.receive({ type: "set", set: setOf(2, ENDPOINT) });
  bench.commit(2);
  listening.client();
  assert.deepEqual(bench.dialled(), [ENDPOINT]);
});

test("who waits in a cluster that a reload changed still hears of sets", () => {
  const bench = new Bench();
  const listening = bench.open(configOf(), [setOf(1)]);
  bench.commit(1);
  const client = listening.client();
  bench.prepare(2, configOf({ balance: "random" }), [setOf(1)]);
  bench.commit(2);
  assert.deepEqual(bench.dialled(), []);
  bench.worker.receive({ type: "set", set: setOf(2, ENDPOINT) });
  assert.deepEqual(bench.dialled(), [ENDPOINT]);
  bench.transport.dials[0]!.done(null);
  assert.equal(bench.transport.relays[0]!.downstream, client);
});

test("who says hello after a reload waits where sets still arrive", () => {
  const bench = new Bench();
  const byName = { routes: [{ match: { sni: ["a.test"] }, tls: "passthrough" as const, cluster: "web" }] };
  const listening = bench.open(configOf({}, byName), [setOf(1)]);
  bench.commit(1);
  const client = listening.client();
  bench.prepare(2, configOf({ balance: "random" }, byName), [setOf(1)]);
  bench.commit(2);
  // One more reload, and a set that is no answer yet.
  bench.prepare(3, configOf({ balance: "source_hash" }, byName), [setOf(1)]);
  bench.commit(3);
  bench.worker.receive({ type: "set", set: setOf(2) });
  assert.equal(client.look!(helloStream({ extensions: [sni("a.test")] }), false), 0);
  assert.deepEqual(bench.dialled(), []);
  bench.worker.receive({ type: "set", set: setOf(3, ENDPOINT) });
  assert.deepEqual(bench.dialled(), [ENDPOINT]);
});

const TLS_FACTS = {
  version: "TLSv1.3",
  cipher: "TLS_AES_128_GCM_SHA256",
  alpn: null,
  resumed: false,
  peer: null,
  link: null,
};

test("after a retry the line tells nothing of the endpoint before", () => {
  const bench = new Bench();
  const config = configOf({ tls: { server_name: "web.example.test" } });
  const listening = bench.open(config, [setOf(1, ENDPOINT, OTHER)]);
  bench.commit(1);
  listening.client();
  const first = bench.transport.dials[0]!;
  first.done(null);
  first.stream.tls = TLS_FACTS;
  first.stream.secured(new ProxyError("DENIED", "another name"));
  const second = bench.transport.dials[1]!;
  assert.notEqual(second.target, first.target);
  second.done(new ProxyError("DIAL", "refused"));
  const [line] = bench.access();
  assert.deepEqual(
    [line!.reason, line!.endpoint, line!.dial_ms, line!.upstream_tls],
    ["dial_failed", second.target, undefined, undefined],
  );
});

test("a fault of ours in a handshake with an endpoint is told, and not the endpoint's", () => {
  const bench = new Bench();
  const config = configOf({ tls: { server_name: "web.example.test" } });
  const listening = bench.open(config, [setOf(1, ENDPOINT, OTHER)]);
  bench.commit(1);
  const client = listening.client();
  const { done, stream } = bench.transport.dials[0]!;
  done(null);
  stream.secured(new ProxyError("INTERNAL", "a fault while judging a peer"));
  assert.equal(bench.dialled().length, 1, "no other endpoint is tried");
  assert.deepEqual([client.released, stream.released], ["reset", "reset"]);
  assert.deepEqual(
    bench.access().map(({ reason, error }) => [reason, error]),
    [["internal", "a fault while judging a peer"]],
  );
  const told = bench.events.flatMap((event) => (event.type === "fault" ? [event.message] : []));
  assert.match(told.join(), /a fault while judging a peer/);
  assert(bench.events.every(({ type }) => type !== "failures"));
});

test("a fault of ours in a handshake with a client is told", () => {
  const bench = new Bench();
  const listening = bench.open(configOf(), [setOf(1, ENDPOINT)]);
  bench.commit(1);
  // What terminates needs an identity, and the first generation has none: the second does.
  const route = { name: "all", tls: "terminate" as const, identity: "own", cluster: "web" };
  const input = { listeners: [{ name: "in", address: "127.0.0.1:443", default: route }] };
  const config = normalizeConfig({
    ...input,
    identities: { own: { cert: "own.crt", key: "own.key" } },
    clusters: { web: { dns: "web.example.test:80" } },
  });
  bench.prepare(2, config, [setOf(1, ENDPOINT)], { own: { name: "own", cert: "", key: "" } as Identity });
  bench.commit(2);
  const client = listening.client();
  client.look!(helloStream({ extensions: [sni("a.test")] }), false);
  client.secured(new ProxyError("INTERNAL", "no memory"));
  assert.deepEqual(
    bench.access().map(({ reason }) => reason),
    ["internal"],
  );
  assert.equal(bench.events.filter(({ type }) => type === "fault").length, 1);
});

test("where nobody else is left to try, no retry is spent", () => {
  const bench = new Bench();
  const listening = bench.open(configOf(), [setOf(1, ENDPOINT)]);
  bench.commit(1);
  const refused = new ProxyError("DIAL", "refused");
  // Three times what the budget allows at once.
  for (let count = 0; count < 300; count++) {
    listening.client();
    bench.transport.dials.at(-1)!.done(refused);
  }
  assert.equal(bench.dialled().length, 300);
  bench.worker.receive({ type: "set", set: setOf(2, ENDPOINT, OTHER) });
  for (let count = 0; count < 5; count++) {
    listening.client();
    bench.transport.dials.at(-1)!.done(refused);
  }
  assert.equal(bench.dialled().length, 310, "each of them tries the other endpoint");
});

test("a fault that the transport contained is recorded as internal, and not the peer's", () => {
  const bench = new Bench();
  const set = setOf(1, ENDPOINT);
  const listening = bench.open(configOf(), [set]);
  bench.commit(1);
  const error = new ProxyError("INTERNAL", "a fault of ours");
  // Within the relay, and before it.
  const relaying = bench.relaying(listening);
  bench.transport.relays[0]!.done({ how: "reset", side: null, error });
  const dialling = listening.client();
  dialling.owner!.failed(dialling, error);
  assert.deepEqual(
    bench.access().map(({ reason, error }) => ({ reason, error })),
    Array.from({ length: 2 }, () => ({ reason: "internal", error: "a fault of ours" })),
  );
  assert.deepEqual([relaying.released, dialling.released], ["reset", "reset"]);
  assert(bench.events.every(({ type }) => type !== "failures"));
  assert.equal(bench.gauges[CONNECTIONS], 0);
});
