/** The process of a far peer (far.ts): carries out one order after the other, and ends with whoever gives them. */
import { createHash, randomBytes } from "node:crypto";
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";
import { Duplex } from "node:stream";
import { connect as connectTls, createServer as createTlsServer, TLSSocket } from "node:tls";
import type { Answer, FarBytes, FarTls, Order } from "./far.ts";
import { Arrivals, once } from "./streams.ts";

// A prime, so that no write falls together with a record, a page or a buffer.
const BLOCK = randomBytes(65_537);
// TLS takes it as plain sockets do; the types of Node 20 only know it for those.
const HALF_OPEN = { allowHalfOpen: true } as object;

/** One connection: both directions are hashed as they go. */
class End {
  readonly socket: Socket;
  readonly ended: Promise<FarBytes>;
  readonly #hash = createHash("sha256");
  /** Where in the block its bulk begins, so that no two connections send the same. */
  readonly #from = (ends.length * 4_099) % BLOCK.length;
  #bytes = 0;
  #received = 0;
  readonly #hashOfReceived = createHash("sha256");
  #awaited = Number.POSITIVE_INFINITY;
  #came = (): void => {};
  #flooding: Promise<void> = Promise.resolve();
  #enough = false;

  constructor(socket: Socket) {
    this.socket = socket;
    socket.on("data", (chunk: Buffer) => {
      this.#received += chunk.length;
      this.#hashOfReceived.update(chunk);
      if (this.#received >= this.#awaited) this.#came();
    });
    socket.pause();
    this.ended = new Promise((resolve) => {
      const told = (how: string): void => resolve(this.#receivedBytes(how));
      socket.on("end", () => told("end"));
      socket.on("error", (error: NodeJS.ErrnoException) => told(error.code ?? error.message));
      socket.on("close", () => told("close"));
    });
  }

  #receivedBytes(how: string): FarBytes {
    return { bytes: this.#received, hash: this.#hashOfReceived.copy().digest("hex"), how };
  }

  /** So many bytes, or all that came until the end. */
  heard(size: number): Promise<FarBytes> {
    this.#awaited = size;
    const came = new Promise<FarBytes>((resolve) => {
      this.#came = () => resolve(this.#receivedBytes(""));
    });
    if (this.#received >= size) this.#came();
    this.socket.resume();
    return Promise.race([came, this.ended]);
  }

  write(bytes: Buffer): Promise<void> {
    this.#bytes += bytes.length;
    this.#hash.update(bytes);
    return new Promise((resolve) => this.socket.write(bytes, () => resolve()));
  }

  /** Begins to write so much. */
  flood(size: number): Promise<void> {
    this.#flooding = this.#flood(size);
    return this.#flooding;
  }

  async #flood(size: number): Promise<void> {
    const closed = once(this.socket, "close");
    let at = this.#from;
    for (let left = size; left > 0 && !this.#enough && !this.socket.destroyed; ) {
      const block = BLOCK.subarray(at, at + left);
      at = 0;
      left -= block.length;
      this.#bytes += block.length;
      this.#hash.update(block);
      if (!this.socket.write(block)) await Promise.race([once(this.socket, "drain"), closed]);
    }
  }

  async finish(): Promise<FarBytes> {
    this.#enough = true;
    await this.#flooding;
    await new Promise<void>((resolve) => this.socket.end(resolve));
    return { bytes: this.#bytes, hash: this.#hash.digest("hex"), how: "" };
  }
}

/** Between a socket and TLS: lets so many flights out, and no more. */
class Gag extends Duplex {
  /** Resolves when something was held back. */
  readonly silent: Promise<void>;
  readonly #raw: Socket;
  readonly #flights: number;
  /** Of our own; the one that is written now. */
  #flight: number;
  #heard = false;
  #held = (): void => {};

  constructor(raw: Socket, flights: number, speaksFirst: boolean) {
    super({ allowHalfOpen: true });
    this.#raw = raw;
    this.#flights = flights;
    this.#flight = speaksFirst ? 0 : -1;
    this.silent = new Promise((resolve) => {
      this.#held = resolve;
    });
    raw.on("data", (chunk: Buffer) => {
      this.#heard = true;
      this.push(chunk);
    });
  }

  override _read(): void {}

  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    if (this.#heard) this.#flight += 1;
    this.#heard = false;
    const left = this.#flights - this.#flight;
    if (left >= 1) this.#raw.write(chunk, done);
    else {
      // Only once: what follows in this flight is never said.
      if (left > 0) this.#raw.write(chunk.subarray(0, chunk.length >> 1));
      this.#flight = this.#flights;
      this.#held();
      done();
    }
  }
}

const arrivals = new Map<number, Arrivals>();
const ends: End[] = [];
/** Below TLS where there is some. */
const sockets = new Set<Socket>();

function listener(tls: FarTls | undefined, come: Arrivals): Server {
  const flights = tls?.flights;
  const gagged = flights !== undefined;
  const server =
    // Nothing is read before it is told to; but TLS reads to shake hands in any case.
    tls === undefined || gagged
      ? createServer({ ...HALF_OPEN, pauseOnConnect: !gagged })
      : createTlsServer({ ...tls, requestCert: true, ...HALF_OPEN }, (socket) =>
          setImmediate(come.talk, socket),
        );
  server.on("connection", (raw: Socket) => {
    keep(raw);
    if (tls === undefined) come.talk(raw);
    if (tls === undefined || flights === undefined) return;
    const gag = new Gag(raw, flights, false);
    new TLSSocket(gag, { ...tls, isServer: true });
    void gag.silent.then(() => come.talk(raw));
  });
  return server;
}

function keep(raw: Socket): void {
  sockets.add(raw);
  raw.on("error", () => {});
  raw.on("close", () => sockets.delete(raw));
}

async function obey({ what, at, host, text, size, tls }: Order): Promise<unknown> {
  const end = (): End => ends[at]!;
  switch (what) {
    case "listen": {
      const come = new Arrivals();
      const server = text === "echo" ? createServer(echo) : listener(tls, come);
      await new Promise<void>((resolve) => server.listen(0, host, resolve));
      const { port } = server.address() as AddressInfo;
      arrivals.set(port, come);
      return port;
    }
    case "accept":
      return ends.push(new End(await arrivals.get(at)!.next())) - 1;
    case "connect": {
      const raw = connect({ port: at, host: host!, allowHalfOpen: true });
      await connected(raw, "connect");
      keep(raw);
      if (tls?.flights !== undefined) {
        const gag = new Gag(raw, tls.flights, true);
        connectTls({ socket: gag, ...tls });
        await gag.silent;
      }
      if (tls === undefined || tls.flights !== undefined) return ends.push(new End(raw)) - 1;
      const socket = connectTls({ socket: raw, ...tls, ...HALF_OPEN });
      await connected(socket, "secureConnect");
      return ends.push(new End(socket)) - 1;
    }
    case "write":
      return end().write(Buffer.from(text!, "base64"));
    case "bulk":
      return end().flood(size!);
    case "flood":
      void end().flood(Number.POSITIVE_INFINITY);
      return;
    case "finish":
      return end().finish();
    case "read":
      end().socket.resume();
      return;
    case "heard":
      return end().heard(size!);
    case "ended":
      end().socket.resume();
      return end().ended;
    case "leave":
      for (const socket of sockets) {
        if (text === "reset") socket.resetAndDestroy();
        else socket.destroy();
      }
      return;
  }
}

function connected(socket: Socket, event: string): Promise<void> {
  return new Promise((resolve, reject) => {
    socket.once(event, () => {
      socket.off("error", reject);
      resolve();
    });
    socket.once("error", reject);
  });
}

process.on("message", (order: Order) => {
  const answer = (value: Omit<Answer, "number">): void => {
    // Whoever asked may be gone.
    process.send!({ number: order.number, ...value }, undefined, undefined, () => {});
  };
  obey(order).then(
    (value) => answer({ value }),
    (error: Error) => answer({ error: error.message }),
  );
});
process.on("disconnect", () => process.exit());

/** Whoever resets an echo has heard enough. */
function echo(socket: Socket): void {
  socket.on("error", () => socket.destroy()).pipe(socket);
}
