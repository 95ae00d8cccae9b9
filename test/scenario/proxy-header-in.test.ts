/**
 * Ensures whose PROXY headers are believed and what becomes of those that are missing, broken or not to be believed; the line
 * and the routes then see the client that the header names.
 */
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { Duplex } from "node:stream";
import { connect as connectTls } from "node:tls";
import { encodeProxyHeader, type ProxyHeader } from "../../lib/wire/proxy-header.ts";
import { edge, edgeConfig, type ListenerInput, type RouteInput, TERMINATE } from "../gear/edge.ts";
import { helloStream, sni } from "../gear/hellos.ts";
import { ended, knock, lastWords, reasons, tlsVerdict } from "../gear/peers.ts";
import { scenario } from "../gear/scene.ts";

type Mode = NonNullable<ListenerInput["proxy_protocol"]>["mode"];

const V1 = Buffer.from("PROXY TCP4 192.0.2.7 198.51.100.9 4711 443\r\n");
const LOCAL = encodeProxyHeader({ version: 2, command: "local", source: null, destination: null, tlvs: {} });
const UNIQUE = randomBytes(16);
const V2_HEADER: ProxyHeader = {
  version: 2,
  command: "proxy",
  source: { kind: "ip", host: "2001:db8::7", port: 4711 },
  destination: { kind: "ip", host: "2001:db8::9", port: 443 },
  tlvs: { uniqueId: UNIQUE, authority: "elsewhere.example.test" },
};
const V2 = encodeProxyHeader(V2_HEADER);
const FALSE_CRC = Buffer.from(
  "0d0a0d0a000d0a515549540a2111" + "0013" + "c0000207c6336409126701bb" + "030004deadbeef",
  "hex",
);

interface Case {
  readonly what: string;
  readonly mode: Mode;
  readonly trusted: boolean;
  readonly header: Buffer;
  readonly reason: string;
  /** Of the line; null: the client's own address. */
  readonly source: string | null;
}

const CASES: readonly Case[] = [
  {
    what: "v1, required",
    mode: "require",
    trusted: true,
    header: V1,
    reason: "ok",
    source: "192.0.2.7:4711",
  },
  {
    what: "v2, required",
    mode: "require",
    trusted: true,
    header: V2,
    reason: "ok",
    source: "[2001:db8::7]:4711",
  },
  { what: "v1, accepted", mode: "accept", trusted: true, header: V1, reason: "ok", source: "192.0.2.7:4711" },
  {
    what: "none, accepted",
    mode: "accept",
    trusted: true,
    header: Buffer.alloc(0),
    reason: "ok",
    source: null,
  },
  {
    what: "v1 UNKNOWN",
    mode: "require",
    trusted: true,
    header: Buffer.from("PROXY UNKNOWN\r\n"),
    reason: "ok",
    source: null,
  },
  { what: "LOCAL", mode: "require", trusted: true, header: LOCAL, reason: "ok", source: null },
  {
    what: "none, required",
    mode: "require",
    trusted: true,
    header: Buffer.alloc(0),
    reason: "bad_proxy_header",
    source: null,
  },
  {
    what: "v1 from a stranger, accepted",
    mode: "accept",
    trusted: false,
    header: V1,
    reason: "untrusted_proxy_header",
    source: null,
  },
  {
    what: "v2 from a stranger, required",
    mode: "require",
    trusted: false,
    header: V2,
    reason: "untrusted_proxy_header",
    source: null,
  },
  {
    what: "none from a stranger, accepted",
    mode: "accept",
    trusted: false,
    header: Buffer.alloc(0),
    reason: "ok",
    source: null,
  },
  {
    what: "v1 too long",
    mode: "accept",
    trusted: true,
    header: Buffer.from(`PROXY TCP4 ${"1".repeat(120)}`),
    reason: "bad_proxy_header",
    source: null,
  },
  {
    what: "v1 without sense",
    mode: "accept",
    trusted: true,
    header: Buffer.from("PROXY TCP4 1.2.3.4 nowhere 1 2\r\n"),
    reason: "bad_proxy_header",
    source: null,
  },
  {
    what: "v2 of version 3",
    mode: "accept",
    trusted: true,
    header: Buffer.from("0d0a0d0a000d0a515549540a31110000", "hex"),
    reason: "bad_proxy_header",
    source: null,
  },
  {
    what: "v2 with a false CRC32C",
    mode: "accept",
    trusted: true,
    header: FALSE_CRC,
    reason: "bad_proxy_header",
    source: null,
  },
];

