// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * On a real server whose kernel has no tunnel devices: takes the outer headers off what a director
 * sent through a tunnel and hands the inner packet to the stack, as if it had come by the wire.
 *
 *   ipip   IPv4 or IPv6 | IPv4 or IPv6               RFC 2003, 2473, 4213
 *   gre    ... | GRE, checksum and key and number | ...            RFC 2784, 2890
 *   gue    ... | UDP | GUE variant 0 or 1 | ...      draft-ietf-intarea-gue
 *
 * Only what is addressed to this host is taken, and of that only what is to one of `vips` when
 * there are any. Checksums of GRE and UDP are looked at when they are there; one that is just the
 * pseudo header's sum is left to a device by a host nearby and counts as good. With GUE's remote
 * checksum offload the inner checksum is computed here, over the whole packet: XDP has no way to
 * tell the stack that it need not be. The inner packet is not touched otherwise, so that ECN marks
 * of the outer header are lost. Not possible here: outer fragments, which nobody has put together
 * yet, and GUE's control messages; they go to the kernel. Runs on Linux 5.15 and later.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/udp.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "packet.h"

#define AF_INET 2
#define AF_INET6 10

#define GRE_HEADER_BYTES 4
#define GRE_CHECKSUM 0x8000
#define GRE_KEY 0x2000
#define GRE_SEQUENCE 0x1000
#define GRE_MUST_BE_ZERO 0x4fff /* routing, recursion, flags, version */
#define GUE_VARIANT 0xc0
#define GUE_VARIANT_IP 0x40 /* no GUE header at all: an IP version follows */
#define GUE_CONTROL 0x20
#define GUE_LENGTH 0x1f /* words behind the first */
#define GUE_HEADER_BYTES 4
#define GUE_FLAG_PRIVATE 0x0001
#define GUE_PRIVATE_REMCSUM 0x80000000
#define PIECE_BYTES 16
#define PIECES_MAX (OFFSET_MAX / PIECE_BYTES + 1)
/* The compiler is not to know a value: it would count in ways that the verifier refuses. */
#define HIDE(value) asm volatile("" : "+r"(value))

enum setting {
	ONLY_VIPS = 1,
};

/* Order as in DECAP_VERDICTS of the addon. */
enum decap_verdict {
	PASS_NOT_TUNNEL,
	PASS_CUT_SHORT,
	PASS_OUTER_FRAGMENT,
	PASS_TRANSIT,
	PASS_NOT_VIP,
	DROP_CHECKSUM,
	DROP_FAILED,
	DECAP_IPIP,
	DECAP_GUE,
	DECAP_GRE,
	DECAP_VERDICTS,
};

/* Inner destinations to be taken, when ONLY_VIPS is set. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, struct address_key);
	__type(value, __u32);
} vips SEC(".maps");

/* UDP ports on which GUE comes, in host order. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 64);
	__type(key, __u32);
	__type(value, __u32);
} gue_ports SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} settings SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, DECAP_VERDICTS);
	__type(key, __u32);
	__type(value, __u64);
} verdicts SEC(".maps");

/* What the outer headers say. Offsets count from the frame's first byte. */
struct tunnel {
	__u32 verdict;  /* which it is: DECAP_... */
	__u32 inner;    /* where the inner packet begins */
	__u32 family;   /* of the inner packet */
	__u32 checked;  /* where the bytes begin that the outer checksum is over; 0: none */
	__u32 sum;      /* of what the checksum is over besides */
	__u32 unfinished; /* the checksum field, when it may be just the pseudo header's sum */
	__u32 remote_start; /* remote checksum offload, from the inner packet on */
	__u32 remote_field;
	__u32 is_remote;
};

static __always_inline int count(__u32 verdict, int action)
{
	__u64 *counter = bpf_map_lookup_elem(&verdicts, &verdict);

	if (counter)
		*counter += 1;
	return action;
}

