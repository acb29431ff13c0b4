/* What redirect.bpf.c and redirect.c share. */
#pragma once
#include <linux/types.h>

struct side {
  __u32 index;   /* of the interface that frames leave by */
  __u8 macs[12]; /* what they then start with: next hop's MAC, own MAC */
};
