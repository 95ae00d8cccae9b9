/** The process of a pipe hog (pipe-hog.ts): takes pipes until the kernel gives none that is large, and keeps them. */
import { WorkerMemory } from "../../lib/transport/epoll/memory.ts";
import { Pipes } from "../../lib/transport/epoll/pipes.ts";

// Far beyond what the kernel allows by default: 64 of them.
const pipes = new Pipes(new WorkerMemory(), 10_000);
while (pipes.take(0) !== null);
process.on("disconnect", () => process.exit());
process.send!(pipes.open);
