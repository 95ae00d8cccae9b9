/**
 * One side of a connection on Node's own sockets. Before the relay it collects what arrives in `#held` (bounded by the
 * limit of the peek); after `secure` everything goes through the TLSSocket that wraps the same descriptor. The raw socket is
 * kept beside it, because only a raw TCP handle can send a reset.
 */
import type { Socket } from "node:net";
import { ProxyError } from "../../errors.ts";
import type { Timer } from "../../timing/wheel.ts";
import { plainHost, type SocketAddress } from "../../wire/address.ts";
import { alertName } from "../../wire/alert.ts";
import { LINGER_BYTES, LINGER_MS } from "../patience.ts";
import type { Look, SecureOptions, Stream, StreamOwner, TlsContext, TlsFacts } from "../transport.ts";
import type { Clock } from "./clock.ts";
import { type NetTlsContext, receivedAlert, secureSocket } from "./tls.ts";

const NOTHING = Buffer.alloc(0);

export class NetStream implements Stream {
  readonly remote: SocketAddress;
  readonly local: SocketAddress;
  tls: TlsFacts | null = null;
  owner: StreamOwner | null = null;
  /** What bytes go through now: the raw socket, or the TLSSocket around it. */
  socket: Socket;
  readonly #raw: Socket;
  readonly #clock: Clock;
  #held: Buffer = NOTHING;
  #ended = false;
  #limit = 0;
  #need = 0;
  #look: Look | null = null;
  #released = false;
  #dialled: ((error: ProxyError | null) => void) | null = null;
  #linger: Timer | null = null;

