// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Decides which frames leave the kernel's path: those of virtual services, of NAT real servers
 * and of FULLNAT local addresses go to the AF_XDP socket of the queue they arrived on, and so do
 * those that the mark rules give a mark of a service, ICMP errors about what we sent, and fragments
 * that may be of any of them; everything else stays with the kernel (XDP_PASS). Redirecting too
 * much is harmless, the worker gives it back. Runs on Linux 5.15 and later.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "endpoints.h"
#include "maps.h"
#include "mark.h"
#include "packet.h"

#define ICMP_DEST_UNREACH 3
#define ICMP_SOURCE_QUENCH 4
#define ICMP_TIME_EXCEEDED 11
#define ICMPV6_ERROR_FIRST 1 /* destination unreachable, packet too big, time exceeded, */
#define ICMPV6_ERROR_LAST 4  /* parameter problem */
#define ICMP_HEADER_BYTES 8
/* FULLNAT takes its ports from here on: what is below is the host's own. */
#define FULLNAT_PORT_FIRST 1025

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

static __always_inline int is_fullnat(__u32 role, __be16 port)
{
	return role & FULLNAT_ADDRESS && bpf_ntohs(port) >= FULLNAT_PORT_FIRST;
}

/* Ports are read. */
static __always_inline int on_transport(struct xdp_md *ctx, const struct packet *packet,
					__u32 flags)
{
	__u32 verdict = PASS_NO_MATCH;
	__u32 role;

	if (is_service(packet, packet->destination, packet->destination_port, flags))
		return redirect(ctx, REDIRECT_SERVICE);
	role = address_role(packet, packet->destination, flags);
	if (is_fullnat(role, packet->destination_port))
		return redirect(ctx, REDIRECT_LOCAL_ADDRESS);
	if (server_kind(packet, packet->source, packet->source_port, flags) & SERVER_REPLIES)
		return role & OWN_ADDRESS ? pass(PASS_OWN_ADDRESS)
					  : redirect(ctx, REDIRECT_REAL_SERVER);
	if (flags >> MARK_COUNT_SHIFT)
		verdict = mark_verdict(ctx, packet, flags);
	return verdict == PASS_NO_MATCH ? pass(verdict) : redirect(ctx, verdict);
}

/* About a packet we sent through a tunnel: its source is an address of ours, rightly. */
static __always_inline int is_of_tunnel(const struct packet *quoted, __u32 flags)
{
	return server_kind_at(quoted, quoted->destination, 0, flags) & SERVER_TUNNEL;
}

/* Would the packet that `quoted` answers be given the mark of a service? */
static __always_inline int is_of_mark(struct xdp_md *ctx, const struct packet *quoted, __u32 flags)
{
	struct packet asked = {
		.source_port = quoted->destination_port,
		.destination_port = quoted->source_port,
		.protocol = quoted->protocol,
		.family = quoted->family,
	};

	if (!(flags >> MARK_COUNT_SHIFT))
		return 0;
	__builtin_memcpy(asked.source, quoted->destination, sizeof(asked.source));
	__builtin_memcpy(asked.destination, quoted->source, sizeof(asked.destination));
	return mark_verdict(ctx, &asked, flags) != PASS_NO_MATCH;
}

/*
 * An ICMP error quotes the packet it is about. It is ours when that packet was one we sent: to a
 * client (its source is the service), to a real server (its destination is one, or the far end of
 * a tunnel), or to a FULLNAT real server (its source is a local address).
 */
static __always_inline int on_quoted(struct xdp_md *ctx, struct packet *quoted, __u32 flags)
{
	__u32 role, kind;
	int ports;

	if (quoted->fragment == FRAGMENT_LATER)
		return pass(PASS_NO_MATCH);
	if (quoted->protocol == PROTOCOL_IPV4 || quoted->protocol == PROTOCOL_IPV6 ||
	    quoted->protocol == PROTOCOL_GRE)
		return is_of_tunnel(quoted, flags) ? redirect(ctx, REDIRECT_ICMP_ERROR)
					    : pass(PASS_NO_MATCH);
	ports = read_ports(ctx, quoted);
	if (ports)
		return pass(ports < 0 ? PASS_MALFORMED : PASS_NO_MATCH);
	if (is_service(quoted, quoted->source, quoted->source_port, flags))
		return redirect(ctx, REDIRECT_ICMP_ERROR);
	role = address_role(quoted, quoted->source, flags);
	if (is_fullnat(role, quoted->source_port))
		return redirect(ctx, REDIRECT_ICMP_ERROR);
	kind = server_kind(quoted, quoted->destination, quoted->destination_port, flags);
	if (kind & SERVER_TUNNEL)
		return redirect(ctx, REDIRECT_ICMP_ERROR);
	if (kind & SERVER_REPLIES)
		return role & OWN_ADDRESS ? pass(PASS_OWN_ADDRESS)
					  : redirect(ctx, REDIRECT_ICMP_ERROR);
	return is_of_mark(ctx, quoted, flags) ? redirect(ctx, REDIRECT_ICMP_ERROR)
					      : pass(PASS_NO_MATCH);
}

