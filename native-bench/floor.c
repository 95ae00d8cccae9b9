/*
 * A bare relay: epoll and splice, nothing else. No timeouts, no log, no limits, no configuration. It is the
 * yardstick: what a hop costs when the relay does nothing but relay.
 *
 *   floor LISTEN_PORT TARGET_PORT      (both on 127.0.0.1, or give IP:PORT)
 *
 * One shared buffer serves small messages: read, write, done. Two full reads, or a write that was not taken
 * whole, switch the direction to splice through a pipe of its own, which also holds what is still to be sent.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define BUFFER (64 * 1024)
#define PIPE (1024 * 1024)
#define TURNS 16

struct side {
  int fd;
  struct side *other;
  int pipe[2];       /* towards `other`; -1 while small messages are copied */
  size_t held;       /* bytes in the pipe */
  int full;          /* full reads in a row */
  bool connecting, end_in, end_sent, closed, ready, end_seen;
  struct side *next_closed;
};

static int epoll_fd, listen_fd;
static struct sockaddr_in target;
static uint8_t buffer[BUFFER];
static struct side *closed_list;
static struct side **ready, **serving;
static size_t ready_count, ready_room, serving_room;

static void fail(const char *what) {
  perror(what);
  exit(1);
}

static struct sockaddr_in address(char *text) {
  struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  char *colon = strchr(text, ':');
  if (colon) {
    *colon = 0;
    inet_pton(AF_INET, text, &a.sin_addr);
  }
  a.sin_port = htons((uint16_t)atoi(colon ? colon + 1 : text));
  return a;
}

static void close_side(struct side *s) {
  close(s->fd);
  if (s->pipe[0] >= 0) close(s->pipe[0]), close(s->pipe[1]);
  s->closed = true;
  s->next_closed = closed_list;
  closed_list = s;
}

static void close_both(struct side *s, bool reset) {
  if (s->closed) return;
  if (reset) {
    struct linger linger = {1, 0};
    setsockopt(s->fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
    setsockopt(s->other->fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
  }
  close_side(s);
  close_side(s->other);
}

static bool take_pipe(struct side *s) {
  if (pipe2(s->pipe, O_NONBLOCK | O_CLOEXEC) != 0) return s->pipe[0] = -1, false;
  fcntl(s->pipe[0], F_SETPIPE_SZ, PIPE);
  return true;
}

static void later(struct side *s) {
  if (s->ready) return;
  s->ready = true;
  if (ready_count == ready_room) ready = realloc(ready, (ready_room = ready_room ? ready_room * 2 : 64) * sizeof *ready);
  ready[ready_count++] = s;
}

/* Moves what it can from `s` to its other side; the next edge goes on from there. */
static void pump(struct side *s) {
  struct side *to = s->other;
  if (s->connecting || to->connecting) return;
  for (int turn = 0; turn < TURNS; turn++) {
    if (s->held) {
      ssize_t n = splice(s->pipe[0], NULL, to->fd, NULL, s->held, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
      if (n < 0) {
        if (errno != EAGAIN) close_both(s, true);
        return;
      }
      s->held -= (size_t)n;
      continue;
    }
    if (s->end_in) {
      if (!s->end_sent) shutdown(to->fd, SHUT_WR), s->end_sent = true;
      if (to->end_sent) close_both(s, false);
      return;
    }
    if (s->pipe[0] >= 0) {
      ssize_t n = splice(s->fd, NULL, s->pipe[1], NULL, PIPE, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
      if (n < 0) {
        if (errno != EAGAIN) close_both(s, true);
        return;
      }
      if (n == 0) s->end_in = true;
      s->held += (size_t)n;
      continue;
    }
    ssize_t n = recv(s->fd, buffer, BUFFER, 0);
    if (n < 0) {
      if (errno != EAGAIN) close_both(s, true);
      return;
    }
    if (n == 0) {
      s->end_in = true;
      continue;
    }
    ssize_t sent = send(to->fd, buffer, (size_t)n, MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN) return close_both(s, true);
    if (sent < 0) sent = 0;
    s->full = n == BUFFER ? s->full + 1 : 0;
    if (sent < n || s->full == 2) {
      if (!take_pipe(s)) return close_both(s, true);
      if (sent < n && write(s->pipe[1], buffer + sent, (size_t)(n - sent)) != n - sent) return close_both(s, true);
      s->held = (size_t)(n - sent);
    } else if (n < BUFFER && !s->end_seen) {
      return; /* drained: no end of input came with this edge */
    }
  }
  later(s);
}

static void event(struct side *s, uint32_t events) {
  if (s->closed) return;
  if (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) s->end_seen = true;
  if (s->connecting) {
    if (events & (EPOLLERR | EPOLLHUP)) return close_both(s, true);
    if (!(events & EPOLLOUT)) return;
    s->connecting = false;
  }
  if (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) pump(s);
  /* Without a pipe and with an end still to pass on, the other side has nothing that waits for room. */
  if (!s->closed && (events & EPOLLOUT)) pump(s->other);
}

static struct side *side(int fd) {
  struct side *s = calloc(1, sizeof *s);
  int on = 1;
  s->fd = fd;
  s->pipe[0] = s->pipe[1] = -1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  return s;
}

static void watch(struct side *s) {
  struct epoll_event e = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.ptr = s};
  if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, s->fd, &e) != 0) fail("epoll_ctl");
}

static void accept_all(void) {
  for (int i = 0; i < 64; i++) {
    int fd = accept4(listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) return;
    int out = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (out < 0 || (connect(out, (struct sockaddr *)&target, sizeof target) != 0 && errno != EINPROGRESS)) {
      close(fd);
      if (out >= 0) close(out);
      continue;
    }
    struct side *a = side(fd), *b = side(out);
    a->other = b;
    b->other = a;
    b->connecting = true;
    watch(a);
    watch(b);
  }
}

int main(int argc, char **argv) {
  if (argc != 3) return fprintf(stderr, "usage: floor LISTEN TARGET\n"), 2;
  struct rlimit limit;
  getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
  signal(SIGPIPE, SIG_IGN);
  struct sockaddr_in from = address(argv[1]);
  target = address(argv[2]);
  int on = 1;
  listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  setsockopt(listen_fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (bind(listen_fd, (struct sockaddr *)&from, sizeof from) != 0 || listen(listen_fd, 4096) != 0) fail("listen");
  epoll_fd = epoll_create1(EPOLL_CLOEXEC);
  struct epoll_event e = {.events = EPOLLIN, .data.ptr = NULL}, events[256];
  epoll_ctl(epoll_fd, EPOLL_CTL_ADD, listen_fd, &e);
  for (;;) {
    int count = epoll_wait(epoll_fd, events, 256, ready_count ? 0 : -1);
    for (int i = 0; i < count; i++) {
      if (events[i].data.ptr) event(events[i].data.ptr, events[i].events);
      else accept_all();
    }
    struct side **list = ready;
    size_t total = ready_count, room = ready_room;
    ready = serving, ready_room = serving_room, ready_count = 0;
    serving = list, serving_room = room;
    for (size_t i = 0; i < total; i++) {
      list[i]->ready = false;
      if (!list[i]->closed) pump(list[i]);
    }
    struct side *kept = NULL;
    while (closed_list) {
      struct side *s = closed_list;
      closed_list = s->next_closed;
      if (s->ready) s->next_closed = kept, kept = s;
      else free(s);
    }
    closed_list = kept;
  }
}
