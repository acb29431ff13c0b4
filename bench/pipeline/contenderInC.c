/*
 * The pipeline's work per packet in C, on a copy of the very tables that xvs made: what a C
 * program would need for the same. Two loops: one packet after the other, and three passes over a
 * burst with prefetching. Packets that need more than an existing NAT connection (new ones, errors,
 * unresolved neighbours) are told apart as xvs does, and end the program: the bench has none.
 *
 *   pipeline DIRECTORY FRAMES TICK    tables and frames are files in DIRECTORY
 *   stdin:  load                      reads the tables anew              -> "loaded"
 *           verify plain|prefetch     one pass, writes DIRECTORY/result  -> "verified PACKETS"
 *           run plain|prefetch COUNT  COUNT packets, timed               -> nanoseconds a packet
 *
 * Tables are 32-bit words in host byte order (src/table), frames are network byte order.
 */
#define _GNU_SOURCE
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

enum {
  BURST = 128, BATCH = 4096, TICK_FRAMES = 65536, CHUNK = 2048, HEADROOM = 256,
  PACKETS_MAX = 1 << 24, FRAME = 60, STRIDE = 64, ETHERNET = 14, RX_WORDS = 2, TX_WORDS = 3,
};
/* src/table/connection.ts */
enum {
  CLIENT, VIRTUAL, CLIENT_PORTS, REAL, REPLY, REPLY_PORTS, IDENTITY, STATE, REAL_SERVER,
  EXPIRES_AT, SERVER_HOP, CLIENT_HOP, TIMER_NEXT, TIMER_PREVIOUS, TIMER_AT, CONTROL,
};
enum { FROM_CLIENT = 1, FROM_SERVER = 2 };
/* src/table/counter.ts, setting.ts: where things are, as xvs says in the file `layout`. */
enum layout { RX_FRAMES, RX_BYTES, TX_FRAMES, TX_BYTES, FOREIGN_PACKETS, UNFINISHED,
              SERVICE_TRAFFIC, SERVER_TRAFFIC, TIMEOUTS, SERVICE_COUNT, EXPIRE_NODEST,
              SECURE_TCP, SEED, SERVER_BITS, IN_PACKETS_SHIFT, IN_PACKETS_MAX, LAYOUT_WORDS };
static int32_t layout[LAYOUT_WORDS];
enum { IN_PACKETS = 1, OUT_PACKETS = 2, IN_BYTES = 3, OUT_BYTES = 4 };
/* src/table/realServer.ts, link.ts, neighbour.ts */
enum { SERVER_WORDS = 32, SERVER_FLAGS = 0, SERVER_SERVICE = 1, AVAILABLE = 1 };
enum { LINK_MAC_START = 1, LINK_MAC_END = 2, LINK_MTU = 3 };
enum { HOP_MAC_START = 4, HOP_MAC_END = 5, HOP_INTERFACE = 6, HOP_LAST_USED = 10 };
enum { TCP = 6, UDP = 17, FIN = 1, SYN = 2, RST = 4, OWNER = 1, CLOSE = 6 };
enum { TCP_STATES = 11, METHOD_SHIFT = 16, METHOD_NAT = 0 };

struct table {
  const char *name;
  size_t bytes;
  void *data;
};
enum { T_ENTRIES, T_INDEX, T_SERVERS, T_COUNTERS, T_SETTINGS, T_LINKS, T_NEIGHBOURS, T_SHARED,
       TABLES };
static struct table tables[TABLES] = {
    {"entries", 0, 0}, {"index", 0, 0}, {"realServers", 0, 0}, {"counters", 0, 0},
    {"settings", 0, 0}, {"links", 0, 0}, {"neighbours", 0, 0}, {"shared", 0, 0},
};

static const char *directory;
static int32_t *entries, *servers, *settings, *links, *neighbours, *shared;
static uint32_t *lines; /* the connection index */
static double *counters;
static uint32_t mask, seed;
static uint8_t *umem, *frames;
static size_t frameCount, position;
static int32_t tick, rx[BURST * RX_WORDS];
static struct port { int32_t tx[BURST * TX_WORDS]; unsigned count; uint64_t sent; } ports[2];
static FILE *result;
static int32_t events[16], transitions[8 * TCP_STATES];

