/**
 * Multishot receives (io_uring, Linux 6.0): where small messages go to and fro, the kernel reads a socket by itself as bytes
 * come. One io_uring_enter(2) then sends what has come and waits for more, where epoll_wait, recv and send were three calls.
 * A stream stands here from `begin` until its receive has ended, by itself or through `stop`. All that time the kernel alone reads
 * from it (`underway`); epoll reports of it no input, but its end, which is then read in the ordinary way. What lies behind urgent
 * data (tcp(7)) may wait for the next message, or for the sweep.
 * Invariants: what came from a stream is told in its order, its end last. Every call is begun before anything else is done to its
 * socket (`leave`), so none meets a descriptor that has become another's. A receive that was ended holds its socket until it has
 * said so, which takes a few turns at most, and until then the loop does not block. A blocked sink can get as much as all
 * buffers hold, which fits into its chunk. One turn tells what had come when it began.
 */
import { BufferRing } from "../../ffi/buffer-ring.ts";
import { EAGAIN, ECANCELED, EINTR, ENOBUFS, ENOMEM } from "../../ffi/errno.ts";
import {
  IORING_CQE_BUFFER_SHIFT,
  IORING_CQE_F_MORE,
  IORING_OP_ASYNC_CANCEL,
  IORING_OP_POLL_ADD,
  IORING_OP_RECV_MULTISHOT,
  IORING_OP_SEND,
  IOSQE_CQE_SKIP_SUCCESS,
  IoUring,
} from "../../ffi/io-uring.ts";
import { EPOLLIN, MSG_DONTWAIT, MSG_NOSIGNAL, MSG_WAITALL } from "../../ffi/layout.ts";
import { epollWait } from "../../ffi/libc.ts";
import type { Task, Timer, Wheel } from "../../timing/wheel.ts";
import { Crowd } from "./crowd.ts";
import { EVENTS, type WorkerMemory } from "./memory.ts";

/** What this is for is shorter than this. */
export const MESSAGE = 1024;
/** So many messages in a row make a stream one of those that stand here. */
export const STEADY = 16;

// Of MESSAGE bytes each; all of them fit into a chunk behind what one of them left there.
const BUFFERS = 64;
// Streams that stand here at most. All of them, all buffers and all sends may be told of at once: twice ROOM.
const STANDING = 256;
const ROOM = 256;
// Calls that telling of one completion may add, at most.
const RESERVE = 2;
const GROUP = 0;

// user_data: of a receive its place, of a send its number, of the others nothing else.
const SEND = 1 << 28;
const POLL = 1 << 29;
const CANCEL = 1 << 30;
const INDEX = SEND - 1;

const SEND_ALL = IORING_OP_SEND | IOSQE_CQE_SKIP_SUCCESS;
// A send that is cut short counts as failed, and only what fails is told.
const SEND_FLAGS = MSG_DONTWAIT | MSG_NOSIGNAL | MSG_WAITALL;

// How a receive ends without its stream having ended.
const OF_THE_CALL = new Set([ECANCELED, ENOBUFS, ENOMEM, EAGAIN, EINTR]);

// ms. Whoever was silent for so long goes back to epoll, and holds nothing here any more.
const SWEEP = 1_000;

/** Who can stand here. */
export interface Receiver {
  readonly descriptor: number;
  /** Where the bytes of this one go. */
  readonly peer: Receiver | null;
  /** Its place; -1: none. Kept here, as are the next two. */
  standing: number;
  /** Nobody else reads from it. */
  underway: boolean;
  /** Something is to be sent to it that has not been begun. */
  sending: boolean;
  /** Input is not reported by epoll, and is again. */
  unwatchInput(): void;
  watchInput(): void;
  /** Bytes came, in buffer `id`, which is the caller's again after this unless `send` was called with it. */
  arrived(id: number, address: number, length: number): void;
  /** A send to it was cut short (`result` bytes), or failed. The bytes stay where they are until this returns. */
  unsent(address: number, length: number, result: number): void;
  /** It has left: with the end of its input (0), a failure (-errno), or -EINTR, and then there may be more to read. */
  left(result: number): void;
  /** It threw. */
  onFault(thrown: unknown): void;
}

export class Multishot implements Task {
  readonly crowd = new Crowd();
  readonly #memory: WorkerMemory;
  readonly #epoll: number;
  readonly #ring: IoUring;
  readonly #buffers: BufferRing;
  readonly #contain: (stream: Receiver, thrown: unknown) => void;
  readonly #sweep: Timer;

  /** By place; null: nobody, or somebody who has left while the receive had not ended yet. */
  readonly #streams: (Receiver | null)[] = [];
  readonly #free: number[] = [];
  readonly #stopping: boolean[] = [];
  readonly #quiet: boolean[] = [];
  #standing = 0;

  // Completions of receives that were not told yet.
  #came = 0;
  readonly #places: number[] = [];
  readonly #results: number[] = [];
  readonly #flags: number[] = [];

