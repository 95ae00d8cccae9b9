/** Ensures that a peek is told of an end that came before it, as TLS brings it with the last bytes of a handshake. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { test } from "node:test";
import { accept } from "./rig.ts";

test("a peek behind the end", { timeout: 5_000 }, async (t) => {
  const { client, stream } = await accept(t);
  const ended = once(stream.socket, "end");
  client.end();
  await ended;
  const seen = await new Promise((resolve) => {
    stream.peek(100, (bytes, atEnd) => {
      resolve([bytes.length, atEnd]);
      return 0;
    });
  });
  assert.deepEqual(seen, [0, true]);
});
