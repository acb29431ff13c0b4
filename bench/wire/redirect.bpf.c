/*
 * redirect: sends every IPv4 frame out of the other interface with new MAC addresses, in the kernel
 * and without a copy. Nothing that decides in user space, and nothing that looks at the packet, can
 * be faster on these devices. Settings are made before the program is loaded.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include "redirect.h"

const volatile struct side side = {};

struct {
  __uint(type, BPF_MAP_TYPE_DEVMAP);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, __u32);
} device SEC(".maps");

SEC("xdp")
int redirect(struct xdp_md *context) {
  struct ethhdr *ethernet = (void *)(long)context->data;
  if ((void *)(ethernet + 1) > (void *)(long)context->data_end) return XDP_PASS;
  if (ethernet->h_proto != bpf_htons(ETH_P_IP)) return XDP_PASS;
  for (int at = 0; at < 12; at++) ((__u8 *)ethernet)[at] = side.macs[at];
  return bpf_redirect_map(&device, 0, XDP_DROP);
}

char programLicense[] SEC("license") = "Dual BSD/GPL";