static void __attribute__((noreturn, noinline, cold)) unexpected(const char *what) {
  fprintf(stderr, "a packet of the bench is not one of an existing connection: %s\n", what);
  exit(1);
}

static inline uint16_t get16(const uint8_t *at) {
  uint16_t value;
  memcpy(&value, at, 2);
  return __builtin_bswap16(value);
}
static inline uint32_t get32(const uint8_t *at) {
  uint32_t value;
  memcpy(&value, at, 4);
  return __builtin_bswap32(value);
}
static inline void put16(uint8_t *at, uint16_t value) {
  value = __builtin_bswap16(value);
  memcpy(at, &value, 2);
}
static inline void put32(uint8_t *at, uint32_t value) {
  value = __builtin_bswap32(value);
  memcpy(at, &value, 4);
}
static inline uint32_t halves(uint32_t word) { return (word & 0xffff) + (word >> 16); }
static inline uint32_t fold(uint32_t sum) {
  sum = (sum & 0xffff) + (sum >> 16);
  return (sum & 0xffff) + (sum >> 16);
}
static inline uint16_t adjusted(uint16_t checksum, uint32_t gain) {
  return ~fold((uint16_t)~checksum + gain);
}
static inline uint16_t pseudoSum(uint32_t source, uint32_t destination, uint32_t protocol,
                                 uint32_t length) {
  return fold(halves(source) + halves(destination) + protocol + length);
}

static inline uint8_t *parse(uint8_t *at, uint32_t length) {
  if (length < ETHERNET || get16(at + 12) != 0x0800) unexpected("not IPv4");
  const uint8_t *ip = at + ETHERNET;
  uint32_t room = length - ETHERNET;
  if (room < 20) unexpected("short");
  uint32_t header = (ip[0] & 0xf) * 4, total = get16(ip + 2);
  if (ip[0] >> 4 != 4 || header < 20 || total < header || total > room) unexpected("malformed");
  uint32_t sum = 0;
  for (uint32_t offset = 0; offset < 20; offset += 4) sum += halves(get32(ip + offset));
  for (uint32_t offset = 20; offset < header; offset += 4) sum += halves(get32(ip + offset));
  if (fold(sum) != 0xffff) unexpected("checksum");
  if (get16(ip + 6) & 0x3fff) unexpected("fragment");
  uint8_t *transport = at + ETHERNET + header;
  uint32_t payload = total - header;
  if (ip[9] == TCP) {
    if (payload < 20) unexpected("malformed");
    uint32_t bytes = (transport[12] >> 4) * 4;
    if (bytes < 20 || bytes > payload) unexpected("malformed");
  } else if (ip[9] == UDP) {
    if (payload < 8) unexpected("malformed");
    uint32_t bytes = get16(transport + 4);
    if (bytes < 8 || bytes > payload) unexpected("malformed");
  } else {
    unexpected("protocol");
  }
  return transport;
}

static inline uint32_t hashOf(uint32_t protocol, uint32_t source, uint32_t destination,
                              uint32_t pair) {
  uint32_t hash = (seed ^ source) * 0x9e3779b1u;
  hash = (hash ^ (hash >> 15) ^ destination) * 0x85ebca6bu;
  hash = (hash ^ (hash >> 13) ^ pair) * 0xc2b2ae35u;
  hash = (hash ^ (hash >> 16) ^ protocol) * 0x27d4eb2fu;
  return hash ^ (hash >> 15);
}

static inline uint32_t candidate(uint32_t hash) {
  const uint32_t *line = lines + ((size_t)(hash & mask) << 4);
  uint32_t tag = hash & 0xff000000u;
  uint32_t start = (hash * 0x9e3779b1u) >> 28;
  if (start == 0) start = 15;
  for (uint32_t slot = start; slot < 16; slot++)
    if ((line[slot] & 0xff000000u) == tag && line[slot] != 0) return line[slot] & 0xffffff;
  for (uint32_t slot = 1; slot < start; slot++)
    if ((line[slot] & 0xff000000u) == tag && line[slot] != 0) return line[slot] & 0xffffff;
  return 0;
}

