/** Ensures that garbage instead of a hello or a header is refused at once, whatever its size, and never reaches a service. */
import assert from "node:assert/strict";
import type { Socket } from "node:net";
import { edge, type ListenerInput, TERMINATE } from "../gear/edge.ts";
import { ended, lastWords, reasons } from "../gear/peers.ts";
import { scenario } from "../gear/scene.ts";

const DOORS: readonly { name: string; listener: Partial<ListenerInput>; reason: string; how: string[] }[] = [
  // Nothing to say to who speaks no TLS, so it is a close; a header that must be there is worth a reset.
  { name: "a hello", listener: {}, reason: "bad_hello", how: ["end"] },
  {
    name: "a PROXY header",
    listener: { proxy_protocol: { mode: "require", trusted: ["127.0.0.0/8"] } },
    reason: "bad_proxy_header",
    how: ["ECONNRESET", "EPIPE"],
  },
];

for (const { name, listener, reason, how } of DOORS) {
  scenario(`garbage where ${name} is due: 1 byte, 1 KiB, 64 KiB, endless`, async (scene) => {
    const service = await scene.service((socket) => socket.end("never"));
    const stage = await edge(scene, service, [TERMINATE], { listener });
    for (const size of [1, 1024, 64 * 1024]) {
      const client = await scene.client(stage.port("in"));
      const heard = lastWords(client);
      client.write(Buffer.alloc(size, "G"));
      const last = await heard;
      client.end();
      assert.equal(last.bytes.length, 0, `${size} bytes`);
      assert(how.includes(last.how), `${size} bytes: ${last.how}`);
    }
    const client = await scene.client(stage.port("in"));
    const heard = lastWords(client);
    pourWithoutEnd(client);
    const last = await heard;
    assert.equal(last.bytes.length, 0);
    // The door closes first, and does not read for ever what comes behind.
    await new Promise<void>((resolve) => {
      if (client.destroyed || client.errored !== null) resolve();
      else client.on("error", () => resolve()).on("close", () => resolve());
    });
    for (const access of await ended(stage, 4)) {
      assert.equal(access.reason, reason);
      assert.equal(access.bytes_up, 0);
    }
    assert.equal(service.accepted, 0);
    assert.deepEqual(reasons(stage, "in"), { [reason]: 4 });
  });
}

function pourWithoutEnd(socket: Socket): void {
  const block = Buffer.alloc(65_536, "G");
  const pour = (): void => {
    while (!socket.destroyed && socket.write(block));
  };
  socket.on("drain", pour);
  pour();
}
