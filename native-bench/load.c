/*
 * The generator's loop and its result: one JSON line on stdout, faults on stderr with exit code 1.
 * The loop waits for events, serves the ready list, keeps the open-loop schedule and moves from phase to phase:
 * establish, warm up, measure. CPU time is read when the window opens and when it closes, by this process, so
 * that the window of the CPU time and that of the work are the same.
 */
#include "load.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define EVENTS 256
/* Give up on a contender that cannot hold the connections of the run. */
#define ESTABLISH_SECONDS 60
#define TENTHS 10
/* How long the window stays open for what was due in it (open loop), and how long what seems to hang is waited for. */
#define PATIENCE_NS 1000000000ull
#define ERRORS_MAX 1000

struct counters counters;
enum phase phase = PHASE_ESTABLISH;
uint8_t *pattern;
uint8_t scratch[SCRATCH];
const uint8_t *hello_bytes;
size_t hello_size;

static int epoll_fd;
static struct connection **ready, **serving;
static size_t ready_count, ready_room, serving_room;
static struct connection *closed, *spare;

uint64_t now_ns(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (uint64_t)time.tv_sec * 1000000000ull + (uint64_t)time.tv_nsec;
}

void die(const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  fputs("load: ", stderr);
  vfprintf(stderr, format, arguments);
  fputc('\n', stderr);
  va_end(arguments);
  exit(1);
}

struct connection *connection_new(enum role role, int fd) {
  struct connection *c = spare;
  if (c) spare = c->next;
  else c = malloc(sizeof *c);
  memset(c, 0, sizeof *c);
  c->role = role;
  c->fd = fd;
  return c;
}

void loop_add(struct connection *c) {
  struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.ptr = c};
  if (c->role == ROLE_LISTENER) event.events = EPOLLIN;
  if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, c->fd, &event) != 0) die("epoll_ctl: %s", strerror(errno));
}

void loop_ready(struct connection *c) {
  if (c->ready || c->closed) return;
  c->ready = true;
  if (ready_count == ready_room) ready = realloc(ready, (ready_room = ready_room ? ready_room * 2 : 256) * sizeof *ready);
  ready[ready_count++] = c;
}

/* Closes at once; the memory lives until the batch of events is done, for one may still name it. */
void connection_close(struct connection *c, bool reset) {
  if (c->closed) return;
  c->closed = true;
  stream_free(c);
  if (reset) {
    struct linger linger = {1, 0};
    setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
  }
  close(c->fd);
  free(c->pending);
  c->pending = NULL;
  c->next = closed;
  closed = c;
}

static void turn(struct connection *c, uint32_t events) {
  if (c->closed) return;
  if (c->role == ROLE_CLIENT) client_turn(c, events);
  else service_turn(c, events);
}

static void serve_ready(void) {
  struct connection **list = ready;
  size_t count = ready_count, room = ready_room;
  ready = serving;
  ready_room = serving_room;
  ready_count = 0;
  serving = list;
  serving_room = room;
  for (size_t i = 0; i < count; i++) {
    list[i]->ready = false;
    turn(list[i], 0);
  }
}

static void free_closed(void) {
  struct connection *kept = NULL;
  while (closed) {
    struct connection *c = closed;
    closed = c->next;
    struct connection **to = c->ready ? &kept : &spare;
    c->next = *to;
    *to = c;
  }
  closed = kept;
}

static void loop_once(uint64_t deadline) {
  struct epoll_event events[EVENTS];
  uint64_t due = client_next_due(), now = now_ns();
  if (due == 0 || due > deadline) due = deadline;
  /* An overdue request waits for a connection, not for the clock. */
  uint64_t wait = due > now ? due - now : 1000000;
  if (ready_count || (options.spin && options.rate > 0)) wait = 0;
  struct timespec timeout = {.tv_sec = (time_t)(wait / 1000000000ull), .tv_nsec = (long)(wait % 1000000000ull)};
  int count = epoll_pwait2(epoll_fd, events, EVENTS, &timeout, NULL);
  if (count < 0 && errno != EINTR) die("epoll_pwait2: %s", strerror(errno));
  for (int i = 0; i < count; i++) turn(events[i].data.ptr, events[i].events);
  if (ready_count) serve_ready();
  client_schedule(now_ns());
  free_closed();
}

