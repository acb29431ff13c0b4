/*
 * What the load generators share: how they refuse an option and give up, and their clock. To be
 * included once, by a program named generator.
 */
#pragma once
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static void fail(const char *what) {
  fprintf(stderr, "generator: %s: %s\n", what, strerror(errno));
  exit(1);
}

static void refuse(const char *option, const char *value, const char *allowed) {
  fprintf(stderr, "generator: %s: '%s' is not %s\n", option, value, allowed);
  exit(2);
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

/* CLOCK_MONOTONIC in nanoseconds. */
static uint64_t nowNs(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}
