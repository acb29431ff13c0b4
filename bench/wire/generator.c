/*
 * generator: floods one interface with minimal UDP frames, for the wire bench.
 *
 * A frame is 60 bytes without its frame check sequence: Ethernet, IPv4, UDP, 18 bytes of payload,
 * all checksums complete; with IPv6 addresses 80 bytes. A flow is a client address and port; flows
 * take turns, frame by frame. The frames are built once, then sent from an AF_PACKET socket that
 * bypasses the queueing discipline (packet(7), PACKET_QDISC_BYPASS), 64 to a sendmmsg call.
 *
 * It never runs without bounds: it stops after --seconds or --frames, whichever comes first.
 * The last line of output is JSON: frames sent, frames the interface refused, seconds.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
  IP_AT = 14,
  IPV4_BYTES = 20,
  IPV6_BYTES = 40,
  UDP_TOTAL = 26,
  STRIDE = 128,
  BATCH = 64,
  PORT_FIRST = 1024,
  PORTS_PER_ADDRESS = 60000,
  FLOWS_MAX = 1000000,
  SECONDS_MAX = 600,
  SEND_BUFFER_BYTES = 8 << 20,
};

struct parameters {
  const char *interface;
  uint8_t sourceMac[6], destinationMac[6];
  uint8_t source[16], destination[16]; /* IPv4 in the first four bytes */
  int sourceFamily, destinationFamily;
  uint16_t port;                /* host byte order */
  uint32_t flows;
  double seconds, rate; /* rate: frames per second, 0 = as fast as it goes */
  uint64_t framesMax;
};

static volatile sig_atomic_t stopped;

static void onSignal(int number) {
  (void)number;
  stopped = 1;
}

static void fail(const char *what) {
  fprintf(stderr, "generator: %s: %s\n", what, strerror(errno));
  exit(1);
}

static void refuse(const char *option, const char *value, const char *allowed) {
  fprintf(stderr, "generator: %s: '%s' is not %s\n", option, value, allowed);
  exit(2);
}

static double now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec + time.tv_nsec * 1e-9;
}

/* Ones' complement sum of big-endian words; `bytes` is even here. */
static uint32_t sum(const uint8_t *data, int bytes) {
  uint32_t total = 0;
  for (int at = 0; at < bytes; at += 2) total += data[at] << 8 | data[at + 1];
  return total;
}

static void storeChecksum(uint8_t *at, uint32_t total) {
  total = (total & 0xffff) + (total >> 16);
  total = (total & 0xffff) + (total >> 16);
  uint16_t checksum = (uint16_t)~total;
  at[0] = checksum >> 8;
  at[1] = checksum & 0xff;
}

static void store16(uint8_t *at, uint16_t value) {
  at[0] = value >> 8;
  at[1] = value & 0xff;
}

static size_t frameBytes(const struct parameters *p) {
  return IP_AT + (p->destinationFamily == 4 ? IPV4_BYTES : IPV6_BYTES) + UDP_TOTAL;
}

