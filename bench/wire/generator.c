/*
 * generator: sends UDP frames from one interface, flooding or at a rate, for the benches wire and
 * latency.
 *
 * A frame is --bytes long without its frame check sequence, or as short as Ethernet allows (60 with
 * IPv4, 80 with IPv6): Ethernet, IP, UDP, at least 18 bytes of payload, all checksums complete. A
 * flow is a client address and port; flows take turns, frame by frame. The frames are built once,
 * then sent from an AF_PACKET socket that bypasses the queueing discipline (packet(7),
 * PACKET_QDISC_BYPASS), up to 64 to a sendmmsg call.
 *
 * With --rate it looks at the clock without a pause and sends what is due, never more: at a rate
 * below that of single calls frames go out one by one. After a stall (this CPU was taken away) it
 * does not make up for more than BEHIND_MAX frames, which would be a burst that nobody asked for:
 * the rest is left out and told as `slipped`.
 *
 * With --stamp 1 each frame is sent alone, and the first eight bytes of its payload are the time
 * right before the call: CLOCK_MONOTONIC in nanoseconds, in host order.
 *
 * It never runs without bounds: it stops after --seconds or --frames, whichever comes first.
 * The last line of output is JSON: frames sent, refused by the interface, slipped, and seconds.
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

#include "../support/generator.h"

enum {
  IP_AT = 14,
  IPV4_BYTES = 20,
  IPV6_BYTES = 40,
  UDP_BYTES = 8,
  PAYLOAD_LEAST = 18,
  FRAME_MOST = 1514,
  STAMP_BYTES = 8,
  BATCH = 64,
  BEHIND_MAX = 256,
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
  uint16_t port; /* host byte order */
  uint32_t flows, bytes;
  int hasStamps;
  double seconds, rate; /* rate: frames per second, 0 = as fast as it goes */
  uint64_t framesMax;
};

/* The frames of all flows, one after the other, and what sends them. */
struct traffic {
  uint8_t *frames;
  size_t stride;
  uint32_t *sums; /* of pseudo header, UDP and payload, with a stamp of zero */
  struct mmsghdr *messages;
};

static volatile sig_atomic_t stopped;

static void onSignal(int number) {
  (void)number;
  stopped = 1;
}

static double now(void) { return (double)nowNs() * 1e-9; }

/* Ones' complement sum of big-endian words; `bytes` may be odd. */
static uint32_t sum(const uint8_t *data, uint32_t bytes) {
  uint32_t total = 0;
  for (uint32_t at = 0; at < bytes; at++) total += at & 1 ? data[at] : data[at] << 8;
  return total;
}

static void storeChecksum(uint8_t *at, uint32_t total) {
  total = (total & 0xffff) + (total >> 16);
  total = (total & 0xffff) + (total >> 16);
  uint16_t checksum = (uint16_t)~total;
  at[0] = checksum >> 8;
  at[1] = checksum & 0xff;
}

/* In UDP 0 would mean: no checksum. */
static void storeUdpChecksum(uint8_t *udp, uint32_t total) {
  storeChecksum(udp + 6, total);
  if (udp[6] == 0 && udp[7] == 0) udp[6] = udp[7] = 0xff;
}

static void store16(uint8_t *at, uint16_t value) {
  at[0] = value >> 8;
  at[1] = value & 0xff;
}

static uint32_t ipHeaderBytes(const struct parameters *p) {
  return p->destinationFamily == 4 ? IPV4_BYTES : IPV6_BYTES;
}

static uint32_t frameBytesLeast(const struct parameters *p) {
  return IP_AT + ipHeaderBytes(p) + UDP_BYTES + PAYLOAD_LEAST;
}

