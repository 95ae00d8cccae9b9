/** Ensures that `limits.hello_bytes` is exact: a hello of the limit passes, one byte more is refused with decode_error. */
import assert from "node:assert/strict";
import { edge } from "../gear/edge.ts";
import { extension, helloMessage, records, sni } from "../gear/hellos.ts";
import { ended, fatalAlert, lastWords, reasons } from "../gear/peers.ts";
import { readAll, scenario } from "../gear/scene.ts";

const NAME = "db.example.test";

/** A hello stream of exactly `size` bytes. */
function sized(size: number, recordSizes: readonly number[]): Buffer {
  const padded = (room: number) =>
    records(helloMessage({ extensions: [sni(NAME), extension(21, new Uint8Array(room))] }), recordSizes);
  const bytes = padded(size - padded(0).length);
  if (bytes.length === size) return bytes;
  // Further records take headers of their own.
  return padded(2 * size - padded(0).length - bytes.length);
}

for (const limit of [2048, 16_384, 65_536]) {
  scenario(`hellos around a limit of ${limit} bytes`, async (scene) => {
    const service = await scene.service((socket) => {
      void readAll(socket).then((bytes) => socket.end(`${bytes.length} bytes`));
    });
    const stage = await edge(scene, service, [{ tls: "passthrough", match: { sni: [NAME] } }], {
      limits: { hello_bytes: `${limit}B` },
    });
    for (const size of [limit - 1, limit]) {
      const hello = sized(size, [16_384]);
      assert.equal(hello.length, size);
      const client = await scene.client(stage.port("in"));
      const answer = readAll(client);
      client.end(hello);
      assert.equal((await answer).toString(), `${size} bytes`);
    }
    for (const size of [limit + 1, limit + 5000]) {
      const client = await scene.client(stage.port("in"));
      const heard = lastWords(client);
      client.write(sized(size, [16_384]));
      const { bytes, how } = await heard;
      client.end();
      assert.equal(how, "end");
      assert.deepEqual(bytes, fatalAlert(50));
    }
    const lines = await ended(stage, 4);
    assert.deepEqual(
      lines.map(({ reason }) => reason),
      ["ok", "ok", "bad_hello", "bad_hello"],
    );
    assert.match(lines[2]!.error!, new RegExp(`beyond the limit of ${limit} bytes`));
    assert.equal(service.accepted, 2);
    assert.deepEqual(reasons(stage, "in"), { ok: 2, bad_hello: 2 });
  });
}
