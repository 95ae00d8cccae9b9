/*
 * The clients. Closed loop: the next request follows the answer. Open loop (--rate): request i is due at
 * start + i / rate whatever happened before, waits if no connection is free, and its latency counts from the
 * moment it was due, so that a stall is charged to every request it delayed (no coordinated omission).
 */
#include "load.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* Connections being set up at a time before the run: below every contender's listen backlog. */
#define SETUP_AT_ONCE 64
#define TURNS 16
/* A connection that waits for a second, or through all of a shorter window, counts as stalled. */
#define STALLED_NS 1000000000ull

static struct connection **members; /* the connections of the run; idle ones first */
static unsigned member_count, member_started, member_open;
static struct connection **flying;  /* crr: connections in flight */
static unsigned active;             /* how many of them */
static struct connection *waiting;  /* open loop: connections without a request */
static uint64_t schedule_start, schedule_end = UINT64_MAX, due_sent, source_next, operation, window_start;

static uint64_t due_at(uint64_t index) { return schedule_start + (uint64_t)((double)index * 1e9 / options.rate); }

static struct connection *client_connect(bool idle) {
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), on = 1;
  if (fd < 0) die("socket: %s (descriptor limit?)", strerror(errno));
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  if (options.sources > 1) {
    /* Each source address has its own ephemeral ports. */
    struct sockaddr_in from = {.sin_family = AF_INET};
    from.sin_addr.s_addr = htonl(options.from + (uint32_t)(source_next++ % options.sources));
    setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
    if (bind(fd, (struct sockaddr *)&from, sizeof from) != 0) die("bind to a source address: %s", strerror(errno));
  }
  struct connection *c = connection_new(ROLE_CLIENT, fd);
  c->idle = idle;
  c->state = STATE_CONNECTING;
  if (connect(fd, (struct sockaddr *)&options.target, sizeof options.target) != 0 && errno != EINPROGRESS) {
    counters.error_connect++;
    connection_close(c, true);
    return NULL;
  }
  if (options.tls) stream_client(c);
  loop_add(c);
  return c;
}

static void crr_start(uint64_t intended) {
  struct connection *c = client_connect(false);
  if (!c) return;
  c->intended = intended;
  c->place = active;
  flying[active++] = c;
}

static void crr_over(struct connection *c) {
  struct connection *last = flying[--active];
  flying[c->place] = last;
  last->place = c->place;
}

void client_establish(unsigned most) {
  if (!members) {
    bool steady = options.mode != MODE_CRR;
    member_count = options.idle + (steady ? options.connections : 0);
    /* A resuming run needs one full handshake and its ticket first. */
    if (options.mode == MODE_CRR && options.resume) member_count++;
    members = calloc(member_count + 1, sizeof *members);
  }
  unsigned goal = most < member_count ? most : member_count;
  while (member_started < goal && member_started - member_open < SETUP_AT_ONCE) {
    unsigned i = member_started++;
    bool idle = i < options.idle || options.mode == MODE_IDLE || options.mode == MODE_CRR;
    members[i] = client_connect(idle);
    if (!members[i]) die("cannot connect: %s", strerror(errno));
  }
}

bool client_established(unsigned most) { return member_open == (most < member_count ? most : member_count); }

static void request_begin(struct connection *c, uint64_t intended) {
  c->intended = intended;
  c->sent = c->received = 0;
  if (hello_size) {
    c->request = hello_bytes;
    c->request_size = hello_size;
  } else {
    /* Each request starts elsewhere in the pattern: a stale or foreign answer does not compare equal. */
    c->request = pattern + (operation++ * 64) % BLOCK;
    c->request_size = c->idle && options.mode != MODE_CRR ? 1 : options.size;
  }
}

static void client_failed(struct connection *c, uint64_t *count) {
  (*count)++;
  if (phase == PHASE_ESTABLISH) die("a connection failed before the run began (connect %lu, io %lu, tls %lu)",
                                    counters.error_connect, counters.error_io, counters.error_tls);
  bool replace = options.mode == MODE_CRR && !c->idle;
  if (options.mode != MODE_CRR) die("an established connection failed during the run");
  connection_close(c, true);
  if (!replace) return;
  crr_over(c);
  if (options.rate == 0) crr_start(now_ns());
}

static void finish(struct connection *c) {
  connection_close(c, options.closing == CLOSE_CLIENT_RST);
  crr_over(c);
  if (options.rate == 0 && phase != PHASE_DONE) crr_start(now_ns());
  else if (options.rate > 0) client_schedule(now_ns());
}

