/** Ensures that each kind of allow rule lets in exactly whom it names. */
import assert from "node:assert/strict";
import { X509Certificate } from "node:crypto";
import { type LeafName, leaf } from "../gear/certificates.ts";
import { edgeConfig, type ListenerInput, MUTUAL, type RouteInput } from "../gear/edge.ts";
import { ended, tlsVerdict } from "../gear/peers.ts";
import { scenario } from "../gear/scene.ts";

type Rule = NonNullable<RouteInput["allow"]>[number];
const CLIENTS = ["alice", "mallory", "spiffe", "cnOnly", "server"] as const satisfies readonly LeafName[];

scenario("spiffe, dns, cn, ou, fingerprint, any", async (scene) => {
  const alice = new X509Certificate((await leaf("alice")).cert).fingerprint256
    .replaceAll(":", "")
    .toLowerCase();
  const rules: readonly { rule: Rule; lets: readonly LeafName[] }[] = [
    { rule: { spiffe: "spiffe://example.test/ns/prod/alice" }, lets: ["alice"] },
    { rule: { spiffe: "spiffe://example.test/ns/prod/*" }, lets: ["alice", "spiffe", "server"] },
    { rule: { spiffe: "spiffe://example.test/**" }, lets: ["alice", "spiffe", "server"] },
    { rule: { spiffe: "spiffe://elsewhere.test/**" }, lets: [] },
    { rule: { dns: "alice.clients.example.test" }, lets: ["alice"] },
    { rule: { dns: "*.clients.example.test" }, lets: ["alice"] },
    { rule: { dns: "*.example.test" }, lets: ["server"] },
    { rule: { cn: "alice" }, lets: ["alice"] },
    // A common name is no DNS name.
    { rule: { dns: "localhost" }, lets: ["server"] },
    { rule: { cn: "localhost" }, lets: ["cnOnly"] },
    { rule: { ou: "ops" }, lets: ["alice"] },
    { rule: { fingerprint: `sha256:${alice}` }, lets: ["alice"] },
    {
      rule: { fingerprint: `sha256:${alice.replace(/^./, (digit) => (digit === "0" ? "1" : "0"))}` },
      lets: [],
    },
    { rule: "any", lets: CLIENTS },
  ];
  const service = await scene.service((socket) => {
    socket.once("data", () => socket.end("welcome"));
  });
  const base = await edgeConfig(scene, service, []);
  const listeners: ListenerInput[] = rules.map(({ rule }, index) => ({
    name: `in-${index}`,
    address: "127.0.0.1:0",
    routes: [{ ...MUTUAL, allow: [rule], cluster: "out" }],
  }));
  const stage = await scene.proxy({ ...base, listeners });
  const pairs = await Promise.all(CLIENTS.map((name) => leaf(name)));
  const expected: string[] = [];
  for (const [index, { rule, lets }] of rules.entries()) {
    for (const [at, name] of CLIENTS.entries()) {
      const entitled = lets.includes(name);
      const { answer, alert } = await tlsVerdict(stage.port(`in-${index}`), pairs[at]!);
      assert.equal(answer, entitled ? "welcome" : "", `${name} by ${JSON.stringify(rule)}`);
      assert.equal(alert, entitled ? null : 46, `${name} by ${JSON.stringify(rule)}`);
      expected.push(entitled ? "ok" : "denied");
    }
  }
  const lines = await ended(stage, expected.length);
  assert.deepEqual(
    lines.map(({ reason }) => reason),
    expected,
  );
  assert.equal(service.accepted, expected.filter((reason) => reason === "ok").length);
});
