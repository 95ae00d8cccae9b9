import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import type { Answer } from "../../lib/dns/answer.ts";
import type { QueryOptions } from "../../lib/dns/client.ts";
import type { ResolverEvent } from "../../lib/dns/event.ts";
import { Lookup, type Source } from "../../lib/dns/lookup.ts";
import type { DnsRecord, QueryType } from "../../lib/dns/message.ts";
import { Resolver, type ResolverOptions, type TargetFacts } from "../../lib/dns/resolver.ts";
import type { Target } from "../../lib/dns/srv.ts";

const NAME = "_db._tcp.example.test";

/** What the fake DNS says about a name; a string is a kind, numbers are last octets of addresses or targets. */
type Says = Partial<Answer>;
type Zone = (name: string, type: QueryType, options: QueryOptions) => Says | Promise<Says>;

/** A resolver on a fake DNS and a fake clock. `next` lets the next query's time come and its answer be taken. */
class Bench {
  zone: Zone;
  readonly asked: string[] = [];
  readonly avoided: (string | null | undefined)[] = [];
  readonly sets: (readonly Target[])[] = [];
  readonly facts: TargetFacts[] = [];
  readonly events: ResolverEvent[] = [];
  readonly resolver: Resolver;
  readonly #timers = new Map<() => void, number>();
  #now = 0;
  #serversChanged: (() => void) | null = null;

  constructor(t: TestContext, zone: Zone, options: Partial<ResolverOptions> = {}) {
    this.zone = zone;
    const ask = async (name: string, type: QueryType, given: QueryOptions = {}): Promise<Answer> => {
      this.asked.push(`${name} ${type}`);
      if (type === "SRV") this.avoided.push(given.avoid);
      return { ...BLANK, name, type, canonical: name, ...(await this.zone(name, type, given)) };
    };
    const watch = (onChange: () => void): (() => void) => {
      this.#serversChanged = onChange;
      return () => {
        this.#serversChanged = null;
      };
    };
    const search = (name: string, types: readonly QueryType[], given?: QueryOptions) =>
      Promise.all(types.map((type) => ask(name, type, given)));
    const client = { query: ask, search, watch };
    this.resolver = new Resolver({
      source: { kind: "srv", name: NAME },
      client,
      minTtl: 1000,
      maxTtl: 300_000,
      keepLastGood: true,
      maxRemoval: 0.5,
      now: () => this.#now,
      random: () => 0,
      setTimer: (call, ms) => {
        this.#timers.set(call, this.#now + ms);
        return () => this.#timers.delete(call);
      },
      onTargets: (targets, facts) => {
        this.sets.push(targets);
        this.facts.push(facts);
      },
      onEvent: (event) => this.events.push(event),
      ...options,
    });
    t.after(() => this.resolver.stop());
  }

  async start(): Promise<void> {
    this.resolver.start();
    await this.#settled();
  }

  /** Moves the clock to the next query and waits until it is answered; returns how many ms that took. */
  async next(): Promise<number> {
    const at = this.resolver.state.nextQueryAt;
    assert.ok(at !== null, "a query is planned");
    const waited = at - this.#now;
    this.#advance(at);
    await this.#settled();
    return waited;
  }

  /** resolv.conf changes; resolves when what is asked because of it is answered. */
  async otherServers(): Promise<void> {
    this.#serversChanged?.();
    await this.#settled();
  }

  get watching(): boolean {
    return this.#serversChanged !== null;
  }

  /** Fires the deadline of the query under way. */
  expire(): void {
    this.#advance(Math.max(...this.#timers.values()));
  }

  async #settled(): Promise<void> {
    while (this.resolver.state.nextQueryAt === null) await new Promise(setImmediate);
  }

  #advance(to: number): void {
    this.#now = to;
    for (const [call, at] of [...this.#timers]) {
      if (at > to) continue;
      this.#timers.delete(call);
      call();
    }
  }

  get served(): string {
    return (this.sets.at(-1) ?? []).map((target) => target.address.split(".").at(-1)).join(",");
  }

  kinds(): string[] {
    return this.events.map((event) => event.kind).filter((kind) => kind !== "answer");
  }

  get timers(): number {
    return this.#timers.size;
  }
}

