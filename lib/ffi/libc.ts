/**
 * The system calls of the epoll transport as functions over numbers. Descriptors, lengths and flags are integers, memory is
 * an absolute address (memory.ts). Each returns what the man page says, or -errno (errno.ts) on failure.
 * Nobody here owns anything: a descriptor belongs to whoever asked for it and is closed by them.
 */
import { ProxyError } from "../errors.ts";
import { F_GETFL, F_SETFL, layout, O_NONBLOCK } from "./layout.ts";
import { bind, libraryFault, viewOf } from "./library.ts";

const errnoLocation = bind("__errno_location", "intptr_t", []);
// errno is one int per thread and stays where it is; reading it in place takes 3 ns, koffi.errno() takes 14.
const lastError = libraryFault() === null ? int32At(errnoLocation()) : new Int32Array(1);

function int32At(address: number): Int32Array {
  const view = viewOf(address, 4);
  return new Int32Array(view.buffer, view.byteOffset, 1);
}

const I = "int";
const P = "intptr_t";
const N = "size_t";

const rawMmap = bind("mmap", P, [P, N, I, I, I, P]);
const rawMunmap = bind("munmap", I, [P, N]);
const rawSocket = bind("socket", I, [I, I, I]);
const rawBind = bind("bind", I, [I, P, I]);
const rawListen = bind("listen", I, [I, I]);
const rawAccept4 = bind("accept4", I, [I, P, P, I]);
const rawConnect = bind("connect", I, [I, P, I]);
const rawRecv = bind("recv", I, [I, P, I, I]);
const rawSend = bind("send", I, [I, P, I, I]);
const rawShutdown = bind("shutdown", I, [I, I]);
const rawClose = bind("close", I, [I]);
const rawSetsockopt = bind("setsockopt", I, [I, I, I, P, I]);
const rawGetsockopt = bind("getsockopt", I, [I, I, I, P, P]);
const rawGetsockname = bind("getsockname", I, [I, P, P]);
const rawEpollCreate1 = bind("epoll_create1", I, [I]);
const rawEpollCtl = bind("epoll_ctl", I, [I, I, I, P]);
const rawEpollWait = bind("epoll_wait", I, [I, P, I, I]);
const rawEventfd = bind("eventfd", I, [I, I]);
const rawTimerfdCreate = bind("timerfd_create", I, [I, I]);
const rawTimerfdSettime = bind("timerfd_settime", I, [I, I, P, P]);
const rawRead = bind("read", I, [I, P, I]);
const rawWrite = bind("write", I, [I, P, I]);
const rawPipe2 = bind("pipe2", I, [P, I]);
const rawSplice = bind("splice", I, [I, I, I, I, I, I]);
const rawFcntl = bind("fcntl", I, [I, I, I]);
const rawIfNametoindex = bind("if_nametoindex", I, [P]);

/** errno of the call before, for calls that are not of this file. */
export function errno(): number {
  return lastError[0]!;
}

/** mmap(2). ENOMEM. */
export function mmap(
  at: number,
  length: number,
  prot: number,
  flags: number,
  fd: number,
  offset: number,
): number {
  const address = rawMmap(at, length, prot, flags, fd, offset);
  return address === -1 ? -lastError[0]! : address;
}

/** munmap(2). */
export function munmap(address: number, length: number): number {
  return rawMunmap(address, length) < 0 ? -lastError[0]! : 0;
}

/** socket(2). EMFILE, ENFILE, EAFNOSUPPORT, ENOBUFS. The caller closes it. */
export function socket(family: number, type: number, protocol: number): number {
  const fd = rawSocket(family, type, protocol);
  return fd < 0 ? -lastError[0]! : fd;
}

/** bind(2). EADDRINUSE, EADDRNOTAVAIL, EACCES; UNIX: ENOENT, ENOTDIR, EROFS. */
export function bindTo(fd: number, address: number, length: number): number {
  return rawBind(fd, address, length) < 0 ? -lastError[0]! : 0;
}

/** listen(2). EADDRINUSE. */
export function listen(fd: number, backlog: number): number {
  return rawListen(fd, backlog) < 0 ? -lastError[0]! : 0;
}

/** accept4(2). EAGAIN, ECONNABORTED, EMFILE, ENFILE, ENOBUFS, EPERM, and errors of the new socket. The caller closes it. */
export function accept4(fd: number, address: number, lengthAddress: number, flags: number): number {
  const accepted = rawAccept4(fd, address, lengthAddress, flags);
  return accepted < 0 ? -lastError[0]! : accepted;
}

/** connect(2). EINPROGRESS while it goes on; UNIX: 0 at once, EAGAIN when the backlog is full; EADDRNOTAVAIL: no free port. */
export function connect(fd: number, address: number, length: number): number {
  return rawConnect(fd, address, length) < 0 ? -lastError[0]! : 0;
}

/** recv(2). 0: end of input. EAGAIN, ECONNRESET, ETIMEDOUT. */
export function recv(fd: number, address: number, length: number, flags: number): number {
  const count = rawRecv(fd, address, length, flags);
  return count < 0 ? -lastError[0]! : count;
}

/** send(2). EAGAIN, EPIPE, ECONNRESET. Flags without MSG_NOSIGNAL rely on Node, which ignores SIGPIPE. */
export function send(fd: number, address: number, length: number, flags: number): number {
  const count = rawSend(fd, address, length, flags);
  return count < 0 ? -lastError[0]! : count;
}

