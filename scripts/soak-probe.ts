/** Loaded into the proxy of a soak ahead of the program: tells its parent what malloc(3) holds, when asked, behind a collection. */
import { isMainThread } from "node:worker_threads";

if (isMainThread && process.send !== undefined) {
  const { mallocInUse } = await import("../test/gear/malloc.ts").catch(() => ({ mallocInUse: null }));
  process.on("message", () => {
    globalThis.gc?.();
    process.send?.({ malloc: mallocInUse === null ? null : mallocInUse() });
  });
  // Nothing keeps the proxy alive but itself.
  process.channel?.unref();
}