const BLANK: Answer = {
  kind: "nxdomain",
  detail: "",
  name: "",
  type: "SRV",
  canonical: "",
  dangling: false,
  records: [],
  additionals: [],
  hostile: 0,
  ttl: null,
  server: "192.0.2.53:53",
  transport: "udp",
  authenticated: false,
  authoritative: false,
  edns: true,
  raw: [],
  attempts: [],
};

/** An SRV answer whose targets carry their addresses, all in bailiwick. */
function service(octets: readonly number[], ttl = 30): Says {
  const target = (octet: number): string => `db${octet}.example.test`;
  return {
    kind: "ok",
    ttl,
    records: octets.map(
      (octet): DnsRecord => ({
        type: "SRV",
        name: NAME,
        ttl,
        priority: 0,
        weight: 1,
        port: 443,
        target: target(octet),
      }),
    ),
    additionals: octets.map(
      (octet): DnsRecord => ({ type: "A", name: target(octet), ttl, address: `192.0.2.${octet}` }),
    ),
    raw: octets.map((octet) => `target ${octet}`),
  };
}
/** The same without addresses. */
function bare(octets: readonly number[], ttl = 30): Says {
  return { ...service(octets, ttl), additionals: [] };
}
function addresses(name: string, type: QueryType, list: readonly string[], ttl = 30): Says {
  const records = list.map((address): DnsRecord => ({ type: type as "A", name, ttl, address }));
  return { kind: "ok", ttl, records };
}
const fails: Zone = () => ({ kind: "servfail", detail: "no good" });

test("the first answer delivers the whole set, and an equal one does not again", async (t) => {
  const bench = new Bench(t, () => service([1, 2]));
  assert.equal(bench.resolver.state.phase, "idle");
  await bench.start();
  assert.equal(bench.served, "1,2");
  assert.deepEqual(bench.sets[0]?.[0], {
    address: "192.0.2.1",
    port: 443,
    name: "db1.example.test",
    weight: 1,
    priority: 0,
  });
  assert.deepEqual(bench.facts[0], { kind: "ok", ttl: 30, server: "192.0.2.53:53", held: 0 });
  bench.zone = () => service([2, 1]);
  assert.equal(await bench.next(), 30_000);
  assert.equal(bench.sets.length, 1);
  assert.equal(bench.resolver.state.phase, "fresh");
});

test("TTLs are honoured within min and max", async (t) => {
  for (const [ttl, ms] of [
    [0, 1000],
    [1, 1000],
    [7, 7000],
    [0x7fffffff, 300_000],
  ] as const) {
    const bench = new Bench(t, () => service([1], ttl));
    await bench.start();
    assert.equal(await bench.next(), ms, `TTL ${ttl}`);
  }
  const eager = new Bench(t, () => service([1], 0), { minTtl: 0 });
  await eager.start();
  assert.equal(await eager.next(), 100, "TTL 0 without a lower bound is no busy loop");
});

test("a fresh answer's next query is spread by a twentieth, never by more than 0.4 s or beyond max", async (t) => {
  const bench = new Bench(t, () => service([1], 4), { random: () => 1 });
  await bench.start();
  assert.equal(await bench.next(), 4200);
  bench.zone = () => service([1], 100);
  await bench.next();
  assert.equal(await bench.next(), 100_400);
  bench.zone = () => service([1], 300);
  await bench.next();
  assert.equal(await bench.next(), 300_000);
});

test("changes are events with the raw answer", async (t) => {
  const bench = new Bench(t, () => service([1, 2]));
  await bench.start();
  bench.zone = () => service([2, 3]);
  await bench.next();
  const change = bench.events.filter((event) => event.kind === "changed").at(-1);
  assert.deepEqual(change, {
    kind: "changed",
    name: NAME,
    added: ["192.0.2.3:443"],
    removed: ["192.0.2.1:443"],
    total: 2,
    raw: ["target 2", "target 3"],
  });
});

