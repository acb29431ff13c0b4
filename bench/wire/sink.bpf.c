/*
 * sink: counts and drops the wire bench's frames where they arrive, in XDP, before the kernel
 * builds anything from them. UDP to the bench's port is counted by destination address: rewritten
 * (the real server's), unchanged (the virtual service's) or neither. All else goes to the kernel.
 * Addresses and port in network byte order, set before the program is loaded.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/udp.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

const volatile __u32 rewrittenAddress = 0;
const volatile __u32 unchangedAddress = 0;
const volatile __u16 port = 0;

struct counts {
  __u64 rewritten, unchanged, other;
};

struct {
  __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, struct counts);
} counts SEC(".maps");

SEC("xdp")
int sink(struct xdp_md *context) {
  void *end = (void *)(long)context->data_end;
  struct ethhdr *ethernet = (void *)(long)context->data;
  struct iphdr *ip = (void *)(ethernet + 1);
  struct udphdr *udp = (void *)(ip + 1);
  __u32 zero = 0;
  if ((void *)(udp + 1) > end) return XDP_PASS;
  if (ethernet->h_proto != bpf_htons(ETH_P_IP) || ip->protocol != 17) return XDP_PASS;
  if (udp->dest != port) return XDP_PASS;
  struct counts *count = bpf_map_lookup_elem(&counts, &zero);
  if (!count) return XDP_PASS;
  if (ip->daddr == rewrittenAddress) {
    count->rewritten++;
  } else if (ip->daddr == unchangedAddress) {
    count->unchanged++;
  } else {
    count->other++;
  }
  return XDP_DROP;
}

char programLicense[] SEC("license") = "Dual BSD/GPL";
