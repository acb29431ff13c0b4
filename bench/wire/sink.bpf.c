/*
 * sink: counts and drops the wire bench's frames where they arrive, in XDP, before the kernel
 * builds anything from them. A UDP frame to the bench's port is `expected` when it is what the real
 * server must get: family, addresses, TTL, and for a tunnel the outer header (IP in IP); else it is
 * counted as `other`. One of 65,536 is kept for the user's side to sum up its checksums. All else
 * goes to the kernel. Settings in network byte order, made before the program is loaded.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/udp.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include "sink.h"

const volatile struct settings settings = {};

struct {
  __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, struct counts);
} counts SEC(".maps");

struct addresses {
  __u32 source[4], destination[4]; /* IPv4 in the last word */
  __u32 ttl, protocol;
};

/* Returns what follows the header, or NULL. */
static __always_inline void *parse(void *at, void *end, struct addresses *found) {
  if (settings.family == 4) {
    struct iphdr *ip = at;
    if ((void *)(ip + 1) > end || ip->version != 4) return NULL;
    found->source[3] = ip->saddr;
    found->destination[3] = ip->daddr;
    found->ttl = ip->ttl;
    found->protocol = ip->protocol;
    return ip + 1;
  }
  struct ipv6hdr *ip = at;
  if ((void *)(ip + 1) > end || ip->version != 6) return NULL;
  __builtin_memcpy(found->source, &ip->saddr, 16);
  __builtin_memcpy(found->destination, &ip->daddr, 16);
  found->ttl = ip->hop_limit;
  found->protocol = ip->nexthdr;
  return ip + 1;
}

static __always_inline int isSame(const __u32 *one, const volatile __u32 *other) {
  return one[0] == other[0] && one[1] == other[1] && one[2] == other[2] && one[3] == other[3];
}

static __always_inline int isExpected(const struct addresses *found) {
  return found->ttl == settings.ttl && isSame(found->destination, settings.destination) &&
         found->source[0] == settings.source[0] && found->source[1] == settings.source[1] &&
         found->source[2] == settings.source[2] &&
         ((found->source[3] ^ settings.source[3]) & settings.sourceMask) == 0;
}

SEC("xdp")
int sink(struct xdp_md *context) {
  void *end = (void *)(long)context->data_end;
  struct ethhdr *ethernet = (void *)(long)context->data;
  struct addresses outer = {}, inner = {};
  __u32 zero = 0;
  if ((void *)(ethernet + 1) > end) return XDP_PASS;
  __u16 type = settings.family == 4 ? ETH_P_IP : ETH_P_IPV6;
  if (ethernet->h_proto != bpf_htons(type)) return XDP_PASS;
  void *at = ethernet + 1;
  int isRight = 1;
  if (settings.isTunnel) {
    at = parse(at, end, &outer);
    if (!at) return XDP_PASS;
    isRight = outer.protocol == (settings.family == 4 ? 4 : 41) &&
              isSame(outer.destination, settings.outer);
  }
  struct udphdr *udp = parse(at, end, &inner);
  if (!udp || (void *)(udp + 1) > end || inner.protocol != 17) return XDP_PASS;
  if (udp->dest != settings.port) return XDP_PASS;
  struct counts *count = bpf_map_lookup_elem(&counts, &zero);
  if (!count) return XDP_PASS;
  if (!isRight || !isExpected(&inner)) {
    count->other++;
    return XDP_DROP;
  }
  if ((count->expected++ & SAMPLE_MASK) == 0) {
    /* The bench's frames are shorter than that; the mask tells the verifier so. */
    __u32 bytes = (__u32)((long)context->data_end - (long)context->data) & (SAMPLE_BYTES - 1);
    if (bytes > 0 && bpf_xdp_load_bytes(context, 0, count->sample, bytes) == 0)
      count->sampleBytes = bytes;
  }
  return XDP_DROP;
}

char programLicense[] SEC("license") = "Dual BSD/GPL";