static void buildFrame(uint8_t *frame, const struct parameters *p, uint32_t flow) {
  int isIpv4 = p->destinationFamily == 4;
  int addressBytes = isIpv4 ? 4 : 16, headerBytes = isIpv4 ? IPV4_BYTES : IPV6_BYTES;
  uint8_t *ip = frame + IP_AT, *udp = ip + headerBytes;
  uint8_t *source = ip + (isIpv4 ? 12 : 8), *last = source + addressBytes - 4;
  memset(frame, 0, frameBytes(p));
  memcpy(frame, p->destinationMac, 6);
  memcpy(frame + 6, p->sourceMac, 6);
  store16(frame + 12, isIpv4 ? 0x0800 : 0x86dd);
  memcpy(source, p->source, addressBytes);
  memcpy(source + addressBytes, p->destination, addressBytes);
  uint32_t number = (uint32_t)last[2] << 8 | last[3];
  store16(last + 2, number + flow / PORTS_PER_ADDRESS);
  if (isIpv4) {
    ip[0] = 0x45;
    store16(ip + 2, headerBytes + UDP_TOTAL);
    store16(ip + 6, 0x4000); /* don't fragment: an identification is then not needed */
    ip[8] = 64;
    ip[9] = 17;
    storeChecksum(ip + 10, sum(ip, 20));
  } else {
    ip[0] = 0x60;
    store16(ip + 4, UDP_TOTAL);
    ip[6] = 17;
    ip[7] = 64;
  }
  store16(udp, PORT_FIRST + flow % PORTS_PER_ADDRESS);
  store16(udp + 2, p->port);
  store16(udp + 4, UDP_TOTAL);
  memcpy(udp + 8, "xvs wire bench    ", 18);
  storeChecksum(udp + 6, sum(source, 2 * addressBytes) + 17 + UDP_TOTAL + sum(udp, UDP_TOTAL));
  if (udp[6] == 0 && udp[7] == 0) store16(udp + 6, 0xffff); /* 0 would mean: no checksum */
}

static int openSocket(const char *interface) {
  int one = 1, bytes = SEND_BUFFER_BYTES;
  int fd = socket(AF_PACKET, SOCK_RAW, 0); /* protocol 0: it never receives */
  if (fd < 0) fail("socket AF_PACKET");
  struct sockaddr_ll address = {.sll_family = AF_PACKET,
                                .sll_ifindex = (int)if_nametoindex(interface)};
  if (address.sll_ifindex == 0) fail(interface);
  if (bind(fd, (struct sockaddr *)&address, sizeof address)) fail("bind");
  if (setsockopt(fd, SOL_PACKET, PACKET_QDISC_BYPASS, &one, sizeof one)) {
    fail("PACKET_QDISC_BYPASS");
  }
  /* The sockets' frames wait in rings of the contender: the sender must not sleep for them. */
  if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof bytes)) fail("SO_SNDBUFFORCE");
  return fd;
}

/* One message a flow, and BATCH more so that a batch may run over the end. */
static struct mmsghdr *buildMessages(const struct parameters *p) {
  uint32_t count = p->flows + BATCH;
  size_t bytes = frameBytes(p);
  uint8_t *frames = aligned_alloc(64, (size_t)p->flows * STRIDE);
  struct iovec *vectors = calloc(count, sizeof *vectors);
  struct mmsghdr *messages = calloc(count, sizeof *messages);
  if (!frames || !vectors || !messages) fail("memory for the frames");
  for (uint32_t flow = 0; flow < p->flows; flow++)
    buildFrame(frames + (size_t)flow * STRIDE, p, flow);
  for (uint32_t at = 0; at < count; at++) {
    vectors[at] = (struct iovec){frames + (size_t)(at % p->flows) * STRIDE, bytes};
    messages[at].msg_hdr.msg_iov = &vectors[at];
    messages[at].msg_hdr.msg_iovlen = 1;
  }
  return messages;
}

static void run(int fd, struct mmsghdr *messages, const struct parameters *p) {
  uint64_t sent = 0, refused = 0, calls = 0;
  uint32_t flow = 0;
  double start = now(), end = start + p->seconds, time = start;
  while (!stopped && sent + refused < p->framesMax) {
    if ((calls++ & 15) == 0 || p->rate > 0) {
      time = now();
      if (time >= end) break;
      if (p->rate > 0 && (double)(sent + refused) > (time - start) * p->rate) continue;
    }
    uint64_t left = p->framesMax - sent - refused;
    int count = sendmmsg(fd, messages + flow, left < BATCH ? left : BATCH, MSG_DONTWAIT);
    if (count > 0) {
      sent += count;
    } else if (errno == ENOBUFS || errno == EAGAIN) {
      count = 1; /* the peer's ring was full: that frame is lost, as on a wire */
      refused++;
    } else if (errno == EINTR) {
      continue;
    } else {
      fail("sendmmsg");
    }
    flow += count;
    if (flow >= p->flows) flow -= p->flows * (flow / p->flows);
  }
  printf("{\"sent\":%llu,\"refused\":%llu,\"seconds\":%.6f}\n", (unsigned long long)sent,
         (unsigned long long)refused, now() - start);
}

