/** What scripted peers do to each other: wait for the other end, break off, send bulk with its hash, count what arrives. */
import { createHash, randomBytes } from "node:crypto";
import { connect, type Socket } from "node:net";

/** The service-side sockets in the order in which they arrived; `talk` is what a service is given. */
export class Arrivals {
  readonly all: Socket[] = [];
  readonly #ready: Socket[] = [];
  readonly #waiting: ((socket: Socket) => void)[] = [];

  readonly talk = (socket: Socket): void => {
    this.all.push(socket);
    const waiting = this.#waiting.shift();
    if (waiting === undefined) this.#ready.push(socket);
    else waiting(socket);
  };

  next(): Promise<Socket> {
    const ready = this.#ready.shift();
    if (ready !== undefined) return Promise.resolve(ready);
    return new Promise((resolve) => this.#waiting.push(resolve));
  }
}

/** Breaks off with a TCP reset, below TLS where there is some. */
export function abort(socket: Socket): void {
  const raw = (socket as Socket & { _parent?: Socket })._parent ?? socket;
  raw.on("error", () => {});
  // While an end is on its way libuv refuses to reset (EINVAL), and Node never closes the descriptor then.
  if (socket.writableEnded && !socket.writableFinished && !socket.destroyed) {
    socket.once("finish", () => reset(socket, raw));
    socket.once("close", () => raw.destroy());
  } else {
    reset(socket, raw);
  }
}

function reset(socket: Socket, raw: Socket): void {
  raw.resetAndDestroy();
  socket.destroy();
}

// A prime, so that no write falls together with a record, a page or a buffer.
const BLOCK = randomBytes(65_537);

/** Writes `size` bytes at the reader's speed; resolves with their hash. Does not end the stream. */
export async function sendBulk(socket: Socket, size: number): Promise<string> {
  const hash = createHash("sha256");
  for (let left = size; left > 0; left -= BLOCK.length) {
    const block = left < BLOCK.length ? BLOCK.subarray(0, left) : BLOCK;
    hash.update(block);
    if (!socket.write(block)) await once(socket, "drain");
  }
  return hash.digest("hex");
}

/** The hash of everything until the end; rejects on an error. */
export function hashAll(socket: Socket): Promise<string> {
  const hash = createHash("sha256");
  return new Promise((resolve, reject) => {
    socket.on("data", (chunk: Buffer) => hash.update(chunk));
    socket.on("end", () => resolve(hash.digest("hex")));
    socket.on("error", reject);
  });
}

/** Writes as long as the other side takes it; stops for good when the socket closes. Resolves with the bytes written. */
export async function sendForever(socket: Socket): Promise<number> {
  let sent = 0;
  const closed = once(socket, "close");
  while (!socket.destroyed) {
    sent += BLOCK.length;
    if (!socket.write(BLOCK)) await Promise.race([once(socket, "drain"), closed]);
  }
  return sent;
}

/** Reads to the end, whatever it is: how many bytes came, and `end` or the code of the error. */
export function outcome(socket: Socket): Promise<{ bytes: number; how: string }> {
  return new Promise((resolve) => {
    let bytes = 0;
    socket.on("data", (chunk: Buffer) => {
      bytes += chunk.length;
    });
    socket.on("end", () => resolve({ bytes, how: "end" }));
    socket.on("error", (error: NodeJS.ErrnoException) =>
      resolve({ bytes, how: error.code ?? error.message }),
    );
    socket.on("close", () => resolve({ bytes, how: "close" }));
  });
}

export function once(socket: Socket, event: string): Promise<void> {
  return new Promise((resolve) => socket.once(event, () => resolve()));
}

/** Resolves when nobody listens there any more. Who gets in at the last moment is let go at once. */
export async function shut(port: number): Promise<void> {
  let how = "";
  while (how !== "ECONNREFUSED") {
    how = await new Promise<string>((resolve) => {
      const socket = connect(port, "127.0.0.1", () => socket.destroy());
      socket.on("error", (error: NodeJS.ErrnoException) => resolve(error.code ?? ""));
      socket.on("close", () => resolve("connected"));
    });
  }
}