  // Sends that were not begun yet.
  #sends = 0;
  readonly #sinks: (Receiver | null)[] = [];
  readonly #sent: number[] = [];
  readonly #lengths: number[] = [];
  readonly #ids: number[] = [];

  /** The buffer that is being told of is on its way. */
  #taken = false;
  /** The ring watches epoll. */
  #armed = false;
  /** epoll has something. */
  #polled = false;
  /** It had in this turn. */
  #wasPolled = false;
  #missed = 0;

  private constructor(
    memory: WorkerMemory,
    epoll: number,
    ring: IoUring,
    buffers: BufferRing,
    wheel: Wheel,
    contain: (stream: Receiver, thrown: unknown) => void,
  ) {
    this.#memory = memory;
    this.#epoll = epoll;
    this.#ring = ring;
    this.#buffers = buffers;
    this.#contain = contain;
    this.#sweep = wheel.createTimer(this);
    for (let place = STANDING - 1; place >= 0; place--) this.#free.push(place);
  }

  /** Null where the kernel has no such thing. `contain` hears what is thrown while a stream is served. */
  static open(
    memory: WorkerMemory,
    epoll: number,
    wheel: Wheel,
    contain: (stream: Receiver, thrown: unknown) => void,
  ): Multishot | null {
    const buffers = new BufferRing(BUFFERS, MESSAGE);
    const ring = IoUring.open(ROOM, true);
    if (ring?.register(buffers, GROUP)) return new Multishot(memory, epoll, ring, buffers, wheel, contain);
    ring?.close();
    buffers.release();
    return null;
  }

  /** The loop must wait here and not in epoll. */
  get busy(): boolean {
    return this.#standing > 0 || this.#sends > 0 || this.#came > 0;
  }

  /** A short message went the ordinary way. */
  missed(): void {
    this.#missed++;
  }