test("DNS down at start: unresolved, nothing delivered, back-off, then served", async (t) => {
  const bench = new Bench(t, fails);
  await bench.start();
  const waits: number[] = [];
  for (let turn = 0; turn < 8; turn++) waits.push(await bench.next());
  assert.deepEqual(waits, [500, 1000, 2000, 4000, 8000, 15_000, 15_000, 15_000]);
  assert.equal(bench.sets.length, 0);
  assert.equal(bench.resolver.state.phase, "unresolved");
  assert.match(bench.resolver.state.problem, /no good/);
  bench.zone = () => service([1]);
  await bench.next();
  assert.equal(bench.served, "1");
  assert.deepEqual([bench.resolver.state.phase, bench.resolver.state.problem], ["fresh", ""]);
});

test("every kind of failure serves what there is, for as long as it lasts", async (t) => {
  for (const kind of [
    "servfail",
    "refused",
    "timeout",
    "unreachable",
    "malformed",
    "lame",
    "loop",
  ] as const) {
    const bench = new Bench(t, () => service([1, 2]));
    await bench.start();
    bench.zone = () => ({ kind });
    for (let turn = 0; turn < 20; turn++) await bench.next();
    assert.deepEqual(
      [bench.served, bench.sets.length, bench.resolver.state.phase],
      ["1,2", 1, "stale"],
      kind,
    );
    assert.equal(bench.kinds().filter((event) => event === "stale").length, 1, "said once");
    bench.zone = () => service([1, 2]);
    await bench.next();
    assert.equal(bench.resolver.state.phase, "fresh");
  }
});

test("an empty answer after a full one is not believed while the last good is kept", async (t) => {
  for (const kind of ["nxdomain", "nodata"] as const) {
    const bench = new Bench(t, () => service([1, 2]));
    await bench.start();
    bench.zone = () => ({ kind, ttl: 5 });
    await bench.next();
    assert.equal(await bench.next(), 5000, "the SOA says when to ask again");
    assert.deepEqual([bench.served, bench.resolver.state.phase], ["1,2", "stale"]);
    bench.zone = () => service([3]);
    await bench.next();
    assert.equal(bench.resolver.state.phase, "fresh");
  }
});

test("without keep_last_good an empty answer counts once a second one confirms it", async (t) => {
  const bench = new Bench(t, () => service([1, 2]), { keepLastGood: false });
  await bench.start();
  bench.zone = () => ({ kind: "nxdomain", ttl: 60 });
  await bench.next();
  assert.equal(bench.served, "1,2");
  assert.equal(await bench.next(), 500, "confirmed soon, not after the negative TTL");
  assert.deepEqual([bench.served, bench.resolver.state.phase], ["", "fresh"]);
  assert.equal(await bench.next(), 60_000);
});

test("without keep_last_good a lasting failure empties the set, a single one does not", async (t) => {
  const bench = new Bench(t, () => service([1, 2]), { keepLastGood: false });
  await bench.start();
  bench.zone = fails;
  await bench.next();
  assert.equal(bench.served, "1,2");
  await bench.next();
  assert.deepEqual([bench.served, bench.resolver.state.phase], ["", "stale"]);
});

test("an empty first answer is an answer; without SOA it is asked again like a failure", async (t) => {
  const bench = new Bench(t, () => ({ kind: "nxdomain", ttl: null }));
  await bench.start();
  assert.deepEqual([bench.sets.length, bench.served, bench.resolver.state.phase], [1, "", "fresh"]);
  assert.equal(await bench.next(), 1000);
  bench.zone = () => ({ kind: "nxdomain", ttl: 86_400 });
  await bench.next();
  assert.equal(await bench.next(), 300_000, "the negative TTL is bounded, too");
  bench.zone = () => service([1]);
  await bench.next();
  assert.equal(bench.served, "1");
});

