/* What sink.bpf.c and sink.c share. Addresses in network byte order, IPv4 in the last word. */
#pragma once
#include <linux/types.h>

#define SAMPLE_BYTES 128
/* One frame of so many is kept. */
#define SAMPLE_MASK 0xffff

struct settings {
  __u32 destination[4], source[4], outer[4];
  __u32 sourceMask; /* of the last word */
  __u32 family, isTunnel, ttl, port;
};

struct counts {
  __u64 expected, other;
  __u64 sampleBytes;
  __u8 sample[SAMPLE_BYTES];
};
