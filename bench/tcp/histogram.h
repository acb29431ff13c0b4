/*
 * Counts of latencies in nanoseconds: 1,024 buckets to each power of two, so that a value is known
 * to 0.1 %; below 2,048 ns each bucket is one nanosecond. Printed as the largest value of a bucket,
 * so that a reader needs to know nothing of how they are numbered. The maximum is kept exactly.
 */
#pragma once
#include <stdint.h>
#include <stdio.h>

enum {
  HISTOGRAM_BITS = 10,
  HISTOGRAM_BUCKETS = (64 - HISTOGRAM_BITS) << HISTOGRAM_BITS,
};

struct histogram {
  uint64_t counts[HISTOGRAM_BUCKETS];
  uint64_t max;
};

static inline uint32_t histogramBucket(uint64_t value) {
  if (value < 2ULL << HISTOGRAM_BITS) return (uint32_t)value;
  uint32_t shift = 63 - HISTOGRAM_BITS - (uint32_t)__builtin_clzll(value);
  return (shift << HISTOGRAM_BITS) + (uint32_t)(value >> shift);
}

static inline uint64_t histogramEnd(uint32_t bucket) {
  if (bucket < 2U << HISTOGRAM_BITS) return bucket;
  uint32_t shift = (bucket >> HISTOGRAM_BITS) - 1;
  uint64_t within = bucket - (shift << HISTOGRAM_BITS);
  return ((within + 1) << shift) - 1;
}

static inline void histogramAdd(struct histogram *histogram, uint64_t value) {
  histogram->counts[histogramBucket(value)]++;
  if (value > histogram->max) histogram->max = value;
}

/* As JSON: [[nanoseconds, count], ...], smallest first. */
static inline void histogramPrint(const struct histogram *histogram) {
  const char *separator = "";
  printf("[");
  for (uint32_t bucket = 0; bucket < HISTOGRAM_BUCKETS; bucket++) {
    if (histogram->counts[bucket] == 0) continue;
    uint64_t end = histogramEnd(bucket);
    if (end > histogram->max) end = histogram->max;
    printf("%s[%llu,%llu]", separator, (unsigned long long)end,
           (unsigned long long)histogram->counts[bucket]);
    separator = ",";
  }
  printf("]");
}
