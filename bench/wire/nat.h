/*
 * The least that a director does with a frame and a forwarder does not: NAT of UDP over IPv4, one
 * service with one server. Headers are checked, the connection is found in a table or made, counted
 * and kept alive; address, port, TTL and checksums are rewritten. Connections do not end, and there
 * are no timers, no statistics and no control.
 *
 * Addresses and ports are as they lie in a frame, in network byte order. The index has lines of
 * sixteen slots: a tag of eight bits, and an entry's number.
 */
#ifndef BENCH_NAT_H
#define BENCH_NAT_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { CONNECTIONS = 1 << 21, LINES = CONNECTIONS / 8, SLOTS = 16, LIFE_TICKS = 3000 };
enum { ETHERNET = 14, IPV4 = 20, UDP_HEADER = 8, PROTOCOL_UDP = 17, COUNTED_MAX = 100 };

struct connection {
  uint32_t client, virtual, real;
  uint16_t clientPort, virtualPort, realPort, unused;
  uint32_t packets, expiresAt;
  uint8_t macs[12];
  uint8_t room[64 - 40];
};
_Static_assert(sizeof(struct connection) == 64, "a cache line");

struct service {
  uint32_t virtual, real;
  uint16_t port; /* of both; 0 = no service */
  uint8_t macs[12];
  double packets, bytes, serverPackets, serverBytes;
};

static struct connection *connections;
static uint32_t (*lines)[SLOTS];
static uint32_t connectionCount = 1; /* number 0 is an empty slot */

static void *allocateTable(size_t bytes) {
  void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) {
    perror("memory for a table");
    exit(1);
  }
  madvise(memory, bytes, MADV_HUGEPAGE);
  return memory;
}

static void createTables(void) {
  connections = allocateTable(sizeof *connections * CONNECTIONS);
  lines = allocateTable(sizeof *lines * LINES);
}

static inline uint32_t word(const uint8_t *at) {
  uint32_t value;
  memcpy(&value, at, 4);
  return value;
}
static inline uint16_t half(const uint8_t *at) {
  uint16_t value;
  memcpy(&value, at, 2);
  return value;
}
static inline uint32_t halves(uint32_t value) { return (value & 0xffff) + (value >> 16); }
static inline uint16_t fold(uint32_t sum) {
  sum = halves(sum);
  return (uint16_t)halves(sum);
}
/* RFC 1624, equation 3. */
static inline uint16_t adjusted(uint16_t checksum, uint32_t gain) {
  return (uint16_t)~fold((uint16_t)~checksum + gain);
}

static inline uint32_t hashOf(uint32_t source, uint32_t destination, uint32_t ports) {
  uint32_t hash = (0x5eed5eed ^ source) * 0x9e3779b1u;
  hash = (hash ^ (hash >> 15) ^ destination) * 0x85ebca6bu;
  hash = (hash ^ (hash >> 13) ^ ports) * 0xc2b2ae35u;
  hash = (hash ^ (hash >> 16) ^ PROTOCOL_UDP) * 0x27d4eb2fu;
  return hash ^ (hash >> 15);
}

/* Where the UDP header of a frame begins; null: no whole UDP datagram over IPv4. */
static inline uint8_t *parse(uint8_t *frame, uint32_t length) {
  uint8_t *ip = frame + ETHERNET;
  if (length < ETHERNET + IPV4 || frame[12] != 8 || frame[13] != 0 || ip[0] >> 4 != 4) return NULL;
  uint32_t header = (ip[0] & 0xf) * 4, total = ip[2] << 8 | ip[3], sum = 0;
  if (header < IPV4 || total < header + UDP_HEADER || total > length - ETHERNET) return NULL;
  for (uint32_t at = 0; at < header; at += 4) sum += halves(word(ip + at));
  int isFragment = (ip[6] & 0x3f) != 0 || ip[7] != 0;
  if (fold(sum) != 0xffff || isFragment || ip[9] != PROTOCOL_UDP || ip[8] <= 1) return NULL;
  uint8_t *udp = ip + header;
  uint32_t payload = udp[4] << 8 | udp[5];
  return payload < UDP_HEADER || payload > total - header ? NULL : udp;
}

static struct connection *find(uint32_t hash, const uint8_t *ip, const uint8_t *udp,
                               uint32_t tick) {
  const uint32_t *line = lines[hash % LINES];
  uint32_t tag = hash & 0xff000000u;
  for (int slot = 0; slot < SLOTS && line[slot] != 0; slot++) {
    if ((line[slot] & 0xff000000u) != tag) continue;
    struct connection *found = &connections[line[slot] & 0xffffff];
    if (found->client == word(ip + 12) && found->virtual == word(ip + 16) &&
        found->clientPort == half(udp) && found->virtualPort == half(udp + 2) &&
        (int32_t)(found->expiresAt - tick) > 0)
      return found;
  }
  return NULL;
}

/* Null: not for the service, or no room. */
static struct connection *__attribute__((noinline))
make(const struct service *service, uint32_t hash, const uint8_t *ip, const uint8_t *udp) {
  uint32_t *line = lines[hash % LINES];
  int slot = 0;
  while (slot < SLOTS && line[slot] != 0) slot++;
  if (slot == SLOTS || connectionCount == CONNECTIONS) return NULL;
  if (word(ip + 16) != service->virtual || half(udp + 2) != service->port) return NULL;
  struct connection *made = &connections[connectionCount];
  line[slot] = (hash & 0xff000000u) | connectionCount++;
  *made = (struct connection){.client = word(ip + 12), .virtual = service->virtual,
                              .real = service->real, .clientPort = half(udp),
                              .virtualPort = service->port, .realPort = service->port};
  memcpy(made->macs, service->macs, sizeof made->macs);
  return made;
}

static inline void rewrite(uint8_t *frame, uint8_t *udp, const struct connection *found) {
  uint8_t *ip = frame + ETHERNET;
  uint32_t gain = halves(~found->virtual) + halves(found->real);
  memcpy(ip + 16, &found->real, 4);
  ip[8]--;
  /* One less in the half word's first byte, which is the low one here. */
  uint16_t checksum = adjusted(half(ip + 10), gain + 0xfffe);
  memcpy(ip + 10, &checksum, 2);
  memcpy(udp + 2, &found->realPort, 2);
  if (half(udp + 6) != 0) {
    uint32_t ports = (uint16_t)~found->virtualPort + found->realPort;
    checksum = adjusted(half(udp + 6), gain + ports);
    if (checksum == 0) checksum = 0xffff;
    memcpy(udp + 6, &checksum, 2);
  }
  memcpy(frame, found->macs, sizeof found->macs);
}

/* False: it is not for the service, and as it was. */
static inline int translate(struct service *service, uint8_t *frame, uint8_t *udp, uint32_t hash,
                            uint32_t tick) {
  const uint8_t *ip = frame + ETHERNET;
  struct connection *found = find(hash, ip, udp, tick);
  if (found == NULL) found = make(service, hash, ip, udp);
  if (found == NULL) return 0;
  uint32_t total = ip[2] << 8 | ip[3];
  found->expiresAt = tick + LIFE_TICKS;
  if (found->packets < COUNTED_MAX) found->packets++;
  service->packets += 1;
  service->bytes += total;
  service->serverPackets += 1;
  service->serverBytes += total;
  rewrite(frame, udp, found);
  return 1;
}

#endif
