// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Decides which frames leave the kernel's path: those of virtual services, of NAT real servers
 * and of FULLNAT local addresses go to the AF_XDP socket of the queue they arrived on, everything
 * else stays with the kernel (XDP_PASS). One instance per interface: `sockets` is its own, all
 * other maps are shared by all interfaces and written by the control plane.
 *
 * Byte order: addresses and ports in keys are as on the wire. Runs on Linux 5.15 and later.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define FRAGMENT_MORE 0x2000
#define FRAGMENT_OFFSET 0x1fff
#define ICMP_DEST_UNREACH 3
#define ICMP_SOURCE_QUENCH 4
#define ICMP_TIME_EXCEEDED 11
#define ICMP_HEADER_BYTES 8
#define TCP_HEADER_BYTES 20
#define UDP_HEADER_BYTES 8
#define FAMILY_IPV4 4

enum setting {
	WILDCARD_SERVICES = 1 << 0,     /* `services` has entries with port 0 */
	WILDCARD_REAL_SERVERS = 1 << 1, /* `real_servers` has entries with port 0 */
	REDIRECT_ICMP_ERRORS = 1 << 2,
	REDIRECT_FRAGMENTS = 1 << 3,
};

/* Order as in XDP_VERDICTS of the addon. */
enum verdict {
	PASS_NOT_IP,
	PASS_MALFORMED,
	PASS_FRAGMENT,
	PASS_OWN_ADDRESS,
	PASS_NO_MATCH,
	PASS_NO_SOCKET,
	REDIRECT_SERVICE,
	REDIRECT_REAL_SERVER,
	REDIRECT_LOCAL_ADDRESS,
	REDIRECT_ICMP_ERROR,
	REDIRECT_FRAGMENT,
	VERDICTS,
};

enum address_role {
	OWN_ADDRESS = 1,     /* the host's own: health checks, curl from the director */
	FULLNAT_ADDRESS = 2, /* source of connections towards FULLNAT real servers */
};

/* IPv4 uses the first word of `address`, the rest is 0. */
struct endpoint_key {
	__u32 address[4];
	__be16 port;
	__u8 protocol;
	__u8 family;
	__u32 reserved;
};

struct address_key {
	__u32 address[4];
	__u8 family;
	__u8 pad[3];
};

_Static_assert(sizeof(struct endpoint_key) == 24, "written as 24 bytes by the control plane");
_Static_assert(sizeof(struct address_key) == 20, "written as 20 bytes by the control plane");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct endpoint_key);
	__type(value, __u32);
} services SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct endpoint_key);
	__type(value, __u32);
} real_servers SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct address_key);
	__type(value, __u32);
} local_addresses SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} settings SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, VERDICTS);
	__type(key, __u32);
	__type(value, __u64);
} verdicts SEC(".maps");

/* Key: queue number of this interface. */
struct {
	__uint(type, BPF_MAP_TYPE_XSKMAP);
	__uint(max_entries, 256);
	__type(key, __u32);
	__type(value, __u32);
} sockets SEC(".maps");

/* The fields of a packet that decide where it goes; ports as on the wire. */
struct flow {
	__u32 source;
	__u32 destination;
	__be16 source_port;
	__be16 destination_port;
	__u8 protocol;
};

static __always_inline int pass(__u32 verdict)
{
	__u64 *count = bpf_map_lookup_elem(&verdicts, &verdict);

	if (count)
		*count += 1;
	return XDP_PASS;
}

static __always_inline int redirect(struct xdp_md *ctx, __u32 verdict)
{
	int action = bpf_redirect_map(&sockets, ctx->rx_queue_index, XDP_PASS);

	pass(action == XDP_REDIRECT ? verdict : PASS_NO_SOCKET);
	return action;
}

static __always_inline int is_endpoint(void *map, __u32 address, __be16 port, __u8 protocol,
				       int try_wildcard)
{
	struct endpoint_key key = {
		.address = { address },
		.port = port,
		.protocol = protocol,
		.family = FAMILY_IPV4,
	};

	if (bpf_map_lookup_elem(map, &key))
		return 1;
	if (!try_wildcard)
		return 0;
	key.port = 0;
	return bpf_map_lookup_elem(map, &key) != 0;
}

static __always_inline __u32 role_of(__u32 address)
{
	struct address_key key = { .address = { address }, .family = FAMILY_IPV4 };
	__u32 *role = bpf_map_lookup_elem(&local_addresses, &key);

	return role ? *role : 0;
}

/* Source, destination and ports of the IPv4 packet at `ip`. 0, or the verdict against it. */
static __always_inline int read_flow(struct iphdr *ip, void *data_end, struct flow *flow)
{
	__be16 *ports;

	if ((void *)(ip + 1) > data_end || ip->version != 4 || ip->ihl < 5)
		return PASS_MALFORMED;
	ports = (void *)ip + ip->ihl * 4;
	if ((void *)(ports + 2) > data_end)
		return PASS_MALFORMED;
	flow->source = ip->saddr;
	flow->destination = ip->daddr;
	flow->protocol = ip->protocol;
	flow->source_port = ports[0];
	flow->destination_port = ports[1];
	return 0;
}