static inline int match(uint32_t entry, uint32_t protocol, uint32_t source, uint32_t destination,
                        uint32_t pair) {
  const int32_t *e = entries + ((size_t)entry << 4);
  if ((e[IDENTITY] & 0xff) != (int32_t)protocol || e[EXPIRES_AT] - tick <= 0) return 0;
  if (e[CLIENT] == (int32_t)source && e[VIRTUAL] == (int32_t)destination &&
      e[CLIENT_PORTS] == (int32_t)pair)
    return FROM_CLIENT;
  if (e[REAL] == (int32_t)source && e[REPLY] == (int32_t)destination &&
      e[REPLY_PORTS] == (int32_t)pair)
    return FROM_SERVER;
  return 0;
}

static uint32_t __attribute__((noinline)) find(uint32_t hash, uint32_t protocol, uint32_t source,
                                               uint32_t destination, uint32_t pair) {
  uint32_t tag = hash & 0xff000000u, home = hash & mask;
  int last = lines[(size_t)home << 4] >> 8 ? 7 : 0;
  for (int step = 0; step <= last; step++) {
    const uint32_t *line = lines + ((size_t)((home + step) & mask) << 4);
    for (int slot = 1; slot < 16; slot++) {
      if ((line[slot] & 0xff000000u) != tag || line[slot] == 0) continue;
      uint32_t entry = line[slot] & 0xffffff;
      if (match(entry, protocol, source, destination, pair)) return entry;
    }
  }
  return 0;
}

static void transmit(struct port *port) {
  if (result != NULL) {
    for (unsigned i = 0; i < port->count; i++) {
      int32_t *descriptor = port->tx + i * TX_WORDS;
      fwrite(descriptor, 4, TX_WORDS, result);
      fwrite(umem + descriptor[0], 1, descriptor[1], result);
    }
  }
  port->sent += port->count;
  port->count = 0;
}

static inline void advance(int32_t *e, uint32_t protocol, int inbound, uint32_t flags) {
  int32_t word = e[STATE], state = word & 0xff;
  if (protocol == TCP) {
    if (settings[layout[SECURE_TCP]] != 0) unexpected("secure_tcp");
    int32_t event = events[(flags & 7) | ((flags >> 1) & 8)];
    int32_t next =
        event < 0 ? CLOSE : transitions[((inbound ? 0 : 4) + event) * TCP_STATES + state];
    if (next != state) unexpected("another state");
  }
  else if (!inbound && e[CONTROL] != 0) unexpected("persistence");
  uint32_t counted = (uint32_t)e[REAL_SERVER] >> layout[IN_PACKETS_SHIFT];
  if (inbound && counted <= (uint32_t)layout[IN_PACKETS_MAX])
    e[REAL_SERVER] += 1 << layout[IN_PACKETS_SHIFT];
  int32_t expiresAt = tick + settings[layout[TIMEOUTS] + state];
  if (e[EXPIRES_AT] == expiresAt) return;
  e[EXPIRES_AT] = expiresAt;
  if (expiresAt - e[TIMER_AT] < 0) unexpected("a shorter timer");
}

static inline void count(int32_t server, int inbound, uint32_t length) {
  const int32_t *s = servers + (size_t)server * SERVER_WORDS;
  if (!(s[SERVER_FLAGS] & AVAILABLE)) return;
  double *ofServer = counters + layout[SERVER_TRAFFIC] + server * 8;
  double *ofService = counters + layout[SERVICE_TRAFFIC] + s[SERVER_SERVICE] * 8;
  int packets = inbound ? IN_PACKETS : OUT_PACKETS, bytes = inbound ? IN_BYTES : OUT_BYTES;
  ofServer[packets] += 1;
  ofServer[bytes] += length;
  ofService[packets] += 1;
  ofService[bytes] += length;
}

