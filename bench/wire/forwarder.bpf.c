/* forwarder: hands every IPv4 frame to the AF_XDP socket of its queue, the rest to the kernel. */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

struct {
  __uint(type, BPF_MAP_TYPE_XSKMAP);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, __u32);
} sockets SEC(".maps");

SEC("xdp")
int forwarder(struct xdp_md *context) {
  struct ethhdr *ethernet = (void *)(long)context->data;
  if ((void *)(ethernet + 1) > (void *)(long)context->data_end) return XDP_PASS;
  if (ethernet->h_proto != bpf_htons(ETH_P_IP)) return XDP_PASS;
  return bpf_redirect_map(&sockets, context->rx_queue_index, XDP_PASS);
}

char programLicense[] SEC("license") = "Dual BSD/GPL";
