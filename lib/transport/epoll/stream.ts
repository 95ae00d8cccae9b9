/**
 * One side of a connection on a raw descriptor. What it is doing is its `phase` (phase.ts). `readable` stays true until the
 * kernel (or the channel) said that nothing more is there; `blocked` is true from a write that was not taken whole until the
 * next edge. Bytes that wait to be written lie in one chunk, which exists only while they wait.
 * The stream owns its descriptor, its channel and its chunks, and `close` is the only place that releases them.
 */
import { asProxyError, ProxyError } from "../../errors.ts";
import { EAGAIN, ECONNRESET, EINTR, errnoName } from "../../ffi/errno.ts";
import {
  EPOLLERR,
  EPOLLET,
  EPOLLHUP,
  EPOLLIN,
  EPOLLOUT,
  EPOLLPRI,
  EPOLLRDHUP,
  MSG_NOSIGNAL,
  SHUT_RDWR,
  SHUT_WR,
} from "../../ffi/layout.ts";
import { recv, send, shutdown } from "../../ffi/libc.ts";
import type { Task, Timer } from "../../timing/wheel.ts";
import type { SocketAddress } from "../../wire/address.ts";
import type {
  Dialler,
  Look,
  SecureOptions,
  Stream,
  StreamOwner,
  TlsContext,
  TlsFacts,
} from "../transport.ts";
import { PEEK, RECV, SEND, SOCKET } from "./batch.ts";
import { type TlsChannel, WOULD_BLOCK } from "./channel.ts";
import { begin, connected, type Dialling, dialFailed } from "./connect.ts";
import type { Gear } from "./gear.ts";
import { linger } from "./linger.ts";
import type { FreshSource } from "./loop.ts";
import { type Chunk, SCRATCH } from "./memory.ts";
import type { Receiver } from "./multishot.ts";
import { CLOSED, CONNECTING, IDLE, LINGERING, RELAYING, SECURING, SNIFFING } from "./phase.ts";
import type { Pipe } from "./pipes.ts";
import { gather, writeRecords } from "./records.ts";
import type { Relay } from "./relay.ts";
import { handshake, type Securing } from "./secure.ts";
import { peeked, type Sniff, sniff } from "./sniff.ts";

/** What a socket that stands is watched for at first; room to write is watched for once a write was not taken whole. */
const WATCH_INPUT = EPOLLIN | EPOLLPRI | EPOLLRDHUP | EPOLLET;

// The kernel wakes a reader for both at once, whichever it is: only without both does it let us sleep.
const INPUT = EPOLLIN | EPOLLPRI;
const ENDING = EPOLLRDHUP | EPOLLHUP | EPOLLERR;

// Nagle's algorithm, as Linux has it (tcp_nagle_check: Minshall's), holds back a small segment only while another small one is
// unacknowledged. So all of the first write of a dialled socket leaves at once, and a short connection never sets the option.
// Every segment that arrives is an edge, read or not. Two calls of epoll_ctl(2) are worth less than four wake-ups.
const VAIN_LIMIT = 4;
const DELAY_OFF = 0;
const DELAY_ONCE = 1;
const DELAY_FRESH = 2;

export class EpollStream implements Stream, FreshSource, Receiver, Task {
  /** -1 until the socket of a stream that is dialled is made. */
  descriptor: number;
  generation = 0;
  waiting = false;
  watched = false;
  interest: number;
  readonly gear: Gear;
  readonly remote: SocketAddress;
  tls: TlsFacts | null = null;
  owner: StreamOwner | null = null;

  phase = IDLE;
  /** Something may be there to read. A client may have spoken before it was accepted. */
  readable: boolean;
  /** The end of the input is known to come (FIN, reset): a short read does not mean that all was read. */
  ending = false;
  /** The kernel has said that the socket failed. Behind a FIN no read tells of it. */
  errored = false;
  /** Urgent data has come (tcp(7)): a read stops before it, so a short one does not mean that all was read. */
  urgent = false;
  blocked = false;
  inputEnded = false;
  outputEnded = false;
  /** -errno, or TRUNCATED or FAILED of the channel: nothing can be written any more. */
  failure = 0;
  channel: TlsChannel | null = null;
  /** Plaintext that was decrypted for a peek and not skipped: only on TLS. */
  held: Chunk | null = null;
  /** What waits to be written to this stream. */
  out: Chunk | null = null;

  // The steps before the relay: see connect.ts, sniff.ts, secure.ts.
  dialler: Dialler | null = null;
  dialling: Dialling | null = null;
  /** Dialled without the acknowledgement that our first bytes will carry. */
  quiet = false;
  sniffing: Sniff | null = null;
  securing: Securing | null = null;

