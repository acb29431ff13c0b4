/*
 * sink: holds sink.bpf.o on an interface and tells its counters.
 *
 *   sink OBJECT INTERFACE SOURCE PREFIX DESTINATION PORT TTL OUTER ROLE
 *
 * SOURCE/PREFIX: where frames come from, PREFIX 96 to 128 or 0 to 32. OUTER: the outer destination
 * of a tunnel, or "-". ROLE: count, echo or return (sink.h). Prints "ready", then for every line
 * read one line of JSON. For an empty line: counters, whether the checksums of the frame kept last
 * are right, and the time (CLOCK_MONOTONIC in seconds) at which they were read. For "delays": how
 * many delays were noted since the last such line, the largest, and the buckets that are not empty,
 * by number; the counts then begin anew, so nothing may be on its way. End of input ends it; the
 * program goes with its bpf_link.
 */
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <net/if.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>
#include "sink.h"

enum { CPUS_MAX = 256, ETHERNET = 14 };

static void fail(const char *what) {
  fprintf(stderr, "sink: %s: %s\n", what, strerror(errno));
  exit(1);
}

static struct bpf_object *load(const char *path, const struct settings *settings) {
  struct bpf_object *object = bpf_object__open_file(path, NULL);
  if (!object) fail(path);
  struct bpf_map *constants = bpf_object__find_map_by_name(object, ".rodata");
  if (!constants) fail("constants of the XDP program");
  if (bpf_map__value_size(constants) != sizeof *settings) fail("size of the constants");
  if (bpf_map__set_initial_value(constants, settings, sizeof *settings)) fail("set the constants");
  if (bpf_object__load(object)) fail("load the XDP program");
  return object;
}

/* Ones' complement sum of big-endian words, folded. */
static uint32_t sum(const uint8_t *data, size_t bytes, uint32_t total) {
  for (size_t at = 0; at < bytes; at++) total += at & 1 ? data[at] : data[at] << 8;
  while (total > 0xffff) total = (total & 0xffff) + (total >> 16);
  return total;
}

/* Are the checksums of the packet right, and of what is in it? */
static int isSound(const uint8_t *packet, size_t room) {
  int isIpv4 = room > 0 && packet[0] >> 4 == 4;
  size_t header = isIpv4 ? 20 : 40;
  if (room < header) return 0;
  size_t total = isIpv4 ? (packet[2] << 8 | packet[3]) : 40 + (packet[4] << 8 | packet[5]);
  if (total > room || total < header) return 0;
  if (isIpv4 && sum(packet, header, 0) != 0xffff) return 0;
  int protocol = isIpv4 ? packet[9] : packet[6];
  if (protocol == 4 || protocol == 41) return isSound(packet + header, total - header);
  uint32_t pseudo = sum(packet + (isIpv4 ? 12 : 8), isIpv4 ? 8 : 32, protocol + total - header);
  return sum(packet + header, total - header, pseudo) == 0xffff;
}

static void tell(int map, int cpus) {
  static struct counts perCpu[CPUS_MAX];
  unsigned long long expected = 0, other = 0;
  int sound = 1;
  struct timespec time;
  uint32_t zero = 0;
  if (bpf_map_lookup_elem(map, &zero, perCpu)) fail("read the counters");
  clock_gettime(CLOCK_MONOTONIC, &time);
  for (int cpu = 0; cpu < cpus; cpu++) {
    const struct counts *count = &perCpu[cpu];
    expected += count->expected;
    other += count->other;
    if (count->sampleBytes > ETHERNET)
      sound &= isSound(count->sample + ETHERNET, count->sampleBytes - ETHERNET);
  }
  printf("{\"expected\":%llu,\"other\":%llu,\"sound\":%s,\"time\":%.9f}\n", expected, other,
         sound ? "true" : "false", time.tv_sec + time.tv_nsec * 1e-9);
  fflush(stdout);
}

