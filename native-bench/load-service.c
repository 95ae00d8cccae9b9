/*
 * The service behind the proxy: sink (reads and checks), source (writes for ever), duplex (both) and echo
 * (returns every byte; with --close service-fin it closes after one request).
 */
#include "load.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* Turns of one connection per event: enough to empty a socket buffer, few enough to be fair. */
#define TURNS 16

void service_listen(struct sockaddr_in address, struct listener_spec spec) {
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), on = 1;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  if (bind(fd, (struct sockaddr *)&address, sizeof address) != 0) die("bind to port %d: %s", ntohs(address.sin_port), strerror(errno));
  if (listen(fd, 4096) != 0) die("listen: %s", strerror(errno));
  struct connection *c = connection_new(ROLE_LISTENER, fd);
  c->spec = spec;
  loop_add(c);
}

static void service_accept(struct connection *listener) {
  for (;;) {
    int fd = accept4(listener->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) {
      if (errno == EAGAIN) return;
      if (errno == ECONNABORTED || errno == EINTR) continue;
      die("accept: %s", strerror(errno));
    }
    struct connection *c = connection_new(ROLE_SERVICE, fd);
    c->kind = listener->spec.kind;
    c->tls = listener->spec.tls;
    c->state = c->tls ? STATE_HANDSHAKE : STATE_OPEN;
    if (c->tls) stream_service(c);
    loop_add(c);
  }
}

/* False when the connection is gone or its socket is full. */
static bool echo_flush(struct connection *c) {
  while (c->pending_sent < c->pending_size) {
    long n = stream_write(c, c->pending + c->pending_sent, c->pending_size - c->pending_sent);
    if (n == STREAM_AGAIN) return false;
    if (n < 0) return connection_close(c, true), false;
    c->pending_sent += (size_t)n;
    c->down += (uint64_t)n;
  }
  free(c->pending);
  c->pending = NULL;
  c->pending_size = c->pending_sent = 0;
  return true;
}

static void echo(struct connection *c) {
  if (c->pending && !echo_flush(c)) return;
  for (int turn = 0; turn < TURNS; turn++) {
    long n = stream_read(c, scratch, SCRATCH);
    if (n == STREAM_AGAIN) return;
    if (n == 0 && c->tls) stream_end(c);
    if (n <= 0) return connection_close(c, n < 0);
    c->up += (uint64_t)n;
    size_t done = 0;
    while (done < (size_t)n) {
      long w = stream_write(c, scratch + done, (size_t)n - done);
      if (w == STREAM_AGAIN) break;
      if (w < 0) return connection_close(c, true);
      done += (size_t)w;
      c->down += (uint64_t)w;
    }
    if (done < (size_t)n) {
      c->pending_size = (size_t)n - done;
      c->pending_sent = 0;
      c->pending = malloc(c->pending_size);
      memcpy(c->pending, scratch + done, c->pending_size);
      return;
    }
    size_t wanted = hello_size ? hello_size : options.size;
    if (options.mode == MODE_CRR && options.closing == CLOSE_SERVICE_FIN && c->up >= wanted) {
      stream_end(c);
      return connection_close(c, false);
    }
    if (!c->tls && (size_t)n < SCRATCH && !c->end_seen) return; /* drained, and no end of input with this edge */
  }
  loop_ready(c);
}

bool intact(const uint8_t *bytes, uint64_t offset, size_t size) {
  const uint8_t *wanted = pattern + offset % BLOCK;
  if (options.verify) return memcmp(bytes, wanted, size) == 0;
  size_t edge = size < 16 ? size : 16;
  return memcmp(bytes, wanted, edge) == 0 && memcmp(bytes + size - edge, wanted + size - edge, edge) == 0;
}

static void sink(struct connection *c) {
  for (int turn = 0; turn < TURNS; turn++) {
    long n = stream_read(c, scratch, SCRATCH);
    if (n == STREAM_AGAIN) return;
    if (n <= 0) return connection_close(c, n < 0);
    size_t hello = hello_size - c->received < (size_t)n ? hello_size - c->received : (size_t)n;
    if (hello && memcmp(scratch, hello_bytes + c->received, hello) != 0) counters.error_data++;
    c->received += hello;
    size_t size = (size_t)n - hello;
    if (size && !intact(scratch + hello, c->up, size)) counters.error_data++;
    c->up += size;
    counters.bytes_up += size;
  }
  loop_ready(c);
}

static void source(struct connection *c) {
  for (int turn = 0; turn < TURNS; turn++) {
    long n = stream_write(c, pattern + c->down % BLOCK, BLOCK);
    if (n == STREAM_AGAIN) return;
    if (n < 0) return connection_close(c, true);
    c->down += (uint64_t)n;
  }
  loop_ready(c);
}

void service_turn(struct connection *c, uint32_t events) {
  if (c->role == ROLE_LISTENER) return service_accept(c);
  if (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) c->end_seen = true;
  if (c->state == STATE_HANDSHAKE) {
    int done = stream_handshake(c);
    if (done == 0) return;
    if (done < 0) return counters.error_tls++, connection_close(c, true);
    c->state = STATE_OPEN;
  }
  if (c->kind == KIND_ECHO) return echo(c);
  if (c->kind == KIND_SINK || c->kind == KIND_DUPLEX) sink(c);
  if (!c->closed && (c->kind == KIND_SOURCE || c->kind == KIND_DUPLEX)) source(c);
  if (!c->closed && c->kind == KIND_SOURCE && c->end_seen) connection_close(c, true);
}
