/** A proxy in a process of its own, for exhausted.test.ts: prints its port, then a line for every thing that the test waits for. */
import { bindListener } from "../../../lib/listen/socket.ts";
import { createEpollTransport } from "../../../lib/transport/epoll/transport.ts";
import type { SocketAddress } from "../../../lib/wire/address.ts";

const target: SocketAddress = { kind: "ip", host: "127.0.0.1", port: Number(process.argv[2]) };
const say = (what: object): void => {
  process.stdout.write(`${JSON.stringify(what)}\n`);
};
const transport = createEpollTransport({
  workers: 1,
  wakeup: null,
  onFault: (thrown) => say({ fault: String(thrown) }),
});
const bound = bindListener("test", { kind: "ip", host: "127.0.0.1", port: 0 });
const options = { address: bound.address, descriptor: bound.descriptor };
transport.listen(
  options,
  (downstream) => {
    const flow = { bytesUp: 0, bytesDown: 0, lastActive: 0, endedUp: false, endedDown: false };
    const upstream = transport.dial(
      target,
      { from: null, speaksFirst: false },
      {
        dialled: (error) => {
          if (error !== null) {
            say({ refused: error.message });
            downstream.reset();
            return;
          }
          transport.relay(downstream, upstream, flow, {
            relayed: (end) => {
              say({ end: end.how });
              downstream.finish();
              upstream.finish();
            },
          });
        },
      },
    );
  },
  () => say({ port: (bound.address as { port: number }).port }),
);

let turns = 0;
const report = transport.timer({
  expired: () => {
    say({ turns, cpu: process.cpuUsage().user + process.cpuUsage().system });
    turns = 0;
    report.start(250);
  },
});
report.start(250);
const turn = (): void => {
  turns++;
  transport.turn(250);
  setImmediate(turn);
};
turn();
