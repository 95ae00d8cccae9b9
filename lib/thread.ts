/**
 * One worker thread of the epoll transport: the loop, the worker on it, and the pump that reads control's commands. The thread
 * never returns to Node's event loop while it runs, so messages are fetched when the eventfd says that there are some.
 */
import { parentPort, receiveMessageOnPort, workerData } from "node:worker_threads";
import { createTlsEngine } from "./transport/epoll/tls.ts";
import { createEpollTransport } from "./transport/epoll/transport.ts";
import { type Command, Worker } from "./worker.ts";
import type { ThreadData } from "./workers.ts";

const { index, workers, shared, lines, wakeup } = workerData as ThreadData;
const control = parentPort!;

const transport = createEpollTransport({
  workers,
  wakeup: { descriptor: wakeup, woken: receiveAll },
  onFault: (thrown) => worker.fault(thrown),
  tls: createTlsEngine,
});
const worker = new Worker(transport, index, shared, lines, (event) => control.postMessage(event));

function receiveAll(): void {
  for (;;) {
    const received = receiveMessageOnPort(control) as { message: Command } | undefined;
    if (received === undefined) return;
    worker.receive(received.message);
    if (received.message.type === "stop") transport.stop();
  }
}

// Commands posted before the loop ran have been signalled already: the eventfd keeps the count.
transport.run();
control.close();