static __always_inline int on_icmp(struct xdp_md *ctx, struct packet *packet, __u32 flags)
{
	void *data = (void *)(long)ctx->data;
	void *data_end = (void *)(long)ctx->data_end;
	__u32 at = packet->transport;
	__u32 family = packet->family;
	__u8 *icmp = data + at;
	__u8 type;

	if (!(flags & REDIRECT_ICMP_ERRORS))
		return pass(PASS_NO_MATCH);
	if (at > OFFSET_MAX || (void *)(icmp + ICMP_HEADER_BYTES) > data_end)
		return pass(PASS_MALFORMED);
	type = icmp[0];
	if (family == FAMILY_IPV4 ? type != ICMP_DEST_UNREACH && type != ICMP_SOURCE_QUENCH &&
					    type != ICMP_TIME_EXCEEDED
				  : type < ICMPV6_ERROR_FIRST || type > ICMPV6_ERROR_LAST)
		return pass(PASS_NO_MATCH);
	if (read_ip(ctx, at + ICMP_HEADER_BYTES, family, packet))
		return pass(PASS_MALFORMED);
	return on_quoted(ctx, packet, flags);
}

/*
 * All fragments of a packet go the same way, so only addresses decide: the first one, which has
 * the ports, must be where the later ones are.
 */
static __always_inline int on_fragment(struct xdp_md *ctx, const struct packet *packet,
				       __u32 flags)
{
	__u32 role;

	if (!(flags & REDIRECT_FRAGMENTS))
		return pass(PASS_FRAGMENT);
	if (flags & REDIRECT_ALL_FRAGMENTS)
		return redirect(ctx, REDIRECT_FRAGMENT);
	if (value_of(&fragment_addresses, packet, packet->destination) &
	    FRAGMENTS_TO_SERVICE)
		return redirect(ctx, REDIRECT_FRAGMENT);
	role = address_role(packet, packet->destination, flags);
	if (role & FULLNAT_ADDRESS)
		return redirect(ctx, REDIRECT_FRAGMENT);
	if (!(value_of(&fragment_addresses, packet, packet->source) &
	      FRAGMENTS_FROM_SERVER))
		return pass(PASS_FRAGMENT);
	return role & OWN_ADDRESS ? pass(PASS_OWN_ADDRESS) : redirect(ctx, REDIRECT_FRAGMENT);
}

/* Least bytes of a transport header; 0 for a protocol that is not balanced as such. */
static __always_inline __u32 header_bytes_min(__u8 protocol)
{
	switch (protocol) {
	case IPPROTO_TCP:
		return TCP_HEADER_BYTES;
	case IPPROTO_UDP:
		return UDP_HEADER_BYTES;
	case PROTOCOL_SCTP:
		return SCTP_HEADER_BYTES;
	default:
		return 0;
	}
}

/*
 * The long way: fragments, ICMP, options and extension headers, lies. A function the verifier looks
 * at once.
 */
__noinline int on_any_ip(struct xdp_md *ctx, __u32 family, __u32 flags)
{
	__u32 here = ctx->data_end - ctx->data;
	struct packet packet = {};

	if (read_ip(ctx, sizeof(struct ethhdr), family, &packet))
		return pass(PASS_MALFORMED);
	if (packet.end < packet.transport || packet.end > here)
		return pass(PASS_MALFORMED);
	if (packet.fragment != FRAGMENT_NONE)
		return on_fragment(ctx, &packet, flags);
	if (packet.protocol == (family == FAMILY_IPV4 ? IPPROTO_ICMP : PROTOCOL_ICMPV6))
		return on_icmp(ctx, &packet, flags);
	if (packet.end - packet.transport < header_bytes_min(packet.protocol))
		return pass(PASS_MALFORMED);
	if (read_ports(ctx, &packet))
		return pass(PASS_NO_MATCH);
	return on_transport(ctx, &packet, flags);
}

static __always_inline int on_ip(struct xdp_md *ctx, __u32 family)
{
	__u32 zero = 0;
	__u32 *settings_word = bpf_map_lookup_elem(&settings, &zero);
	__u32 flags = settings_word ? *settings_word : 0;
	struct packet packet = {};

	if (read_plain(ctx, family, &packet))
		return on_any_ip(ctx, family, flags);
	return on_transport(ctx, &packet, flags);
}

static __always_inline int is_same_mac(const __u8 *one, const __u8 *other)
{
	return one[0] == other[0] && one[1] == other[1] && one[2] == other[2] &&
	       one[3] == other[3] && one[4] == other[4] && one[5] == other[5];
}

/*
 * Is the frame for this host? A switch or bridge that does not know an address sends its frames
 * everywhere: such a frame is somebody else's to forward.
 */
static __always_inline int is_to_us(struct xdp_md *ctx, const struct ethhdr *ethernet)
{
	struct mac_key key = { .interface = ctx->ingress_ifindex };
	struct interface *interface;

	if (ethernet->h_dest[0] & 1)
		return 0;
	interface = find_interface(key.interface);
	if (!interface || !interface->mac_known)
		return 1;
	if (is_same_mac(interface->mac, ethernet->h_dest))
		return 1;
	__builtin_memcpy(key.mac, ethernet->h_dest, ETH_ALEN);
	return bpf_map_lookup_elem(&other_macs, &key) != 0;
}

SEC("xdp")
int redirect_frames(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data;
	void *data_end = (void *)(long)ctx->data_end;
	struct ethhdr *ethernet = data;

	if ((void *)(ethernet + 1) > data_end)
		return pass(PASS_MALFORMED);
	/* A tag becomes one more case here. */
	switch (ethernet->h_proto) {
	case bpf_htons(ETH_P_IP):
		return is_to_us(ctx, ethernet) ? on_ip(ctx, FAMILY_IPV4) : pass(PASS_OTHER_MAC);
	case bpf_htons(ETH_P_IPV6):
		return is_to_us(ctx, ethernet) ? on_ip(ctx, FAMILY_IPV6) : pass(PASS_OTHER_MAC);
	default:
		return pass(PASS_NOT_IP);
	}
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
