/**
 * The calls of one turn of the loop, made together: whoever wants a system call asks for it and hears its result, and all
 * that were asked for since the last round enter the kernel at once (io_uring) where it has that, else one by one. What a
 * result leads to is asked for in the next round, so connections that became ready together go in step.
 * Invariants: nothing that was asked for outlasts the turn. The calls of a round are made in the order in which they were
 * asked for, and whoever can have asked for one is closed here: so no call meets a descriptor that has become another's.
 */
import {
  IORING_OP_ACCEPT_DONTWAIT,
  IORING_OP_CLOSE,
  IORING_OP_CONNECT,
  IORING_OP_EPOLL_CTL,
  IORING_OP_RECV,
  IORING_OP_SEND,
  IORING_OP_SOCKET,
  IoUring,
} from "../../ffi/io-uring.ts";
import {
  EPOLL_CTL_ADD,
  MSG_DONTWAIT,
  MSG_NOSIGNAL,
  MSG_PEEK,
  SOCK_CLOEXEC,
  SOCK_NONBLOCK,
  SOCK_STREAM,
} from "../../ffi/layout.ts";
import { accept4, close, epollCtl, recv, send, socket } from "../../ffi/libc.ts";
import { BLOCK, BLOCKS, SLOT, SLOTS, type WorkerMemory } from "./memory.ts";
import { resetOnClose } from "./sockets.ts";

// The calls. From WATCH on nothing is done with what they give while all is well: they can wait for others, or for the end of the
// turn. From RESET on nobody hears of it.
export const RECV = 0;
export const PEEK = 1;
export const SEND = 2;
export const ACCEPT = 3;
export const SOCKET = 4;
export const WATCH = 5;
const RESET = 6;
const CLOSE = 7;

const DONTWAIT = MSG_DONTWAIT | MSG_NOSIGNAL;
const NEW_SOCKET = SOCK_NONBLOCK | SOCK_CLOEXEC;
/** In a block: the room for a sockaddr, then the int that says how long it is. */
const ADDRESS_ROOM = 128;

/** Who asks for calls and hears of their results: as the man page has them, or -errno. */
export interface Caller {
  readonly descriptor: number;
  /**
   * RECV, PEEK: the bytes are at `address` until the next round is over. SEND: `address` and `length` of what was to be sent.
   * ACCEPT: `address` is where the client's lies in the blocks, `length` how long it is.
   */
  called(call: number, result: number, address: number, length: number): void;
  /** It threw. */
  onFault(thrown: unknown): void;
}

/** Whom the kernel is to watch. */
export interface Watched extends Caller {
  readonly generation: number;
  readonly interest: number;
}

/** A ring for the batch of one worker; null where the kernel, or the operator, will not have it. */
export function openRing(): IoUring | null {
  return process.env.MILLRACE_IO_URING === "off" ? null : IoUring.open(BLOCKS);
}

// Where the way into the kernel is dear (1 µs), two calls together cost less than one by one. Where it is not (0.1 µs), whoever is
// ready first would wait for others in vain: a round trip on four connections costs 0.86 from five on of what it costs from two on,
// a connection that comes alone 0.96, one of 32 at a time the same.
const LEAST_WHERE_DEAR = 2;
const LEAST = 5;
const DEAR_MS = 0.0008;

/** From how many on calls are worth being made together on this machine; the operator may have it always. */
export function leastTogether(): number {
  if (process.env.MILLRACE_IO_URING === "on") return LEAST_WHERE_DEAR;
  const calls = 100;
  let fastest = Number.POSITIVE_INFINITY;
  // 20 times, for the compiler to come and for a quiet moment.
  for (let attempt = 0; attempt < 20; attempt++) {
    const begun = performance.now();
    for (let call = 0; call < calls; call++) recv(-1, 0, 0, 0);
    fastest = Math.min(fastest, (performance.now() - begun) / calls);
  }
  return fastest > DEAR_MS ? LEAST_WHERE_DEAR : LEAST;
}

/** Calls that were asked for, as parallel lists. */
class Round {
  length = 0;
  urgent = 0;
  slots = 0;
  readonly calls: number[] = [];
  readonly callers: (Caller | null)[] = [];
  readonly descriptors: number[] = [];
  readonly addresses: number[] = [];
  readonly lengths: number[] = [];
}

export class Batch {
  /** So many are ready that reads and writes are worth being made together. */
  together = false;
  /** From how many on they are; Infinity: never. */
  readonly least: number;
  /** The way into the kernel is dear enough for `least` to be two. */
  get isDear(): boolean {
    return this.least === LEAST_WHERE_DEAR;
  }