  // The relay's marks on the direction that begins here; see relay.ts and bulk.ts.
  relay: Relay | null = null;
  peer: EpollStream | null = null;
  bulk = false;
  /** A read that is made together with others, or the write of what it gave. */
  underway = false;
  /** Where it stands in multishot.ts; -1: nowhere. */
  standing = -1;
  /** What came from the other side is to be sent there. */
  sending = false;
  /** Turns in a row that moved one short message. */
  messages = 0;
  /** Lately more at a time than a read that is made together with others takes. */
  large = false;
  fullReads = 0;
  shortSplices = 0;
  pipe: Pipe | null = null;
  piped = 0;

  /** Bytes that were thrown away, and the deadline, while it lingers. */
  drained = 0;
  lingering: Timer | null = null;

  /** Edges since the input was last read to its end that could not be used. */
  #vain = 0;
  #delay: number;
  #local: SocketAddress | null;
  /** What the next read gives: the end or the failure that a read met after it had bytes already. 1: nothing such. */
  #verdict = 1;

  constructor(
    gear: Gear,
    descriptor: number,
    remote: SocketAddress,
    local: SocketAddress | null,
    dialled: boolean,
  ) {
    this.gear = gear;
    this.descriptor = descriptor;
    this.remote = remote;
    this.#local = local;
    this.interest = dialled ? WATCH_INPUT | EPOLLOUT : WATCH_INPUT;
    this.readable = !dialled;
    this.#delay = dialled && remote.kind === "ip" ? DELAY_FRESH : DELAY_OFF;
  }

  get local(): SocketAddress {
    this.#local ??= this.gear.sockets.localAddress(this.descriptor);
    return this.#local;
  }

  get stuck(): boolean {
    return this.out !== null || (this.peer?.piped ?? 0) > 0 || this.channel?.unsent() === true;
  }

  // ── what the kernel and the loop say ───────────────────────────────────────────────────────────────────────────────

  onEvents(mask: number): void {
    if ((mask & (EPOLLIN | EPOLLPRI | ENDING)) !== 0) this.readable = true;
    if ((mask & EPOLLPRI) !== 0) {
      this.urgent = true;
      this.bulk = false; // splice(2) stops before urgent data for good
    }
    if ((mask & ENDING) !== 0) this.ending = true;
    if ((mask & EPOLLERR) !== 0) this.errored = true;
    const drained = this.blocked && (mask & (EPOLLOUT | EPOLLERR | EPOLLHUP)) !== 0;
    if (drained) this.blocked = false;
    switch (this.phase) {
      case RELAYING:
        this.relay!.edge(this, mask, drained);
        return;
      case CONNECTING:
        connected(this, mask);
        return;
      case LINGERING:
        linger(this);
        return;
      case SNIFFING:
      case IDLE:
        if ((mask & EPOLLERR) !== 0) this.#failed();
        else this.onReady();
        return;
      default:
        this.onReady();
    }
  }

  onReady(): void {
    switch (this.phase) {
      case RELAYING:
        this.relay!.serve(this);
        return;
      case SNIFFING:
        sniff(this);
        return;
      case SECURING:
        handshake(this);
        return;
      case CONNECTING:
        connected(this, EPOLLOUT);
        return;
      case LINGERING:
        linger(this);
        return;
    }
  }

  called(call: number, result: number, address: number, length: number): void {
    switch (call) {
      case RECV:
        this.relay?.received(this, address, result);
        return;
      case SEND:
        this.relay?.sent(this, address, length, result);
        return;
      case PEEK:
        peeked(this, result, address);
        return;
      case SOCKET:
        begin(this, result);
        return;
      default:
        this.#watching(result);
    }
  }

  arrived(id: number, address: number, length: number): void {
    this.relay?.arrived(this, id, address, length);
  }

  unsent(address: number, length: number, result: number): void {
    this.relay?.unsent(this, address, length, result);
  }

  left(result: number): void {
    this.readable = true;
    this.relay?.received(this, 0, result);
  }

