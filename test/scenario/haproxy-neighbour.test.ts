/**
 * Ensures that HAProxy and Millrace understand each other: its PROXY v2 headers name the client to us, in front of plain and of TLS
 * connections, and ours to it, with our id and the client's name; and a chain of both carries bytes and half-closes.
 */
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import type { Socket } from "node:net";
import { connect as connectTls } from "node:tls";
import { leaf } from "../gear/certificates.ts";
import { edge, MUTUAL } from "../gear/edge.ts";
import { haproxy } from "../gear/haproxy.ts";
import { ended } from "../gear/peers.ts";
import { needs } from "../gear/programs.ts";
import { readAll, type Scene, type Service, scenario, TRANSPORTS } from "../gear/scene.ts";

const DATA = randomBytes(400_009);
const HEADERS = { proxy_protocol: { mode: "require" as const, trusted: ["127.0.0.1"] } };

/** Answers with all that came, when the client has ended its direction. */
function mirror(scene: Scene): Promise<Service> {
  return scene.service((socket) => {
    void readAll(socket).then(
      (bytes) => socket.end(bytes),
      () => {},
    );
  });
}

async function there(socket: Socket): Promise<void> {
  const answer = readAll(socket);
  socket.end(DATA);
  assert((await answer).equals(DATA));
}

scenario(
  "HAProxy in front: send-proxy-v2 to a plain and to a terminating listener",
  async (scene) => {
    const service = await mirror(scene);
    const plain = await edge(scene, service, [{ tls: "none" }], { listener: HEADERS });
    const front = await haproxy(scene, {
      target: { port: plain.port("in") },
      send: "send-proxy-v2 proxy-v2-options unique-id",
      front: ["unique-id-format a-very-unique-id"],
      format: "%ci:%cp %ts",
    });
    const client = await scene.client(front.port);
    const source = `127.0.0.1:${client.localPort}`;
    await there(client);
    const [line] = await ended(plain, 1);
    assert.equal(line!.reason, "ok");
    assert.equal(line!.source, source, "the client, not HAProxy");
    assert.equal(line!.destination, front.address);
    assert.equal(Buffer.from(line!.parent!, "hex").toString(), "a-very-unique-id");
    assert.deepEqual(await front.lines(1), [`${source} --`]);

    const tls = await edge(scene, service, [{ ...MUTUAL, match: { sni: ["localhost"] } }], {
      listener: HEADERS,
    });
    const before = await haproxy(scene, {
      target: { port: tls.port("in") },
      send: "send-proxy-v2",
      format: "%ci:%cp %ts",
    });
    const raw = await scene.client(before.port);
    const behindIt = `127.0.0.1:${raw.localPort}`;
    const { cert, key } = await leaf("alice");
    const options = { socket: raw, servername: "localhost", cert, key, rejectUnauthorized: false };
    const secure = connectTls({ ...options, allowHalfOpen: true } as object);
    scene.onClose(() => {
      secure.destroy();
    });
    await there(secure);
    const [through] = await ended(tls, 1);
    assert.equal(through!.reason, "ok");
    assert.equal(through!.source, behindIt);
    assert.equal(through!.peer?.subject, "CN=alice,OU=ops");
  },
  TRANSPORTS,
  needs("haproxy"),
);

scenario(
  "HAProxy behind: accept-proxy, plain and with TLS",
  async (scene) => {
    const service = await mirror(scene);
    const behind = await haproxy(scene, {
      bind: "accept-proxy",
      target: service,
      format: "%ci:%cp %fi:%fp %[fc_pp_unique_id,hex,lower] %ts",
    });
    const plain = await edge(scene, behind, [{ tls: "none" }], { cluster: { proxy_protocol: "v2" } });
    const client = await scene.client(plain.port("in"));
    const source = `127.0.0.1:${client.localPort}`;
    await there(client);
    const [line] = await ended(plain, 1);
    assert.equal(line!.reason, "ok");
    assert.deepEqual(await behind.lines(1), [`${source} 127.0.0.1:${plain.port("in")} ${line!.id} --`]);

    for (const version of ["1.2", "1.3"]) {
      const secure = await haproxy(scene, {
        bind: `accept-proxy ssl crt FOLDER/edge ca-file FOLDER/ca verify required ssl-min-ver TLSv${version} ssl-max-ver TLSv${version}`,
        target: service,
        format: "%ci:%cp %sslv %[ssl_fc_sni] %[ssl_c_s_dn(CN)] %[ssl_fc_is_resumed]",
      });
      const originating = await edge(scene, secure, [{ tls: "none" }], {
        identities: ["alice"],
        cluster: { proxy_protocol: "v2", tls: { identity: "alice", server_name: "localhost" } },
      });
      const sources: string[] = [];
      for (let round = 0; round < 3; round++) {
        const one = await scene.client(originating.port("in"));
        sources.push(`127.0.0.1:${one.localPort}`);
        await there(one);
      }
      for (const ending of await ended(originating, 3)) {
        assert.equal(ending.reason, "ok");
        assert.equal(ending.upstream_peer?.subject, "CN=server");
      }
      assert.deepEqual(
        await secure.lines(3),
        sources.map((at, round) => `${at} TLSv${version} localhost alice ${round === 0 ? 0 : 1}`),
      );
    }
  },
  TRANSPORTS,
  needs("haproxy"),
);
