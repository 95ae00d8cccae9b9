/** The portable transport between sockets of the test's own. */
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import type { TestContext } from "node:test";
import type { NetStream } from "../../../lib/transport/net/stream.ts";
import { createNetTransport } from "../../../lib/transport/net/transport.ts";

export const transport = createNetTransport();

/** A client, and what the transport has made of it. */
export async function accept(t: TestContext): Promise<{ client: Socket; stream: NetStream }> {
  const address = { kind: "ip", host: "127.0.0.1", port: 0 } as const;
  return new Promise((resolve, reject) => {
    let client: Socket | null = null;
    const listening = transport.listen(
      { address, descriptor: null },
      (stream) => {
        t.after(() => stream.reset());
        resolve({ client: client!, stream: stream as NetStream });
      },
      (error) => {
        if (error !== null) return reject(error);
        const { port } = listening.address as { port: number };
        client = connect({ port, host: "127.0.0.1", allowHalfOpen: true }).on("error", () => {});
      },
    );
    t.after(() => {
      listening.close();
      client?.destroy();
    });
  });
}

/** A service's socket, and the transport's dialled to it. */
export async function dial(t: TestContext): Promise<{ service: Socket; stream: NetStream }> {
  const server = createServer({ allowHalfOpen: true });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const arrived = new Promise<Socket>((resolve) => server.once("connection", resolve));
  const target = { kind: "ip", host: "127.0.0.1", port: (server.address() as AddressInfo).port } as const;
  const stream = await new Promise<NetStream>((resolve, reject) => {
    const dialled = transport.dial(
      target,
      { from: null, speaksFirst: false },
      { dialled: (error) => (error === null ? resolve(dialled as NetStream) : reject(error)) },
    );
  });
  const service = (await arrived).on("error", () => {});
  t.after(() => {
    stream.reset();
    service.destroy();
    server.close();
  });
  return { service, stream };
}