/* `all`: operations since the first, those of the warm-up included. */
static void result(const struct sample *from, const struct sample *to, uint64_t late, uint64_t all) {
  double seconds = (double)(to->at - from->at) / 1e9;
  printf("{\"mode\":\"%s\",\"seconds\":%.6f,\"operations\":%lu,\"operations_all\":%lu,", options.name, seconds,
         counters.operations, all);
  printf("\"bytes_up\":%lu,\"bytes_down\":%lu,", counters.bytes_up, counters.bytes_down);
  printf("\"handshakes\":%lu,\"resumed\":%lu,\"tickets\":%lu,\"stalled\":%u,\"late_max\":%lu,", counters.handshakes,
         counters.resumed, counters.tickets, client_stalled(), late);
  printf("\"errors\":{\"connect\":%lu,\"io\":%lu,\"tls\":%lu,\"data\":%lu},", counters.error_connect, counters.error_io,
         counters.error_tls, counters.error_data);
  printf("\"cpu\":{\"proxy\":%lu,\"proxy_user\":%lu,\"proxy_system\":%lu,\"generator\":%lu,\"others\":%lu,\"machine\":%lu,\"steal\":%lu,\"available\":%lu},",
         to->tree - from->tree, to->tree_user - from->tree_user, to->tree_system - from->tree_system, to->self - from->self,
         to->others > from->others ? to->others - from->others : 0, to->busy - from->busy, to->steal - from->steal, to->total - from->total);
  printf("\"waited\":{\"proxy\":%lu,\"generator\":%lu},", to->tree_waited - from->tree_waited,
         to->self_waited - from->self_waited);
  printf("\"processes\":%u,", to->processes);
  histogram_print(stdout);
  printf("}\n");
  fflush(stdout);
}

static void establish(unsigned most) {
  uint64_t deadline = now_ns() + ESTABLISH_SECONDS * 1000000000ull;
  for (client_establish(most); !client_established(most); client_establish(most)) {
    loop_once(deadline);
    if (now_ns() > deadline) die("the connections of the run were not established in %d s", ESTABLISH_SECONDS);
  }
}

/* How many idle connections there are before the last step, in tenths of all: as IDLE_TENTHS in pace.ts has it. */
static const unsigned stages[] = {1, 4, 7};

/* Says how many connections are idle now, and keeps them until a byte comes. */
static void hold(unsigned count) {
  char byte;
  printf("{\"event\":\"idle\",\"connections\":%u}\n", count);
  fflush(stdout);
  if (read(0, &byte, 1) < 0) die("stdin: %s", strerror(errno));
}

static void run(void) {
  struct sample from, to;
  uint64_t deadline;
  for (size_t i = 0; options.mode == MODE_IDLE && i < sizeof stages / sizeof *stages; i++) {
    unsigned some = options.connections * stages[i] / TENTHS;
    establish(some);
    hold(some);
  }
  establish(UINT_MAX);
  if (options.resume && !stream_has_session()) fprintf(stderr, "load: no session ticket came with the first handshake\n");
  phase = PHASE_WARMUP;
  client_begin();
  if (options.mode == MODE_IDLE) {
    hold(options.connections);
    return;
  }
  for (deadline = now_ns() + (uint64_t)(options.warmup * 1e9); now_ns() < deadline;) loop_once(deadline);
  /* Reading /proc takes a millisecond in which nothing is sent: none of it may count as latency. */
  sample_take(&from, options.watch);
  phase = PHASE_MEASURE;
  client_window(from.at);
  histogram_reset();
  uint64_t before = counters.operations;
  memset(&counters, 0, sizeof counters);
  for (deadline = from.at + (uint64_t)(options.seconds * 1e9); now_ns() < deadline;) {
    loop_once(deadline);
    if (counters.error_connect + counters.error_io + counters.error_tls + counters.error_data > ERRORS_MAX) break;
  }
  /* A stall that lasts beyond the window is charged to what was due in it: its answers belong to it. */
  client_window_over(now_ns());
  for (deadline = now_ns() + PATIENCE_NS; client_owing() && now_ns() < deadline;) loop_once(deadline);
  client_give_up();
  uint64_t late = counters.late_max;
  sample_take(&to, options.watch);
  phase = PHASE_DONE;
  /* Slow is not stalled: now that nothing new is asked for, only what hangs goes on waiting. */
  struct counters counted = counters;
  for (deadline = now_ns() + PATIENCE_NS; options.mode != MODE_BULK && client_stalled() && now_ns() < deadline;) loop_once(deadline);
  counters = counted;
  result(&from, &to, late, before + counters.operations);
}

