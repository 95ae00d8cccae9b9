/**
 * A transport without sockets, for tests of the worker and the story: it notes what it is asked for, and the test says what
 * happens next, in the order it wants. Its clock stands still and its timers never fire.
 */
import assert from "node:assert/strict";
import type { ProxyError } from "../../lib/errors.ts";
import type { Timer } from "../../lib/timing/wheel.ts";
import type {
  Accepted,
  Dialler,
  Flow,
  Listening,
  ListenOptions,
  Look,
  RelayEnd,
  RelayOwner,
  Stream,
  StreamOwner,
  TlsContext,
  TlsContextSpec,
  TlsFacts,
  Transport,
} from "../../lib/transport/transport.ts";
import { formatAddress, type SocketAddress } from "../../lib/wire/address.ts";

const LOCAL: SocketAddress = { kind: "ip", host: "192.0.2.1", port: 443 };

export class ScriptedStream implements Stream {
  readonly stuck = false;
  readonly remote: SocketAddress;
  readonly local = LOCAL;
  tls: TlsFacts | null = null;
  owner: StreamOwner | null = null;
  look: Look | null = null;
  /** Ends the handshake that the story asked for. */
  secured: (error: ProxyError | null) => void = () => assert.fail("no handshake was asked for");
  /** How the story released it. */
  released: "finish" | "reset" | null = null;

  constructor(remote: SocketAddress) {
    this.remote = remote;
  }

  peek(_limit: number, look: Look): void {
    this.look = look;
  }
  skip(): void {}
  secure(_context: unknown, _options: unknown, done: (error: ProxyError | null) => void): void {
    this.secured = done;
  }
  send(): void {}
  finish(): void {
    this.#release("finish");
  }
  reset(): void {
    this.#release("reset");
  }

  #release(how: "finish" | "reset"): void {
    assert.equal(this.released, null, "a stream is released once");
    this.released = how;
  }
}

export class ScriptedListening implements Listening {
  readonly address: SocketAddress;
  readonly ready: (error: ProxyError | null) => void;
  readonly #accepted: Accepted;
  #clients = 0;
  closed = false;

  constructor(address: SocketAddress, accepted: Accepted, ready: (error: ProxyError | null) => void) {
    this.address = address;
    this.#accepted = accepted;
    this.ready = ready;
  }

  /** A client connects. */
  client(): ScriptedStream {
    this.#clients += 1;
    const stream = new ScriptedStream({ kind: "ip", host: `198.51.100.${this.#clients}`, port: 4711 });
    this.#accepted(stream);
    return stream;
  }

  close(): void {
    this.closed = true;
  }

  finish(finished: () => void): void {
    this.close();
    finished();
  }
}

export interface ScriptedDial {
  readonly target: string;
  readonly stream: ScriptedStream;
  readonly done: (error: ProxyError | null) => void;
}

export interface ScriptedRelay {
  readonly downstream: Stream;
  readonly flow: Flow;
  readonly done: (end: RelayEnd) => void;
}

export class ScriptedTransport implements Transport {
  readonly name = "net";
  readonly listenings: ScriptedListening[] = [];
  readonly dials: ScriptedDial[] = [];
  readonly relays: ScriptedRelay[] = [];
  kept: ReadonlySet<TlsContext> = new Set();

  now(): number {
    return 0;
  }

  timer(): Timer {
    return { start() {}, stop() {} };
  }

  listen(options: ListenOptions, accepted: Accepted, ready: (error: ProxyError | null) => void): Listening {
    const listening = new ScriptedListening(options.address, accepted, ready);
    this.listenings.push(listening);
    return listening;
  }

  dial(target: SocketAddress, _options: unknown, dialler: Dialler): Stream {
    const stream = new ScriptedStream(target);
    this.dials.push({ target: formatAddress(target), stream, done: (error) => dialler.dialled(error) });
    return stream;
  }

  context(spec: TlsContextSpec): TlsContext {
    return { spec };
  }

  keep(contexts: ReadonlySet<TlsContext>): void {
    this.kept = contexts;
  }

  relay(downstream: Stream, _upstream: Stream, flow: Flow, owner: RelayOwner): void {
    this.relays.push({ downstream, flow, done: (end) => owner.relayed(end) });
  }
}