test('the target "." empties the set once confirmed, also while the last good is kept', async (t) => {
  const bench = new Bench(t, () => service([1, 2]));
  await bench.start();
  bench.zone = () => ({
    kind: "ok",
    ttl: 30,
    records: [{ type: "SRV", name: NAME, ttl: 30, priority: 0, weight: 0, port: 0, target: "." }],
  });
  await bench.next();
  assert.equal(bench.served, "1,2");
  await bench.next();
  assert.deepEqual(
    [bench.served, bench.resolver.state.phase, bench.facts.at(-1)?.kind],
    ["", "fresh", "unavailable"],
  );
});

test("half of the targets gone passes at once, more is held back until confirmed by another server", async (t) => {
  const bench = new Bench(t, () => service([1, 2, 3, 4]));
  await bench.start();
  bench.zone = () => service([1, 2]);
  await bench.next();
  assert.equal(bench.served, "1,2");
  bench.zone = () => service([5]);
  await bench.next();
  assert.equal(bench.served, "1,2,5", "what is new is used at once");
  assert.equal(bench.resolver.state.held, 2);
  const held = bench.events.find((event) => event.kind === "removal_held");
  assert.deepEqual(held?.held, ["192.0.2.1:443", "192.0.2.2:443"]);
  assert.equal(await bench.next(), 500);
  assert.equal(bench.avoided.at(-1), "192.0.2.53:53", "the second opinion comes from elsewhere if it can");
  assert.equal(bench.served, "5");
});

test("the second opinion is asked for, not remembered", async (t) => {
  let list = ["192.0.2.1", "192.0.2.2", "192.0.2.3"];
  const bench = new Bench(
    t,
    (name, type) => (type === "A" ? addresses(name, type, list) : { kind: "nodata", ttl: 30 }),
    {
      source: { kind: "dns", host: "names.test", port: 80 },
    },
  );
  await bench.start();
  list = ["192.0.2.1"];
  await bench.next();
  assert.equal(bench.served, "1,2,3");
  list = ["192.0.2.1", "192.0.2.2", "192.0.2.3"];
  await bench.next();
  assert.deepEqual([bench.served, bench.resolver.state.held], ["1,2,3", 0]);
});

test("a flapping answer removes nobody", async (t) => {
  const bench = new Bench(t, () => service([1, 2, 3, 4]));
  await bench.start();
  for (let turn = 0; turn < 10; turn++) {
    bench.zone = () => service(turn % 2 === 0 ? [1] : [1, 2, 3, 4]);
    await bench.next();
    assert.equal(bench.served, "1,2,3,4");
  }
  assert.equal(bench.sets.length, 1);
});

test("a removal that waits for its confirmation survives a failure in between", async (t) => {
  const bench = new Bench(t, () => service([1, 2, 3, 4]));
  await bench.start();
  bench.zone = () => service([1]);
  await bench.next();
  bench.zone = fails;
  await bench.next();
  assert.equal(bench.resolver.state.held, 3);
  bench.zone = () => service([1]);
  await bench.next();
  assert.equal(bench.served, "1");
});

/** What a resolver before this one has found. */
async function found(t: TestContext, octets: readonly number[]): Promise<readonly Target[]> {
  const bench = new Bench(t, () => service(octets));
  await bench.start();
  return bench.sets[0]!;
}
const TEN = Array.from({ length: 10 }, (_, index) => index + 1);

test("a known set: a first answer that is empty or a failure changes nothing", async (t) => {
  const known = await found(t, TEN);
  for (const kind of ["nxdomain", "nodata", "servfail"] as const) {
    const bench = new Bench(t, () => ({ kind, ttl: 5 }), { known });
    await bench.start();
    const { phase, targets } = bench.resolver.state;
    assert.deepEqual([phase, targets, bench.sets.length], ["stale", 10, 0], kind);
    bench.zone = () => service(TEN);
    await bench.next();
    assert.deepEqual([bench.resolver.state.phase, bench.sets.length], ["fresh", 0], "nothing new to deliver");
  }
});

