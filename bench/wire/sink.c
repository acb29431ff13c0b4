/*
 * sink: holds sink.bpf.o on an interface and tells its counters.
 *
 *   sink OBJECT INTERFACE REWRITTEN-ADDRESS UNCHANGED-ADDRESS PORT
 *
 * Prints "ready", then for every line read one line of JSON: counters and the time (CLOCK_MONOTONIC
 * in seconds) at which they were read. End of input ends it; the program goes with its bpf_link.
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

/* As laid out in sink.bpf.c: both structures must change together. */
struct counts {
  uint64_t rewritten, unchanged, other;
};
struct settings {
  uint32_t rewrittenAddress, unchangedAddress;
  uint16_t port;
};

enum {
  CPUS_MAX = 1024,
  CONSTANTS_BYTES = 10, /* of the section: struct settings without the padding at its end */
};

static void fail(const char *what) {
  fprintf(stderr, "sink: %s: %s\n", what, strerror(errno));
  exit(1);
}

static struct bpf_object *load(const char *path, const struct settings *settings) {
  struct bpf_object *object = bpf_object__open_file(path, NULL);
  if (!object) fail(path);
  struct bpf_map *constants = bpf_object__find_map_by_name(object, ".rodata");
  if (!constants) fail("constants of the XDP program");
  if (bpf_map__value_size(constants) != CONSTANTS_BYTES) fail("size of the constants");
  if (bpf_map__set_initial_value(constants, settings, CONSTANTS_BYTES)) fail("set the constants");
  if (bpf_object__load(object)) fail("load the XDP program");
  return object;
}

static void tell(int map, int cpus) {
  static struct counts perCpu[CPUS_MAX];
  struct counts total = {0};
  struct timespec time;
  uint32_t zero = 0;
  if (bpf_map_lookup_elem(map, &zero, perCpu)) fail("read the counters");
  clock_gettime(CLOCK_MONOTONIC, &time);
  for (int cpu = 0; cpu < cpus; cpu++) {
    total.rewritten += perCpu[cpu].rewritten;
    total.unchanged += perCpu[cpu].unchanged;
    total.other += perCpu[cpu].other;
  }
  printf("{\"rewritten\":%llu,\"unchanged\":%llu,\"other\":%llu,\"time\":%.9f}\n",
         (unsigned long long)total.rewritten, (unsigned long long)total.unchanged,
         (unsigned long long)total.other, time.tv_sec + time.tv_nsec * 1e-9);
  fflush(stdout);
}

int main(int argc, char **argv) {
  struct settings settings;
  char line[64];
  if (argc != 6) {
    fprintf(stderr, "usage: sink OBJECT INTERFACE REWRITTEN UNCHANGED PORT\n");
    return 2;
  }
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (inet_pton(AF_INET, argv[3], &settings.rewrittenAddress) != 1) fail(argv[3]);
  if (inet_pton(AF_INET, argv[4], &settings.unchangedAddress) != 1) fail(argv[4]);
  settings.port = htons((uint16_t)atoi(argv[5]));
  int index = (int)if_nametoindex(argv[2]);
  int cpus = libbpf_num_possible_cpus();
  if (index == 0) fail(argv[2]);
  if (cpus < 1 || cpus > CPUS_MAX) fail("number of CPUs");
  struct bpf_object *object = load(argv[1], &settings);
  struct bpf_program *program = bpf_object__find_program_by_name(object, "sink");
  struct bpf_link *link = program ? bpf_program__attach_xdp(program, index) : NULL;
  if (!link) fail("attach the XDP program");
  int map = bpf_object__find_map_fd_by_name(object, "counts");
  printf("ready\n");
  fflush(stdout);
  while (fgets(line, sizeof line, stdin)) tell(map, cpus);
  bpf_link__destroy(link);
  bpf_object__close(object);
  return 0;
}
