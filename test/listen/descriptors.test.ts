/** Ensures that the budget leaves room for everything else, and that limits are read as the kernel writes them. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { describe, it } from "node:test";
import { budgetDescriptors, countDescriptors, parseLimits } from "../../lib/listen/descriptors.ts";

describe("descriptors", () => {
  it("two for a connection, and a reserve", () => {
    assert.deepEqual(budgetDescriptors("net", 1, 3, 20_000), { limit: 20_000, connections: 9_968 });
    assert.deepEqual(budgetDescriptors("epoll", 1, 1, 20_000), { limit: 20_000, connections: 9_770 });
  });

  it("every worker has its own, and two for every listener", () => {
    const connections = (workers: number, listeners: number): number =>
      budgetDescriptors("epoll", workers, listeners, 1024).connections;
    assert.equal(connections(1, 1) - connections(1, 2), 1);
    // 32 x (9 + 2 x 3) stand, and a quarter of the rest is set aside.
    assert.equal(connections(32, 3), 204);
  });

  it("leaves a few connections under any limit", () => {
    for (const limit of [1, 10, 64, 256, 1024]) {
      const { connections } = budgetDescriptors("epoll", 1, 1, limit);
      assert.ok(connections >= 1 && (limit < 10 || connections * 2 < limit), `${limit}: ${connections}`);
    }
  });

  it("reads the soft limit", { skip: process.platform !== "linux" && "Linux only" }, () => {
    const text = execFileSync("sh", ["-c", "ulimit -n 123; cat /proc/self/limits"]).toString();
    assert.equal(parseLimits(text), 123);
    assert.equal(
      parseLimits("Max open files            unlimited            unlimited            files\n"),
      1_048_576,
    );
    assert.equal(parseLimits(""), null);
    assert.equal(budgetDescriptors("net", 1, 1).limit, countDescriptors().limit);
    assert.ok(countDescriptors().open > 3);
  });
});
