/** Ensures that a UNIX path is taken over from the dead and never from anybody alive. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { existsSync, mkdtempSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { claimPath } from "../../lib/listen/unix.ts";

function claims(path: string): Promise<void> {
  return claimPath(path, "listener web");
}

async function serve(path: string): Promise<Server> {
  const server = createServer((socket) => socket.destroy()).listen(path);
  await once(server, "listening");
  return server;
}

test("a path is claimed where nobody serves it", async (t) => {
  const directory = mkdtempSync(join(tmpdir(), "millrace-"));
  t.after(() => rmSync(directory, { recursive: true }));

  const free = join(directory, "free");
  await claims(free);

  const stale = join(directory, "stale");
  const dead = await serve(stale);
  renameSync(stale, `${stale}.kept`);
  await new Promise((resolve) => dead.close(resolve));
  renameSync(`${stale}.kept`, stale);
  await claims(stale);
  assert.equal(existsSync(stale), false);

  const served = join(directory, "served");
  const alive = await serve(served);
  t.after(() => alive.close());
  await assert.rejects(claims(served), {
    code: "LISTEN",
    message: /^listener web: unix:.*served by another process/,
  });
  assert(existsSync(served));

  const file = join(directory, "file");
  writeFileSync(file, "");
  await assert.rejects(claims(file), { code: "LISTEN", message: /exists and is no socket/ });
  assert(existsSync(file));

  await assert.rejects(claims(`/tmp/${"p".repeat(120)}`), {
    code: "LISTEN",
    message: /longer than 107 bytes/,
  });
  await claims("@abstract");
});