static void parseMac(const char *option, const char *text, uint8_t *mac) {
  unsigned int b[6];
  char rest;
  if (sscanf(text, "%2x:%2x:%2x:%2x:%2x:%2x%c", b, b + 1, b + 2, b + 3, b + 4, b + 5, &rest) != 6) {
    refuse(option, text, "six hexadecimal bytes with colons");
  }
  for (int at = 0; at < 6; at++) mac[at] = (uint8_t)b[at];
}

static int parseAddress(const char *option, const char *text, uint8_t *address) {
  int family = strchr(text, ':') ? 6 : 4;
  if (inet_pton(family == 4 ? AF_INET : AF_INET6, text, address) != 1)
    refuse(option, text, "an IPv4 or IPv6 address");
  return family;
}

static double parseNumber(const char *option, const char *text, double least, double most) {
  char *rest, allowed[64];
  double value = strtod(text, &rest);
  if (*rest || rest == text || !(value >= least && value <= most)) {
    snprintf(allowed, sizeof allowed, "a number from %.0f to %.0f", least, most);
    refuse(option, text, allowed);
  }
  return value;
}

static struct parameters parse(int argc, char **argv) {
  static const struct option options[] = {
      {"interface", 1, 0, 'i'}, {"source-mac", 1, 0, 'm'},  {"destination-mac", 1, 0, 'M'},
      {"source", 1, 0, 's'},    {"destination", 1, 0, 'd'}, {"port", 1, 0, 'p'},
      {"flows", 1, 0, 'f'},     {"seconds", 1, 0, 't'},     {"frames", 1, 0, 'n'},
      {"rate", 1, 0, 'r'},      {0}};
  struct parameters p = {.flows = 1024, .seconds = 1, .framesMax = 1000000000};
  unsigned int given = 0;
  for (int index, letter; (letter = getopt_long(argc, argv, "", options, &index)) != -1;) {
    if (letter == '?') exit(2);
    const char *name = options[index].name;
    given |= 1U << index;
    if (letter == 'i') p.interface = optarg;
    if (letter == 'm') parseMac(name, optarg, p.sourceMac);
    if (letter == 'M') parseMac(name, optarg, p.destinationMac);
    if (letter == 's') p.sourceFamily = parseAddress(name, optarg, p.source);
    if (letter == 'd') p.destinationFamily = parseAddress(name, optarg, p.destination);
    if (letter == 'p') p.port = (uint16_t)parseNumber(name, optarg, 1, 65535);
    if (letter == 'f') p.flows = (uint32_t)parseNumber(name, optarg, 1, FLOWS_MAX);
    if (letter == 't') p.seconds = parseNumber(name, optarg, 0, SECONDS_MAX);
    if (letter == 'n') p.framesMax = (uint64_t)parseNumber(name, optarg, 1, 1e12);
    if (letter == 'r') p.rate = parseNumber(name, optarg, 0, 1e8);
  }
  for (int index = 0; index < 6; index++) {
    if (!(given & 1U << index)) refuse(options[index].name, "", "left out: it is needed");
  }
  if (p.sourceFamily != p.destinationFamily)
    refuse("source", "", "of the destination's family");
  return p;
}

int main(int argc, char **argv) {
  struct parameters p = parse(argc, argv);
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  signal(SIGTERM, onSignal);
  signal(SIGINT, onSignal);
  int fd = openSocket(p.interface);
  struct mmsghdr *messages = buildMessages(&p);
  run(fd, messages, &p);
  close(fd);
  return 0;
}
