import assert from "node:assert/strict";
import { test } from "node:test";
import { DnsClient } from "../../lib/dns/client.ts";
import { createTargetSource, type TargetEvent } from "../../lib/dns/source.ts";
import type { Target } from "../../lib/dns/srv.ts";
import { a, type Responder, respond, srv, startResponder, zone } from "../gear/dns.ts";

const POLICY = { minTtl: 100, maxTtl: 300_000, keepLastGood: true, maxRemoval: 0.5 };
const NAME = "_db._tcp.example.test";

function clientOf(responder: Responder): DnsClient {
  return new DnsClient({ servers: [responder] });
}

/** Starts the source and collects what it says until `enough`. */
function collect(
  source: ReturnType<typeof createTargetSource>,
  enough: (sets: number, lines: number) => boolean,
) {
  const sets: (readonly Target[])[] = [];
  const lines: TargetEvent[] = [];
  // The source's own timers let the process end.
  const alive = setInterval(() => {}, 1000);
  return new Promise<{ sets: typeof sets; lines: TargetEvent[] }>((resolve) => {
    const look = (): void => {
      if (!enough(sets.length, lines.length)) return;
      clearInterval(alive);
      resolve({ sets, lines });
    };
    source.start(
      (targets) => {
        sets.push(targets);
        look();
      },
      (line) => {
        lines.push(line);
        look();
      },
      null,
    );
  });
}

test("a service becomes targets, a log line and plain state", async (t) => {
  const dns = await startResponder(
    t,
    zone([srv(NAME, [0, 1, 443, "db1.example.test"]), a("db1.example.test", "192.0.2.1")]),
  );
  const source = createTargetSource({ kind: "srv", name: NAME }, POLICY, clientOf(dns));
  t.after(() => source.stop());
  assert.equal(source.describe().phase, "idle");
  const { sets, lines } = await collect(source, (count) => count === 1);
  assert.deepEqual(sets, [
    [{ address: "192.0.2.1", port: 443, name: "db1.example.test", weight: 1, priority: 0 }],
  ]);
  assert.equal(lines[0]?.message, `${NAME}: added 192.0.2.1:443; now 1`);
  assert.ok(lines[0]?.raw?.includes("db1.example.test. 60 IN A 192.0.2.1"));
  const state = source.describe();
  assert.deepEqual([state.name, state.phase, state.targets, state.answers], [NAME, "fresh", 1, { ok: 1 }]);
  assert.deepEqual(JSON.parse(JSON.stringify(state)), state);
});

test("trouble is said once, in a sentence, and counted each time", async (t) => {
  let again = (): void => {};
  const second = new Promise<void>((resolve) => {
    again = resolve;
  });
  const dns = await startResponder(t, (query) => {
    if (query.turn === 3) again(); // two families, twice
    return respond(query, [], { rcode: 2 });
  });
  const source = createTargetSource({ kind: "name", host: "api.test", port: 80 }, POLICY, clientOf(dns));
  t.after(() => source.stop());
  const alive = setInterval(() => {}, 1000);
  t.after(() => clearInterval(alive));
  const { sets, lines } = await collect(source, (_, count) => count === 1);
  assert.deepEqual(source.describe().answers, { servfail: 1 });
  await second;
  while (source.describe().answers["servfail"] === 1) await new Promise(setImmediate);
  assert.deepEqual([sets.length, lines.length], [0, 1]);
  assert.equal(lines[0]?.level, "warn");
  assert.match(lines[0]?.message ?? "", /^api\.test: .*SERVFAIL.*\(servfail\); asking again in 1 s$/);
});

test("a held removal names who is held", async (t) => {
  const full = [1, 2, 3].map((octet) => a("api.test", `192.0.2.${octet}`, 0));
  const dns = await startResponder(t, zone(full));
  const source = createTargetSource({ kind: "name", host: "api.test", port: 80 }, POLICY, clientOf(dns));
  t.after(() => source.stop());
  const heard = collect(source, (_, count) => {
    dns.say(zone(full.slice(0, 1)));
    return count === 2;
  });
  const { lines } = await heard;
  assert.match(
    lines[1]?.message ?? "",
    /2 of 3 targets are missing.*second answer in 1 s.*192\.0\.2\.2:80, 192\.0\.2\.3:80/,
  );
});
