/*
 * Plain and TLS streams behind one door. TLS has AES-128-GCM with SHA-256 and P-256 on both sides, the client shows a certificate, the service asks for one: what every contender is configured to. Resumption
 * offers the newest ticket and the run counts SSL_session_reused, it never assumes it.
 */
#include "load.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#ifdef NO_TLS

void stream_setup(void) {
  if (options.tls || options.service_tls) die("this generator was built without libssl");
}
void stream_client(struct connection *c) { (void)c; }
void stream_service(struct connection *c) { (void)c; }
int stream_handshake(struct connection *c) { (void)c; return 1; }
void stream_free(struct connection *c) { (void)c; }
bool stream_resumed(struct connection *c) { (void)c; return false; }
bool stream_has_session(void) { return false; }
void stream_hello(void) { die("this generator was built without libssl"); }

#else

#include <openssl/err.h>

static SSL_CTX *client_context, *service_context;
static SSL_SESSION *newest;

static int on_session(SSL *ssl, SSL_SESSION *session) {
  (void)ssl;
  counters.tickets++;
  if (!options.resume) return 0;
  if (newest) SSL_SESSION_free(newest);
  newest = session;
  return 1; /* the reference is ours now */
}

static SSL_CTX *context(const SSL_METHOD *method) {
  SSL_CTX *ctx = SSL_CTX_new(method);
  if (!ctx) die("SSL_CTX_new failed");
  int version = options.tls_minor == 2 ? TLS1_2_VERSION : TLS1_3_VERSION;
  SSL_CTX_set_min_proto_version(ctx, version);
  SSL_CTX_set_max_proto_version(ctx, version);
  SSL_CTX_set_ciphersuites(ctx, "TLS_AES_128_GCM_SHA256");
  SSL_CTX_set_cipher_list(ctx, "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256");
  SSL_CTX_set1_groups_list(ctx, options.group);
  SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
  if (options.ca && SSL_CTX_load_verify_locations(ctx, options.ca, NULL) != 1) die("cannot read %s", options.ca);
  if (options.cert && SSL_CTX_use_certificate_chain_file(ctx, options.cert) != 1) die("cannot read %s", options.cert);
  if (options.key && SSL_CTX_use_PrivateKey_file(ctx, options.key, SSL_FILETYPE_PEM) != 1) die("cannot read %s", options.key);
  return ctx;
}

void stream_setup(void) {
  if (options.tls) {
    client_context = context(TLS_client_method());
    SSL_CTX_set_verify(client_context, options.ca ? SSL_VERIFY_PEER : SSL_VERIFY_NONE, NULL);
    SSL_CTX_set_session_cache_mode(client_context, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(client_context, on_session);
  }
  if (options.service_tls) {
    service_context = context(TLS_server_method());
    int verify = options.ca ? SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT : SSL_VERIFY_NONE;
    SSL_CTX_set_verify(service_context, verify, NULL);
    SSL_CTX_set_session_id_context(service_context, (const unsigned char *)"load", 4);
  }
}

void stream_client(struct connection *c) {
  c->ssl = SSL_new(client_context);
  SSL_set_fd(c->ssl, c->fd);
  SSL_set_connect_state(c->ssl);
  if (options.name_sni) SSL_set_tlsext_host_name(c->ssl, options.name_sni);
  if (!options.resume || !newest) return;
  /* A copy: libssl marks a session as spent for everyone who holds it when a new ticket replaces it. */
  SSL_SESSION *copy = SSL_SESSION_dup(newest);
  SSL_set_session(c->ssl, copy);
  SSL_SESSION_free(copy);
}

void stream_service(struct connection *c) {
  c->ssl = SSL_new(service_context);
  SSL_set_fd(c->ssl, c->fd);
  SSL_set_accept_state(c->ssl);
}

static long outcome(struct connection *c, int result) {
  switch (SSL_get_error(c->ssl, result)) {
    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_WANT_WRITE: return STREAM_AGAIN;
    case SSL_ERROR_ZERO_RETURN: return 0;
    default: return STREAM_FAILED;
  }
}

int stream_handshake(struct connection *c) {
  ERR_clear_error();
  int result = SSL_do_handshake(c->ssl);
  if (result == 1) return 1;
  if (outcome(c, result) == STREAM_AGAIN) return 0;
  static bool told;
  if (!told) {
    told = true;
    char text[256];
    ERR_error_string_n(ERR_peek_error(), text, sizeof text);
    fprintf(stderr, "load: %s handshake failed: %s\n", c->role == ROLE_CLIENT ? "client" : "service", text);
  }
  return -1;
}

void stream_free(struct connection *c) {
  if (!c->ssl) return;
  /* A connection that ends without close_notify would mark its session as not resumable. */
  SSL_set_quiet_shutdown(c->ssl, 1);
  SSL_shutdown(c->ssl);
  SSL_free(c->ssl);
  c->ssl = NULL;
}

bool stream_resumed(struct connection *c) { return SSL_session_reused(c->ssl) == 1; }
bool stream_has_session(void) { return newest != NULL; }

/* A real ClientHello for passthrough runs: what this libssl would send, taken from a memory BIO. */
void stream_hello(void) {
  SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
  SSL *ssl = SSL_new(ctx);
  BIO *out = BIO_new(BIO_s_mem());
  SSL_set_bio(ssl, BIO_new(BIO_s_mem()), out);
  SSL_set_connect_state(ssl);
  SSL_set_tlsext_host_name(ssl, (char *)(options.name_sni ? options.name_sni : "bench.example.test"));
  static const unsigned char alpn[] = "\x02h2\x08http/1.1";
  SSL_set_alpn_protos(ssl, alpn, sizeof alpn - 1);
  SSL_do_handshake(ssl);
  char *bytes;
  long size = BIO_get_mem_data(out, &bytes);
  size_t message = options.mode == MODE_BULK ? 0 : options.size;
  uint8_t *copy = malloc((size_t)size + message);
  memcpy(copy, bytes, (size_t)size);
  memcpy(copy + size, pattern, message);
  hello_bytes = copy;
  hello_size = (size_t)size + message;
  SSL_free(ssl);
  SSL_CTX_free(ctx);
}

#endif

long stream_read(struct connection *c, void *to, size_t size) {
#ifndef NO_TLS
  if (c->ssl) {
    ERR_clear_error();
    int result = SSL_read(c->ssl, to, (int)size);
    return result > 0 ? result : outcome(c, result);
  }
#endif
  ssize_t result = recv(c->fd, to, size, 0);
  if (result >= 0) return result;
  return errno == EAGAIN ? STREAM_AGAIN : STREAM_FAILED;
}

long stream_write(struct connection *c, const void *from, size_t size) {
#ifndef NO_TLS
  if (c->ssl) {
    ERR_clear_error();
    int result = SSL_write(c->ssl, from, (int)size);
    return result > 0 ? result : outcome(c, result) == STREAM_AGAIN ? STREAM_AGAIN : STREAM_FAILED;
  }
#endif
  ssize_t result = send(c->fd, from, size, MSG_NOSIGNAL);
  if (result >= 0) return result;
  return errno == EAGAIN ? STREAM_AGAIN : STREAM_FAILED;
}

/* Ends the outgoing direction in order: close_notify, then FIN. */
void stream_end(struct connection *c) {
#ifndef NO_TLS
  if (c->ssl) {
    ERR_clear_error();
    SSL_shutdown(c->ssl);
  }
#endif
  shutdown(c->fd, SHUT_WR);
}
