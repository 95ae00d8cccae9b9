/* The generator's command line. */
#include "load.h"

#include <arpa/inet.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

struct options options = {
  .size = 100, .connections = 1, .sources = 1, .seconds = 2, .warmup = 0.3, .cpu = -1, .tls_minor = 3, .group = "P-256",
  .target = {.sin_family = AF_INET}, .service = {.sin_family = AF_INET}, .from = 0x7f000002,
};

static const char usage[] =
  "usage: load MODE --target IP:PORT [--service IP:PORT] [options]\n"
  "       load serve KIND@IP:PORT ...        KIND: sink, source, echo, duplex; tls-KIND for TLS\n"
  "       load pin CPU -- COMMAND ...        run COMMAND on one CPU with all descriptors allowed\n"
  "modes: bulk-up, bulk-down, bulk-both, ping, crr (connect, request, response, close), idle\n"
  "  --connections N   at a time (1)          --size BYTES      of a message (100)\n"
  "  --seconds S       of the window (2)      --warmup S        before it (0.3)\n"
  "  --rate PER_S      open loop              --spin            do not sleep between due times\n"
  "  --tls             clients speak TLS      --service-tls     the service speaks TLS\n"
  "  --tls-version V   1.2 or 1.3 (1.3)       --resume          offer the last ticket\n"
  "  --group G         of the key exchange (P-256)\n"
  "  --ca F --cert F --key F --sni NAME       --close client-rst | client-fin | service-fin (crr)\n"
  "  --hello           begin with a ClientHello (crr, bulk)\n"
  "  --idle N          further connections that stay silent\n"
  "  --sources N       source addresses       --from IP         the first of them (127.0.0.2)\n"
  "  --cpu N           run on this CPU        --watch PID       report the CPU time of this process tree\n"
  "  --verify          compare every byte\n";

void options_usage(void) {
  fputs(usage, stderr);
  exit(2);
}

static struct in_addr ip(const char *text) {
  struct in_addr result;
  if (inet_pton(AF_INET, text, &result) != 1) die("%s: want an IPv4 address", text);
  return result;
}

struct sockaddr_in options_address(const char *text) {
  struct sockaddr_in result = {.sin_family = AF_INET};
  char name[64];
  const char *colon = strrchr(text, ':');
  if (!colon || (size_t)(colon - text) >= sizeof name) die("%s: want IPV4:PORT", text);
  memcpy(name, text, (size_t)(colon - text));
  name[colon - text] = 0;
  result.sin_addr = ip(name);
  result.sin_port = htons((uint16_t)atoi(colon + 1));
  return result;
}

static enum closing closing(const char *text) {
  if (!strcmp(text, "client-rst")) return CLOSE_CLIENT_RST;
  if (!strcmp(text, "client-fin")) return CLOSE_CLIENT_FIN;
  if (!strcmp(text, "service-fin")) return CLOSE_SERVICE_FIN;
  die("--close %s: want client-rst, client-fin or service-fin", text);
}

static int tls_minor(const char *text) {
  if (strcmp(text, "1.2") && strcmp(text, "1.3")) die("--tls-version %s: want 1.2 or 1.3", text);
  return text[2] - '0';
}

int options_read(int argc, char **argv) {
  static const struct option longs[] = {
    {"target", 1, 0, 't'}, {"service", 1, 0, 's'}, {"connections", 1, 0, 'c'}, {"size", 1, 0, 'b'}, {"seconds", 1, 0, 'd'},
    {"warmup", 1, 0, 'w'}, {"rate", 1, 0, 'r'}, {"spin", 0, 0, 'S'}, {"tls", 0, 0, 'T'}, {"service-tls", 0, 0, 'U'},
    {"tls-version", 1, 0, 'V'}, {"group", 1, 0, 'g'}, {"resume", 0, 0, 'R'}, {"hello", 0, 0, 'H'}, {"ca", 1, 0, 'a'}, {"cert", 1, 0, 'e'},
    {"key", 1, 0, 'k'}, {"sni", 1, 0, 'n'}, {"close", 1, 0, 'x'}, {"idle", 1, 0, 'i'}, {"sources", 1, 0, 'o'},
    {"from", 1, 0, 'f'}, {"cpu", 1, 0, 'p'}, {"watch", 1, 0, 'W'}, {"verify", 0, 0, 'v'}, {0, 0, 0, 0}};
  for (int o; (o = getopt_long(argc, argv, "", longs, NULL)) != -1;) {
    switch (o) {
      case 't': options.target = options_address(optarg); break;
      case 's': options.service = options_address(optarg); options.has_service = true; break;
      case 'c': options.connections = (unsigned)atoi(optarg); break;
      case 'b': options.size = (size_t)atol(optarg); break;
      case 'd': options.seconds = atof(optarg); break;
      case 'w': options.warmup = atof(optarg); break;
      case 'r': options.rate = atof(optarg); break;
      case 'S': options.spin = true; break;
      case 'T': options.tls = true; break;
      case 'U': options.service_tls = true; break;
      case 'V': options.tls_minor = tls_minor(optarg); break;
      case 'g': options.group = optarg; break;
      case 'R': options.resume = true; break;
      case 'H': options.hello = true; break;
      case 'a': options.ca = optarg; break;
      case 'e': options.cert = optarg; break;
      case 'k': options.key = optarg; break;
      case 'n': options.name_sni = optarg; break;
      case 'x': options.closing = closing(optarg); break;
      case 'i': options.idle = (unsigned)atoi(optarg); break;
      case 'o': options.sources = (unsigned)atoi(optarg); break;
      case 'f': options.from = ntohl(ip(optarg).s_addr); break;
      case 'p': options.cpu = atoi(optarg); break;
      case 'W': options.watch = atoi(optarg); break;
      case 'v': options.verify = true; break;
      default: options_usage();
    }
  }
  if (options.size < 1 || options.size > MESSAGE_MAX) die("--size: want 1 to %u", MESSAGE_MAX);
  return optind;
}