/* Adds up the delays of all CPUs and begins anew. */
static void tellDelays(int map, int cpus) {
  static struct delays perCpu[CPUS_MAX];
  static const struct delays none[CPUS_MAX];
  unsigned long long count = 0, max = 0;
  const char *comma = "";
  uint32_t zero = 0;
  if (bpf_map_lookup_elem(map, &zero, perCpu)) fail("read the delays");
  for (int cpu = 0; cpu < cpus; cpu++) {
    count += perCpu[cpu].count;
    if (perCpu[cpu].max > max) max = perCpu[cpu].max;
  }
  printf("{\"count\":%llu,\"max\":%llu,\"buckets\":[", count, max);
  for (int bucket = 0; bucket < DELAY_BUCKETS; bucket++) {
    unsigned long long total = 0;
    for (int cpu = 0; cpu < cpus; cpu++) total += perCpu[cpu].buckets[bucket];
    if (total == 0) continue;
    printf("%s[%d,%llu]", comma, bucket, total);
    comma = ",";
  }
  printf("]}\n");
  fflush(stdout);
  if (bpf_map_update_elem(map, &zero, none, BPF_ANY)) fail("clear the delays");
}

static uint32_t parseRole(const char *text) {
  if (strcmp(text, "count") == 0) return ROLE_COUNT;
  if (strcmp(text, "echo") == 0) return ROLE_ECHO;
  if (strcmp(text, "return") == 0) return ROLE_RETURN;
  fprintf(stderr, "sink: ROLE: '%s' is not one of count, echo, return\n", text);
  exit(2);
}

static void parseAddress(const char *text, uint32_t *words, uint32_t *family) {
  int isIpv4 = strchr(text, ':') == NULL;
  if (inet_pton(isIpv4 ? AF_INET : AF_INET6, text, isIpv4 ? words + 3 : words) != 1) fail(text);
  *family = isIpv4 ? 4 : 6;
}

int main(int argc, char **argv) {
  struct settings settings = {0};
  uint32_t outerFamily;
  char line[64];
  if (argc != 10) {
    fprintf(stderr,
            "usage: sink OBJECT INTERFACE SOURCE PREFIX DESTINATION PORT TTL OUTER|- ROLE\n");
    return 2;
  }
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  parseAddress(argv[3], settings.source, &settings.family);
  parseAddress(argv[5], settings.destination, &settings.family);
  int prefix = atoi(argv[4]) - (settings.family == 6 ? 96 : 0);
  if (prefix < 1 || prefix > 32) fail(argv[4]);
  settings.sourceMask = htonl(0xffffffffu << (32 - prefix));
  settings.port = htons((uint16_t)atoi(argv[6]));
  settings.ttl = (uint32_t)atoi(argv[7]);
  settings.isTunnel = strcmp(argv[8], "-") != 0;
  settings.role = parseRole(argv[9]);
  if (settings.isTunnel) parseAddress(argv[8], settings.outer, &outerFamily);
  int index = (int)if_nametoindex(argv[2]);
  int cpus = libbpf_num_possible_cpus();
  if (index == 0) fail(argv[2]);
  if (cpus < 1 || cpus > CPUS_MAX) fail("number of CPUs");
  struct bpf_object *object = load(argv[1], &settings);
  struct bpf_program *program = bpf_object__find_program_by_name(object, "sink");
  struct bpf_link *link = program ? bpf_program__attach_xdp(program, index) : NULL;
  if (!link) fail("attach the XDP program");
  int counts = bpf_object__find_map_fd_by_name(object, "counts");
  int delays = bpf_object__find_map_fd_by_name(object, "delays");
  printf("ready\n");
  fflush(stdout);
  while (fgets(line, sizeof line, stdin)) {
    if (strcmp(line, "delays\n") == 0) {
      tellDelays(delays, cpus);
    } else {
      tell(counts, cpus);
    }
  }
  bpf_link__destroy(link);
  bpf_object__close(object);
  return 0;
}
