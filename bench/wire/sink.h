/* What sink.bpf.c and sink.c share. Addresses in network byte order, IPv4 in the last word. */
#pragma once
#include <linux/types.h>

#define SAMPLE_BYTES 2048
/* One frame of so many is kept. */
#define SAMPLE_MASK 0xffff

/*
 * Delays: 64 buckets to each power of two of nanoseconds, so that a bucket is at most 1.6 % wide.
 * Below 64 ns each bucket is one nanosecond; the last one has everything from 4.3 s on.
 */
#define DELAY_BITS 6
#define DELAY_BUCKETS 2048

enum role {
  ROLE_COUNT,  /* at the server: counts */
  ROLE_ECHO,   /* at the server: counts, notes delays, sends the frame back */
  ROLE_RETURN, /* at the client: the same for what comes back, the ends of the flow swapped */
};

struct settings {
  __u32 destination[4], source[4], outer[4];
  __u32 sourceMask; /* of the last word */
  __u32 family, isTunnel, ttl, port, role;
};

struct counts {
  __u64 expected, other;
  __u64 sampleBytes;
  __u8 sample[SAMPLE_BYTES];
};

struct delays {
  __u64 count, max;
  __u32 buckets[DELAY_BUCKETS];
};