test("a known set: a first answer that lacks more than the floor allows is to be confirmed", async (t) => {
  const bench = new Bench(t, () => service([1]), { known: await found(t, TEN) });
  await bench.start();
  assert.deepEqual([bench.resolver.state.held, bench.sets.length], [9, 0]);
  assert.equal(await bench.next(), 500);
  assert.equal(bench.served, "1");
});

test("a known set: without keep_last_good a failure that lasts from the start empties it", async (t) => {
  const bench = new Bench(t, fails, { known: await found(t, TEN), keepLastGood: false });
  await bench.start();
  assert.deepEqual([bench.resolver.state.held, bench.sets.length], [10, 0]);
  await bench.next();
  assert.deepEqual([bench.resolver.state.targets, bench.sets], [0, [[]]]);
});

test("a known set: a target whose own lookup fails from the start keeps its addresses", async (t) => {
  const zone: Zone = (name, type) => {
    if (type === "SRV") return bare([1, 2]);
    if (type === "AAAA") return { kind: "nodata", ttl: 10 };
    return name.startsWith("db1") ? { kind: "timeout" } : addresses(name, type, ["192.0.2.2"]);
  };
  const bench = new Bench(t, zone, { known: await found(t, [1, 2]) });
  await bench.start();
  assert.deepEqual([bench.kinds(), bench.resolver.state.targets], [["partial"], 2]);
});

test("whatever throws within a resolution is a failure of that resolution", async () => {
  const broken = () => Promise.reject(new RangeError("too deep"));
  const client = { query: broken, search: broken };
  const lookup = new Lookup({ kind: "srv", name: NAME }, client, true, () => 0);
  const { kind, detail } = await lookup.resolve();
  assert.deepEqual([kind, detail], ["malformed", "an answer that cannot be dealt with: too deep"]);
});

test("one name with thousands of addresses behind thousands of ports is cut before it is multiplied", async (t) => {
  const bench = new Bench(t, (name, type) => {
    if (type === "AAAA") return { kind: "nodata", ttl: 30 };
    if (type === "A") {
      const all = Array.from({ length: 4000 }, (_, index) => `10.0.${index >> 8}.${index & 255}`);
      return addresses(name, type, all);
    }
    const [record] = bare([1]).records!;
    return {
      ...bare([1]),
      records: Array.from({ length: 3000 }, (_, index) => ({ ...record!, port: index + 1 })),
    };
  });
  await bench.start();
  assert.equal(bench.sets[0]?.length, 4096);
});

test("targets without additionals are asked for, both families, each for its own TTL", async (t) => {
  const bench = new Bench(t, (name, type) => {
    if (type === "SRV") return bare([1, 2], 10);
    return type === "A" ? addresses(name, type, [`192.0.2.${name[2]}`], 25) : { kind: "nodata", ttl: 25 };
  });
  await bench.start();
  assert.equal(bench.served, "1,2");
  assert.equal(bench.asked.length, 5);
  bench.asked.length = 0;
  await bench.next();
  assert.deepEqual(
    bench.asked.filter((question) => question.endsWith(" A")),
    [],
    "remembered for 25 s",
  );
  await bench.next();
  assert.equal(await bench.next(), 5000, "the addresses run out before the service does");
  assert.equal(bench.asked.filter((question) => question.endsWith(" A")).length, 2);
});

test("a target whose own lookup fails keeps its addresses, the others go on", async (t) => {
  let broken = false;
  let list = [1, 2];
  const bench = new Bench(t, (name, type) => {
    if (type === "SRV") return bare(list, 10);
    if (type === "AAAA") return { kind: "nodata", ttl: 10 };
    return broken && name.startsWith("db1")
      ? { kind: "timeout" }
      : addresses(name, type, [`192.0.2.${name[2]}`], 10);
  });
  await bench.start();
  broken = true;
  list = [1, 2, 3];
  await bench.next();
  assert.equal(bench.served, "1,2,3");
  assert.deepEqual(bench.kinds(), ["changed", "partial", "changed"]);
  assert.equal(await bench.next(), 500, "asked again like a failure");
  broken = false;
  await bench.next();
  assert.equal(bench.resolver.state.problem, "");
});