static inline int32_t rewrite(uint8_t *at, uint8_t *transport, uint32_t protocol, uint32_t length,
                              int inbound, uint32_t address, uint32_t number) {
  uint8_t *ip = at + ETHERNET;
  uint32_t source = get32(ip + 12), destination = get32(ip + 16), pair = get32(transport);
  int offset = protocol == TCP ? 16 : 6;
  uint16_t held = get16(transport + offset);
  int unfinished = held == pseudoSum(source, destination, protocol, length);
  uint32_t before = inbound ? destination : source;
  uint32_t newPair = inbound ? (pair & ~0xffffu) | number : (pair & 0xffff) | number << 16;
  uint32_t gain = halves(~before) + halves(address);
  put32(ip + (inbound ? 16 : 12), address);
  ip[8]--;
  put16(ip + 10, adjusted(get16(ip + 10), gain + 0xfeff));
  put32(transport, newPair);
  if (inbound) destination = address;
  else source = address;
  if (unfinished || (protocol == UDP && held == 0)) {
    put16(transport + offset, pseudoSum(source, destination, protocol, length));
    return (int32_t)((transport - at) << 16) | offset;
  }
  uint16_t checksum = adjusted(held, gain + halves(~pair) + halves(newPair));
  put16(transport + offset, checksum == 0 && protocol == UDP ? 0xffff : checksum);
  return 0;
}

static inline void stage(uint8_t *at, uint32_t length, int32_t request, int32_t slot) {
  int32_t *hop = neighbours + ((size_t)slot << 4);
  int32_t outgoing = hop[HOP_INTERFACE];
  struct port *port = &ports[outgoing];
  const int32_t *link = links + (outgoing << 4);
  uint32_t macs[] = {hop[HOP_MAC_START], hop[HOP_MAC_END] | link[LINK_MAC_START],
                     link[LINK_MAC_END]};
  memcpy(at, macs, sizeof macs);
  if (hop[HOP_LAST_USED] != tick) hop[HOP_LAST_USED] = tick;
  if (port->count == BURST) transmit(port);
  int32_t *descriptor = port->tx + port->count * TX_WORDS;
  descriptor[0] = at - umem;
  descriptor[1] = length;
  descriptor[2] = request;
  port->count++;
  counters[layout[TX_FRAMES]] += 1;
  counters[layout[TX_BYTES]] += length;
}

static inline void forward(uint8_t *at, uint8_t *transport, uint32_t hash, uint32_t entry) {
  uint8_t *ip = at + ETHERNET;
  uint32_t protocol = ip[9], source = get32(ip + 12), destination = get32(ip + 16);
  uint32_t pair = get32(transport);
  int direction = entry == 0 ? 0 : match(entry, protocol, source, destination, pair);
  if (direction == 0) {
    entry = find(hash, protocol, source, destination, pair);
    if (entry == 0) unexpected("no connection");
    direction = match(entry, protocol, source, destination, pair);
  }
  int32_t *e = entries + ((size_t)entry << 4);
  uint32_t flags = protocol == TCP ? transport[13] & 0x3f : 0;
  if (direction == FROM_CLIENT && ((flags & SYN) || settings[layout[EXPIRE_NODEST]] != 0))
    unexpected("perhaps replaced");
  int inbound = direction == FROM_CLIENT;
  int32_t identity = e[IDENTITY], server = e[REAL_SERVER] & layout[SERVER_BITS];
  if (inbound && !(servers[(size_t)server * SERVER_WORDS + SERVER_FLAGS] & AVAILABLE))
    unexpected("server not available");
  if (((e[STATE] >> METHOD_SHIFT) & 0xf) != METHOD_NAT) unexpected("another method");
  advance(e, protocol, inbound, flags);
  uint32_t total = get16(ip + 2);
  count(server, inbound, total);
  if (((identity >> 8) & 0xff) != OWNER) counters[layout[FOREIGN_PACKETS]] += 1;
  int32_t hop = e[inbound ? SERVER_HOP : CLIENT_HOP];
  if (hop <= 0 || ((hop ^ shared[0]) & 0xffff) != 0) unexpected("no hop");
  int32_t slot = hop >> 16;
  int32_t outgoing = neighbours[((size_t)slot << 4) + HOP_INTERFACE];
  if (ip[8] <= 1 || (int32_t)total > links[(outgoing << 4) + LINK_MTU]) unexpected("ttl, mtu");
  uint32_t address = inbound ? e[REAL] : e[VIRTUAL];
  uint32_t number = inbound ? (uint32_t)e[REPLY_PORTS] >> 16 : e[CLIENT_PORTS] & 0xffff;
  if (*(volatile int32_t *)&e[IDENTITY] != identity) unexpected("gone");
  int32_t request =
      rewrite(at, transport, protocol, total - (transport - ip), inbound, address, number);
  if (request != 0) counters[layout[UNFINISHED]] += 1;
  stage(at, ETHERNET + total, request, slot);
}