  /** At the end of a turn: how much `tell` told, how much came from epoll, and how much of that told of the time only. */
  note(told: number, count: number, alarms: number): void {
    // Woken for nothing: somebody else was faster.
    const others = count - alarms > this.#missed || (this.#wasPolled && count === 0);
    this.#missed = 0;
    this.#wasPolled = false;
    const came = told + count - alarms;
    if (came <= 0 && !others) return;
    this.crowd.note(came, others);
    if (this.#standing === 0 || !this.crowd.isCrowded) return;
    this.crowd.forget();
    this.#stopAll(false);
  }

  /** Has the kernel read from `stream`, from which nobody else reads then. Not if too many stand here, or too much comes at a time. */
  begin(stream: Receiver): void {
    if (!this.crowd.isCalm || this.#ring.left < RESERVE) return;
    const place = this.#free.pop();
    if (place === undefined) return;
    if (this.#standing++ === 0) this.#sweep.start(SWEEP);
    this.#streams[place] = stream;
    this.#stopping[place] = false;
    this.#quiet[place] = false;
    stream.standing = place;
    stream.underway = true;
    stream.unwatchInput();
    this.#receive(place, stream.descriptor);
  }

  /** In `arrived`: sends the bytes to `sink`, which takes them or hears `unsent`; to be followed by others only after `flush`. */
  send(sink: Receiver, id: number, length: number): void {
    const index = this.#sends++;
    this.#sinks[index] = sink;
    this.#ids[index] = id;
    this.#lengths[index] = length;
    this.#sent[index] = length;
    this.#taken = true;
    sink.sending = true;
    this.#put(SEND_ALL, sink.descriptor, this.#buffers.at(id), length, SEND_FLAGS, SEND | index);
  }

  /** Begins what was asked for. */
  flush(): void {
    this.#enter(0);
  }

  /** Ends the receive of `stream`; what had come by then is told before. */
  stop(stream: Receiver): void {
    const place = stream.standing;
    if (place < 0 || this.#stopping[place]) return;
    this.#stopping[place] = true;
    this.#cancel(place);
    this.#enter(0);
  }

  /** Both streams of a relay go: what was to be sent is, and their receives end. */
  leave(one: Receiver, other: Receiver): void {
    if (one.standing < 0 && other.standing < 0 && !one.sending && !other.sending) return;
    this.#forsake(one);
    this.#forsake(other);
    this.#enter(0);
  }

  /**
   * Sends what was to be sent and, if it `blocks`, waits until something has come. What epoll_wait(2) gives then, without waiting.
   * What has come here is told by `tell`.
   */
  wait(blocks: boolean): number {
    // To make room may tell of a send that was cut short, and what that leads to must not wait.
    const full = !this.#armed && this.#ring.left === 0;
    if (!this.#armed) {
      this.#armed = true;
      this.#put(IORING_OP_POLL_ADD, this.#epoll, 0, 0, EPOLLIN, POLL);
    }
    this.#enter(blocks && !full && this.#came === 0 && !this.#polled ? 1 : 0);
    if (!this.#polled) return 0;
    this.#polled = false;
    this.#wasPolled = true;
    return epollWait(this.#epoll, this.#memory.events, EVENTS, 0);
  }

  /** Tells the streams what has come. How much that was. */
  tell(): number {
    // What is told may bring more, which waits for the next turn: others have theirs.
    const told = this.#came;
    for (let index = 0; index < told; index++) {
      // So that no call of a stream is put off until it may have gone.
      if (this.#ring.left < RESERVE) this.#enter(0);
      const place = this.#places[index]!;
      const result = this.#results[index]!;
      const flags = this.#flags[index]!;
      if (result > 0) this.#arrived(place, flags >>> IORING_CQE_BUFFER_SHIFT, result);
      if ((flags & IORING_CQE_F_MORE) === 0) this.#ended(place, result);
    }
    this.#came -= told;
    for (let index = 0; index < this.#came; index++) {
      this.#places[index] = this.#places[told + index]!;
      this.#results[index] = this.#results[told + index]!;
      this.#flags[index] = this.#flags[told + index]!;
    }
    return told;
  }

  /** Those that were silent since the last time go back to epoll. */
  expired(): void {
    this.#stopAll(true);
    this.#quiet.fill(true);
    if (this.#standing > 0) this.#sweep.start(SWEEP);
  }

  /** Gives everything back, after every stream has left. */
  close(): void {
    this.#sweep.stop();
    this.#ring.close();
    this.#buffers.release();
  }

  #arrived(place: number, id: number, length: number): void {
    const stream = this.#streams[place] ?? null;
    this.#quiet[place] = false;
    this.#taken = false;
    try {
      stream?.arrived(id, this.#buffers.at(id), length);
    } catch (thrown) {
      this.#contain(stream!, thrown);
    }
    if (!this.#taken) this.#buffers.give(id);
  }

  #ended(place: number, result: number): void {
    // The end of one side may lead to a shutdown of the other, and a send that fails to the end of both.
    if (this.#streams[place]?.peer?.sending) this.flush();
    const stream = this.#streams[place] ?? null;
    if (result === -ENOBUFS && stream !== null && !this.#stopping[place]) {
      this.#receive(place, stream.descriptor);
      return;
    }
    this.#streams[place] = null;
    this.#free.push(place);
    if (--this.#standing === 0) this.#sweep.stop();
    if (stream === null) return;
    stream.standing = -1;
    stream.watchInput();
    const nothing = result > 0 || OF_THE_CALL.has(-result);
    try {
      stream.left(nothing ? -EINTR : result);
    } catch (thrown) {
      this.#contain(stream, thrown);
    }
  }

  /** Ends all receives, or those of the silent. */
  #stopAll(silent: boolean): void {
    for (let place = 0; place < this.#streams.length; place++) {
      if (!this.#streams[place] || this.#stopping[place] || (silent && !this.#quiet[place])) continue;
      this.#stopping[place] = true;
      this.#cancel(place);
    }
    this.#enter(0);
  }

  #forsake(stream: Receiver): void {
    const place = stream.standing;
    if (place < 0) return;
    if (!this.#stopping[place]) this.#cancel(place);
    this.#streams[place] = null;
    stream.standing = -1;
    stream.underway = false;
    stream.watchInput();
  }

  #receive(place: number, descriptor: number): void {
    this.#put(IORING_OP_RECV_MULTISHOT, descriptor, 0, 0, 0, place);
  }

  #cancel(place: number): void {
    this.#put(IORING_OP_ASYNC_CANCEL | IOSQE_CQE_SKIP_SUCCESS, -1, place, 0, 0, CANCEL);
  }

  #put(
    operation: number,
    descriptor: number,
    address: number,
    length: number,
    flags: number,
    data: number,
  ): void {
    if (this.#ring.left === 0) this.#enter(0);
    this.#ring.put(operation, descriptor, address, length, 0, flags);
    this.#ring.tag(data, GROUP);
  }

  #enter(minimum: number): void {
    const ring = this.#ring;
    ring.enter(minimum);
    while (ring.take()) {
      const { data } = ring;
      if (data < SEND) {
        const at = this.#came++;
        this.#places[at] = data;
        this.#results[at] = ring.result;
        this.#flags[at] = ring.flags;
      } else if (data < POLL) {
        this.#sent[data & INDEX] = ring.result;
      } else if (data === POLL) {
        this.#armed = false;
        this.#polled = true;
      }
    }
    const sends = this.#sends;
    this.#sends = 0;
    for (let index = 0; index < sends; index++) {
      const sink = this.#sinks[index]!;
      const id = this.#ids[index]!;
      const length = this.#lengths[index]!;
      const result = this.#sent[index]!;
      this.#sinks[index] = null;
      sink.sending = false;
      if (result !== length) this.#unsent(sink, id, length, result);
      this.#buffers.give(id);
    }
  }

  #unsent(sink: Receiver, id: number, length: number, result: number): void {
    try {
      sink.unsent(this.#buffers.at(id), length, result);
    } catch (thrown) {
      this.#contain(sink, thrown);
    }
  }
}
