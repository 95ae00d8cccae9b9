/** TLS clients whose words stop at a given byte: the socket ends or resets there, in the middle of a hello, a certificate, a proof. */
import { connect, type Socket } from "node:net";
import { Duplex } from "node:stream";
import { type ConnectionOptions, connect as connectTls } from "node:tls";

export type CutHow = "end" | "reset";

/**
 * Handshakes, but lets only so many bytes of its own through, and then ends or resets the connection; a client that gets as far ends
 * in order. Resolves when the socket is closed, with the number of bytes that went through.
 */
export function cutHandshake(
  port: number,
  limit: number,
  how: CutHow,
  options: ConnectionOptions,
): Promise<number> {
  const raw = connect({ port, host: "127.0.0.1", allowHalfOpen: true });
  raw.setNoDelay(true);
  const cut = new Cut(raw, limit, how);
  const secure = connectTls({ rejectUnauthorized: false, ...options, socket: cut });
  secure.on("error", () => {});
  secure.on("secureConnect", () => secure.end());
  secure.resume();
  return new Promise((resolve) => {
    raw.on("close", () => {
      secure.destroy();
      resolve(cut.sent);
    });
  });
}

class Cut extends Duplex {
  readonly #raw: Socket;
  readonly #how: CutHow;
  readonly #limit: number;
  #stopped = false;
  sent = 0;

  constructor(raw: Socket, limit: number, how: CutHow) {
    super();
    this.#raw = raw;
    this.#limit = limit;
    this.#how = how;
    raw.on("data", (chunk: Buffer) => this.push(chunk));
    raw.on("end", () => {
      this.push(null);
      raw.end();
    });
    raw.on("close", () => this.destroy());
    raw.on("error", () => {});
    if (limit === 0) raw.once("connect", () => this.stop());
  }

  /** Here the client goes away. */
  stop(): void {
    if (this.#stopped) return;
    this.#stopped = true;
    if (this.#how === "reset") this.#raw.resetAndDestroy();
    else this.#raw.end();
  }

  override _read(): void {}

  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    const part = this.#stopped ? chunk.subarray(0, 0) : chunk.subarray(0, this.#limit - this.sent);
    this.sent += part.length;
    if (part.length === 0) done();
    else this.#raw.write(part, () => done());
    if (this.sent === this.#limit) this.stop();
  }
}