static inline uint32_t frameHash(const uint8_t *at, const uint8_t *transport) {
  const uint8_t *ip = at + ETHERNET;
  return hashOf(ip[9], get32(ip + 12), get32(ip + 16), get32(transport));
}

static void __attribute__((noinline)) processPlain(void) {
  uint64_t bytes = 0;
  for (int i = 0; i < BURST; i++) {
    uint8_t *at = umem + rx[i * RX_WORDS];
    uint32_t length = rx[i * RX_WORDS + 1];
    bytes += length;
    uint8_t *transport = parse(at, length);
    uint32_t hash = frameHash(at, transport);
    forward(at, transport, hash, candidate(hash));
  }
  counters[layout[RX_FRAMES]] += BURST;
  counters[layout[RX_BYTES]] += bytes;
}

static void __attribute__((noinline)) processPrefetch(void) {
  uint8_t *transports[BURST];
  uint32_t hashes[BURST], found[BURST];
  uint64_t bytes = 0;
  for (int i = 0; i < BURST; i++) __builtin_prefetch(umem + rx[i * RX_WORDS], 1);
  for (int i = 0; i < BURST; i++) {
    uint8_t *at = umem + rx[i * RX_WORDS];
    uint32_t length = rx[i * RX_WORDS + 1];
    bytes += length;
    transports[i] = parse(at, length);
    hashes[i] = frameHash(at, transports[i]);
    __builtin_prefetch(lines + ((size_t)(hashes[i] & mask) << 4));
  }
  for (int i = 0; i < BURST; i++) {
    found[i] = candidate(hashes[i]);
    __builtin_prefetch(entries + ((size_t)found[i] << 4), 1);
  }
  for (int i = 0; i < BURST; i++)
    forward(umem + rx[i * RX_WORDS], transports[i], hashes[i], found[i]);
  counters[layout[RX_FRAMES]] += BURST;
  counters[layout[RX_BYTES]] += bytes;
}

static void restore(void) {
  for (int i = 0; i < BATCH; i++) {
    memcpy(umem + (size_t)i * CHUNK + HEADROOM, frames + position * STRIDE, FRAME);
    position = position + 1 == frameCount ? 0 : position + 1;
  }
}

static void batch(int prefetch) {
  for (int first = 0; first < BATCH; first += BURST) {
    for (int i = 0; i < BURST; i++) {
      rx[i * RX_WORDS] = (first + i) * CHUNK + HEADROOM;
      rx[i * RX_WORDS + 1] = FRAME;
    }
    if (settings[layout[SERVICE_COUNT]] == 0) unexpected("no service");
    if (prefetch) processPrefetch();
    else processPlain();
    transmit(&ports[0]);
    transmit(&ports[1]);
  }
}

static uint64_t now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec * 1000000000ull + time.tv_nsec;
}

static int compare(const void *one, const void *other) {
  uint64_t a = *(const uint64_t *)one, b = *(const uint64_t *)other;
  return a < b ? -1 : a > b;
}

/* Nanoseconds a packet took in the median batch. */
static double run(size_t packets, int prefetch) {
  static uint64_t times[PACKETS_MAX / BATCH];
  size_t batches = 0;
  for (size_t done = 0; done < packets; done += BATCH) {
    restore();
    if (done % TICK_FRAMES == 0) tick++;
    uint64_t start = now();
    batch(prefetch);
    times[batches++] = now() - start;
  }
  qsort(times, batches, sizeof times[0], compare);
  return times[batches / 2] / (double)BATCH;
}

/* Huge pages of anonymous memory, such as the director's tables have. */
static void *allocate(size_t bytes) {
  void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) {
    perror("mmap");
    exit(1);
  }
  madvise(memory, bytes, MADV_HUGEPAGE);
  return memory;
}