static void pin(int cpu) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(cpu, &set);
  if (sched_setaffinity(0, sizeof set, &set) != 0) die("CPU %d: %s", cpu, strerror(errno));
}

static void descriptors(void) {
  struct rlimit limit = {1 << 18, 1 << 18}, now;
  if (setrlimit(RLIMIT_NOFILE, &limit) == 0 || getrlimit(RLIMIT_NOFILE, &now) != 0) return;
  now.rlim_cur = now.rlim_max;
  setrlimit(RLIMIT_NOFILE, &now);
}

static enum kind kind_of(const char *name) {
  if (!strcmp(name, "sink")) return KIND_SINK;
  if (!strcmp(name, "source")) return KIND_SOURCE;
  if (!strcmp(name, "duplex")) return KIND_DUPLEX;
  if (!strcmp(name, "echo")) return KIND_ECHO;
  die("%s: unknown kind of service", name);
}

int main(int argc, char **argv) {
  if (argc < 2) options_usage();
  options.name = argv[1];
  if (!strcmp(argv[1], "pin") && argc > 4) {
    descriptors();
    if (strcmp(argv[2], "any")) pin(atoi(argv[2]));
    execvp(argv[4], argv + 4);
    die("%s: %s", argv[4], strerror(errno));
  }
  int first = options_read(argc - 1, argv + 1) + 1;
  signal(SIGPIPE, SIG_IGN);
  prctl(PR_SET_TIMERSLACK, 1);
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  descriptors();
  if (options.cpu >= 0) pin(options.cpu);
  pattern = malloc(BLOCK + MESSAGE_MAX);
  for (size_t i = 0; i < BLOCK + MESSAGE_MAX; i++) pattern[i] = (uint8_t)(((i % BLOCK) * 2654435761u) >> 13);
  if ((epoll_fd = epoll_create1(EPOLL_CLOEXEC)) < 0) die("epoll_create1: %s", strerror(errno));

  if (!strcmp(argv[1], "serve")) {
    options.mode = MODE_SERVE;
    bool tls = false;
    for (int i = first; i < argc; i++) tls |= !strncmp(argv[i], "tls-", 4);
    options.service_tls = tls;
    stream_setup();
    for (int i = first; i < argc; i++) {
      char *at = strchr(argv[i], '@');
      if (!at) die("%s: want KIND@IP:PORT", argv[i]);
      *at = 0;
      struct listener_spec spec = {.tls = !strncmp(argv[i], "tls-", 4)};
      spec.kind = kind_of(spec.tls ? argv[i] + 4 : argv[i]);
      service_listen(options_address(at + 1), spec);
    }
    for (;;) loop_once(now_ns() + 1000000000ull);
  }

  struct listener_spec spec = {.kind = KIND_ECHO, .tls = options.service_tls};
  if (!strncmp(argv[1], "bulk-", 5)) {
    options.mode = MODE_BULK;
    options.up = strcmp(argv[1], "bulk-down") != 0;
    options.down = strcmp(argv[1], "bulk-up") != 0;
    spec.kind = options.up && options.down ? KIND_DUPLEX : options.up ? KIND_SINK : KIND_SOURCE;
  } else if (!strcmp(argv[1], "ping")) options.mode = MODE_PING;
  else if (!strcmp(argv[1], "crr")) options.mode = MODE_CRR;
  else if (!strcmp(argv[1], "idle")) options.mode = MODE_IDLE;
  else options_usage();
  if (options.mode == MODE_BULK && options.idle) die("bulk takes no --idle: its service does not echo");
  if (!options.target.sin_port) die("--target IP:PORT is missing");
  stream_setup();
  if (options.hello) stream_hello();
  if (options.has_service) service_listen(options.service, spec);
  run();
  return 0;
}
