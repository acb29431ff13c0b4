// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Decides which frames leave the kernel's path: those of virtual services, of NAT real servers
 * and of FULLNAT local addresses go to the AF_XDP socket of the queue they arrived on, and so do
 * those that the mark rules give a mark of a service; everything else stays with the kernel
 * (XDP_PASS). Redirecting too much is harmless, the worker gives it back. One instance per
 * interface: `sockets` is its own, all other maps are shared by all interfaces and written by the
 * control plane.
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
	MARK_RULES_SECOND = 1 << 4,     /* mark_rules_1 is in use, else mark_rules_0 */
	MARK_COUNT_SHIFT = 16,          /* number of mark rules, 0 to 256, in the bits from here */
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
	REDIRECT_MARK,
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

#define MARK_RULES_MAX 256
#define PORT_LIST_MAX 15
#define ANY_INTERFACE 0xffffffff
#define MARK_OF_IPV4 1

enum mark_rule_flag {
	RULE_IPV6 = 1,
	NOT_SOURCE = 2,
	NOT_DESTINATION = 4,
	NOT_PROTOCOL = 8,
	NOT_SOURCE_PORTS = 16,
	NOT_DESTINATION_PORTS = 32,
	NOT_PORT_LIST = 64,
	NOT_MARK = 128,
};

enum port_side {
	SIDE_SOURCE = 1,
	SIDE_DESTINATION = 2,
};

/* The record of src/table/mark.ts, everything in host order; a port range is first << 16 | last. */
struct mark_rule {
	__u32 flags;
	__u32 protocol;   /* 0: any */
	__u32 interfaces; /* bits as in `interfaces`, or ANY_INTERFACE */
	__u32 source[4];  /* IPv4 in the first */
	__u32 source_mask[4];
	__u32 destination[4];
	__u32 destination_mask[4];
	__u32 match_value; /* (mark & match_mask) == match_value before this rule */
	__u32 match_mask;
	__u32 value; /* the mark becomes (mark & ~mask) ^ value */
	__u32 mask;
	__u32 source_ports;
	__u32 destination_ports;
	__u32 port_list_head; /* ranges in port_list | side << 8; 0: no list */
	__u32 port_list[PORT_LIST_MAX];
	__u32 reserved[7];
};

_Static_assert(sizeof(struct mark_rule) == 192, "written as 48 words by the control plane");
_Static_assert(sizeof(struct endpoint_key) == 24, "written as 24 bytes by the control plane");
_Static_assert(sizeof(struct address_key) == 20, "written as 20 bytes by the control plane");

/* 65,536 services and, for each removed server that connections still refer to, its service. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536 + 262144);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct endpoint_key);
	__type(value, __u32);
} services SEC(".maps");

/* 262,144 real servers; one of a mark's service takes a key for each protocol. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 3 * 262144);
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

/* Two halves: the control plane writes the idle one, then `settings` says which is in use. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, MARK_RULES_MAX);
	__type(key, __u32);
	__type(value, struct mark_rule);
} mark_rules_0 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, MARK_RULES_MAX);
	__type(key, __u32);
	__type(value, struct mark_rule);
} mark_rules_1 SEC(".maps");

/* Marks that are services; value: 1 = of IPv4, 2 = of IPv6. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536 + 262144);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u32);
	__type(value, __u32);
} mark_services SEC(".maps");

/* The kernel's number of an interface, and its bit in the rules' `interfaces`. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 64);
	__type(key, __u32);
	__type(value, __u32);
} interfaces SEC(".maps");

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

/* A packet on its way through the mark rules, in host order. */
struct marking {
	__u32 source;
	__u32 destination;
	__u32 source_port;
	__u32 destination_port;
	__u32 protocol;
	__u32 interface; /* its bit */
	__u32 count;
	__u32 mark;
};

static __always_inline int is_within(__u32 range, __u32 port)
{
	return port >= range >> 16 && port <= (range & 0xffff);
}

static __always_inline int is_in_port_list(const struct mark_rule *rule,
					   const struct marking *packet)
{
	__u32 count = rule->port_list_head & 0xff;
	__u32 side = rule->port_list_head >> 8;
	__u32 i;
	int found = 0;

	for (i = 0; i < PORT_LIST_MAX; i++) {
		__u32 range = rule->port_list[i];

		if (i >= count)
			break;
		if (side & SIDE_SOURCE)
			found |= is_within(range, packet->source_port);
		if (side & SIDE_DESTINATION)
			found |= is_within(range, packet->destination_port);
	}
	return found;
}

static __always_inline int is_marked_by(const struct mark_rule *rule, const struct marking *packet)
{
	__u32 flags = rule->flags;

	if (flags & RULE_IPV6)
		return 0;
	if (rule->interfaces != ANY_INTERFACE && !(rule->interfaces & packet->interface))
		return 0;
	if (rule->protocol && (rule->protocol == packet->protocol) == !!(flags & NOT_PROTOCOL))
		return 0;
	if (((packet->source & rule->source_mask[0]) == rule->source[0]) == !!(flags & NOT_SOURCE))
		return 0;
	if (((packet->destination & rule->destination_mask[0]) == rule->destination[0]) ==
	    !!(flags & NOT_DESTINATION))
		return 0;
	if (((packet->mark & rule->match_mask) == rule->match_value) == !!(flags & NOT_MARK))
		return 0;
	if (is_within(rule->source_ports, packet->source_port) == !!(flags & NOT_SOURCE_PORTS))
		return 0;
	if (is_within(rule->destination_ports, packet->destination_port) ==
	    !!(flags & NOT_DESTINATION_PORTS))
		return 0;
	return !rule->port_list_head ||
	       is_in_port_list(rule, packet) != !!(flags & NOT_PORT_LIST);
}

/* One rule; 1 ends the walk. Called by the kernel for the rules in order (Linux 5.13). */
static long apply_rule(void *map, const void *key, void *value, void *context)
{
	const struct mark_rule *rule = value;
	struct marking *packet = context;

	(void)map;
	if (*(const __u32 *)key >= packet->count)
		return 1;
	if (is_marked_by(rule, packet))
		packet->mark = (packet->mark & ~rule->mask) ^ rule->value;
	return 0;
}

/* Whether the mark rules give the packet the mark of a service. */
static __always_inline int is_of_mark_service(struct xdp_md *ctx, const struct flow *flow,
					      __u32 flags)
{
	__u32 index = ctx->ingress_ifindex;
	__u32 *interface = bpf_map_lookup_elem(&interfaces, &index);
	struct marking packet = {
		.source = bpf_ntohl(flow->source),
		.destination = bpf_ntohl(flow->destination),
		.source_port = bpf_ntohs(flow->source_port),
		.destination_port = bpf_ntohs(flow->destination_port),
		.protocol = flow->protocol,
		.interface = interface ? *interface : 0,
		.count = flags >> MARK_COUNT_SHIFT,
	};
	__u32 *families;

	if (flags & MARK_RULES_SECOND)
		bpf_for_each_map_elem(&mark_rules_1, apply_rule, &packet, 0);
	else
		bpf_for_each_map_elem(&mark_rules_0, apply_rule, &packet, 0);
	if (!packet.mark)
		return 0;
	families = bpf_map_lookup_elem(&mark_services, &packet.mark);
	return families && *families & MARK_OF_IPV4;
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
	if (flags >> MARK_COUNT_SHIFT && is_of_mark_service(ctx, &flow, flags))
		return redirect(ctx, REDIRECT_MARK);
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