static void *readFile(const char *name, void *into, size_t *bytes) {
  char path[4096];
  snprintf(path, sizeof path, "%s/%s", directory, name);
  FILE *file = fopen(path, "rb");
  if (file == NULL || fseek(file, 0, SEEK_END) != 0) {
    perror(path);
    exit(1);
  }
  *bytes = ftell(file);
  rewind(file);
  if (into == NULL) into = allocate(*bytes);
  if (fread(into, 1, *bytes, file) != *bytes) {
    fprintf(stderr, "%s: cannot be read whole\n", path);
    exit(1);
  }
  fclose(file);
  return into;
}

static void load(int32_t firstTick) {
  for (int i = 0; i < TABLES; i++)
    tables[i].data = readFile(tables[i].name, tables[i].data, &tables[i].bytes);
  entries = tables[T_ENTRIES].data;
  lines = tables[T_INDEX].data;
  mask = tables[T_INDEX].bytes / 64 - 1;
  servers = tables[T_SERVERS].data;
  counters = tables[T_COUNTERS].data;
  settings = tables[T_SETTINGS].data;
  seed = layout[SEED];
  links = tables[T_LINKS].data;
  /* After its header of 16 words and its buckets. */
  neighbours = (int32_t *)tables[T_NEIGHBOURS].data;
  neighbours += 16 + neighbours[1];
  shared = tables[T_SHARED].data;
  tick = firstTick;
  position = 0;
}

static void readLayout(void) {
  char path[4096];
  snprintf(path, sizeof path, "%s/layout", directory);
  FILE *file = fopen(path, "r");
  int got = 0;
  while (file != NULL && got < LAYOUT_WORDS && fscanf(file, "%d", &layout[got]) == 1) got++;
  if (got != LAYOUT_WORDS) {
    fprintf(stderr, "%s: %d numbers expected\n", path, LAYOUT_WORDS);
    exit(1);
  }
  fclose(file);
}

/* One pass over all frames; what was sent, then the tables that change. */
static size_t verify(int prefetch) {
  char path[4096];
  snprintf(path, sizeof path, "%s/result", directory);
  result = fopen(path, "wb");
  if (result == NULL) {
    perror(path);
    exit(1);
  }
  size_t packets = (frameCount + BATCH - 1) / BATCH * BATCH;
  run(packets, prefetch);
  fwrite(tables[T_ENTRIES].data, 1, tables[T_ENTRIES].bytes, result);
  fwrite(tables[T_COUNTERS].data, 1, tables[T_COUNTERS].bytes, result);
  fwrite(tables[T_NEIGHBOURS].data, 1, tables[T_NEIGHBOURS].bytes, result);
  if (fclose(result) != 0) {
    perror(path);
    exit(1);
  }
  result = NULL;
  return packets;
}

/* src/table/state.ts: only what keeps a connection in its state is needed here. */
static void makeStates(void) {
  for (int flags = 0; flags < 16; flags++)
    events[flags] = flags & RST ? 3 : flags & SYN ? 0 : flags & FIN ? 1 : flags & 8 ? 2 : -1;
  for (int row = 0; row < 8; row++)
    for (int state = 0; state < TCP_STATES; state++)
      transitions[row * TCP_STATES + state] = row % 4 == 2 ? state : CLOSE;
}

int main(int argc, char **argv) {
  if (argc != 4) {
    fprintf(stderr, "usage: pipeline DIRECTORY FRAMES TICK\n");
    return 2;
  }
  size_t bytes, amount;
  char line[128], loop[32];
  directory = argv[1];
  frameCount = strtoul(argv[2], NULL, 10);
  frames = readFile("frames", NULL, &bytes);
  umem = allocate((size_t)BATCH * CHUNK);
  makeStates();
  readLayout();
  while (fgets(line, sizeof line, stdin) != NULL) {
    if (strcmp(line, "load\n") == 0) {
      load(atoi(argv[3]));
      puts("loaded");
    } else if (sscanf(line, "verify %31s", loop) == 1) {
      printf("verified %zu\n", verify(strcmp(loop, "prefetch") == 0));
    } else if (sscanf(line, "run %31s %zu", loop, &amount) == 2 &&
               amount <= PACKETS_MAX) {
      printf("%.3f\n", run(amount, strcmp(loop, "prefetch") == 0));
    } else {
      fprintf(stderr, "'%s': load, verify and run are known\n", line);
      return 2;
    }
    fflush(stdout);
  }
  return 0;
}