  constructor(socket: Socket, clock: Clock, local: SocketAddress, remote: SocketAddress) {
    this.socket = socket;
    this.#raw = socket;
    this.#clock = clock;
    this.local = local;
    this.remote = remote;
    socket.on("error", this.#failed);
    socket.on("close", this.#closed);
  }

  /** Waits for the socket to connect; a failure until then goes to `done` and not to the owner. */
  dialling(done: (error: ProxyError | null) => void): void {
    this.#dialled = done;
    this.socket.once("connect", () => {
      this.#dialled = null;
      // Reads into the socket's buffer up to its high-water mark, so that a reset before the relay is noticed.
      this.socket.pause();
      if (!this.#released) done(null);
    });
  }

  /** Reads into the socket's buffer, up to its high-water mark: a reset before anybody wants its bytes is noticed. */
  watch(): void {
    if (!this.#released && this.socket === this.#raw) this.#raw.read(0);
  }

  peek(limit: number, look: Look): void {
    this.#stopPeeking();
    this.#limit = limit;
    this.#need = 0;
    this.#look = look;
    this.socket.on("data", this.#arrived);
    this.socket.on("end", this.#inputEnded);
    // Never before this call has returned: what is held already is shown in a turn of its own.
    process.nextTick(() => {
      if (this.#look !== look || this.#released) return;
      // An end is told even by a socket that is paused, and once: TLS may have brought it together with the handshake's last bytes.
      if (this.socket.readableEnded) this.#ended = true;
      if (this.#held.length > 0 || this.#ended) this.#show();
      if (this.#look === look) this.socket.resume();
    });
  }

  skip(count: number): void {
    this.#held = this.#held.subarray(count);
  }

  secure(context: TlsContext, options: SecureOptions, done: (error: ProxyError | null) => void): void {
    const raw = this.#raw;
    this.#stopPeeking();
    raw.off("error", this.#failed);
    const held = this.#held;
    this.#held = NOTHING;
    const wrapped = secureSocket(
      raw,
      held.length > 0 ? held : null,
      context as NetTlsContext,
      options,
      (error, facts) => {
        if (this.#released) return;
        this.tls = facts;
        done(error);
      },
    );
    this.socket = wrapped;
    // A failure on the raw socket reaches the wrapping one; listening on both would report it twice.
    raw.on("error", ignore);
    wrapped.on("error", this.#failed);
  }

  send(bytes: Uint8Array): void {
    this.socket.write(bytes);
  }

  /** What was peeked and not skipped; the caller must deliver it. The stream forgets it. */
  takeHeld(): Buffer {
    this.#stopPeeking();
    const held = this.#held;
    this.#held = NOTHING;
    return held;
  }

  /** The story has let go of it: what still comes in is thrown away. */
  get released(): boolean {
    return this.#released;
  }

  get stuck(): boolean {
    return this.socket.writableLength > 0;
  }

  /** True when the other side's end was seen while peeking: no `end` event will come any more. */
  get inputEnded(): boolean {
    return this.#ended;
  }

  /**
   * Writes nothing, which fails on a socket that was reset. Below TLS, where Node would keep the failure to itself; but not
   * behind our own end, where every write fails, nor on a UNIX socket, where it fails as well when the peer has closed in order.
   * Nor while bytes are on their way: those meet the failure themselves, and Node's TLS takes the end of any write on its
   * descriptor for the end of its own, and uses memory again that is still being sent.
   */
  touch(): void {
    if (this.remote.kind !== "ip") return;
    if (this.socket.writable && this.#raw.writable && this.socket.writableLength === 0)
      this.#raw.write(NOTHING);
  }

  finish(): void {
    if (this.#released) return;
    this.#release();
    const socket = this.socket;
    if (socket.destroyed) return;
    this.#held = NOTHING;
    if (this.#complete()) {
      socket.destroy();
      return;
    }
    // Closing with unread input would send a reset that can destroy what was just sent: read on, within a bound.
    let drained = 0;
    socket.on("data", (chunk: Buffer) => {
      drained += chunk.length;
      if (drained > LINGER_BYTES) socket.destroy();
    });
    const both = (): void => {
      if (this.#complete()) socket.destroy();
    };
    socket.on("end", both);
    socket.on("finish", both);
    socket.on("close", () => this.#linger?.stop());
    this.#linger = this.#clock.timer({ expired: () => socket.destroy() });
    this.#linger.start(LINGER_MS);
    socket.end();
    socket.resume();
  }

  reset(): void {
    if (this.#released) return;
    this.#release();
    this.#held = NOTHING;
    const raw = this.#raw;
    const { socket } = this;
    if (raw !== socket) socket.on("error", ignore);
    // While a shutdown is on its way libuv refuses to reset (EINVAL), and Node then never closes the descriptor. Without TLS it
    // is done in the loop's next turn; with TLS the end was announced already, and a close says the rest.
    const ending = socket.writableEnded && socket.writableLength === 0 && !socket.writableFinished;
    if (ending && !socket.destroyed && socket === raw) socket.once("finish", () => this.#abort(true));
    else this.#abort(!ending);
  }

  #abort(withReset: boolean): void {
    const raw = this.#raw;
    // Only TCP knows resets; on a UNIX socket a close with unread data has the same effect on the peer.
    if (withReset && this.remote.kind === "ip" && !raw.destroyed) raw.resetAndDestroy();
    this.socket.destroy();
    raw.destroy();
  }

  #show(): void {
    const look = this.#look;
    if (look === null) return;
    if (this.#held.length < this.#need && !this.#ended) return;
    this.#need = look(this.#held, this.#ended);
    if (this.#need > 0 && !this.#ended) return;
    if (this.#look === look) this.#stopPeeking();
  }

  /** Idempotent. A `look` may itself go on to the next step, which then stops the peeking before it has returned. */
  #stopPeeking(): void {
    if (this.#look === null) return;
    this.#look = null;
    this.socket.off("data", this.#arrived);
    this.socket.off("end", this.#inputEnded);
    // Paused but still reading up to the high-water mark: a reset while we dial is noticed.
    if (!this.#released) this.socket.pause();
  }

  readonly #arrived = (chunk: Buffer): void => {
    this.#held = this.#held.length === 0 ? chunk : Buffer.concat([this.#held, chunk]);
    if (this.#held.length >= this.#limit) this.#need = 0;
    this.#show();
  };

  readonly #inputEnded = (): void => {
    this.#ended = true;
    this.#show();
  };

  readonly #failed = (error: Error): void => {
    if (this.#released || this.#complete()) return;
    const dialled = this.#dialled;
    if (dialled === null) {
      this.owner?.failed(this, streamError(error));
      return;
    }
    this.#dialled = null;
    this.reset();
    dialled(streamError(error));
  };

  readonly #closed = (): void => {
    if (this.#released || this.#raw.errored || this.#complete()) return;
    // Destroyed without an error of its own: libuv met a condition that it reports as a plain close.
    this.owner?.failed(this, new ProxyError("RESET", "the connection was closed by the system"));
  };

  /** Both directions ended in order: nothing that comes now is a failure. */
  #complete(): boolean {
    return (this.#ended || this.socket.readableEnded) && this.socket.writableFinished;
  }

  #release(): void {
    this.#released = true;
    this.owner = null;
    this.#stopPeeking();
    this.#raw.off("close", this.#closed);
    this.socket.on("error", ignore);
    this.#raw.on("error", ignore);
  }
}

/** What a failing socket means to the story: RESET with the system's own word for it, or the alert that ended TLS. */
export function streamError(error: Error & { code?: string; reason?: string }): ProxyError {
  if (error instanceof ProxyError) return error;
  const alert = receivedAlert(error);
  if (alert !== undefined) {
    const message = `TLS failed: ${error.reason ?? error.code}; the peer sent alert ${alert}, ${alertName(alert)}`;
    return new ProxyError("RESET", message, { cause: error, alert });
  }
  const message = error.code === undefined ? error.message : `${error.code}: ${error.message}`;
  return new ProxyError("RESET", message, { cause: error });
}

/** The addresses of a connected socket, as the rest of the program writes them. */
export function socketAddresses(
  socket: Socket,
  path: string | null,
): { local: SocketAddress; remote: SocketAddress } {
  if (path !== null) return { local: { kind: "unix", path }, remote: { kind: "unix", path: "" } };
  return {
    local: { kind: "ip", host: plainHost(socket.localAddress ?? ""), port: socket.localPort ?? 0 },
    remote: { kind: "ip", host: plainHost(socket.remoteAddress ?? ""), port: socket.remotePort ?? 0 },
  };
}

function ignore(): void {}