  /** Clients can be accepted together with other calls. */
  readonly accepts: boolean;
  readonly #memory: WorkerMemory;
  readonly #epoll: number;
  readonly #contain: (caller: Caller, thrown: unknown) => void;
  readonly #uring: IoUring | null;
  readonly #results: Int32Array;
  #asked = new Round();
  #made = new Round();
  /** What was received in one round is sent in the next: two sets of slots take turns. */
  #odd = 0;

  /** `uring` null: calls are made one by one. Else it is released here. `contain` hears what a caller throws. */
  constructor(
    memory: WorkerMemory,
    epoll: number,
    uring: IoUring | null,
    contain: (caller: Caller, thrown: unknown) => void,
  ) {
    this.#memory = memory;
    this.#epoll = epoll;
    this.#contain = contain;
    this.#uring = uring;
    this.#results = uring?.results ?? new Int32Array(1);
    this.least = uring === null ? Number.POSITIVE_INFINITY : leastTogether();
    this.accepts = uring?.knows(IORING_OP_ACCEPT_DONTWAIT) ?? false;
  }

  /** How many calls wait to be made. */
  get waiting(): number {
    return this.#asked.length;
  }

  /** How many of them somebody needs in order to go on. */
  get urgent(): number {
    return this.#asked.urgent;
  }

  /** recv(2) of up to SLOT bytes. False: no slot is free, and nothing was asked for. */
  recv(caller: Caller): boolean {
    return this.#receive(RECV, caller, SLOT);
  }

  /** recv(2) with MSG_PEEK of up to `limit` bytes, which is SLOT at most. False: as `recv`. */
  peek(caller: Caller, limit: number): boolean {
    return this.#receive(PEEK, caller, limit);
  }

  /** send(2). The bytes must stay where they are until the round is over. */
  send(caller: Caller, address: number, length: number): void {
    this.#ask(SEND, caller, caller.descriptor, address, length);
  }

  /** accept4(2), non-blocking. */
  accept(caller: Caller): void {
    this.#ask(ACCEPT, caller, caller.descriptor, 0, ADDRESS_ROOM);
  }

  /** socket(2), SOCK_STREAM, non-blocking. */
  socket(caller: Caller, family: number): void {
    this.#ask(SOCKET, caller, family, 0, 0);
  }

  /** epoll_ctl(2) with EPOLL_CTL_ADD, with the interest that the caller has by then. */
  watch(caller: Watched): void {
    this.#ask(WATCH, caller, caller.descriptor, 0, 0);
  }

  /** close(2). */
  close(descriptor: number): void {
    this.#ask(CLOSE, null, descriptor, 0, 0);
  }

  /** close(2) that resets a TCP connection, whatever waits in it. */
  reset(descriptor: number): void {
    this.#ask(RESET, null, descriptor, 0, 0);
    this.#ask(CLOSE, null, descriptor, 0, 0);
  }

  /** Makes calls until nobody needs one in order to go on. */
  run(): void {
    while (this.#asked.urgent > 0) this.#round();
  }

  /** Makes all calls that were asked for. */
  flush(): void {
    while (this.#asked.length > 0) this.#round();
  }

  /** Makes what was asked for and gives the ring back. */
  release(): void {
    this.flush();
    this.#uring?.close();
  }

  #receive(call: number, caller: Caller, length: number): boolean {
    const { slots, slotStride } = this.#memory;
    const round = this.#asked;
    if (round.slots === SLOTS) return false;
    const address = slots + (this.#odd * SLOTS + round.slots++) * slotStride;
    this.#ask(call, caller, caller.descriptor, address, length);
    return true;
  }

  #ask(call: number, caller: Caller | null, descriptor: number, address: number, length: number): void {
    const round = this.#asked;
    const index = round.length++;
    if (call < WATCH) round.urgent++;
    round.calls[index] = call;
    round.callers[index] = caller;
    round.descriptors[index] = descriptor;
    round.addresses[index] = address;
    round.lengths[index] = length;
  }

  #round(): void {
    const round = this.#asked;
    this.#asked = this.#made;
    this.#made = round;
    this.#odd ^= 1;
    const uring = this.#uring;
    const results = this.#results;
    const step = results.length;
    for (let from = 0; from < round.length; from += step) {
      const end = Math.min(round.length, from + step);
      let done = end - from < this.least ? 0 : this.#submit(uring!, round, from, end);
      for (; from + done < end; done++) results[done] = this.#call(round, from + done, done);
      this.#tell(round, from, end);
    }
    round.slots = 0;
    round.urgent = 0;
    round.length = 0;
  }

