/**
 * Keepalive for dialled sockets, which inherit nothing. Four system calls are worth it for a connection that lasts, not for
 * one that is over in a millisecond; so sockets wait here for a quarter of a second at most, as numbers, because
 * references would carry ended connections into the old generation of the heap.
 */
import type { Task, Timer } from "../../timing/wheel.ts";
import type { EventLoop } from "./loop.ts";
import type { Sockets } from "./sockets.ts";
import type { EpollStream } from "./stream.ts";

// A socket is looked at after one to two of these.
const SWEEP_MS = 128;

export class KeepAlives implements Task {
  readonly #loop: EventLoop;
  readonly #sockets: Sockets;
  readonly #timer: Timer;
  /** Pairs of descriptor and generation: since the last sweep, and since the one before. */
  #young: number[] = [];
  #old: number[] = [];

  constructor(loop: EventLoop, sockets: Sockets) {
    this.#loop = loop;
    this.#sockets = sockets;
    this.#timer = loop.wheel.createTimer(this);
  }

  /** A connected stream that was dialled. */
  add(stream: EpollStream): void {
    if (stream.remote.kind !== "ip") return;
    if (this.#young.length === 0 && this.#old.length === 0) this.#timer.start(SWEEP_MS);
    this.#young.push(stream.descriptor, stream.generation);
  }

  /** Sweeps. */
  expired(): void {
    const due = this.#old;
    for (let index = 0; index < due.length; index += 2) {
      const descriptor = due[index]!;
      if (this.#loop.lives(descriptor, due[index + 1]!)) this.#sockets.keepAlive(descriptor);
    }
    due.length = 0;
    this.#old = this.#young;
    this.#young = due;
    if (this.#old.length > 0) this.#timer.start(SWEEP_MS);
  }
}