static __always_inline __u32 fold(__u64 sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

/*
 * Ones' complement sum (RFC 1071) of `bytes` bytes of the frame from `offset` on, folded, in the
 * byte order in which it is stored. -1: they are not all there.
 */
__noinline int sum_bytes(struct xdp_md *ctx, __u32 offset, __u32 bytes)
{
	__u8 *cursor = (void *)(long)ctx->data;
	void *data_end = (void *)(long)ctx->data_end;
	__u64 sum = 0;
	__u32 i;

	/* Apart: joined to one comparison they tell the verifier nothing. */
	if (offset > OFFSET_MAX)
		return -1;
	HIDE(offset);
	if (bytes > OFFSET_MAX)
		return -1;
	cursor += offset;
	for (i = 0; i < PIECES_MAX; i++) {
		__u32 *words = (void *)cursor;

		HIDE(data_end);
		if (i >= bytes / PIECE_BYTES)
			break;
		if ((void *)(words + 4) > data_end)
			return -1;
		sum += (__u64)words[0] + words[1] + words[2] + words[3];
		cursor += PIECE_BYTES;
	}
	for (i = 0; i < PIECE_BYTES / 4 - 1; i++) {
		HIDE(data_end);
		if (i >= bytes % PIECE_BYTES / 4)
			break;
		if ((void *)(cursor + 4) > data_end)
			return -1;
		sum += *(__u32 *)cursor;
		cursor += 4;
	}
	HIDE(data_end);
	if (bytes & 2) {
		if ((void *)(cursor + 2) > data_end)
			return -1;
		sum += *(__u16 *)cursor;
		cursor += 2;
	}
	HIDE(data_end);
	if (bytes & 1) {
		if ((void *)(cursor + 1) > data_end)
			return -1;
		/* As the first of two bytes, the other one 0. */
		sum += bpf_htons(*cursor << 8);
	}
	return fold(sum);
}

/* The sum of the pseudo header of an outer UDP packet. */
static __always_inline __u32 pseudo_sum(const struct packet *packet, __u32 bytes)
{
	__u64 sum = bpf_htonl(bytes) + (__u64)bpf_htonl(IPPROTO_UDP);
	int i;

	for (i = 0; i < 4; i++)
		sum += (__u64)packet->source[i] + packet->destination[i];
	return fold(sum);
}

static __always_inline __u32 family_of_protocol(__u32 protocol)
{
	return protocol == PROTOCOL_IPV4 ? FAMILY_IPV4
					 : protocol == PROTOCOL_IPV6 ? FAMILY_IPV6 : 0;
}

/* 0, or the verdict against it. */
static __always_inline int read_gre(struct xdp_md *ctx, const struct packet *packet,
				    struct tunnel *tunnel)
{
	void *data_end = (void *)(long)ctx->data_end;
	__u32 at = packet->transport;
	__be16 *header = (void *)(long)ctx->data + at;
	__u32 flags, type;

	if (at > OFFSET_MAX || (void *)(header + 2) > data_end)
		return PASS_CUT_SHORT;
	flags = bpf_ntohs(header[0]);
	type = bpf_ntohs(header[1]);
	if (flags & GRE_MUST_BE_ZERO)
		return PASS_NOT_TUNNEL;
	if (type != ETH_P_IP && type != ETH_P_IPV6)
		return PASS_NOT_TUNNEL;
	tunnel->verdict = DECAP_GRE;
	tunnel->family = type == ETH_P_IP ? FAMILY_IPV4 : FAMILY_IPV6;
	tunnel->inner = at + GRE_HEADER_BYTES;
	if (flags & GRE_CHECKSUM) {
		tunnel->inner += 4;
		tunnel->checked = at;
	}
	if (flags & GRE_KEY)
		tunnel->inner += 4;
	if (flags & GRE_SEQUENCE)
		tunnel->inner += 4;
	return 0;
}

/* The optional words of a GUE header: remote checksum offload is the one there is. */
static __always_inline int read_gue_options(const __u8 *gue, void *data_end, __u32 words,
					    struct tunnel *tunnel)
{
	const __be16 *options = (const void *)(gue + GUE_HEADER_BYTES);
	__u32 flags = gue[2] << 8 | gue[3];
	__u32 private_flags;

	if (flags & ~GUE_FLAG_PRIVATE)
		return PASS_NOT_TUNNEL;
	if (!flags)
		return 0;
	if (words < 1 || (void *)(options + 4) > data_end)
		return PASS_CUT_SHORT;
	private_flags = (__u32)bpf_ntohs(options[0]) << 16 | bpf_ntohs(options[1]);
	if (private_flags & ~GUE_PRIVATE_REMCSUM)
		return PASS_NOT_TUNNEL;
	if (!private_flags)
		return 0;
	if (words < 2)
		return PASS_CUT_SHORT;
	tunnel->is_remote = 1;
	tunnel->remote_start = bpf_ntohs(options[2]);
	tunnel->remote_field = bpf_ntohs(options[3]);
	return 0;
}

static __always_inline int read_gue(struct xdp_md *ctx, const struct packet *packet,
				    struct tunnel *tunnel)
{
	void *data_end = (void *)(long)ctx->data_end;
	__u32 at = packet->transport;
	struct udphdr *udp = (void *)(long)ctx->data + at;
	__u8 *gue = (void *)(udp + 1);
	__u32 port, words;

	if (at > OFFSET_MAX || (void *)(gue + GUE_HEADER_BYTES) > data_end)
		return PASS_CUT_SHORT;
	port = bpf_ntohs(udp->dest);
	if (!bpf_map_lookup_elem(&gue_ports, &port))
		return PASS_NOT_TUNNEL;
	if (at + bpf_ntohs(udp->len) != packet->end)
		return PASS_CUT_SHORT;
	tunnel->verdict = DECAP_GUE;
	if (udp->check) {
		tunnel->checked = at;
		tunnel->sum = pseudo_sum(packet, packet->end - at);
		tunnel->unfinished = udp->check;
	}
	tunnel->inner = at + sizeof(*udp);
	if ((gue[0] & GUE_VARIANT) == GUE_VARIANT_IP) {
		tunnel->family = gue[0] >> 4;
		return 0;
	}
	if (gue[0] & (GUE_VARIANT | GUE_CONTROL))
		return PASS_NOT_TUNNEL;
	words = gue[0] & GUE_LENGTH;
	tunnel->inner += GUE_HEADER_BYTES + words * 4;
	tunnel->family = family_of_protocol(gue[1]);
	return read_gue_options(gue, data_end, words, tunnel);
}

/* Which tunnel is it, and where is the inner packet? 0, or the verdict against it. */
static __always_inline int read_tunnel(struct xdp_md *ctx, const struct packet *packet,
				       struct tunnel *tunnel)
{
	switch (packet->protocol) {
	case PROTOCOL_IPV4:
	case PROTOCOL_IPV6:
		tunnel->verdict = DECAP_IPIP;
		tunnel->family = family_of_protocol(packet->protocol);
		tunnel->inner = packet->transport;
		return 0;
	case PROTOCOL_GRE:
		return read_gre(ctx, packet, tunnel);
	case IPPROTO_UDP:
		return read_gue(ctx, packet, tunnel);
	default:
		return PASS_NOT_TUNNEL;
	}
}

/* Is the outer packet addressed to this host? Its routes are asked, as the kernel itself does. */
static __always_inline int is_local(struct xdp_md *ctx, const struct packet *packet)
{
	struct bpf_fib_lookup lookup = { .ifindex = ctx->ingress_ifindex };
	long result;

	if (packet->family == FAMILY_IPV4) {
		lookup.family = AF_INET;
		lookup.ipv4_src = packet->source[0];
		lookup.ipv4_dst = packet->destination[0];
	} else {
		lookup.family = AF_INET6;
		__builtin_memcpy(lookup.ipv6_src, packet->source, sizeof(lookup.ipv6_src));
		__builtin_memcpy(lookup.ipv6_dst, packet->destination, sizeof(lookup.ipv6_dst));
	}
	result = bpf_fib_lookup(ctx, &lookup, sizeof(lookup), 0);
	/* A host that forwards nothing gets what is its own and nothing else. */
	return result == BPF_FIB_LKUP_RET_NOT_FWDED || result == BPF_FIB_LKUP_RET_FWD_DISABLED;
}

static __always_inline int is_wanted(const struct packet *inner)
{
	struct address_key key = { .family = inner->family };
	__u32 zero = 0;
	__u32 *flags = bpf_map_lookup_elem(&settings, &zero);

	if (!flags || !(*flags & ONLY_VIPS))
		return 1;
	__builtin_memcpy(key.address, inner->destination, sizeof(key.address));
	return bpf_map_lookup_elem(&vips, &key) != 0;
}

static __always_inline int is_intact(struct xdp_md *ctx, const struct packet *packet,
				     const struct tunnel *tunnel)
{
	int sum;

	if (!tunnel->checked || (tunnel->unfinished && tunnel->unfinished == tunnel->sum))
		return 1;
	sum = sum_bytes(ctx, tunnel->checked, packet->end - tunnel->checked);
	return sum >= 0 && fold((__u64)sum + tunnel->sum) == 0xffff;
}

/* Remote checksum offload: what the sender left to us. 0, or -1 when its offsets lie. */
static __always_inline int finish_checksum(struct xdp_md *ctx, const struct packet *packet,
					   const struct tunnel *tunnel)
{
	__u32 start = tunnel->inner + tunnel->remote_start;
	__u32 field = tunnel->inner + tunnel->remote_field;
	__u16 *checksum;
	int sum;

	if (!tunnel->is_remote)
		return 0;
	if (start >= packet->end || field + 2 > packet->end || field > OFFSET_MAX)
		return -1;
	sum = sum_bytes(ctx, start, packet->end - start);
	checksum = (void *)(long)ctx->data + field;
	if (sum < 0 || (void *)(checksum + 1) > (void *)(long)ctx->data_end)
		return -1;
	/* 0 would say that there is none, in UDP. */
	*checksum = sum == 0xffff ? 0xffff : ~sum & 0xffff;
	return 0;
}

/* Takes everything before the inner packet away, but for an Ethernet header. */
static __always_inline int strip(struct xdp_md *ctx, const struct tunnel *tunnel)
{
	struct ethhdr *ethernet = (void *)(long)ctx->data;
	struct ethhdr kept;

	if ((void *)(ethernet + 1) > (void *)(long)ctx->data_end)
		return -1;
	kept = *ethernet;
	kept.h_proto = bpf_htons(tunnel->family == FAMILY_IPV4 ? ETH_P_IP : ETH_P_IPV6);
	if (bpf_xdp_adjust_head(ctx, (int)(tunnel->inner - sizeof(*ethernet))))
		return -1;
	ethernet = (void *)(long)ctx->data;
	if ((void *)(ethernet + 1) > (void *)(long)ctx->data_end)
		return -1;
	*ethernet = kept;
	return 0;
}

static __always_inline int on_ip(struct xdp_md *ctx, __u32 family)
{
	__u32 here = ctx->data_end - ctx->data;
	struct packet packet = {}, inner = {};
	struct tunnel tunnel = {};
	int refused;

	if (read_ip(ctx, sizeof(struct ethhdr), family, &packet))
		return count(PASS_CUT_SHORT, XDP_PASS);
	if (packet.end < packet.transport || packet.end > here)
		return count(PASS_CUT_SHORT, XDP_PASS);
	if (packet.fragment == FRAGMENT_LATER)
		return count(PASS_OUTER_FRAGMENT, XDP_PASS);
	refused = read_tunnel(ctx, &packet, &tunnel);
	/* PASS_NOT_TUNNEL is 0: it is told by the family. */
	if (refused || !tunnel.family)
		return count(refused, XDP_PASS);
	if (packet.fragment != FRAGMENT_NONE)
		return count(PASS_OUTER_FRAGMENT, XDP_PASS);
	if (read_ip(ctx, tunnel.inner, tunnel.family, &inner) || inner.end > packet.end)
		return count(PASS_CUT_SHORT, XDP_PASS);
	if (!is_wanted(&inner))
		return count(PASS_NOT_VIP, XDP_PASS);
	if (!is_local(ctx, &packet))
		return count(PASS_TRANSIT, XDP_PASS);
	if (!is_intact(ctx, &packet, &tunnel))
		return count(DROP_CHECKSUM, XDP_DROP);
	if (finish_checksum(ctx, &packet, &tunnel) || strip(ctx, &tunnel))
		return count(DROP_FAILED, XDP_DROP);
	return count(tunnel.verdict, XDP_PASS);
}

SEC("xdp")
int decapsulate(struct xdp_md *ctx)
{
	struct ethhdr *ethernet = (void *)(long)ctx->data;

	if ((void *)(ethernet + 1) > (void *)(long)ctx->data_end)
		return count(PASS_CUT_SHORT, XDP_PASS);
	switch (ethernet->h_proto) {
	case bpf_htons(ETH_P_IP):
		return on_ip(ctx, FAMILY_IPV4);
	case bpf_htons(ETH_P_IPV6):
		return on_ip(ctx, FAMILY_IPV6);
	default:
		return count(PASS_NOT_TUNNEL, XDP_PASS);
	}
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
