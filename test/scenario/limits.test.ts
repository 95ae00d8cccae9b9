/**
 * Ensures that each limit (process, listener, source) refuses by reset with reason `limit`, leaves those alone that are in, and
 * that every count is back at zero afterwards: also when clients reset, and when a PROXY header names the source.
 */
import assert from "node:assert/strict";
import type { Socket } from "node:net";
import { type EdgeOptions, edge } from "../gear/edge.ts";
import { ended, knock, reasons } from "../gear/peers.ts";
import { readBytes, scenario } from "../gear/scene.ts";

const header = (source: string): string => `PROXY TCP4 ${source} 192.0.2.1 4711 443\r\n`;

const LIMITS: readonly {
  name: string;
  options: EdgeOptions;
  says: RegExp;
  prefix: string;
  other: string | null;
}[] = [
  {
    name: "process",
    options: { limits: { connections: 3 } },
    says: /^limits\.connections: 3/,
    prefix: "",
    other: null,
  },
  {
    name: "listener",
    options: { listener: { limits: { connections: 3 } } },
    says: /^listener in: limits\.connections: 3/,
    prefix: "",
    other: null,
  },
  {
    name: "source",
    options: { limits: { per_source: 3 } },
    says: /^limits\.per_source: 3 .*127\.0\.0\.1/,
    prefix: "",
    other: null,
  },
  {
    name: "source at a listener",
    options: { listener: { limits: { per_source: 3 } } },
    says: /^listener in: limits\.per_source: 3/,
    prefix: "",
    other: null,
  },
  {
    name: "source from a header",
    options: {
      limits: { per_source: 3 },
      listener: { proxy_protocol: { mode: "require", trusted: ["127.0.0.0/8"] } },
    },
    says: /^limits\.per_source: 3 .*192\.0\.2\.7/,
    prefix: header("192.0.2.7"),
    other: header("192.0.2.8"),
  },
];

for (const { name, options, says, prefix, other } of LIMITS) {
  scenario(`a limit is reached, and free again: ${name}`, async (scene) => {
    const service = await scene.service((socket) => {
      socket.on("data", (chunk: Buffer) => socket.write(chunk));
      socket.on("end", () => socket.end());
    });
    const stage = await edge(scene, service, [{ tls: "none" }], options);
    const enter = async (text: string, head = prefix): Promise<Socket> => {
      const client = await scene.client(stage.port("in"));
      client.write(head + text);
      assert.equal((await readBytes(client, text.length)).toString(), text);
      return client;
    };
    const leave = async (clients: Socket[]): Promise<void> => {
      for (const [index, client] of clients.entries()) {
        if (index % 2 === 0) client.resetAndDestroy();
        else client.end();
      }
      await stage.settled();
    };
    const inside = [await enter("one"), await enter("two"), await enter("three")];
    for (let extra = 0; extra < 2; extra++) {
      const { bytes, how } = await knock(stage.port("in"), (socket) => socket.write(`${prefix}four`));
      assert.equal(bytes.length, 0);
      assert(how === "ECONNRESET" || how === "EPIPE", how);
    }
    // Those inside are not touched, and another client has a limit of its own.
    inside[1]!.write("still");
    assert.equal((await readBytes(inside[1]!, 5)).toString(), "still");
    if (other !== null) inside.push(await enter("another", other));
    await leave(inside);
    // The counts are at zero: as many as before find room, and one more does not.
    const again = [await enter("one"), await enter("two"), await enter("three")];
    const late = await knock(stage.port("in"), (socket) => socket.write(`${prefix}four`));
    assert.equal(late.bytes.length, 0);
    await leave(again);

    const count = 9 + (other === null ? 0 : 1);
    const lines = await ended(stage, count);
    const refused = lines.filter(({ reason }) => reason === "limit");
    assert.equal(refused.length, 3);
    for (const { error, level, route } of refused) {
      assert.match(error!, says);
      assert.equal(level, "warn");
      assert.equal(route, undefined);
    }
    const resets = 4;
    assert.deepEqual(reasons(stage, "in"), { ok: count - 3 - resets, client_reset: resets, limit: 3 });
    assert.equal(service.accepted, count - 3);
  });
}
