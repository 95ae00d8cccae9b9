/**
 * The portable transport: Node's own sockets and TLS. It binds its listeners itself and runs on the event loop of the thread
 * it is made in. Conservative and complete; the reference against which `epoll` is checked.
 */
import { connect, createServer, type Server, type Socket } from "node:net";
import type { ProxyError } from "../../errors.ts";
import { BACKLOG } from "../../listen/backlog.ts";
import { listenFailure } from "../../listen/failure.ts";
import type { SocketAddress } from "../../wire/address.ts";
import { dialFailure } from "../failure.ts";
import type {
  Accepted,
  Dialler,
  DialOptions,
  Listening,
  ListenOptions,
  Stream,
  Transport,
} from "../transport.ts";
import { Clock } from "./clock.ts";
import { relay } from "./relay.ts";
import { NetStream, socketAddresses } from "./stream.ts";
import { createNetContext } from "./tls.ts";

// Idle time before the first TCP keepalive probe: below the hour or two after which firewalls forget a flow, and below the
// five minutes of the stricter ones (RFC 5382 asks for two hours and four minutes, many keep less).
const KEEPALIVE_MS = 60_000;

export function createNetTransport(): Transport {
  const clock = new Clock();
  return {
    name: "net",
    now: () => clock.now(),
    timer: (task) => clock.timer(task),
    listen: (options, accepted, ready) => listen(clock, options, accepted, ready),
    dial: (target, options, dialler) => dial(clock, target, options, dialler),
    context: createNetContext,
    keep: () => {}, // Node's contexts go with the last that refers to them
    relay: (downstream, upstream, flow, owner) =>
      relay(downstream as NetStream, upstream as NetStream, flow, clock, owner),
  };
}

function listen(
  clock: Clock,
  options: ListenOptions,
  accepted: Accepted,
  ready: (error: ProxyError | null) => void,
): Listening {
  const path = options.address.kind === "unix" ? options.address.path : null;
  let came = 0;
  const server: Server = createServer({ allowHalfOpen: true, pauseOnConnect: true }, (socket) => {
    came += 1;
    prepare(socket);
    const { local, remote } = socketAddresses(socket, path);
    const stream = new NetStream(socket, clock, local, remote);
    accepted(stream);
    stream.watch();
  });
  let address = options.address;
  let standing = false;
  server.on("error", (error: NodeJS.ErrnoException) => {
    // Once it stands, an accept that fails (EMFILE, ECONNABORTED) is libuv's to survive; the listener stays.
    if (!standing) ready(listenFailure(options.address, error.code ?? error.message));
  });
  server.listen(
    {
      ...(options.descriptor !== null
        ? { fd: options.descriptor }
        : options.address.kind === "unix"
          ? { path: options.address.path }
          : { host: options.address.host, port: options.address.port }),
      backlog: BACKLOG,
    },
    () => {
      standing = true;
      const bound = server.address();
      if (bound !== null && typeof bound === "object") {
        address = { kind: "ip", host: bound.address, port: bound.port };
      }
      ready(null);
    },
  );
  return {
    get address() {
      return address;
    },
    close: () => {
      server.close();
    },
    finish: (finished) => {
      // libuv accepts in every turn in which somebody waits. So a whole turn that brought nobody says that the queue is empty; under
      // a flood there is none, and then the queue that there was has been served after as many turns as it can be long.
      let before = -1;
      let left = BACKLOG;
      const look = (): void => {
        left -= 1;
        if (came !== before && left > 0) {
          before = came;
          setImmediate(look);
          return;
        }
        server.close();
        finished();
      };
      setImmediate(look);
    },
  };
}

function dial(clock: Clock, target: SocketAddress, options: DialOptions, dialler: Dialler): Stream {
  const socket = connect({
    ...(target.kind === "unix" ? { path: target.path } : { host: target.host, port: target.port }),
    ...(options.from === null ? {} : { localAddress: options.from }),
    allowHalfOpen: true,
    // The target is an IP literal: no lookup and no race between families.
    autoSelectFamily: false,
  });
  prepare(socket);
  const stream = new NetStream(socket, clock, { kind: "unix", path: "" }, target);
  stream.dialling((error) => {
    if (error === null) dialler.dialled(null);
    else
      dialler.dialled(
        dialFailure(target, (error.cause as NodeJS.ErrnoException | undefined)?.code ?? error.message),
      );
  });
  return stream;
}

function prepare(socket: Socket): void {
  socket.setNoDelay(true);
  socket.setKeepAlive(true, KEEPALIVE_MS);
}