  #submit(uring: IoUring, round: Round, from: number, end: number): number {
    const { blocks, disconnect } = this.#memory;
    const { calls, descriptors, addresses, lengths } = round;
    for (let index = from; index < end; index++) {
      const descriptor = descriptors[index]!;
      const length = lengths[index]!;
      const block = blocks + (index - from) * BLOCK;
      switch (calls[index]) {
        case RECV:
          uring.put(IORING_OP_RECV, descriptor, addresses[index]!, length, 0, MSG_DONTWAIT);
          break;
        case PEEK:
          uring.put(IORING_OP_RECV, descriptor, addresses[index]!, length, 0, MSG_PEEK | MSG_DONTWAIT);
          break;
        case SEND:
          uring.put(IORING_OP_SEND, descriptor, addresses[index]!, length, 0, DONTWAIT);
          break;
        case ACCEPT:
          this.#fill(round, index, index - from);
          uring.put(IORING_OP_ACCEPT_DONTWAIT, descriptor, block, 0, block + ADDRESS_ROOM, NEW_SOCKET);
          break;
        case SOCKET:
          uring.put(IORING_OP_SOCKET, descriptor, 0, 0, SOCK_STREAM | NEW_SOCKET, 0);
          break;
        case WATCH:
          this.#fill(round, index, index - from);
          uring.put(IORING_OP_EPOLL_CTL, this.#epoll, block, EPOLL_CTL_ADD, descriptor, 0);
          break;
        case RESET:
          // connect(2) with AF_UNSPEC, which is what close(2) does itself under SO_LINGER {1, 0}.
          uring.put(IORING_OP_CONNECT, descriptor, disconnect, 0, 16, 0);
          break;
        default:
          uring.put(IORING_OP_CLOSE, descriptor, 0, 0, 0, 0);
      }
    }
    return uring.submit();
  }

  #call(round: Round, index: number, place: number): number {
    const { blocks } = this.#memory;
    const block = blocks + place * BLOCK;
    const descriptor = round.descriptors[index]!;
    const length = round.lengths[index]!;
    const call = round.calls[index]!;
    switch (call) {
      case RECV:
      case PEEK:
        return recv(descriptor, round.addresses[index]!, length, call === PEEK ? MSG_PEEK : 0);
      case SEND:
        return send(descriptor, round.addresses[index]!, length, MSG_NOSIGNAL);
      case ACCEPT:
        this.#fill(round, index, place);
        return accept4(descriptor, block, block + ADDRESS_ROOM, NEW_SOCKET);
      case SOCKET:
        return socket(descriptor, SOCK_STREAM | NEW_SOCKET, 0);
      case WATCH:
        this.#fill(round, index, place);
        return epollCtl(this.#epoll, EPOLL_CTL_ADD, descriptor, block);
      case RESET:
        return resetOnClose(this.#memory, descriptor);
      default:
        return close(descriptor);
    }
  }

  /** Puts into a block what the call reads from it. */
  #fill(round: Round, index: number, place: number): void {
    const { blockInts, eventData } = this.#memory;
    const at = (place * BLOCK) / 4;
    if (round.calls[index] === ACCEPT) {
      blockInts[at + ADDRESS_ROOM / 4] = ADDRESS_ROOM;
      return;
    }
    const { interest, generation } = round.callers[index] as Watched;
    blockInts[at] = interest;
    blockInts[at + eventData] = round.descriptors[index]!;
    blockInts[at + eventData + 1] = generation;
  }

  #tell(round: Round, from: number, end: number): void {
    const { calls, callers, addresses, lengths } = round;
    const results = this.#results;
    const { blockInts } = this.#memory;
    for (let index = from; index < end; index++) {
      const caller = callers[index]!;
      callers[index] = null;
      const call = calls[index]!;
      if (call >= RESET) continue;
      const result = results[index - from]!;
      try {
        if (call === ACCEPT) {
          const block = (index - from) * BLOCK;
          caller.called(call, result, block, blockInts[(block + ADDRESS_ROOM) / 4]!);
        } else caller.called(call, result, addresses[index]!, lengths[index]!);
      } catch (thrown) {
        this.#contain(caller, thrown);
      }
    }
  }
}