/** shutdown(2). ENOTCONN once the peer has reset. */
export function shutdown(fd: number, how: number): number {
  return rawShutdown(fd, how) < 0 ? -lastError[0]! : 0;
}

/** close(2). Releases the descriptor even when it fails; never call it twice. */
export function close(fd: number): number {
  return rawClose(fd) < 0 ? -lastError[0]! : 0;
}

/** setsockopt(2). EINVAL, ENOPROTOOPT. */
export function setsockopt(
  fd: number,
  level: number,
  option: number,
  address: number,
  length: number,
): number {
  return rawSetsockopt(fd, level, option, address, length) < 0 ? -lastError[0]! : 0;
}

/** getsockopt(2). `lengthAddress` holds an int, the room on the way in and the length on the way out. */
export function getsockopt(
  fd: number,
  level: number,
  option: number,
  address: number,
  lengthAddress: number,
): number {
  return rawGetsockopt(fd, level, option, address, lengthAddress) < 0 ? -lastError[0]! : 0;
}

/** getsockname(2). */
export function getsockname(fd: number, address: number, lengthAddress: number): number {
  return rawGetsockname(fd, address, lengthAddress) < 0 ? -lastError[0]! : 0;
}

/** epoll_create(2). EMFILE, ENFILE. The caller closes it. */
export function epollCreate(flags: number): number {
  const fd = rawEpollCreate1(flags);
  return fd < 0 ? -lastError[0]! : fd;
}

/** epoll_ctl(2). EEXIST, ENOENT, ENOMEM, ENOSPC (/proc/sys/fs/epoll/max_user_watches); EINVAL: MOD with EPOLLEXCLUSIVE. */
export function epollCtl(epoll: number, operation: number, fd: number, event: number): number {
  return rawEpollCtl(epoll, operation, fd, event) < 0 ? -lastError[0]! : 0;
}

/** epoll_wait(2). Blocks this thread for up to `timeout` ms, -1: for ever. EINTR. */
export function epollWait(epoll: number, events: number, room: number, timeout: number): number {
  const count = rawEpollWait(epoll, events, room, timeout);
  return count < 0 ? -lastError[0]! : count;
}

/** eventfd(2). EMFILE, ENFILE. The caller closes it. */
export function eventfd(initial: number, flags: number): number {
  const fd = rawEventfd(initial, flags);
  return fd < 0 ? -lastError[0]! : fd;
}

/** timerfd_create(2). EMFILE, ENFILE, ENODEV. The caller closes it. */
export function timerfdCreate(clock: number, flags: number): number {
  const fd = rawTimerfdCreate(clock, flags);
  return fd < 0 ? -lastError[0]! : fd;
}

/** timerfd_settime(2) of a time from now on: a struct itimerspec, four int64. EINVAL. */
export function timerfdSettime(fd: number, timer: number): number {
  return rawTimerfdSettime(fd, 0, timer, 0) < 0 ? -lastError[0]! : 0;
}

/** read(2). EAGAIN. */
export function read(fd: number, address: number, length: number): number {
  const count = rawRead(fd, address, length);
  return count < 0 ? -lastError[0]! : count;
}

/** write(2). EAGAIN, EPIPE. */
export function write(fd: number, address: number, length: number): number {
  const count = rawWrite(fd, address, length);
  return count < 0 ? -lastError[0]! : count;
}

/** pipe(2). Writes two ints, the read end first. EMFILE, ENFILE. The caller closes both. */
export function pipe2(ends: number, flags: number): number {
  return rawPipe2(ends, flags) < 0 ? -lastError[0]! : 0;
}

/** splice(2) between a pipe and a socket, without offsets. 0: end of input. EAGAIN: source empty or pipe full. */
export function splice(from: number, to: number, length: number, flags: number): number {
  const count = rawSplice(from, 0, to, 0, length, flags);
  return count < 0 ? -lastError[0]! : count;
}

/** fcntl(2) with an int argument. F_SETPIPE_SZ: EPERM past pipe-user-pages-soft, EBUSY. */
export function fcntl(fd: number, command: number, value: number): number {
  const result = rawFcntl(fd, command, value);
  return result < 0 ? -lastError[0]! : result;
}

/** Sets O_NONBLOCK on an open file description, which duplicates and other threads share; fcntl(2). */
export function setNonBlocking(fd: number): number {
  const flags = fcntl(fd, F_GETFL, 0);
  return flags < 0 || (flags & O_NONBLOCK) !== 0 ? flags : fcntl(fd, F_SETFL, flags | O_NONBLOCK);
}

/** if_nametoindex(3) of the zero-terminated name at `address`; 0: no such interface. */
export function interfaceIndex(address: number): number {
  return rawIfNametoindex(address);
}

/** Why the epoll transport cannot run on this machine, in the operator's words; null when it can. */
export function probe(): string | null {
  if (process.platform !== "linux") return `epoll exists on Linux only, this is ${process.platform}`;
  if (layout === null) return `the structures of ${process.arch} are not known, only those of x64 and arm64`;
  const fault = libraryFault();
  if (fault !== null) return fault;
  const epoll = epollCreate(0);
  if (epoll < 0) return `epoll_create1() failed with errno ${-epoll}`;
  close(epoll);
  return null;
}

/** Throws TRANSPORT with the reason of `probe`, where there is one. */
export function requireEpoll(): void {
  const reason = probe();
  if (reason !== null) throw new ProxyError("TRANSPORT", `the epoll transport cannot run here: ${reason}`);
}
