/** Takes pipes until there are none, for pipes.test.ts: prints how many, and the smallest size. */
import { F_GETPIPE_SZ } from "../../../lib/ffi/layout.ts";
import { fcntl } from "../../../lib/ffi/libc.ts";
import { WorkerMemory } from "../../../lib/transport/epoll/memory.ts";
import { Pipes } from "../../../lib/transport/epoll/pipes.ts";

const pipes = new Pipes(new WorkerMemory(), 1000);
const sizes: number[] = [];
for (let pipe = pipes.take(0); pipe !== null; pipe = pipes.take(0))
  sizes.push(fcntl(pipe.input, F_GETPIPE_SZ, 0));
const { open } = pipes;
// Refused for a while, then tried again.
process.stdout.write(
  JSON.stringify({ count: sizes.length, open, least: Math.min(...sizes), later: pipes.take(2000) }),
);
