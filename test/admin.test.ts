/** The admin door before a proxy that the test plays. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { openAdmin, type Shown } from "../lib/admin.ts";
import { askAt } from "./gear/admin.ts";

test("/connections: as many rows as asked for, and no more than control can bear", async (t) => {
  const limits: number[] = [];
  const shown: Pick<Shown, "connections"> = {
    connections: async (limit) => {
      limits.push(limit);
      return [];
    },
  };
  const door = await openAdmin(shown as Shown, { kind: "ip", host: "127.0.0.1", port: 0 });
  t.after(() => door.close());
  for (const query of ["", "?limit=7", "?limit=1000000", "?limit=1e300"]) {
    assert.equal((await askAt(door.address, `/connections${query}`)).status, 200, query);
  }
  assert.deepEqual(limits, [1_000, 7, 100_000, 100_000]);
  assert.equal((await askAt(door.address, "/connections?limit=all")).status, 400);
});
