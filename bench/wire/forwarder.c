/*
 * forwarder: the least an AF_XDP director could do, as the yardstick of the wire bench.
 *
 *   forwarder OBJECT INTERFACE MAC MAC INTERFACE MAC MAC MODE RING-SIZE CHUNKS [VIP SERVER PORT]
 *
 * Frames that arrive on one interface leave by the other with new MAC addresses; nothing else is
 * read or written. After each interface: the next hop's MAC behind it, then its own MAC. MODE is
 * busy (spins) or poll (blocks while there is nothing to do). With a virtual address, a server and
 * the port of both, what arrives on the first interface is for that service, or dropped: nat.h.
 *
 * One thread, queue 0 of both interfaces, one UMEM shared by both sockets (XDP_SHARED_UMEM), copy
 * mode, as kernel documentation networking/af_xdp describes. It is tuned like the director's own
 * addon: need-wakeup, bursts of 128, XDP_MAX_TX_SKB_BUDGET so that one wake-up empties a burst,
 * wake-ups that say EAGAIN repeated a bounded number of times.
 *
 * A chunk belongs to exactly one of: the free stack, a fill ring, an rx ring, a tx ring, a
 * completion ring. Prints "ready", runs until SIGTERM, then prints its counters as JSON.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/if_xdp.h>
#include <net/if.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "nat.h"

#ifndef AF_XDP
#define AF_XDP 44
#endif
#ifndef SOL_XDP
#define SOL_XDP 283
#endif
/* From the kernel's uapi (6.17): younger than distributions' headers. */
#define XDP_MAX_TX_SKB_BUDGET_OPTION 9

enum {
  BURST = 128,
  CHUNK_BYTES = 2048,
  WAKEUPS_MAX = 16,
  POLL_MS = 100,
  BIND_ATTEMPTS_MAX = 100,
  BIND_PAUSE_US = 20000,
};

struct ring {
  uint32_t *producer, *consumer, *flags;
  void *descriptors;
  uint32_t mask, size;
};

struct port {
  int fd;
  struct ring fill, completion, rx, tx;
  uint8_t macs[12]; /* what a frame that leaves here starts with: next hop's MAC, own MAC */
  uint64_t received, sent, ringFull, again, busy, failures;
  uint32_t budget;
};

static struct port ports[2];
static struct service service;
static uint8_t *umem;
static uint64_t *freeChunks;
static uint32_t freeCount, ringSize, chunkCount;
static volatile sig_atomic_t stopped;

static void onSignal(int number) {
  (void)number;
  stopped = 1;
}

static void fail(const char *what, const char *value) {
  fprintf(stderr, "forwarder: %s %s: %s\n", what, value, strerror(errno));
  exit(1);
}

/* --- Pool and rings --------------------------------------------------------------------------- */

static void createPool(void) {
  size_t bytes = (size_t)chunkCount * CHUNK_BYTES;
  int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE;
  umem = mmap(NULL, bytes, PROT_READ | PROT_WRITE, flags, -1, 0);
  freeChunks = malloc(chunkCount * sizeof *freeChunks);
  if (umem == MAP_FAILED || !freeChunks) fail("memory for", "the chunks");
  for (freeCount = 0; freeCount < chunkCount; freeCount++) {
    freeChunks[freeCount] = (uint64_t)freeCount * CHUNK_BYTES;
  }
}

static void setOption(int fd, int option, const void *value, socklen_t bytes, const char *name) {
  if (setsockopt(fd, SOL_XDP, option, value, bytes)) fail("setsockopt", name);
}

static void mapRing(int fd, struct ring *ring, off_t page, const struct xdp_ring_offset *at,
                    size_t descriptorBytes) {
  size_t bytes = at->desc + ringSize * descriptorBytes;
  uint8_t *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, page);
  if (memory == MAP_FAILED) fail("mmap", "ring");
  ring->producer = (uint32_t *)(memory + at->producer);
  ring->consumer = (uint32_t *)(memory + at->consumer);
  ring->flags = (uint32_t *)(memory + at->flags);
  ring->descriptors = memory + at->desc;
  ring->size = ringSize;
  ring->mask = ringSize - 1;
}

