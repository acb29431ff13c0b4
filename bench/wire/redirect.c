/*
 * redirect: holds redirect.bpf.o on two interfaces, for the wire bench.
 *
 *   redirect OBJECT INTERFACE MAC MAC INTERFACE MAC MAC
 *
 * After each interface: the next hop's MAC behind it, then its own MAC. Prints "ready"; SIGTERM
 * ends it, and both programs go with their bpf_links.
 */
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
#include "redirect.h"

static void fail(const char *what, const char *value) {
  fprintf(stderr, "redirect: %s %s: %s\n", what, value, strerror(errno));
  exit(1);
}

static void parseMac(const char *text, uint8_t *mac) {
  if (sscanf(text, "%hhx:%hhx:%hhx:%hhx:%hhx:%hhx", mac, mac + 1, mac + 2, mac + 3, mac + 4,
             mac + 5) != 6) {
    errno = EINVAL;
    fail("not a MAC address:", text);
  }
}

/* Frames that arrive on `interface` leave by `side`. */
static struct bpf_link *attach(const char *path, const char *interface, const struct side *side) {
  struct bpf_object *object = bpf_object__open_file(path, NULL);
  uint32_t zero = 0;
  if (!object) fail("open", path);
  struct bpf_map *constants = bpf_object__find_map_by_name(object, ".rodata");
  if (!constants || bpf_map__value_size(constants) != sizeof *side) fail("constants of", path);
  if (bpf_map__set_initial_value(constants, side, sizeof *side)) fail("set the constants of", path);
  if (bpf_object__load(object)) fail("load", path);
  int device = bpf_object__find_map_fd_by_name(object, "device");
  if (bpf_map_update_elem(device, &zero, &side->index, BPF_ANY)) fail("map update for", interface);
  struct bpf_program *program = bpf_object__find_program_by_name(object, "redirect");
  if (!program) fail("program of", path);
  struct bpf_link *link = bpf_program__attach_xdp(program, (int)if_nametoindex(interface));
  if (!link) fail("attach to", interface);
  return link;
}

int main(int argc, char **argv) {
  struct side sides[2] = {0};
  sigset_t ends;
  int number;
  if (argc != 8) {
    fprintf(stderr, "usage: redirect OBJECT (INTERFACE NEXT-HOP-MAC OWN-MAC){2}\n");
    return 2;
  }
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  sigemptyset(&ends);
  sigaddset(&ends, SIGTERM);
  sigaddset(&ends, SIGINT);
  sigprocmask(SIG_BLOCK, &ends, NULL);
  for (int at = 0; at < 2; at++) {
    sides[at].index = if_nametoindex(argv[2 + at * 3]);
    if (sides[at].index == 0) fail("no interface", argv[2 + at * 3]);
    parseMac(argv[3 + at * 3], sides[at].macs);
    parseMac(argv[4 + at * 3], sides[at].macs + 6);
  }
  struct bpf_link *first = attach(argv[1], argv[2], &sides[1]);
  struct bpf_link *second = attach(argv[1], argv[5], &sides[0]);
  printf("ready\n");
  fflush(stdout);
  sigwait(&ends, &number);
  bpf_link__destroy(first);
  bpf_link__destroy(second);
  return 0;
}