/* Returns the sum that the UDP checksum is made of. */
static uint32_t buildFrame(uint8_t *frame, const struct parameters *p, uint32_t flow) {
  int isIpv4 = p->destinationFamily == 4;
  uint32_t addressBytes = isIpv4 ? 4 : 16, headerBytes = ipHeaderBytes(p);
  uint32_t udpBytes = p->bytes - IP_AT - headerBytes;
  uint8_t *ip = frame + IP_AT, *udp = ip + headerBytes;
  uint8_t *source = ip + (isIpv4 ? 12 : 8), *last = source + addressBytes - 4;
  memset(frame, 0, p->bytes);
  memcpy(frame, p->destinationMac, 6);
  memcpy(frame + 6, p->sourceMac, 6);
  store16(frame + 12, isIpv4 ? 0x0800 : 0x86dd);
  memcpy(source, p->source, addressBytes);
  memcpy(source + addressBytes, p->destination, addressBytes);
  uint32_t number = (uint32_t)last[2] << 8 | last[3];
  store16(last + 2, number + flow / PORTS_PER_ADDRESS);
  if (isIpv4) {
    ip[0] = 0x45;
    store16(ip + 2, headerBytes + udpBytes);
    store16(ip + 6, 0x4000); /* don't fragment: an identification is then not needed */
    ip[8] = 64;
    ip[9] = 17;
    storeChecksum(ip + 10, sum(ip, 20));
  } else {
    ip[0] = 0x60;
    store16(ip + 4, udpBytes);
    ip[6] = 17;
    ip[7] = 64;
  }
  store16(udp, PORT_FIRST + flow % PORTS_PER_ADDRESS);
  store16(udp + 2, p->port);
  store16(udp + 4, udpBytes);
  memset(udp + UDP_BYTES + STAMP_BYTES, 'x', udpBytes - UDP_BYTES - STAMP_BYTES);
  uint32_t total = sum(source, 2 * addressBytes) + 17 + udpBytes + sum(udp, udpBytes);
  storeUdpChecksum(udp, total);
  return total;
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
static struct traffic buildTraffic(const struct parameters *p) {
  uint32_t count = p->flows + BATCH;
  struct traffic t = {.stride = (p->bytes + 63) & ~63U};
  struct iovec *vectors = calloc(count, sizeof *vectors);
  t.frames = aligned_alloc(64, p->flows * t.stride);
  t.sums = calloc(p->flows, sizeof *t.sums);
  t.messages = calloc(count, sizeof *t.messages);
  if (!t.frames || !vectors || !t.sums || !t.messages) fail("memory for the frames");
  for (uint32_t flow = 0; flow < p->flows; flow++)
    t.sums[flow] = buildFrame(t.frames + flow * t.stride, p, flow);
  for (uint32_t at = 0; at < count; at++) {
    vectors[at] = (struct iovec){t.frames + at % p->flows * t.stride, p->bytes};
    t.messages[at].msg_hdr.msg_iov = &vectors[at];
    t.messages[at].msg_hdr.msg_iovlen = 1;
  }
  return t;
}

static void stamp(const struct traffic *t, const struct parameters *p, uint32_t flow) {
  uint8_t *udp = t->frames + flow * t->stride + IP_AT + ipHeaderBytes(p);
  uint64_t time = nowNs();
  memcpy(udp + UDP_BYTES, &time, STAMP_BYTES);
  storeUdpChecksum(udp, t->sums[flow] + sum(udp + UDP_BYTES, STAMP_BYTES));
}

/* How many frames are due now; moves `origin` on when it is too late for some of them. */
static uint32_t due(const struct parameters *p, double time, double *origin, uint64_t done,
                    uint64_t *slipped) {
  double behind = (time - *origin) * p->rate - (double)done;
  if (behind < 1) return 0;
  if (behind > BEHIND_MAX) {
    uint64_t lost = (uint64_t)behind - BATCH;
    *slipped += lost;
    *origin += (double)lost / p->rate;
    return BATCH;
  }
  return behind < BATCH ? (uint32_t)behind : BATCH;
}

static void run(int fd, const struct traffic *t, const struct parameters *p) {
  uint64_t sent = 0, refused = 0, slipped = 0, calls = 0;
  uint32_t flow = 0, most = p->hasStamps ? 1 : BATCH;
  double start = now(), origin = start, end = start + p->seconds, time = start;
  while (!stopped && sent + refused < p->framesMax) {
    uint64_t left = p->framesMax - sent - refused;
    uint32_t ready = most;
    if ((calls++ & 15) == 0 || p->rate > 0) {
      time = now();
      if (time >= end) break;
      if (p->rate > 0) ready = due(p, time, &origin, sent + refused, &slipped);
      if (ready == 0) continue;
      if (ready > most) ready = most;
    }
    if (p->hasStamps) stamp(t, p, flow);
    int count = sendmmsg(fd, t->messages + flow, left < ready ? left : ready, MSG_DONTWAIT);
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
  printf("{\"sent\":%llu,\"refused\":%llu,\"slipped\":%llu,\"seconds\":%.6f}\n",
         (unsigned long long)sent, (unsigned long long)refused, (unsigned long long)slipped,
         now() - start);
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

static struct parameters parse(int argc, char **argv) {
  static const struct option options[] = {
      {"interface", 1, 0, 'i'}, {"source-mac", 1, 0, 'm'},  {"destination-mac", 1, 0, 'M'},
      {"source", 1, 0, 's'},    {"destination", 1, 0, 'd'}, {"port", 1, 0, 'p'},
      {"flows", 1, 0, 'f'},     {"seconds", 1, 0, 't'},     {"frames", 1, 0, 'n'},
      {"rate", 1, 0, 'r'},      {"bytes", 1, 0, 'b'},       {"stamp", 1, 0, 'S'},
      {0}};
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
    if (letter == 'b') p.bytes = (uint32_t)parseNumber(name, optarg, 0, FRAME_MOST);
    if (letter == 'S') p.hasStamps = parseNumber(name, optarg, 0, 1) > 0;
  }
  for (int index = 0; index < 6; index++) {
    if (!(given & 1U << index)) refuse(options[index].name, "", "left out: it is needed");
  }
  if (p.sourceFamily != p.destinationFamily)
    refuse("source", "", "of the destination's family");
  if (p.bytes < frameBytesLeast(&p)) p.bytes = frameBytesLeast(&p);
  return p;
}

int main(int argc, char **argv) {
  struct parameters p = parse(argc, argv);
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  signal(SIGTERM, onSignal);
  signal(SIGINT, onSignal);
  int fd = openSocket(p.interface);
  struct traffic traffic = buildTraffic(&p);
  run(fd, &traffic, &p);
  close(fd);
  return 0;
}
