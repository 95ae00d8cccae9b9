/**
 * Where the fields of the kernel's structures lie, and the numbers of its flags, for the two architectures that the epoll
 * transport runs on. Both are little-endian and 64-bit; they differ in `struct epoll_event`, which is packed on x86-64 only
 * (bits/epoll.h, __EPOLL_PACKED). Checked against the C compiler in test/ffi/layout.test.ts.
 */

export interface Layout {
  /** struct epoll_event, epoll_ctl(2): `events` at 0, `data` as two Int32 at `epollData`. Bytes. */
  readonly epollEvent: number;
  readonly epollData: number;
}

const LAYOUTS: Readonly<Record<string, Layout>> = {
  x64: { epollEvent: 12, epollData: 4 },
  arm64: { epollEvent: 16, epollData: 8 },
};

/** The layout of this machine; null where the epoll transport does not know it. */
export const layout: Layout | null = process.platform === "linux" ? (LAYOUTS[process.arch] ?? null) : null;

// The same on x64 and arm64. ip(7), ipv6(7), unix(7).
export const SOCKADDR_IN = { size: 16, family: 0, port: 2, address: 4 } as const;
export const SOCKADDR_IN6 = { size: 28, family: 0, port: 2, flow: 4, address: 8, scope: 24 } as const;
/** `path` is 108 bytes with its terminating zero. */
export const SOCKADDR_UN = { size: 110, family: 0, path: 2, pathBytes: 108 } as const;

export const AF_UNIX = 1;
export const AF_INET = 2;
export const AF_INET6 = 10;
export const SOCK_STREAM = 1;
export const SOCK_NONBLOCK = 0o4000;
export const SOCK_CLOEXEC = 0o2000000;
export const O_NONBLOCK = 0o4000;
export const O_CLOEXEC = 0o2000000;
export const CLOCK_MONOTONIC = 1;
export const TFD_CLOEXEC = 0o2000000;

export const SOL_SOCKET = 1;
export const SO_REUSEADDR = 2;
export const SO_ERROR = 4;
export const SO_SNDBUF = 7;
export const SO_RCVBUF = 8;
export const SO_KEEPALIVE = 9;
export const SO_LINGER = 13;
export const SO_RCVLOWAT = 18;
export const SO_ACCEPTCONN = 30;

export const IPPROTO_IP = 0;
export const IP_TRANSPARENT = 19;
export const IP_BIND_ADDRESS_NO_PORT = 24;
export const IPPROTO_TCP = 6;
export const TCP_NODELAY = 1;
export const TCP_QUICKACK = 12;
export const TCP_KEEPIDLE = 4;
export const TCP_KEEPINTVL = 5;
export const TCP_KEEPCNT = 6;
export const TCP_DEFER_ACCEPT = 9;
export const IPPROTO_IPV6 = 41;
export const IPV6_V6ONLY = 26;

export const SHUT_WR = 1;
export const SHUT_RDWR = 2;
export const MSG_PEEK = 2;
export const MSG_DONTWAIT = 0x40;
export const MSG_WAITALL = 0x100;
export const MSG_NOSIGNAL = 0x4000;
export const SPLICE_F_MOVE = 1;
export const SPLICE_F_NONBLOCK = 2;
export const F_SETFL = 4;
export const F_GETFL = 3;
export const F_DUPFD_CLOEXEC = 1030;
export const F_SETPIPE_SZ = 1031;
export const F_GETPIPE_SZ = 1032;

export const EPOLLIN = 0x001;
export const EPOLLPRI = 0x002;
export const EPOLLOUT = 0x004;
export const EPOLLERR = 0x008;
export const EPOLLHUP = 0x010;
export const EPOLLRDHUP = 0x2000;
export const EPOLLEXCLUSIVE = 1 << 28;
export const EPOLLET = 1 << 31;
export const EPOLL_CTL_ADD = 1;
export const EPOLL_CTL_DEL = 2;
export const EPOLL_CTL_MOD = 3;