static void answered(struct connection *c) {
  uint64_t now = now_ns();
  c->request_size = 0;
  if (c->idle) {
    if (phase == PHASE_ESTABLISH) member_open++;
    return;
  }
  counters.operations++;
  if (c->intended >= window_start && phase != PHASE_DONE) histogram_record(now - c->intended);
  if (options.mode == MODE_CRR) {
    if (options.closing == CLOSE_CLIENT_RST) return finish(c);
    if (options.closing == CLOSE_CLIENT_FIN) stream_end(c);
    c->state = STATE_CLOSING;
    return;
  }
  if (phase == PHASE_DONE) return;
  if (options.rate == 0) return request_begin(c, now);
  c->waiting = true;
  c->next = waiting;
  waiting = c;
}

/* True when the answer to the request in flight is complete. */
static bool exchange(struct connection *c) {
  while (c->sent < c->request_size) {
    long n = stream_write(c, c->request + c->sent, c->request_size - c->sent);
    if (n == STREAM_AGAIN) break;
    if (n < 0) return client_failed(c, &counters.error_io), false;
    c->sent += (size_t)n;
    if (phase == PHASE_MEASURE) counters.bytes_up += (uint64_t)n;
  }
  while (c->received < c->request_size) {
    long n = stream_read(c, scratch, SCRATCH);
    if (n == STREAM_AGAIN) return false;
    if (n <= 0) return client_failed(c, &counters.error_io), false;
    if (c->received + (size_t)n > c->request_size || memcmp(scratch, c->request + c->received, (size_t)n) != 0) {
      return client_failed(c, &counters.error_data), false;
    }
    c->received += (size_t)n;
    if (phase == PHASE_MEASURE) counters.bytes_down += (uint64_t)n;
  }
  return true;
}

static void bulk(struct connection *c) {
  while (c->sent < hello_size) {
    long n = stream_write(c, hello_bytes + c->sent, hello_size - c->sent);
    if (n == STREAM_AGAIN) return;
    if (n < 0) return client_failed(c, &counters.error_io);
    c->sent += (size_t)n;
  }
  for (int turn = 0; options.up && turn < TURNS; turn++) {
    long n = stream_write(c, pattern + c->up % BLOCK, BLOCK);
    if (n == STREAM_AGAIN) break;
    if (n < 0) return client_failed(c, &counters.error_io);
    c->up += (uint64_t)n;
    /* What arrived counts; only a service elsewhere cannot be asked. */
    if (!options.has_service) counters.bytes_up += (uint64_t)n;
    if (turn == TURNS - 1) loop_ready(c);
  }
  for (int turn = 0; options.down && turn < TURNS; turn++) {
    long n = stream_read(c, scratch, SCRATCH);
    if (n == STREAM_AGAIN) break;
    if (n <= 0) return client_failed(c, &counters.error_io);
    if (!intact(scratch, c->down, (size_t)n)) return client_failed(c, &counters.error_data);
    c->down += (uint64_t)n;
    counters.bytes_down += (uint64_t)n;
    if (turn == TURNS - 1) loop_ready(c);
  }
  if (options.up && !options.down) {
    /* Nothing is expected; reading lets libssl take tickets and shows a close. */
    long n = stream_read(c, scratch, SCRATCH);
    if (n != STREAM_AGAIN) client_failed(c, &counters.error_io);
  }
}

static void closing(struct connection *c) {
  long n = stream_read(c, scratch, SCRATCH);
  if (n == STREAM_AGAIN) return;
  if (n != 0) counters.error_io++;
  finish(c);
}

static void pump(struct connection *c) {
  if (c->state == STATE_CLOSING) return closing(c);
  if (options.mode == MODE_BULK && !c->idle) {
    if (phase != PHASE_ESTABLISH) bulk(c);
    return;
  }
  for (int turn = 0; turn < TURNS; turn++) {
    if (c->closed || c->request_size == 0) {
      if (c->closed || c->waiting || !options.tls) return;
      stream_read(c, scratch, 1); /* tickets that came after the answer */
      return;
    }
    if (!exchange(c)) return;
    answered(c);
    if (!c->closed && c->state == STATE_CLOSING) return closing(c);
  }
  if (!c->closed) loop_ready(c);
}

static void opened(struct connection *c) {
  c->state = STATE_OPEN;
  if (c->idle) request_begin(c, now_ns());
  else if (options.mode == MODE_CRR) request_begin(c, c->intended);
  else if (phase == PHASE_ESTABLISH) member_open++;
}