  #watching(failure: number): void {
    this.watched = failure === 0;
    if (this.watched || this.phase === CLOSED) return;
    switch (this.phase) {
      case CONNECTING:
        dialFailed(this, this.gear.dialError(this.remote, failure));
        return;
      case LINGERING:
        // Its timer closes it; a reset now could destroy the alert on its way.
        return;
      default:
        if (this.relay !== null || this.owner !== null) {
          this.onFault(new ProxyError("INTERNAL", `epoll_ctl(): ${errnoName(failure)}`));
          return;
        }
        // Who will own it has not begun yet, and meets an end.
        this.ending = true;
        shutdown(this.descriptor, SHUT_RDWR);
    }
  }

  /** A fault of ours while this stream was served: it ends this connection only. */
  onFault(thrown: unknown): void {
    const error = asProxyError(thrown);
    const { relay, owner } = this;
    if (relay !== null) relay.fault(error);
    else if (owner !== null && this.phase !== LINGERING) owner.failed(this, error);
    else this.#reset();
    this.gear.onFault(thrown);
  }

  // ── the port ───────────────────────────────────────────────────────────────────────────────────────────────────────

  peek(limit: number, look: Look): void {
    this.sniffing = { limit: Math.min(limit, SCRATCH), look, need: 0, lowered: false };
    this.phase = SNIFFING;
    if (this.readable || this.held !== null || this.inputEnded) this.gear.loop.step(this);
  }

  skip(count: number): void {
    if (this.channel !== null) {
      if (this.held !== null) this.held.start += count;
      return;
    }
    for (let left = count; left > 0; ) {
      const read = recv(this.descriptor, this.gear.memory.scratch, Math.min(left, SCRATCH), 0);
      // What was peeked is there; anything else is a failure that the next step meets, too.
      if (read <= 0) return;
      left -= read;
    }
  }

  secure(context: TlsContext, options: SecureOptions, done: (error: ProxyError | null) => void): void {
    this.hurry();
    this.securing = { context, options, done };
    this.phase = SECURING;
    this.gear.loop.step(this);
  }

  send(bytes: Uint8Array): void {
    const { memory } = this.gear;
    memory.scratchBytes.set(bytes);
    this.queue(memory.scratch, bytes.length);
  }

  finish(): void {
    if (this.phase >= LINGERING) return;
    if (this.phase === CONNECTING) {
      this.close();
      return;
    }
    this.#detach();
    this.phase = LINGERING;
    linger(this);
  }

  reset(): void {
    if (this.phase === CLOSED) return;
    this.#detach();
    this.#reset();
  }

  // ── bytes ──────────────────────────────────────────────────────────────────────────────────────────────────────────

  /** > 0: bytes, gathered over many records on TLS; 0: the end; WOULD_BLOCK: `readable` is false now; else a failure. */
  read(address: number, length: number): number {
    if (this.#verdict !== 1) {
      const verdict = this.#verdict;
      this.#verdict = 1;
      return verdict;
    }
    if (this.channel !== null) return gather(this, this.channel, address, length);
    const count = this.took(recv(this.descriptor, address, length, 0), length);
    return count === -EINTR ? this.read(address, length) : count;
  }

  /** Whether a plain recv(2) is all that the next read is. */
  get plainRead(): boolean {
    return this.channel === null && this.#verdict === 1;
  }

  /** What a recv(2) of `length` bytes gave, as `read` gives it. */
  took(count: number, length: number): number {
    if (count > 0) {
      if (count < length && !this.ending && !this.urgent) this.readable = false;
      return count;
    }
    if (count === 0) return this.failure;
    if (count === -EAGAIN) this.readable = false;
    return count;
  }

  /** Has the next read give this end or failure again, because a socket tells its error once; or WOULD_BLOCK, for a pause. */
  putBack(verdict: number): void {
    this.#verdict = verdict;
    this.readable = true;
    this.bulk = false; // splice(2) would go round it
  }

  /** How many bytes were taken; fewer than `length`: `blocked` is true now. Negative: a failure, nothing more can be written. */
  write(address: number, length: number): number {
    if (this.channel !== null) return writeRecords(this, this.channel, address, length);
    this.#first();
    const count = send(this.descriptor, address, length, MSG_NOSIGNAL);
    return count === -EINTR ? this.write(address, length) : this.gave(count, length);
  }

  /** As `write`, on a plain stream; the relay hears of it. */
  writeTogether(address: number, length: number): void {
    this.#first();
    this.gear.loop.batch.send(this, address, length);
  }

  /** What a send(2) of `length` bytes gave, as `write` gives it. */
  gave(count: number, length: number): number {
    if (this.quiet) this.acknowledge();
    if (count === length) return count;
    if (count >= 0 || count === -EAGAIN || count === -EINTR) {
      this.block();
      return Math.max(count, 0);
    }
    return count;
  }

  #first(): void {
    if (this.#delay === DELAY_FRESH) this.#delay = DELAY_ONCE;
    else if (this.#delay === DELAY_ONCE) this.hurry();
  }

  /** Half-close. 0: done; WOULD_BLOCK: `blocked` is true now; else a failure. */
  end(): number {
    const result = this.channel === null ? shutdown(this.descriptor, SHUT_WR) : this.channel.end();
    if (result === 0) this.outputEnded = true;
    else if (result === WOULD_BLOCK) this.block();
    return result;
  }

  /** Half-closed by the close that follows. 0. */
  ended(): number {
    this.outputEnded = true;
    return 0;
  }

  /** It stands before it is watched: nobody waits for room to write. */
  stood(): void {
    this.interest = WATCH_INPUT;
    this.gear.loop.step(this);
  }

  /** Waits for room: an edge will come, because the write that was cut short has told the kernel (SOCK_NOSPACE). */
  block(): void {
    this.blocked = true;
    if ((this.interest & EPOLLOUT) === 0) this.#rewatch(this.interest | EPOLLOUT);
  }

  /** Input came that cannot be passed on. A few times is no matter; then it is not reported any more. */
  inVain(): void {
    if (++this.#vain === VAIN_LIMIT) this.unwatchInput();
  }

  /** Somebody else reads. */
  unwatchInput(): void {
    this.#rewatch(this.interest & ~INPUT);
  }

  watchInput(): void {
    this.#rewatch(this.interest | INPUT);
  }

  /** Input can be passed on, and all that was there has been read: it is reported again. */
  listen(): void {
    if (this.#vain >= VAIN_LIMIT) this.watchInput();
    this.#vain = 0;
  }

  #rewatch(mask: number): void {
    this.interest = mask;
    this.gear.loop.modify(this);
  }

  /** Appends to what waits to be written. */
  queue(address: number, length: number): void {
    this.out ??= this.gear.memory.takeChunk();
    this.out.append(address, length);
  }

  /** Writes what waits. True: nothing waits any more. False: `blocked`, or `failure` is set. */
  flush(): boolean {
    const { out } = this;
    if (out === null) return true;
    const count = this.write(out.address + out.start, out.end - out.start);
    if (count < 0) {
      this.failure = count;
      return false;
    }
    out.start += count;
    if (out.start < out.end) return false;
    this.dropOut();
    return true;
  }

  dropOut(): void {
    if (this.out !== null) this.gear.memory.giveChunk(this.out);
    this.out = null;
  }

  dropHeld(): void {
    if (this.held !== null) this.gear.memory.giveChunk(this.held);
    this.held = null;
  }

  /** Nagle off, once. */
  hurry(): void {
    if (this.#delay === DELAY_OFF) return;
    this.#delay = DELAY_OFF;
    this.gear.sockets.noDelay(this.descriptor);
  }

  /** Our first bytes are on their way: from now on what comes is acknowledged as ever. */
  acknowledge(): void {
    this.quiet = false;
    this.gear.sockets.quickAck(this.descriptor, true);
  }

  // ── the end ────────────────────────────────────────────────────────────────────────────────────────────────────────

  #failed(): void {
    // Nobody listens yet: the error stays with the socket, and the relay meets it.
    if (this.owner === null) return;
    const errno = this.gear.sockets.error(this.descriptor);
    this.fail(-(errno === 0 ? ECONNRESET : errno));
  }

  /** The socket failed outside of a relay. */
  fail(failure: number): void {
    this.failure = failure;
    this.phase = IDLE;
    this.sniffing = null;
    const { owner } = this;
    this.owner = null;
    const error =
      this.channel?.failure() ?? new ProxyError("RESET", `the connection was reset: ${errnoName(failure)}`);
    owner?.failed(this, error);
  }

  #detach(): void {
    this.relay?.abandon();
    this.owner = null;
    this.sniffing = null;
    this.securing = null;
    this.dialler = null;
  }

  #reset(): void {
    // A socket that failed or has seen both ends is closed already as far as TCP goes; UNIX sockets know no resets.
    const over = this.failure !== 0 || (this.inputEnded && this.outputEnded);
    this.#release(!over && this.remote.kind === "ip");
  }

  /** The worker ends. What an orderly end has said already, an alert too, is still delivered. */
  abort(): void {
    if (this.phase === LINGERING) this.close();
    else this.reset();
  }

  /** It has lingered for long enough. */
  expired(): void {
    this.close();
  }

  /** Releases everything. What the kernel still has to send is sent. */
  close(): void {
    this.#release(false);
  }

  #release(resets: boolean): void {
    if (this.phase === CLOSED) return;
    this.phase = CLOSED;
    if (this.lingering !== null) {
      this.lingering.stop();
      this.gear.lingering -= 1;
    }
    this.dropOut();
    this.dropHeld();
    this.channel?.release();
    this.channel = null;
    if (this.descriptor < 0) return;
    const { loop } = this.gear;
    loop.forget(this);
    if (resets) loop.batch.reset(this.descriptor);
    else loop.batch.close(this.descriptor);
  }
}