test("SRV targets that are aliases are followed across answers, circles are not", async (t) => {
  const bench = new Bench(t, (name, type) => {
    if (type === "SRV") return bare([1, 2], 10);
    if (type === "AAAA") return { kind: "nodata", ttl: 10 };
    if (name === "db1.example.test")
      return { kind: "nodata", dangling: true, canonical: "real.test", ttl: 3 };
    if (name === "real.test") return addresses(name, type, ["192.0.2.9"], 10);
    return {
      kind: "nodata",
      dangling: true,
      canonical: name === "db2.example.test" ? "x.test" : "db2.example.test",
    };
  });
  await bench.start();
  assert.equal(bench.served, "9");
  assert.equal(bench.sets[0]?.[0]?.name, "db1.example.test", "named as the service names it");
  assert.match(bench.resolver.state.problem, /circle/);
});

test("addresses that lead nowhere are never delivered", async (t) => {
  const bench = new Bench(
    t,
    (name, type) =>
      type === "A"
        ? addresses(name, type, ["0.0.0.0", "224.0.0.1", "192.0.2.1"])
        : addresses(name, type, ["::", "fe80::1", "2001:db8::1"]),
    { source: { kind: "dns", host: "names.test", port: 80 } },
  );
  await bench.start();
  assert.deepEqual(
    bench.sets[0]?.map(({ address }) => address),
    ["192.0.2.1", "2001:db8::1"],
  );
});

test("a host's addresses of both families, under its own name; one family failing keeps what was known of it", async (t) => {
  let broken = false;
  const bench = new Bench(
    t,
    (name, type) => {
      if (type === "A") return addresses(name, type, ["192.0.2.1"], 10);
      return broken ? { kind: "servfail" } : addresses(name, type, ["2001:db8::1"], 10);
    },
    { source: { kind: "dns", host: "names.test", port: 80 } },
  );
  await bench.start();
  assert.deepEqual(bench.sets[0], [
    { address: "192.0.2.1", port: 80, name: "names.test", weight: 1, priority: 0 },
    { address: "2001:db8::1", port: 80, name: "names.test", weight: 1, priority: 0 },
  ]);
  broken = true;
  await bench.next();
  assert.equal(bench.sets.length, 1);
});

test("a host is called without the trailing dot that it is asked for with", async (t) => {
  const bench = new Bench(
    t,
    (name, type) => (type === "A" ? addresses(name, type, ["192.0.2.1"]) : { kind: "nodata", ttl: 30 }),
    { source: { kind: "dns", host: "names.test.", port: 80 } },
  );
  await bench.start();
  assert.deepEqual(bench.asked, ["names.test. A", "names.test. AAAA"]);
  assert.equal(bench.sets[0]?.[0]?.name, "names.test");
});

test("localhost and IP literals ask nobody", async (t) => {
  for (const [host, expected] of [
    ["localhost", ["127.0.0.1", "::1"]],
    ["api.localhost", ["127.0.0.1", "::1"]],
    ["192.0.2.7", ["192.0.2.7"]],
    ["::1", ["::1"]],
  ] as const) {
    const source: Source = { kind: "dns", host, port: 80 };
    const bench = new Bench(t, fails, { source });
    await bench.start();
    assert.deepEqual(
      bench.sets[0]?.map(({ address }) => address),
      expected,
    );
    assert.deepEqual(bench.asked, []);
  }
});

test("500 targets, without additionals", async (t) => {
  const octets = Array.from({ length: 500 }, (_, index) => index);
  let inFlight = 0;
  let most = 0;
  const bench = new Bench(t, async (name, type) => {
    if (type === "SRV") return bare(octets);
    most = Math.max(most, ++inFlight);
    await new Promise(setImmediate);
    inFlight--;
    const octet = Number(/\d+/.exec(name)?.[0]);
    return type === "A"
      ? addresses(name, type, [`10.0.${octet >> 8}.${octet & 255}`])
      : { kind: "nodata", ttl: 30 };
  });
  await bench.start();
  assert.equal(bench.sets[0]?.length, 500);
  assert.ok(most <= 16, `${most} queries at once`);
});

