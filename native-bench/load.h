/*
 * The load generator: one process, one thread, one epoll loop that is both the clients and the service
 * behind the proxy, so that a run needs nothing but the proxy between them. Everything is edge-triggered;
 * a connection that may not have drained its socket waits on the ready list and is served before the next
 * blocking wait. See README.md for what each mode measures.
 */
#ifndef LOAD_H
#define LOAD_H

#define _GNU_SOURCE
#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/epoll.h>

#if !defined(NO_TLS)
#include <openssl/ssl.h>
#else
typedef struct ssl_st SSL;
#endif

/* 256 KiB: large enough that a bulk sender is not bound by calls, small enough to stay in the cache. */
#define BLOCK (256u * 1024)
/* The largest message of a ping. */
#define MESSAGE_MAX (1024u * 1024)
#define SCRATCH (256u * 1024)

enum mode { MODE_BULK, MODE_PING, MODE_CRR, MODE_IDLE, MODE_SERVE };
enum closing { CLOSE_CLIENT_RST, CLOSE_CLIENT_FIN, CLOSE_SERVICE_FIN };
enum kind { KIND_SINK, KIND_SOURCE, KIND_ECHO, KIND_DUPLEX };
enum phase { PHASE_ESTABLISH, PHASE_WARMUP, PHASE_MEASURE, PHASE_DONE };
enum role { ROLE_LISTENER, ROLE_SERVICE, ROLE_CLIENT };
enum state { STATE_CONNECTING, STATE_HANDSHAKE, STATE_OPEN, STATE_CLOSING };

/* Results of stream_read and stream_write besides a count of bytes; 0 from a read is the end of input. */
#define STREAM_AGAIN (-1)
#define STREAM_FAILED (-2)

struct options {
  enum mode mode;
  const char *name;          /* the mode as given */
  bool up, down;             /* bulk: which way the bytes go */
  struct sockaddr_in target; /* the proxy, or the service itself for "direct" */
  struct sockaddr_in service;
  bool has_service;
  bool tls, service_tls, resume, verify, spin, hello;
  int tls_minor; /* of TLS 1.x, both sides */
  const char *group; /* of the key exchange, both sides */
  const char *ca, *cert, *key, *name_sni, *alpn;
  enum closing closing;
  unsigned connections, idle, sources;
  uint32_t from; /* the first source address */
  size_t size;
  double rate, warmup, seconds;
  int cpu, watch;
};

struct listener_spec {
  enum kind kind;
  bool tls;
};

struct connection {
  int fd;
  SSL *ssl;
  enum role role;
  enum state state;
  enum kind kind;
  bool idle, closed, ready, waiting, tls, end_seen;
  struct listener_spec spec;
  uint64_t up, down;       /* client: bytes written, read; service: bytes read, written */
  uint64_t window_mark;    /* `up + down` when the window opened, to find stalled connections */
  uint64_t intended;       /* when this request should have been sent, ns */
  unsigned place;          /* crr: among the connections in flight */
  const uint8_t *request;  /* the message in flight */
  size_t request_size, sent, received; /* bulk: of the ClientHello that comes first */
  uint8_t *pending;        /* echo: what the socket did not take yet */
  size_t pending_size, pending_sent;
  struct connection *next; /* closed list, free list, waiting list */
};

struct counters {
  uint64_t operations, bytes_up, bytes_down, handshakes, resumed, tickets;
  uint64_t error_connect, error_io, error_tls, error_data, late_max;
};

extern struct options options;
extern struct counters counters;
extern enum phase phase;
extern uint8_t *pattern; /* BLOCK + MESSAGE_MAX bytes that repeat every BLOCK */
extern uint8_t scratch[SCRATCH];
extern const uint8_t *hello_bytes;
extern size_t hello_size;

/* load-options.c */
void options_usage(void) __attribute__((noreturn));
struct sockaddr_in options_address(const char *text);
int options_read(int argc, char **argv); /* the index of the first argument that is no option */

/* load.c: the loop */
uint64_t now_ns(void);
void die(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));
void loop_add(struct connection *c);
void loop_ready(struct connection *c);
struct connection *connection_new(enum role role, int fd);
void connection_close(struct connection *c, bool reset);

/* load-stream.c: plain and TLS bytes behind one door */
void stream_setup(void);
void stream_client(struct connection *c);
void stream_service(struct connection *c);
int stream_handshake(struct connection *c); /* 1 done, 0 wait, -1 failed */
long stream_read(struct connection *c, void *to, size_t size);
long stream_write(struct connection *c, const void *from, size_t size);
void stream_end(struct connection *c);
void stream_free(struct connection *c);
bool stream_resumed(struct connection *c);
bool stream_has_session(void);
void stream_hello(void);

/* load-service.c */
void service_listen(struct sockaddr_in address, struct listener_spec spec);
void service_turn(struct connection *c, uint32_t events);
bool intact(const uint8_t *bytes, uint64_t offset, size_t size); /* bytes of the pattern: the first and last, with --verify all */

/* load-client.c */
void client_establish(unsigned most); /* starts what a run needs before its first request, or only part of it */
bool client_established(unsigned most);
void client_begin(void); /* first request of every connection */
void client_window(uint64_t now); /* what is due, and whose latency counts, begins now */
void client_window_over(uint64_t now); /* nothing is due any more */
bool client_owing(void); /* open loop: requests that were due in the window have no answer yet */
void client_give_up(void); /* they count as if answered now */
void client_schedule(uint64_t now);
uint64_t client_next_due(void);
unsigned client_stalled(void);
void client_turn(struct connection *c, uint32_t events);

/* load-histogram.c */
void histogram_reset(void);
void histogram_record(uint64_t value);
uint64_t histogram_percentile(double percent);
void histogram_print(FILE *out);

/* load-sample.c */
struct sample {
  uint64_t at, tree, tree_user, tree_system, tree_waited, self, self_waited, others, busy, steal, total;
  unsigned processes;
};
void sample_take(struct sample *sample, int root);

#endif
