/**
 * One active check of one endpoint: connect, PROXY header, TLS handshake, send, expect; each as far as configured, all
 * within one deadline. Resolves, never rejects, and holds no descriptor once resolved. Runs on the control thread.
 */
import { connect, type Socket } from "node:net";
import type { Duplex } from "node:stream";
import type { HealthConfig } from "../config/config.ts";
import type { Clock } from "./clock.ts";
import type { Endpoint } from "./endpoint.ts";

/**
 * Handshakes on a connected socket with what the cluster uses for its connections, and resolves when the peer is verified
 * and authorised; rejects with what went wrong. The socket is destroyed by the probe.
 */
export type ConnectTls = (socket: Socket, endpoint: Endpoint) => Promise<Duplex>;

export interface ProbeOptions {
  readonly health: HealthConfig;
  /** A PROXY v2 LOCAL header (or v1 UNKNOWN) where the cluster sends one; goes ahead of everything. */
  readonly preamble: Uint8Array | null;
  /** Null: plain. */
  readonly connectTls: ConnectTls | null;
  readonly clock: Clock;
}

/**
 * A port forwarder with nobody behind it (and a process at its end) accepts and then resets or closes. So a connection
 * that has nothing to expect must stay for this long (ms), or a quarter of the deadline where that is shorter.
 */
const SETTLE = 100;
/** Characters of a wrong answer in the reason. */
const SHOWN = 40;

/** Null when the endpoint is well, else the reason why not. */
export function probe(endpoint: Endpoint, options: ProbeOptions): Promise<string | null> {
  return new Promise((resolve) => new Probe(endpoint, options, resolve));
}

/** Bytes as written in YAML: `"\xd2"` is the byte d2. Text beyond Latin-1 is UTF-8. */
export function checkBytes(text: string): Buffer {
  for (const character of text) if (character.codePointAt(0)! > 0xff) return Buffer.from(text, "utf8");
  return Buffer.from(text, "latin1");
}

class Probe {
  readonly #endpoint: Endpoint;
  readonly #options: ProbeOptions;
  readonly #resolve: (fault: string | null) => void;
  readonly #socket: Socket;
  readonly #cancelDeadline: () => void;
  #cancelSettle: (() => void) | null = null;
  #phase: "connect" | "TLS handshake" | "answer" = "connect";
  #seen: Buffer = Buffer.alloc(0);
  #over = false;

  constructor(endpoint: Endpoint, options: ProbeOptions, resolve: (fault: string | null) => void) {
    this.#endpoint = endpoint;
    this.#options = options;
    this.#resolve = resolve;
    const { timeout } = options.health;
    this.#cancelDeadline = options.clock.after(timeout, () =>
      this.#finish(`no ${this.#phase === "connect" ? "connection" : this.#phase} within ${timeout} ms`),
    );
    const { address } = endpoint;
    this.#socket =
      address.kind === "unix"
        ? connect({ path: address.path })
        : connect({ host: address.host, port: address.port, autoSelectFamily: false, noDelay: true });
    this.#socket.on("error", (error) => this.#finish(`${this.#phase}: ${error.message}`));
    this.#socket.once("connect", () => this.#connected());
  }

  #connected(): void {
    const { preamble, connectTls } = this.#options;
    if (preamble !== null) this.#socket.write(preamble);
    if (connectTls === null) {
      this.#converse(this.#socket);
      return;
    }
    this.#phase = "TLS handshake";
    connectTls(this.#socket, this.#endpoint).then(
      (stream) => {
        if (this.#over) {
          stream.destroy();
          return;
        }
        stream.on("error", (error) => this.#finish(`${this.#phase}: ${error.message}`));
        this.#converse(stream);
      },
      (error: unknown) =>
        this.#finish(`TLS handshake: ${error instanceof Error ? error.message : String(error)}`),
    );
  }

  #converse(stream: Duplex): void {
    this.#phase = "answer";
    const { health, preamble, clock } = this.#options;
    const expected = health.expect === null ? null : checkBytes(health.expect);
    stream.on("data", (bytes: Buffer) => {
      this.#seen = Buffer.concat([this.#seen, bytes]);
      if (expected === null) {
        this.#finish(null); // it talks: more than a bare connection can show
        return;
      }
      const length = Math.min(this.#seen.length, expected.length);
      if (!this.#seen.subarray(0, length).equals(expected.subarray(0, length))) {
        const shown = JSON.stringify(this.#seen.subarray(0, SHOWN).toString("latin1"));
        this.#finish(`answered ${shown}, not what the check expects`);
      } else if (length === expected.length) this.#finish(null);
    });
    stream.once("close", () => this.#finish("closed without an answer"));
    stream.once("end", () => {
      // The PROXY specification lets a receiver close a LOCAL connection at once: it is a check, after all.
      this.#finish(expected === null && preamble !== null ? null : "closed without an answer");
    });
    if (health.send !== null) stream.write(checkBytes(health.send));
    if (expected === null) {
      this.#cancelSettle = clock.after(Math.min(SETTLE, health.timeout / 4), () => this.#finish(null));
    }
  }

  #finish(fault: string | null): void {
    if (this.#over) return;
    this.#over = true;
    this.#cancelDeadline();
    this.#cancelSettle?.();
    this.#socket.destroy();
    this.#resolve(fault);
  }
}
