/**
 * io_uring(7) as a way to make many system calls in one: submissions are written into memory that the kernel shares, one
 * io_uring_enter(2) carries all of them out in their order, and their results are there when it returns. A ring is used in one
 * of two ways: `submit` for calls that do not wait, and `enter` with `take` for those that may. O_NONBLOCK alone does not keep
 * a call from waiting here: recv(2) and send(2) want MSG_DONTWAIT, accept IORING_ACCEPT_DONTWAIT, and connect(2) is only for
 * disconnecting (AF_UNSPEC).
 * Where a system call is dear (page-table isolation, virtual machines) most of its price is the way into the kernel and back.
 */
import { ProxyError } from "../errors.ts";
import type { BufferRing } from "./buffer-ring.ts";
import { EAGAIN, EBADF, EINTR, errnoName } from "./errno.ts";
import { close, errno, mmap, munmap } from "./libc.ts";
import { find, viewOf } from "./library.ts";
import { allocate, free, intsOf, type Memory } from "./memory.ts";

// Both numbers are the same on x64 and arm64.
const SYS_IO_URING_SETUP = 425;
const SYS_IO_URING_ENTER = 426;
const SYS_IO_URING_REGISTER = 427;

// linux/io_uring.h
const IORING_SETUP_CLAMP = 1 << 4;
const IORING_SETUP_SUBMIT_ALL = 1 << 7;
const IORING_SETUP_COOP_TASKRUN = 1 << 8;
const IORING_SETUP_SINGLE_ISSUER = 1 << 12;
// What is done for a call that waited is done inside of `enter` and nowhere else: nothing of the ring changes meanwhile.
const IORING_SETUP_DEFER_TASKRUN = 1 << 13;
const SETUP = IORING_SETUP_CLAMP | IORING_SETUP_SUBMIT_ALL | IORING_SETUP_SINGLE_ISSUER;
const IORING_FEAT_SINGLE_MMAP = 1;
const IORING_FEAT_NO_IOWAIT = 1 << 17;
const IORING_ENTER_GETEVENTS = 1;
const IORING_ENTER_NO_IOWAIT = 1 << 7;
const IORING_REGISTER_PBUF_RING = 22;
// So often may the kernel have no memory for a call, one after the other.
const ATTEMPTS = 1000;
const IORING_OFF_SQ_RING = 0;
const IORING_OFF_SQES = 0x10000000;
const IORING_REGISTER_PROBE = 8;
const IO_URING_OP_SUPPORTED = 1;
const SQE_INTS = 16;
const CQE_INTS = 4;
// struct io_uring_params: where sq_off and cq_off begin, in Int32.
const PARAMS = { entries: 0, completions: 1, flags: 2, features: 5, submission: 10, completion: 20 };
const OFFSETS = { head: 0, tail: 1, mask: 2, array: 6, cqes: 5 };
// struct io_uring_probe, in the same page: 16 bytes, then 8 for each operation.
const PROBE = { at: 2048, head: 16, each: 8, operations: 64 };

// Room for both structures that the kernel fills in before there is a ring.
const PAGE = 4096;

// sys/mman.h
const PROT_READ_WRITE = 3;
const MAP_SHARED_POPULATE = 0x8001;

/** With IORING_ACCEPT_DONTWAIT (Linux 6.10) in the field `ioprio`. */
export const IORING_OP_ACCEPT_DONTWAIT = 13 | (2 << 16);
export const IORING_OP_POLL_ADD = 6;
/** Of the call whose user_data is `address`. */
export const IORING_OP_ASYNC_CANCEL = 14;
export const IORING_OP_CONNECT = 16;
export const IORING_OP_CLOSE = 19;
export const IORING_OP_SEND = 26;
export const IORING_OP_RECV = 27;
/** With IORING_RECV_MULTISHOT (Linux 6.0) in `ioprio` and IOSQE_BUFFER_SELECT: into buffers of a `BufferRing`, until it ends. */
export const IORING_OP_RECV_MULTISHOT = 27 | (1 << 13) | (2 << 16);
export const IORING_OP_EPOLL_CTL = 29;
export const IORING_OP_SOCKET = 45;
/** To be added to a call: its result is told only if it failed, or if a send(2) with MSG_WAITALL was cut short. */
export const IOSQE_CQE_SKIP_SUCCESS = 1 << 14;
/** In `flags` of a completion: the call goes on. */
export const IORING_CQE_F_MORE = 2;
/** `flags` of a completion say in their upper half which buffer was used. */
export const IORING_CQE_BUFFER_SHIFT = 16;
const NEEDED = [
  IORING_OP_POLL_ADD,
  IORING_OP_ASYNC_CANCEL,
  IORING_OP_CONNECT,
  IORING_OP_CLOSE,
  IORING_OP_SEND,
  IORING_OP_RECV,
  IORING_OP_EPOLL_CTL,
  IORING_OP_SOCKET,
];