static uint32_t load(const uint32_t *word) { return __atomic_load_n(word, __ATOMIC_ACQUIRE); }

static void publish(uint32_t *word, uint32_t value) {
  __atomic_store_n(word, value, __ATOMIC_RELEASE);
}

static void openPort(struct port *port, const char *interface, const struct port *owner) {
  struct xdp_mmap_offsets at;
  socklen_t bytes = sizeof at;
  port->fd = socket(AF_XDP, SOCK_RAW | SOCK_CLOEXEC, 0);
  if (port->fd < 0) fail("socket AF_XDP for", interface);
  if (!owner) {
    struct xdp_umem_reg registration = {.addr = (uint64_t)umem,
                                        .len = (uint64_t)chunkCount * CHUNK_BYTES,
                                        .chunk_size = CHUNK_BYTES};
    setOption(port->fd, XDP_UMEM_REG, &registration, sizeof registration, "XDP_UMEM_REG");
  }
  setOption(port->fd, XDP_UMEM_FILL_RING, &ringSize, 4, "XDP_UMEM_FILL_RING");
  setOption(port->fd, XDP_UMEM_COMPLETION_RING, &ringSize, 4, "XDP_UMEM_COMPLETION_RING");
  setOption(port->fd, XDP_RX_RING, &ringSize, 4, "XDP_RX_RING");
  setOption(port->fd, XDP_TX_RING, &ringSize, 4, "XDP_TX_RING");
  if (getsockopt(port->fd, SOL_XDP, XDP_MMAP_OFFSETS, &at, &bytes)) fail("getsockopt", interface);
  mapRing(port->fd, &port->fill, XDP_UMEM_PGOFF_FILL_RING, &at.fr, 8);
  mapRing(port->fd, &port->completion, XDP_UMEM_PGOFF_COMPLETION_RING, &at.cr, 8);
  mapRing(port->fd, &port->rx, XDP_PGOFF_RX_RING, &at.rx, sizeof(struct xdp_desc));
  mapRing(port->fd, &port->tx, XDP_PGOFF_TX_RING, &at.tx, sizeof(struct xdp_desc));
  port->budget = ringSize < 256 ? ringSize : 256;
  if (setsockopt(port->fd, SOL_XDP, XDP_MAX_TX_SKB_BUDGET_OPTION, &port->budget, 4)) {
    port->budget = 0; /* an older kernel: it sends 32 to a wake-up, the retries do the rest */
  }
  struct sockaddr_xdp address = {.sxdp_family = AF_XDP, .sxdp_ifindex = if_nametoindex(interface)};
  address.sxdp_flags = owner ? XDP_SHARED_UMEM : XDP_USE_NEED_WAKEUP | XDP_COPY;
  address.sxdp_shared_umem_fd = owner ? (uint32_t)owner->fd : 0;
  /* A socket that was closed before lets go of its queue a little later: the kernel defers it. */
  for (int attempt = 0; bind(port->fd, (struct sockaddr *)&address, sizeof address); attempt++) {
    if (errno != EBUSY || attempt == BIND_ATTEMPTS_MAX) fail("bind", interface);
    usleep(BIND_PAUSE_US);
  }
}

static struct bpf_link *attach(const char *path, const char *interface, int fd) {
  struct bpf_object *object = bpf_object__open_file(path, NULL);
  uint32_t queue = 0;
  if (!object || bpf_object__load(object)) fail("load", path);
  int map = bpf_object__find_map_fd_by_name(object, "sockets");
  struct bpf_program *program = bpf_object__find_program_by_name(object, "forwarder");
  if (map < 0 || !program) fail("map and program of", path);
  if (bpf_map_update_elem(map, &queue, &fd, 0)) fail("map update for", interface);
  struct bpf_link *link = bpf_program__attach_xdp(program, (int)if_nametoindex(interface));
  if (!link) fail("attach to", interface);
  return link;
}

/* --- The loop --------------------------------------------------------------------------------- */

static void reap(struct port *port) {
  struct ring *ring = &port->completion;
  uint32_t at = *ring->consumer, end = load(ring->producer);
  const uint64_t *chunks = ring->descriptors;
  if (at == end) return;
  for (; at != end; at++) {
    freeChunks[freeCount++] = chunks[at & ring->mask] & ~(uint64_t)(CHUNK_BYTES - 1);
  }
  publish(ring->consumer, at);
}

