/**
 * Ensures that the header we send is the first thing a service hears, once, ahead of the client's first bytes and of our TLS,
 * and that it says who the client is; v2 also carries the id of the access line.
 */
import assert from "node:assert/strict";
import { connect as connectTls } from "node:tls";
import { decodeProxyHeader, encodeProxyHeader, type ProxyHeader } from "../../lib/wire/proxy-header.ts";
import { leaf } from "../gear/certificates.ts";
import { type EdgeOptions, edge, MUTUAL, type RouteInput } from "../gear/edge.ts";
import { helloStream, sni } from "../gear/hellos.ts";
import { ended, lastWords, reasons } from "../gear/peers.ts";
import { readAll, type Scene, scenario } from "../gear/scene.ts";

/** A proxy before a service that keeps all it hears. */
async function announcing(scene: Scene, route: Partial<RouteInput>, options: EdgeOptions) {
  const heard: Buffer[] = [];
  const service = await scene.service((socket) => {
    void readAll(socket).then((bytes) => {
      heard.push(bytes);
      socket.end("welcome");
    });
  });
  return { heard, stage: await edge(scene, service, [route], options) };
}

function taken(bytes: Buffer): { header: ProxyHeader; rest: string } {
  const verdict = decodeProxyHeader(bytes);
  assert.equal(verdict.kind, "header");
  assert(verdict.kind === "header");
  return { header: verdict.header, rest: bytes.subarray(verdict.length).toString("latin1") };
}

scenario("v1 and v2 for a plain client: addresses, then the first data", async (scene) => {
  for (const version of ["v1", "v2"] as const) {
    const { stage, heard } = await announcing(
      scene,
      { tls: "none" },
      { cluster: { proxy_protocol: version } },
    );
    for (const data of ["first data", "x".repeat(200_000), ""]) {
      const client = await scene.client(stage.port("in"));
      const { localPort } = client;
      const last = lastWords(client);
      client.end(data);
      assert.equal((await last).bytes.toString(), "welcome");
      const { header, rest } = taken(heard.pop()!);
      assert.equal(rest, data);
      assert.deepEqual(header.source, { kind: "ip", host: "127.0.0.1", port: localPort });
      assert.deepEqual(header.destination, { kind: "ip", host: "127.0.0.1", port: stage.port("in") });
      const [line] = await ended(stage, 1);
      assert.equal(line!.bytes_up, data.length, "the header is not the client's");
      if (version === "v2") assert.equal(Buffer.from(header.tlvs.uniqueId!).toString("hex"), line!.id);
    }
    assert.deepEqual(reasons(stage, "in"), { ok: 3 });
  }
});

scenario("v2 for a TLS client: name, protocol, version, cipher, certificate", async (scene) => {
  const { stage, heard } = await announcing(
    scene,
    { ...MUTUAL, alpn: ["h2"] },
    { cluster: { proxy_protocol: "v2" } },
  );
  const pair = await leaf("alice");
  const client = connectTls({
    ...{ port: stage.port("in"), rejectUnauthorized: false, servername: "web.example.test" },
    ...{ ...pair, ALPNProtocols: ["h2"] },
  });
  client.end("first data");
  await lastWords(client);
  const [line] = await ended(stage, 1);
  assert.equal(line!.reason, "ok");
  const { header, rest } = taken(heard.pop()!);
  assert.equal(rest, "first data");
  const { tlvs } = header;
  assert.equal(Buffer.from(tlvs.uniqueId!).toString("hex"), line!.id);
  assert.equal(tlvs.authority, "web.example.test");
  assert.equal(tlvs.alpn, "h2");
  assert.equal(tlvs.ssl!.version, "TLSv1.3");
  assert.match(tlvs.ssl!.cipher!, /^TLS_/);
  assert.equal(tlvs.ssl!.commonName, "alice");
  assert.equal(tlvs.ssl!.certificate, true);
  assert.equal(tlvs.ssl!.verified, true);
});

scenario("passthrough: header, then the client's own hello, with its name", async (scene) => {
  const { stage, heard } = await announcing(
    scene,
    { tls: "passthrough", match: { sni: ["db.example.test"] } },
    { cluster: { proxy_protocol: "v2" } },
  );
  const hello = helloStream({ extensions: [sni("db.example.test")] });
  const client = await scene.client(stage.port("in"));
  const last = lastWords(client);
  client.end(hello);
  await last;
  const { header, rest } = taken(heard.pop()!);
  assert.equal(rest, hello.toString("latin1"));
  assert.equal(header.tlvs.authority, "db.example.test");
  assert.equal(header.tlvs.ssl, undefined, "nobody here knows how that TLS went");
});

scenario("a header in becomes a header out, also LOCAL, and families may differ", async (scene) => {
  const { stage, heard } = await announcing(
    scene,
    { tls: "none" },
    {
      listener: { proxy_protocol: { mode: "require", trusted: ["127.0.0.0/8"] } },
      cluster: { proxy_protocol: "v2" },
    },
  );
  const six: ProxyHeader = {
    version: 2,
    command: "proxy",
    source: { kind: "ip", host: "2001:db8::7", port: 4711 },
    destination: { kind: "ip", host: "2001:db8::9", port: 443 },
    tlvs: {},
  };
  const local: ProxyHeader = { version: 2, command: "local", source: null, destination: null, tlvs: {} };
  for (const header of [six, local]) {
    const client = await scene.client(stage.port("in"));
    const { localPort } = client;
    const last = lastWords(client);
    client.end(Buffer.concat([encodeProxyHeader(header), Buffer.from("data")]));
    await last;
    const out = taken(heard.pop()!);
    assert.equal(out.rest, "data");
    assert.equal(out.header.command, "proxy");
    assert.deepEqual(out.header.source, header.source ?? { kind: "ip", host: "127.0.0.1", port: localPort });
    const [line] = await ended(stage, 1);
    assert.equal(Buffer.from(out.header.tlvs.uniqueId!).toString("hex"), line!.id, "an id of its own");
  }
});

scenario("the header goes ahead of our TLS", async (scene) => {
  let first: Buffer = Buffer.alloc(0);
  const service = await scene.service((socket) => {
    socket.once("data", (chunk: Buffer) => {
      first = chunk;
      socket.resetAndDestroy();
    });
  });
  const stage = await edge(scene, service, [{ tls: "none" }], {
    cluster: { proxy_protocol: "v2", tls: { identity: "trust", server_name: "localhost" } },
  });
  const client = await scene.client(stage.port("in"));
  const last = lastWords(client);
  client.write("a secret");
  await last;
  const { header, rest } = taken(first);
  assert.equal(header.command, "proxy");
  assert(rest === "" || rest.startsWith("\x16\x03"), "nothing but a ClientHello follows");
  const [line] = await ended(stage, 1);
  assert.equal(line!.reason, "upstream_handshake_failed");
});