scenario("headers in: trusted, strange, required, absent, broken", async (scene) => {
  const got: string[] = [];
  const service = await scene.service((socket) => {
    socket.once("data", (chunk: Buffer) => {
      got.push(chunk.toString());
      socket.end("welcome");
    });
  });
  const base = await edgeConfig(scene, service, []);
  const stage = await scene.proxy({
    ...base,
    listeners: CASES.map(({ mode, trusted }, index) => ({
      name: `in-${index}`,
      address: "127.0.0.1:0",
      proxy_protocol: { mode, trusted: [trusted ? "127.0.0.0/8" : "192.0.2.0/24"] },
      routes: [{ tls: "none", cluster: "out" }],
    })),
  });
  for (const [index, { what, header, reason }] of CASES.entries()) {
    // Whole, with the first bytes right behind it, and byte by byte.
    for (const single of [false, true]) {
      const { bytes, how } = await knock(stage.port(`in-${index}`), (socket) => {
        socket.setNoDelay(true);
        if (single) for (const byte of header) socket.write(Buffer.of(byte));
        socket.write(single ? "first data" : Buffer.concat([header, Buffer.from("first data")]));
      });
      assert.equal(bytes.toString(), reason === "ok" ? "welcome" : "", what);
      assert.equal(how === "end", reason === "ok", `${what}: ${how}`);
      if (reason === "ok") assert.equal(got.pop(), "first data", what);
    }
  }
  const lines = await ended(stage, CASES.length * 2);
  for (const line of lines) {
    const index = Number(line.listener.slice(3));
    const { what, reason, source, header } = CASES[index]!;
    assert.equal(line.reason, reason, `${what}: ${line.error}`);
    if (source === null) assert.match(line.source, /^127\.0\.0\.1:/, what);
    else assert.equal(line.source, source, what);
    if (source !== null && header === V2) {
      assert.equal(line.destination, "[2001:db8::9]:443");
      assert.equal(line.parent, UNIQUE.toString("hex"));
    } else {
      assert.equal(line.parent, undefined, what);
    }
    assert.deepEqual(reasons(stage, line.listener), { [reason]: 2 }, what);
  }
  assert.equal(got.length, 0, "who was refused was never heard");
});

scenario("an end before or within a header, where one is accepted", async (scene) => {
  const service = await scene.service((socket) => socket.end("greeting"));
  const stage = await edge(scene, service, [{ tls: "none" }], {
    listener: { proxy_protocol: { mode: "accept", trusted: ["127.0.0.0/8"] } },
  });
  for (const [start, answer] of [
    ["", "greeting"],
    ["PROXY TCP4 192.0.2", ""],
    [V2.subarray(0, 20), ""],
  ] as const) {
    const client = await scene.client(stage.port("in"));
    const last = lastWords(client);
    client.end(start);
    assert.equal((await last).bytes.toString(), answer);
  }
  const lines = await ended(stage, 3);
  assert.deepEqual(
    lines.map(({ reason }) => reason),
    ["ok", "bad_proxy_header", "bad_proxy_header"],
  );
});

scenario("a header decides the route by the client and the destination that it names", async (scene) => {
  const service = await scene.service((socket) => socket.end("welcome"));
  const stage = await edge(
    scene,
    service,
    [
      { name: "six", tls: "none", match: { from: ["2001:db8::/32"], destination: ["[2001:db8::9]:443"] } },
      { name: "four", tls: "none", match: { from: ["192.0.2.0/24"] } },
    ],
    { listener: { proxy_protocol: { mode: "require", trusted: ["127.0.0.1/32"] } } },
  );
  for (const header of [V2, V1, LOCAL]) {
    const client = await scene.client(stage.port("in"));
    const last = lastWords(client);
    client.end(header);
    await last;
  }
  const lines = await ended(stage, 3);
  assert.deepEqual(
    lines.map(({ reason, route }) => [reason, route]),
    [
      ["ok", "six"],
      ["ok", "four"],
      ["no_route", undefined],
    ],
  );
});