static void refill(struct port *port) {
  struct ring *ring = &port->fill;
  uint32_t at = *ring->producer, room = ring->size - (at - load(ring->consumer));
  uint64_t *chunks = ring->descriptors;
  uint32_t count = room < freeCount ? room : freeCount;
  if (count == 0) return;
  for (uint32_t end = at + count; at != end; at++) {
    chunks[at & ring->mask] = freeChunks[--freeCount];
  }
  publish(ring->producer, at);
}

static void wake(struct port *port) {
  if (!(load(port->tx.flags) & XDP_RING_NEED_WAKEUP)) return;
  for (int attempt = 0; attempt < WAKEUPS_MAX; attempt++) {
    if (sendto(port->fd, NULL, 0, MSG_DONTWAIT, NULL, 0) >= 0) return;
    if (errno != EAGAIN && errno != EBUSY) break;
    /* EAGAIN: nothing is lost, more is left to send; EBUSY: the device dropped a frame. */
    if (errno == EAGAIN) {
      port->again++;
    } else {
      port->busy++;
    }
    reap(port);
  }
  port->failures++;
}

/* Moves up to BURST frames from one port to the other. Returns how many arrived. */
static uint32_t forward(struct port *from, struct port *to) {
  uint32_t at = *from->rx.consumer, count = load(from->rx.producer) - at;
  if (count == 0) return 0;
  if (count > BURST) count = BURST;
  const struct xdp_desc *arrived = from->rx.descriptors;
  struct xdp_desc *leaving = to->tx.descriptors;
  uint32_t put = *to->tx.producer, room = to->tx.size - (put - load(to->tx.consumer));
  uint32_t taken = count < room ? count : room;
  for (uint32_t index = 0; index < taken; index++, at++, put++) {
    const struct xdp_desc *frame = &arrived[at & from->rx.mask];
    memcpy(umem + frame->addr, to->macs, 12);
    leaving[put & to->tx.mask] = (struct xdp_desc){.addr = frame->addr, .len = frame->len};
  }
  for (uint32_t index = taken; index < count; index++, at++) {
    freeChunks[freeCount++] = arrived[at & from->rx.mask].addr & ~(uint64_t)(CHUNK_BYTES - 1);
  }
  publish(from->rx.consumer, at);
  publish(to->tx.producer, put);
  from->received += count;
  to->sent += taken;
  to->ringFull += count - taken;
  wake(to);
  return count;
}

static uint32_t now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC_COARSE, &time);
  return (uint32_t)(time.tv_sec * 10 + time.tv_nsec / 100000000);
}

/* As forward(), with what a director does. */
static uint32_t direct(struct port *from, struct port *to) {
  uint32_t at = *from->rx.consumer, count = load(from->rx.producer) - at;
  if (count == 0) return 0;
  if (count > BURST) count = BURST;
  const struct xdp_desc *arrived = from->rx.descriptors;
  struct xdp_desc *leaving = to->tx.descriptors;
  uint32_t put = *to->tx.producer, room = to->tx.size - (put - load(to->tx.consumer));
  uint32_t tick = now(), taken = 0, hashes[BURST];
  uint8_t *headers[BURST];
  for (uint32_t index = 0; index < count; index++) {
    __builtin_prefetch(umem + arrived[(at + index) & from->rx.mask].addr, 1);
  }
  for (uint32_t index = 0; index < count; index++) {
    const struct xdp_desc *frame = &arrived[(at + index) & from->rx.mask];
    uint8_t *ip = umem + frame->addr + ETHERNET;
    uint8_t *udp = headers[index] = parse(umem + frame->addr, frame->len);
    if (udp == NULL) continue;
    hashes[index] = hashOf(word(ip + 12), word(ip + 16), word(udp));
    __builtin_prefetch(lines[hashes[index] % LINES]);
  }
  for (uint32_t index = 0; index < count; index++, at++) {
    const struct xdp_desc *frame = &arrived[at & from->rx.mask];
    if (headers[index] != NULL && taken < room &&
        translate(&service, umem + frame->addr, headers[index], hashes[index], tick)) {
      leaving[put++ & to->tx.mask] = (struct xdp_desc){.addr = frame->addr, .len = frame->len};
      taken++;
    } else {
      freeChunks[freeCount++] = frame->addr & ~(uint64_t)(CHUNK_BYTES - 1);
    }
  }
  publish(from->rx.consumer, at);
  publish(to->tx.producer, put);
  from->received += count;
  to->sent += taken;
  to->ringFull += count - taken;
  wake(to);
  return count;
}