void client_turn(struct connection *c, uint32_t events) {
  if (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) c->end_seen = true;
  if (c->state == STATE_CONNECTING) {
    if (!(events & (EPOLLOUT | EPOLLERR | EPOLLHUP))) return;
    int error = 0;
    socklen_t size = sizeof error;
    getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &size);
    if (error) return client_failed(c, &counters.error_connect);
    if (c->ssl) c->state = STATE_HANDSHAKE;
    else opened(c);
  }
  if (c->state == STATE_HANDSHAKE) {
    int done = stream_handshake(c);
    if (done == 0) return;
    if (done < 0) return client_failed(c, &counters.error_tls);
    counters.handshakes++;
    if (stream_resumed(c)) counters.resumed++;
    opened(c);
  }
  pump(c);
}

void client_begin(void) {
  schedule_start = now_ns();
  flying = calloc(options.connections + 1, sizeof *flying);
  if (options.mode == MODE_CRR && options.rate == 0) {
    for (unsigned i = 0; i < options.connections; i++) crr_start(now_ns());
  }
  if (options.mode == MODE_CRR || options.mode == MODE_IDLE) return;
  for (unsigned i = options.idle; i < member_count; i++) {
    struct connection *c = members[i];
    if (options.mode == MODE_PING && options.rate > 0) {
      c->waiting = true;
      c->next = waiting;
      waiting = c;
    } else {
      if (options.mode == MODE_PING) request_begin(c, now_ns());
      pump(c);
    }
  }
}

void client_window(uint64_t now) {
  window_start = now;
  if (options.rate > 0) schedule_start = now - (uint64_t)((double)due_sent * 1e9 / options.rate);
  for (unsigned i = 0; options.mode == MODE_BULK && i < member_count; i++) {
    members[i]->window_mark = members[i]->up + members[i]->down;
  }
}

void client_window_over(uint64_t now) { schedule_end = now; }

uint64_t client_next_due(void) {
  if (options.rate == 0 || phase == PHASE_ESTABLISH) return 0;
  return due_at(due_sent);
}

void client_schedule(uint64_t now) {
  if (options.rate == 0 || phase == PHASE_ESTABLISH || phase == PHASE_DONE) return;
  for (;;) {
    uint64_t due = due_at(due_sent);
    if (due > now || due > schedule_end) return;
    if (options.mode == MODE_CRR) {
      if (active >= options.connections) return;
      due_sent++;
      crr_start(due);
    } else {
      struct connection *c = waiting;
      if (!c) return;
      waiting = c->next;
      c->waiting = false;
      due_sent++;
      if (now - due > counters.late_max) counters.late_max = now - due;
      request_begin(c, due);
      pump(c);
    }
  }
}

/* The connections that do the work: those of crr come and go. */
static struct connection **carriers(unsigned *count) {
  bool steady = options.mode != MODE_CRR;
  *count = steady ? member_count - options.idle : active;
  return steady ? members + options.idle : flying;
}

/* A request of this window that was sent, or has its connection on the way, and has no answer. */
static bool unanswered(const struct connection *c) {
  return (c->request_size > 0 || c->state < STATE_OPEN) && c->intended >= window_start;
}

bool client_owing(void) {
  if (options.rate == 0) return false;
  if (due_at(due_sent) <= schedule_end) return true;
  unsigned count;
  struct connection **list = carriers(&count);
  for (unsigned i = 0; i < count; i++) {
    if (unanswered(list[i])) return true;
  }
  return false;
}

void client_give_up(void) {
  if (options.rate == 0) return;
  unsigned count;
  struct connection **list = carriers(&count);
  uint64_t now = now_ns();
  for (unsigned i = 0; i < count; i++) {
    if (unanswered(list[i])) histogram_record(now - list[i]->intended);
  }
  for (; due_at(due_sent) <= schedule_end; due_sent++) histogram_record(now - due_at(due_sent));
}

/* Connections that moved nothing (bulk), wait too long for an answer (ping), or for that or their end (crr). */
unsigned client_stalled(void) {
  unsigned stalled = 0, count;
  struct connection **list = carriers(&count);
  uint64_t now = now_ns();
  for (unsigned i = 0; i < count; i++) {
    struct connection *c = list[i];
    bool waits = c->intended < window_start || now - c->intended > STALLED_NS;
    if (options.mode == MODE_BULK) stalled += c->up + c->down == c->window_mark;
    else stalled += waits && (options.mode == MODE_CRR || c->request_size > 0);
  }
  return stalled;
}
