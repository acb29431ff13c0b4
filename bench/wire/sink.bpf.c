/*
 * sink: counts and drops the frames of the benches wire and latency where they arrive, in XDP,
 * before the kernel builds anything from them. A UDP frame to the bench's port is `expected` when
 * it is what the real server must get: family, addresses, TTL, and for a tunnel the outer header
 * (IP in IP); else it is counted as `other`. One of 65,536 is kept for the user's side to sum up
 * its checksums. All else goes to the kernel. Settings in network byte order, made before the
 * program is loaded.
 *
 * In the roles of the latency bench it also notes how old the frame is (the stamp in its payload
 * and bpf_ktime_get_ns are the same clock), and at the server sends it back with both ends swapped,
 * which leaves all checksums as they are.
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

struct {
  __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, struct delays);
} delays SEC(".maps");

struct addresses {
  __u32 source[4], destination[4]; /* IPv4 in the last word */
  __u32 ttl, protocol;
};

static __always_inline __u32 bucketOf(__u64 delay) {
  __u32 bits = 0; /* position of the highest bit */
  __u64 rest = delay;
  if (delay < 1 << DELAY_BITS) return delay;
  if (rest >> 32) return DELAY_BUCKETS - 1;
  if (rest >> 16) bits += 16, rest >>= 16;
  if (rest >> 8) bits += 8, rest >>= 8;
  if (rest >> 4) bits += 4, rest >>= 4;
  if (rest >> 2) bits += 2, rest >>= 2;
  if (rest >> 1) bits += 1;
  __u32 low = (delay >> (bits - DELAY_BITS)) & ((1 << DELAY_BITS) - 1);
  return ((bits - DELAY_BITS + 1) << DELAY_BITS) + low;
}

static __always_inline void noteDelay(const void *stamp) {
  __u32 zero = 0;
  __u64 sentAt, time = bpf_ktime_get_ns();
  struct delays *noted = bpf_map_lookup_elem(&delays, &zero);
  if (!noted) return;
  __builtin_memcpy(&sentAt, stamp, sizeof sentAt);
  __u64 delay = time > sentAt ? time - sentAt : 0;
  noted->count++;
  if (delay > noted->max) noted->max = delay;
  noted->buckets[bucketOf(delay) & (DELAY_BUCKETS - 1)]++;
}

/* Exchanges `bytes` bytes, a multiple of two, with those that follow. */
static __always_inline void swapNeighbours(void *at, __u32 bytes) {
  __u16 *words = at, word;
  for (__u32 index = 0; index < bytes / 2; index++) {
    word = words[index];
    words[index] = words[index + bytes / 2];
    words[index + bytes / 2] = word;
  }
}

/*
 * Not by XDP_TX: on veth that wakes the other end only when it has an XDP program of its own, which
 * a kernel contender has not.
 */
static __always_inline int sendBack(__u32 interface, struct ethhdr *ethernet, struct udphdr *udp) {
  swapNeighbours(ethernet, ETH_ALEN);
  if (settings.family == 4) {
    swapNeighbours(&((struct iphdr *)(ethernet + 1))->saddr, 4);
  } else {
    swapNeighbours(&((struct ipv6hdr *)(ethernet + 1))->saddr, 16);
  }
  swapNeighbours(&udp->source, 2);
  return bpf_redirect(interface, 0);
}

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
  int comesBack = settings.role == ROLE_RETURN;
  const __u32 *source = comesBack ? found->destination : found->source;
  const __u32 *destination = comesBack ? found->source : found->destination;
  return found->ttl == settings.ttl && isSame(destination, settings.destination) &&
         source[0] == settings.source[0] && source[1] == settings.source[1] &&
         source[2] == settings.source[2] &&
         ((source[3] ^ settings.source[3]) & settings.sourceMask) == 0;
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
  if ((settings.role == ROLE_RETURN ? udp->source : udp->dest) != settings.port) return XDP_PASS;
  struct counts *count = bpf_map_lookup_elem(&counts, &zero);
  if (!count) return XDP_PASS;
  if (!isRight || !isExpected(&inner)) {
    count->other++;
    return XDP_DROP;
  }
  if ((count->expected++ & SAMPLE_MASK) == 0) {
    /* Frames are shorter than that; the mask tells the verifier so. */
    __u32 bytes = (__u32)((long)context->data_end - (long)context->data) & (SAMPLE_BYTES - 1);
    if (bytes > 0 && bpf_xdp_load_bytes(context, 0, count->sample, bytes) == 0)
      count->sampleBytes = bytes;
  }
  if (settings.role == ROLE_COUNT || (void *)(udp + 1) + 8 > end) return XDP_DROP;
  noteDelay(udp + 1);
  return settings.role == ROLE_ECHO ? sendBack(context->ingress_ifindex, ethernet, udp) : XDP_DROP;
}

char programLicense[] SEC("license") = "Dual BSD/GPL";