static void run(int blocking) {
  struct pollfd set[2] = {{.fd = ports[0].fd, .events = POLLIN},
                          {.fd = ports[1].fd, .events = POLLIN}};
  while (!stopped) {
    uint32_t moved = 0;
    for (int side = 0; side < 2; side++) {
      reap(&ports[side]);
      refill(&ports[side]);
      int directs = side == 0 && service.port != 0;
      moved += (directs ? direct : forward)(&ports[side], &ports[1 - side]);
    }
    if (moved == 0 && blocking) poll(set, 2, POLL_MS);
  }
}

static void tell(const char *name, const struct port *port) {
  struct xdp_statistics statistics = {0};
  socklen_t bytes = sizeof statistics;
  getsockopt(port->fd, SOL_XDP, XDP_STATISTICS, &statistics, &bytes);
  printf("\"%s\":{\"received\":%llu,\"sent\":%llu,\"txRingFull\":%llu,\"wakeupAgain\":%llu,"
         "\"wakeupBusy\":%llu,\"wakeupFailures\":%llu,\"budget\":%u,\"rxRingFull\":%llu,"
         "\"fillRingEmpty\":%llu}",
         name, (unsigned long long)port->received, (unsigned long long)port->sent,
         (unsigned long long)port->ringFull, (unsigned long long)port->again,
         (unsigned long long)port->busy,
         (unsigned long long)port->failures, port->budget,
         (unsigned long long)statistics.rx_ring_full,
         (unsigned long long)statistics.rx_fill_ring_empty_descs);
}

static void parseMac(const char *text, uint8_t *mac) {
  if (sscanf(text, "%hhx:%hhx:%hhx:%hhx:%hhx:%hhx", mac, mac + 1, mac + 2, mac + 3, mac + 4,
             mac + 5) != 6) {
    errno = EINVAL;
    fail("not a MAC address:", text);
  }
}

static void createService(char **words) {
  if (inet_pton(AF_INET, words[0], &service.virtual) != 1) fail("not an address:", words[0]);
  if (inet_pton(AF_INET, words[1], &service.real) != 1) fail("not an address:", words[1]);
  service.port = htons((uint16_t)atoi(words[2]));
  memcpy(service.macs, ports[1].macs, sizeof service.macs);
  createTables();
}

int main(int argc, char **argv) {
  if (argc != 11 && argc != 14) {
    fprintf(stderr, "usage: forwarder OBJECT (INTERFACE NEXT-HOP-MAC OWN-MAC){2} busy|poll "
                    "RING-SIZE CHUNKS [VIP SERVER PORT]\n");
    return 2;
  }
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  signal(SIGTERM, onSignal);
  signal(SIGINT, onSignal);
  ringSize = (uint32_t)atoi(argv[9]);
  chunkCount = (uint32_t)atoi(argv[10]);
  createPool();
  struct bpf_link *links[2];
  for (int side = 0; side < 2; side++) {
    parseMac(argv[3 + side * 3], ports[side].macs);
    parseMac(argv[4 + side * 3], ports[side].macs + 6);
    openPort(&ports[side], argv[2 + side * 3], side ? &ports[0] : NULL);
    refill(&ports[side]);
  }
  if (argc == 14) createService(argv + 11);
  for (int side = 0; side < 2; side++) {
    links[side] = attach(argv[1], argv[2 + side * 3], ports[side].fd);
  }
  printf("ready\n");
  fflush(stdout);
  run(strcmp(argv[8], "poll") == 0);
  printf("{");
  tell("front", &ports[0]);
  printf(",");
  tell("back", &ports[1]);
  printf("}\n");
  for (int side = 0; side < 2; side++) {
    bpf_link__destroy(links[side]);
    close(ports[side].fd);
  }
  return 0;
}