static __always_inline int on_transport(struct xdp_md *ctx, struct iphdr *ip, void *data_end,
					__u32 flags)
{
	struct flow flow;
	__u32 role;

	if (read_flow(ip, data_end, &flow))
		return pass(PASS_MALFORMED);
	if (is_endpoint(&services, flow.destination, flow.destination_port, flow.protocol,
			flags & WILDCARD_SERVICES))
		return redirect(ctx, REDIRECT_SERVICE);
	role = role_of(flow.destination);
	if (is_endpoint(&real_servers, flow.source, flow.source_port, flow.protocol,
			flags & WILDCARD_REAL_SERVERS)) {
		if (role == OWN_ADDRESS)
			return pass(PASS_OWN_ADDRESS);
		return redirect(ctx, REDIRECT_REAL_SERVER);
	}
	if (role == FULLNAT_ADDRESS)
		return redirect(ctx, REDIRECT_LOCAL_ADDRESS);
	return pass(PASS_NO_MATCH);
}

/*
 * An ICMP error quotes the packet it is about. It is ours when that packet was one we sent: to a
 * client (its source is the service), to a real server (its destination is one), or to a FULLNAT
 * real server (its source is a local address).
 */
static __always_inline int on_icmp(struct xdp_md *ctx, __u8 *icmp, void *data_end, __u32 flags)
{
	struct iphdr *quoted = (void *)icmp + ICMP_HEADER_BYTES;
	struct flow flow;
	__u32 role;

	if (!(flags & REDIRECT_ICMP_ERRORS))
		return pass(PASS_NO_MATCH);
	if ((void *)(icmp + ICMP_HEADER_BYTES) > data_end)
		return pass(PASS_MALFORMED);
	if (icmp[0] != ICMP_DEST_UNREACH && icmp[0] != ICMP_SOURCE_QUENCH &&
	    icmp[0] != ICMP_TIME_EXCEEDED)
		return pass(PASS_NO_MATCH);
	if ((void *)(quoted + 1) > data_end)
		return pass(PASS_MALFORMED);
	if ((quoted->protocol != IPPROTO_TCP && quoted->protocol != IPPROTO_UDP) ||
	    quoted->frag_off & bpf_htons(FRAGMENT_OFFSET))
		return pass(PASS_NO_MATCH);
	if (read_flow(quoted, data_end, &flow))
		return pass(PASS_MALFORMED);
	if (is_endpoint(&services, flow.source, flow.source_port, flow.protocol,
			flags & WILDCARD_SERVICES))
		return redirect(ctx, REDIRECT_ICMP_ERROR);
	role = role_of(flow.source);
	if (role == FULLNAT_ADDRESS)
		return redirect(ctx, REDIRECT_ICMP_ERROR);
	if (!is_endpoint(&real_servers, flow.destination, flow.destination_port, flow.protocol,
			 flags & WILDCARD_REAL_SERVERS))
		return pass(PASS_NO_MATCH);
	return role == OWN_ADDRESS ? pass(PASS_OWN_ADDRESS) : redirect(ctx, REDIRECT_ICMP_ERROR);
}

static __always_inline int on_ipv4(struct xdp_md *ctx, struct iphdr *ip, void *data_end)
{
	__u32 zero = 0;
	__u32 *settings_word = bpf_map_lookup_elem(&settings, &zero);
	__u32 flags = settings_word ? *settings_word : 0;
	__u32 header_bytes, total_bytes, here_bytes;

	if ((void *)(ip + 1) > data_end || ip->version != 4 || ip->ihl < 5)
		return pass(PASS_MALFORMED);
	header_bytes = ip->ihl * 4;
	total_bytes = bpf_ntohs(ip->tot_len);
	here_bytes = data_end - (void *)ip;
	if (total_bytes < header_bytes || total_bytes > here_bytes)
		return pass(PASS_MALFORMED);
	if (ip->frag_off & bpf_htons(FRAGMENT_MORE | FRAGMENT_OFFSET))
		return flags & REDIRECT_FRAGMENTS ? redirect(ctx, REDIRECT_FRAGMENT)
						  : pass(PASS_FRAGMENT);
	switch (ip->protocol) {
	case IPPROTO_TCP:
		if (total_bytes < header_bytes + TCP_HEADER_BYTES)
			return pass(PASS_MALFORMED);
		return on_transport(ctx, ip, data_end, flags);
	case IPPROTO_UDP:
		if (total_bytes < header_bytes + UDP_HEADER_BYTES)
			return pass(PASS_MALFORMED);
		return on_transport(ctx, ip, data_end, flags);
	case IPPROTO_ICMP:
		return on_icmp(ctx, (void *)ip + header_bytes, data_end, flags);
	default:
		return pass(PASS_NO_MATCH);
	}
}

SEC("xdp")
int redirect_frames(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data;
	void *data_end = (void *)(long)ctx->data_end;
	struct ethhdr *ethernet = data;

	if ((void *)(ethernet + 1) > data_end)
		return pass(PASS_MALFORMED);
	/* A tag or another family becomes one more case here. */
	switch (ethernet->h_proto) {
	case bpf_htons(ETH_P_IP):
		return on_ipv4(ctx, (void *)(ethernet + 1), data_end);
	default:
		return pass(PASS_NOT_IP);
	}
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