scenario("a header expected inside TLS, on routes that do not end it: required is refused", async (scene) => {
  const service = await scene.service((socket) => socket.once("data", () => socket.end("welcome")));
  const routes: RouteInput[] = [
    { name: "bare", tls: "none", cluster: "out" },
    { name: "through", tls: "passthrough", match: { sni: ["a.test"] }, cluster: "out" },
  ];
  const cases = (["require", "accept"] as const).flatMap((mode) => routes.map((route) => ({ mode, route })));
  const base = await edgeConfig(scene, service, []);
  const stage = await scene.proxy({
    ...base,
    listeners: cases.map(({ mode, route }, index) => ({
      name: `in-${index}`,
      address: "127.0.0.1:0",
      // A stranger, who would be refused where the header is read.
      proxy_protocol: { mode, trusted: ["192.0.2.0/24"], position: "inner" },
      routes: [{ ...TERMINATE, match: { sni: ["localhost"] }, cluster: "out" }, route],
    })),
  });
  const hello = helloStream({ extensions: [sni("a.test")] });
  for (const [index, { mode, route }] of cases.entries()) {
    const what = `${mode}, ${route.name}`;
    const client = await scene.client(stage.port(`in-${index}`));
    const last = lastWords(client);
    client.write(route.tls === "none" ? "first data" : hello);
    const { bytes, how } = await last;
    client.end();
    assert.equal(bytes.toString(), mode === "accept" ? "welcome" : "", what);
    assert.equal(how, mode === "accept" ? "end" : "ECONNRESET", what);
  }
  for (const line of await ended(stage, cases.length)) {
    const { mode, route } = cases[Number(line.listener.slice(3))]!;
    assert.equal(line.reason, mode === "accept" ? "ok" : "bad_proxy_header", line.error);
    assert.equal(line.route, route.name);
    if (mode === "accept") continue;
    assert.match(line.error!, new RegExp(`route ${route.name} does not end TLS, so no PROXY header can be`));
    assert.equal(line.endpoint, undefined);
  }
  assert.equal(service.accepted, 2, "who was refused was never dialled for");
});

scenario("a header inside the terminated TLS, and before it", async (scene) => {
  const service = await scene.service((socket) => {
    socket.once("data", (chunk: Buffer) => socket.end(`heard ${chunk}`));
  });
  for (const position of ["inner", "outer"] as const) {
    const stage = await edge(scene, service, [TERMINATE], {
      listener: { proxy_protocol: { mode: "require", trusted: ["127.0.0.0/8"], position } },
    });
    const port = stage.port("in");
    if (position === "inner") {
      assert.equal((await tlsVerdict(port, {}, `${V1}hello`)).answer, "heard hello");
      assert.equal((await tlsVerdict(port, {}, "no header")).answer, "");
    } else {
      const raw = await scene.client(port);
      raw.write(V1);
      assert.equal((await tlsVerdict(port, { socket: raw }, "hello")).answer, "heard hello");
      assert.equal((await tlsVerdict(port, {}, "no header")).answer, "");
    }
    const [good, bad] = await ended(stage, 2);
    assert.equal(good!.reason, "ok");
    assert.equal(good!.source, "192.0.2.7:4711");
    assert.equal(bad!.reason, "bad_proxy_header");
    assert.deepEqual(reasons(stage, "in"), { ok: 1, bad_proxy_header: 1 });
  }
});

scenario(
  "an end in one segment with the handshake's last bytes, where a header inside is required",
  async (scene) => {
    const service = await scene.service((socket) => socket.end());
    const stage = await edge(scene, service, [TERMINATE], {
      listener: { proxy_protocol: { mode: "require", trusted: ["127.0.0.0/8"], position: "inner" } },
      // Who does not hear of the end waits for a header that long.
      timeouts: { hello: "30s" },
    });
    const raw = await scene.client(stage.port("in"));
    const held: Buffer[] = [];
    const wire = new Duplex({
      read() {},
      write(chunk: Buffer, _encoding, done) {
        // The hello goes at once, everything else with the end.
        if (raw.bytesWritten > 0) held.push(chunk);
        else raw.write(chunk);
        done();
      },
      final(done) {
        raw.end(Buffer.concat(held), () => done());
      },
    });
    raw.on("data", (chunk: Buffer) => wire.push(chunk));
    raw.on("close", () => wire.destroy());
    const client = connectTls({ socket: wire, rejectUnauthorized: false });
    client.on("error", () => {});
    client.on("secureConnect", () => client.end());
    const { reason, tls } = await stage.access();
    assert.deepEqual([reason, tls], ["bad_proxy_header", "TLSv1.3"]);
  },
);