test("a resolution that is not done in time counts as a failure", async (t) => {
  const bench = new Bench(
    t,
    (_name, _type, { signal }) =>
      new Promise((resolve) => signal?.addEventListener("abort", () => resolve({ kind: "aborted" }))),
  );
  bench.resolver.start();
  bench.expire();
  while (bench.resolver.state.nextQueryAt === null) await new Promise(setImmediate);
  assert.match(bench.resolver.state.problem, /not done within 30 s/);
  assert.equal(bench.resolver.state.phase, "unresolved");
});

test("other name servers end the waiting after failures, with a back-off that begins anew", async (t) => {
  const bench = new Bench(t, fails);
  await bench.start();
  for (let turn = 0; turn < 6; turn++) await bench.next();
  assert.equal(bench.resolver.state.phase, "unresolved");
  const before = bench.asked.length;
  await bench.otherServers();
  assert.equal(bench.asked.length, before + 1, "asked at once");
  assert.equal(await bench.next(), 500, "and soon again");
  bench.zone = () => service([1]);
  await bench.otherServers();
  assert.deepEqual([bench.served, bench.resolver.state.phase], ["1", "fresh"]);

  bench.zone = fails;
  await bench.next();
  assert.equal(bench.resolver.state.phase, "stale");
  bench.zone = () => service([1, 2]);
  await bench.otherServers();
  assert.deepEqual([bench.served, bench.resolver.state.phase], ["1,2", "fresh"]);
  assert.equal(bench.timers, 1, "one query is planned, not two");
});

test("other name servers do not hurry a good answer", async (t) => {
  const bench = new Bench(t, () => service([1], 60));
  await bench.start();
  await bench.otherServers();
  assert.equal(bench.asked.length, 1);
  assert.equal(await bench.next(), 60_000);
});

test("other name servers end a query that the old ones do not answer; what it says then counts no more", async (t) => {
  const bench = new Bench(
    t,
    (_name, _type, { signal }) =>
      new Promise((resolve) => signal?.addEventListener("abort", () => resolve(service([9])))),
  );
  bench.resolver.start();
  bench.zone = () => service([1]);
  await bench.otherServers();
  assert.deepEqual([bench.served, bench.sets.length, bench.timers], ["1", 1, 1]);
  assert.equal(bench.events.filter(({ kind }) => kind === "answer").length, 1);
});

test("stop ends it: the query under way is aborted and nothing more comes", async (t) => {
  let aborted = false;
  const bench = new Bench(t, (_name, _type, { signal }) => {
    return new Promise((resolve) =>
      signal?.addEventListener("abort", () => {
        aborted = true;
        resolve(service([1]));
      }),
    );
  });
  bench.resolver.start();
  bench.resolver.stop();
  bench.resolver.stop();
  await new Promise(setImmediate);
  assert.equal(aborted, true);
  assert.deepEqual([bench.sets, bench.events, bench.timers, bench.watching], [[], [], 0, false]);
  assert.throws(() => bench.resolver.start(), /started while stopped/);
});

test("whoever hears an event may stop the resolver, and gets no set", async (t) => {
  const sets: unknown[] = [];
  const bench: Bench = new Bench(t, () => service([1]), {
    onEvent: () => bench.resolver.stop(),
    onTargets: (targets) => sets.push(targets),
  });
  bench.resolver.start();
  while (bench.resolver.state.phase !== "stopped") await new Promise(setImmediate);
  assert.deepEqual([sets, bench.timers], [[], 0]);
});

test("stop within a delivery leaves no timer behind", async (t) => {
  const bench: Bench = new Bench(t, () => service([1]), { onTargets: () => bench.resolver.stop() });
  bench.resolver.start();
  while (bench.resolver.state.phase !== "stopped") await new Promise(setImmediate);
  assert.equal(bench.timers, 0);
});