const W = "intptr_t";
const syscall = find("syscall", W, [W, W, W, W, W, W, W]);

export class IoUring {
  /** How many calls go out together at most. */
  readonly room: number;
  /** What each call of the last `submit` gave, by its number: as its man page says, or -errno. */
  readonly results: Int32Array;
  readonly #descriptor: number;
  readonly #entries: Int32Array;
  readonly #ring: Int32Array;
  readonly #mappings: readonly Mapping[];
  readonly #at: {
    tail: number;
    array: number;
    mask: number;
    head: number;
    done: number;
    cqes: number;
    doneMask: number;
  };
  #count = 0;
  readonly #flags: number;
  /** Of the completion that was taken last. */
  data = 0;
  result = 0;
  flags = 0;

  /** `params`: the struct io_uring_params of this ring. */
  private constructor(descriptor: number, params: Int32Array, ring: Mapping, entries: Mapping) {
    this.#descriptor = descriptor;
    this.#mappings = [ring, entries];
    this.room = params[PARAMS.entries]!;
    this.results = new Int32Array(this.room);
    this.#entries = intsOf(viewOf(entries.address, entries.length));
    this.#ring = intsOf(viewOf(ring.address, ring.length));
    const submission = (field: number) => params[PARAMS.submission + field]! >> 2;
    const completion = (field: number) => params[PARAMS.completion + field]! >> 2;
    this.#at = {
      tail: submission(OFFSETS.tail),
      array: submission(OFFSETS.array),
      mask: this.#ring[submission(OFFSETS.mask)]!,
      head: completion(OFFSETS.head),
      done: completion(OFFSETS.tail),
      cqes: completion(OFFSETS.cqes),
      doneMask: this.#ring[completion(OFFSETS.mask)]!,
    };
    // Whoever waits for messages does not wait for a disk.
    const sparesIowait = (params[PARAMS.features]! & IORING_FEAT_NO_IOWAIT) !== 0;
    this.#flags = IORING_ENTER_GETEVENTS | (sparesIowait ? IORING_ENTER_NO_IOWAIT : 0);
    // user_data, which comes back with the result.
    for (let index = 0; index < this.room; index++) this.#entries[index * SQE_INTS + 8] = index;
  }

  /**
   * A ring for `room` calls (a power of two) of this thread; null where the kernel has none for us (before 6.0, seccomp,
   * kernel.io_uring_disabled) or lacks a call. `waiting`: for `enter`, from Linux 6.1 on.
   */
  static open(room: number, waiting = false): IoUring | null {
    if (syscall === null) return null;
    const page = allocate(PAGE);
    const opened = IoUring.#open(page, room, waiting);
    free(page.address, PAGE);
    return opened;
  }

  static #open(page: Memory, room: number, waiting: boolean): IoUring | null {
    const params = intsOf(page.bytes);
    params[PARAMS.flags] = SETUP | (waiting ? IORING_SETUP_DEFER_TASKRUN : IORING_SETUP_COOP_TASKRUN);
    const descriptor = syscall!(SYS_IO_URING_SETUP, room, page.address, 0, 0, 0, 0);
    if (descriptor < 0) return null;
    const array = params[PARAMS.submission + OFFSETS.array]! + params[PARAMS.entries]! * 4;
    const cqes = params[PARAMS.completion + OFFSETS.cqes]! + params[PARAMS.completions]! * CQE_INTS * 4;
    const ring = map(descriptor, IORING_OFF_SQ_RING, Math.max(array, cqes));
    const entries = map(descriptor, IORING_OFF_SQES, params[PARAMS.entries]! * SQE_INTS * 4);
    const single = (params[PARAMS.features]! & IORING_FEAT_SINGLE_MMAP) !== 0;
    if (single && ring.address > 0 && entries.address > 0 && hasAll(descriptor, page)) {
      return new IoUring(descriptor, params, ring, entries);
    }
    release(descriptor, [ring, entries]);
    return null;
  }

  /** Whether the kernel knows this call with its flags: of no descriptor, so that nothing is done. */
  knows(operation: number): boolean {
    this.put(operation, -1, 0, 0, 0, 0);
    return this.submit() === 1 && this.results[0] === -EBADF;
  }

  /** Adds a call: `second` is the field `off`, `flags` the flags of the call. Its result has the number that it had in the order. */
  put(
    operation: number,
    descriptor: number,
    address: number,
    length: number,
    second: number,
    flags: number,
  ): void {
    const entries = this.#entries;
    const at = this.#count++ * SQE_INTS;
    entries[at] = operation;
    entries[at + 1] = descriptor;
    entries[at + 2] = second;
    entries[at + 3] = second < 0x80000000 ? 0 : Math.floor(second / 0x100000000);
    entries[at + 4] = address;
    entries[at + 5] = address < 0x80000000 ? 0 : Math.floor(address / 0x100000000);
    entries[at + 6] = length;
    entries[at + 7] = flags;
  }

  /**
   * Carries out the calls; `results` has theirs. How many were taken: fewer than there were when the kernel had no memory for
   * more, and the rest was not begun.
   */
  submit(): number {
    const count = this.#publish();
    let taken = 0;
    let done = 0;
    while (done < count) {
      const entered = syscall!(
        SYS_IO_URING_ENTER,
        this.#descriptor,
        count - taken,
        count - done,
        IORING_ENTER_GETEVENTS,
        0,
        0,
      );
      const interrupted = entered < 0 && errno() === EINTR;
      if (entered > 0) taken += entered;
      const before = done;
      for (; this.take(); done++) this.results[this.data] = this.result;
      if (entered > 0 || done > before || interrupted || done < taken) continue;
      this.#ring[this.#at.tail]! -= count - taken;
      return taken;
    }
    return count;
  }

  /** So many calls can be added before the next `enter`. */
  get left(): number {
    return this.room - this.#count;
  }

  /** The user_data of the call that was added last, in place of its number, and the buffers that it chooses from. */
  tag(data: number, buffers: number): void {
    const at = (this.#count - 1) * SQE_INTS;
    this.#entries[at + 8] = data;
    this.#entries[at + 10] = buffers;
  }

  /**
   * Begins the calls that were added; then waits until so many completions are there, or a signal comes. Throws INTERNAL when the
   * kernel takes no calls.
   */
  enter(minimum: number): void {
    let left = this.#publish();
    for (let attempt = 0; ; attempt++) {
      const entered = syscall!(SYS_IO_URING_ENTER, this.#descriptor, left, minimum, this.#flags, 0, 0);
      if (entered >= left) return;
      if (entered > 0) {
        left -= entered;
        continue;
      }
      const reason = errno();
      if (left === 0 && reason === EINTR) return;
      if ((reason !== EINTR && reason !== EAGAIN) || attempt === ATTEMPTS)
        throw new ProxyError("INTERNAL", `io_uring_enter(): ${errnoName(reason)}`);
    }
  }

  /** Shows the kernel the calls that were added. How many. */
  #publish(): number {
    const { tail, array, mask } = this.#at;
    const ring = this.#ring;
    const count = this.#count;
    this.#count = 0;
    const first = ring[tail]!;
    for (let index = 0; index < count; index++) ring[array + ((first + index) & mask)] = index;
    ring[tail] = (first + count) | 0;
    return count;
  }

  /** Takes the next completion, if there is one, into `data`, `result` and `flags`. */
  take(): boolean {
    const { head, done, cqes, doneMask } = this.#at;
    const ring = this.#ring;
    const at = ring[head]!;
    if (at === ring[done]) return false;
    const cqe = cqes + (at & doneMask) * CQE_INTS;
    this.data = ring[cqe]!;
    this.result = ring[cqe + 2]!;
    this.flags = ring[cqe + 3]!;
    ring[head] = (at + 1) | 0;
    return true;
  }

  /** Gives the calls of this ring buffers to choose from under `group`. False: this kernel does not. */
  register(buffers: BufferRing, group: number): boolean {
    const page = allocate(PAGE);
    const ints = intsOf(page.bytes);
    ints[0] = buffers.address;
    ints[1] = Math.floor(buffers.address / 0x100000000);
    ints[2] = buffers.count;
    ints[3] = group;
    const result = syscall!(
      SYS_IO_URING_REGISTER,
      this.#descriptor,
      IORING_REGISTER_PBUF_RING,
      page.address,
      1,
      0,
      0,
    );
    free(page.address, PAGE);
    return result === 0;
  }

  /** Gives everything back. Nothing of it may be used afterwards. */
  close(): void {
    release(this.#descriptor, this.#mappings);
  }
}

/** Memory of the kernel's; its address is -errno where it could not be had. */
interface Mapping {
  readonly address: number;
  readonly length: number;
}

function map(descriptor: number, what: number, length: number): Mapping {
  return { address: mmap(0, length, PROT_READ_WRITE, MAP_SHARED_POPULATE, descriptor, what), length };
}

function release(descriptor: number, mappings: readonly Mapping[]): void {
  for (const { address, length } of mappings) if (address > 0) munmap(address, length);
  close(descriptor);
}

function hasAll(descriptor: number, page: Memory): boolean {
  const { address, bytes } = page;
  const result = syscall!(
    SYS_IO_URING_REGISTER,
    descriptor,
    IORING_REGISTER_PROBE,
    address + PROBE.at,
    PROBE.operations,
    0,
    0,
  );
  const flagsOf = (operation: number) =>
    bytes.readUInt16LE(PROBE.at + PROBE.head + operation * PROBE.each + 2);
  return result === 0 && NEEDED.every((operation) => (flagsOf(operation) & IO_URING_OP_SUPPORTED) !== 0);
}
