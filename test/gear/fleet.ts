/**
 * Services that can be told apart: each greets with its name and then sends back what it gets. And one way to run a proxy in
 * front of them: a plain listener `in` before a cluster `out`.
 */
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import type { StandingView } from "../../lib/cluster/standing.ts";
import type { ConfigInput } from "../../lib/config/parse.ts";
import { listen } from "../../lib/ffi/libc.ts";
import { bindListener } from "../../lib/listen/socket.ts";
import { eventually, type Scene, type Service, type Stage } from "./scene.ts";

type ClusterInput = NonNullable<ConfigInput["clusters"]>[string];

/** A service that greets with `name` and echoes, on a host of its own unless told. A reset instead of the greeting while `broken()` says so. */
export function greeter(
  scene: Scene,
  name: string,
  where: { readonly host?: string; readonly port?: number; readonly broken?: () => boolean } = {},
): Promise<Service> {
  return scene.service(
    (socket) => {
      if (where.broken?.() === true) {
        socket.resetAndDestroy();
        return;
      }
      socket.write(`${name}\n`);
      socket.pipe(socket);
    },
    where.host ?? ownHost(),
    where.port,
  );
}

/** Greeters named after the letters: `a`, `b`, … */
export function greeters(scene: Scene, count: number): Promise<Service[]> {
  return Promise.all(
    Array.from({ length: count }, (_, index) => greeter(scene, String.fromCharCode(97 + index))),
  );
}

/** An endpoint that neither answers nor refuses: its queue is full, and Linux drops what comes after. */
export async function mute(scene: Scene): Promise<string> {
  const { descriptor, address, close } = bindListener("mute", { kind: "ip", host: "127.0.0.1", port: 0 });
  listen(descriptor, 0);
  const { port } = address as { port: number };
  const filler = connect(port, "127.0.0.1");
  filler.on("error", () => {});
  await once(filler, "connect");
  scene.onClose(() => {
    filler.destroy();
    close();
  });
  return `127.0.0.1:${port}`;
}

let drawn = 0;

/** A loopback address that no other test uses, so that a port which was given back there is free until it is wanted again. */
export function ownHost(): string {
  drawn += 1;
  return `127.${64 + (process.pid & 63)}.${(process.pid >> 6) & 255}.${(drawn % 250) + 1}`;
}

/** An address where nobody listens: the discard port, on a host of its own. */
export function nobody(): string {
  return `${ownHost()}:9`;
}

export function plainConfig(
  cluster: ClusterInput,
  more: Omit<ConfigInput, "listeners" | "clusters"> = {},
): ConfigInput {
  return {
    ...more,
    listeners: [
      { name: "in", address: "127.0.0.1:0", routes: [{ name: "in", tls: "none", cluster: "out" }] },
    ],
    clusters: { out: cluster },
  };
}

export function plainProxy(
  scene: Scene,
  cluster: ClusterInput,
  more: Omit<ConfigInput, "listeners" | "clusters"> = {},
): Promise<Stage> {
  return scene.proxy(plainConfig(cluster, more));
}

/** A connection through the proxy, and who is at its other end. */
export interface Visit {
  /** Empty when the connection ended without a greeting. */
  readonly name: string;
  readonly socket: Socket;
  /** Sends a byte and gets it back: the connection still stands. */
  echo(): Promise<boolean>;
  /** Ends it in order and waits for its end. */
  end(): Promise<void>;
}

/** Connects from `from` and waits for the greeting or the end. */
export function visit(scene: Scene, stage: Stage, from = "127.0.0.1"): Promise<Visit> {
  return new Promise((resolve) => {
    const socket = connect({ port: stage.port("in"), host: "127.0.0.1", localAddress: from });
    scene.onClose(() => {
      socket.destroy();
    });
    const closed = new Promise<void>((done) => socket.once("close", () => done()));
    let greeting = "";
    let heard: (bytes: Buffer) => void = (bytes) => {
      greeting += bytes.toString();
      if (greeting.endsWith("\n")) resolve(seen(greeting.slice(0, -1)));
    };
    socket.on("data", (bytes: Buffer) => heard(bytes));
    socket.on("error", () => {});
    socket.once("close", () => resolve(seen("")));
    const seen = (name: string): Visit => ({
      name,
      socket,
      echo: () =>
        new Promise((told) => {
          heard = () => told(true);
          void closed.then(() => told(false));
          if (!socket.writable) told(false);
          else socket.write("x");
        }),
      end: () => {
        socket.end();
        return closed;
      },
    });
  });
}

/** Who answered `count` connections, one after the other, each ended before the next. */
export async function roll(scene: Scene, stage: Stage, count: number, from?: string): Promise<string> {
  const names: string[] = [];
  for (let turn = 0; turn < count; turn++) {
    const one = await visit(scene, stage, from);
    names.push(one.name === "" ? "-" : one.name);
    await one.end();
  }
  return names.join("");
}

/** How often each name is in the roll. */
export function tally(names: string): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const name of names) counts[name] = (counts[name] ?? 0) + 1;
  return counts;
}

/** What `/clusters` says of an endpoint of `out`. */
export function endpointOf(stage: Stage, key: string): StandingView | undefined {
  return stage.proxy.clusters
    .get("out")!
    .describe()
    .endpoints.find((endpoint) => endpoint.key === key);
}

/** Waits until the endpoint is what the scenario expects. */
export async function becomes(stage: Stage, service: Service, health: string): Promise<void> {
  await eventually(
    () => endpointOf(stage, service.key)?.health === health,
    `${service.key} becomes ${health}`,
    () => JSON.stringify(endpointOf(stage, service.key)),
  );
}

/** Events of the log whose message matches. */
export function events(stage: Stage, message: RegExp): Record<string, unknown>[] {
  return stage.log.messages.filter((event) => message.test(String(event["msg"])));
}
