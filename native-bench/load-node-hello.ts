/** A real ClientHello for passthrough runs of the portable generator. */
import * as net from "node:net";
import * as tls from "node:tls";

/** A ClientHello, as Node would send it. */
export function clientHello(name: string): Promise<Buffer> {
  return new Promise((resolve) => {
    const server = net.createServer((socket) => {
      socket.once("data", (data: Buffer) => {
        socket.destroy();
        server.close();
        resolve(data);
      });
    });
    server.listen(0, "127.0.0.1", () => {
      const { port } = server.address() as net.AddressInfo;
      tls
        .connect({ port, host: "127.0.0.1", servername: name, rejectUnauthorized: false })
        .on("error", () => {});
    });
  });
}
