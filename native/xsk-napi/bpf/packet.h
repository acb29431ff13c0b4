/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Reads IPv4 and IPv6 headers, extension headers included (RFC 791, 8200, 4302). Every field is
 * checked to lie within the frame before it is read. `read_ip` is a function the verifier looks at
 * once for all its callers, so it takes offsets and not pointers into the frame.
 */
#ifndef XSK_PACKET_H
#define XSK_PACKET_H

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define FAMILY_IPV4 4
#define FAMILY_IPV6 6

#define IPV4_FRAGMENT_MORE 0x2000
#define IPV4_FRAGMENT_OFFSET 0x1fff
#define IPV6_FRAGMENT_MORE 1
#define IPV6_FRAGMENT_OFFSET 0xfff8

#define PROTOCOL_IPV4 4
#define PROTOCOL_IPV6 41
#define PROTOCOL_GRE 47
#define PROTOCOL_ESP 50
#define PROTOCOL_AH 51
#define PROTOCOL_ICMPV6 58
#define PROTOCOL_SCTP 132
#define EXTENSION_HOP_BY_HOP 0
#define EXTENSION_ROUTING 43
#define EXTENSION_FRAGMENT 44
#define EXTENSION_DESTINATION 60

#define TCP_HEADER_BYTES 20
#define UDP_HEADER_BYTES 8
#define SCTP_HEADER_BYTES 12
/* Version 4, a header of five words. */
#define PLAIN_VERSION_IHL 0x45

/* Each kind once and destination options twice are six; more is no packet of good faith. */
#define EXTENSIONS_MAX 8
/* Longer than any frame: what tells the verifier that an offset is small. */
#define OFFSET_MAX 0x3fff

/* Key of maps by address: as on the wire, IPv4 in the first word. */
struct address_key {
	__u32 address[4];
	__u8 family;
	__u8 pad[3];
};

_Static_assert(sizeof(struct address_key) == 20, "written as 20 bytes by the control plane");

enum fragment {
	FRAGMENT_NONE,
	FRAGMENT_FIRST, /* has the transport header */
	FRAGMENT_LATER,
};

/* An IP packet of the frame. Offsets count from the frame's first byte. */
struct packet {
	__u32 source[4]; /* as on the wire; IPv4 in the first */
	__u32 destination[4];
	__be16 source_port;
	__be16 destination_port;
	__u8 protocol; /* of what is at `transport`, behind all extension headers */
	__u8 family;
	__u8 fragment;
	__u8 reserved;
	__u32 transport;
	__u32 end; /* as the header says */
};

static __always_inline int read_ipv4(void *data, void *data_end, __u32 offset, struct packet *out)
{
	struct iphdr *ip = data + offset;
	__u16 fragment;

	if ((void *)(ip + 1) > data_end || ip->version != 4 || ip->ihl < 5)
		return -1;
	out->source[0] = ip->saddr;
	out->destination[0] = ip->daddr;
	out->protocol = ip->protocol;
	out->family = FAMILY_IPV4;
	out->transport = offset + ip->ihl * 4;
	out->end = offset + bpf_ntohs(ip->tot_len);
	fragment = bpf_ntohs(ip->frag_off);
	if (fragment & IPV4_FRAGMENT_OFFSET)
		out->fragment = FRAGMENT_LATER;
	else if (fragment & IPV4_FRAGMENT_MORE)
		out->fragment = FRAGMENT_FIRST;
	return 0;
}

/* Past the extension headers, as far as a fragment has them. */
static __always_inline int skip_extensions(void *data, void *data_end, struct packet *out)
{
	__u32 at = out->transport;
	__u32 protocol = out->protocol;
	int i;

	for (i = 0; i < EXTENSIONS_MAX; i++) {
		__u8 *header = data + at;
		__u32 bytes;

		if (protocol != EXTENSION_HOP_BY_HOP && protocol != EXTENSION_ROUTING &&
		    protocol != EXTENSION_FRAGMENT && protocol != EXTENSION_DESTINATION &&
		    protocol != PROTOCOL_AH)
			break;
		if ((void *)(header + 8) > data_end)
			return -1;
		bytes = (header[1] + 1) * 8;
		if (protocol == PROTOCOL_AH)
			bytes = (header[1] + 2) * 4;
		if (protocol == EXTENSION_FRAGMENT) {
			__u16 fragment = bpf_ntohs(*(__be16 *)(header + 2));

			bytes = 8;
			if (fragment & IPV6_FRAGMENT_OFFSET)
				out->fragment = FRAGMENT_LATER;
			else if (fragment & IPV6_FRAGMENT_MORE)
				out->fragment = FRAGMENT_FIRST;
		}
		protocol = header[0];
		at += bytes;
		if (at > OFFSET_MAX)
			return -1;
		if (out->fragment == FRAGMENT_LATER)
			break;
	}
	out->protocol = protocol;
	out->transport = at;
	return 0;
}

static __always_inline int read_ipv6(void *data, void *data_end, __u32 offset, struct packet *out)
{
	struct ipv6hdr *ip = data + offset;

	if ((void *)(ip + 1) > data_end || ip->version != 6)
		return -1;
	__builtin_memcpy(out->source, &ip->saddr, sizeof(out->source));
	__builtin_memcpy(out->destination, &ip->daddr, sizeof(out->destination));
	out->protocol = ip->nexthdr;
	out->family = FAMILY_IPV6;
	out->transport = offset + sizeof(*ip);
	out->end = out->transport + bpf_ntohs(ip->payload_len);
	return skip_extensions(data, data_end, out);
}

/*
 * The IP packet at `offset` of the frame into `out`, which is all 0 or holds another packet of the
 * same family; ports are left as they are. 0, or -1 when a header is
 * cut short or lies. That the frame holds all of the packet is the caller's question.
 */
__noinline int read_ip(struct xdp_md *ctx, __u32 offset, __u32 family, struct packet *out)
{
	void *data = (void *)(long)ctx->data;
	void *data_end = (void *)(long)ctx->data_end;

	if (!out || offset > OFFSET_MAX)
		return -1;
	out->fragment = FRAGMENT_NONE;
	if (family == FAMILY_IPV4)
		return read_ipv4(data, data_end, offset, out);
	return read_ipv6(data, data_end, offset, out);
}

/* As read_ip and read_ports, of the packet at `transport` of a plain frame. */
static __always_inline int read_plain_ports(struct xdp_md *ctx, struct packet *out)
{
	void *data = (void *)(long)ctx->data;
	void *data_end = (void *)(long)ctx->data_end;
	__be16 *ports = data + out->transport;
	__u32 header_bytes;

	if (out->protocol == IPPROTO_TCP)
		header_bytes = TCP_HEADER_BYTES;
	else if (out->protocol == IPPROTO_UDP)
		header_bytes = UDP_HEADER_BYTES;
	else
		return -1;
	if (out->end < out->transport + header_bytes || out->end > ctx->data_end - ctx->data)
		return -1;
	if ((void *)(ports + 2) > data_end)
		return -1;
	out->source_port = ports[0];
	out->destination_port = ports[1];
	return 0;
}

/*
 * The short way of most frames: a whole TCP or UDP packet behind the Ethernet header, without IP
 * options or extension headers, into `out`, which is all 0. 0, or -1 when it is no such packet, or
 * is not whole: read_ip tells.
 */
static __always_inline int read_plain(struct xdp_md *ctx, __u32 family, struct packet *out)
{
	void *data = (void *)(long)ctx->data;
	void *data_end = (void *)(long)ctx->data_end;
	struct iphdr *ip = data + sizeof(struct ethhdr);
	struct ipv6hdr *ip6 = data + sizeof(struct ethhdr);

	out->family = family;
	if (family == FAMILY_IPV4) {
		if ((void *)(ip + 1) > data_end || *(__u8 *)ip != PLAIN_VERSION_IHL)
			return -1;
		if (ip->frag_off & bpf_htons(IPV4_FRAGMENT_MORE | IPV4_FRAGMENT_OFFSET))
			return -1;
		out->source[0] = ip->saddr;
		out->destination[0] = ip->daddr;
		out->protocol = ip->protocol;
		out->transport = sizeof(struct ethhdr) + sizeof(*ip);
		out->end = sizeof(struct ethhdr) + bpf_ntohs(ip->tot_len);
	} else {
		if ((void *)(ip6 + 1) > data_end || ip6->version != 6)
			return -1;
		__builtin_memcpy(out->source, &ip6->saddr, sizeof(out->source));
		__builtin_memcpy(out->destination, &ip6->daddr, sizeof(out->destination));
		out->protocol = ip6->nexthdr;
		out->transport = sizeof(struct ethhdr) + sizeof(*ip6);
		out->end = out->transport + bpf_ntohs(ip6->payload_len);
	}
	return read_plain_ports(ctx, out);
}

/*
 * Ports of a TCP, UDP or SCTP packet. AH and ESP follow the ISAKMP exchange of their two hosts
 * (RFC 2408): they are taken for packets of it. 0; 1 for any other protocol; -1 when cut short.
 */
static __always_inline int read_ports(struct xdp_md *ctx, struct packet *packet)
{
	void *data = (void *)(long)ctx->data;
	void *data_end = (void *)(long)ctx->data_end;
	__u32 at = packet->transport;
	__be16 *ports = data + at;

	switch (packet->protocol) {
	case PROTOCOL_ESP:
	case PROTOCOL_AH:
		packet->protocol = IPPROTO_UDP;
		packet->source_port = bpf_htons(500);
		packet->destination_port = bpf_htons(500);
		return 0;
	case IPPROTO_TCP:
	case IPPROTO_UDP:
	case PROTOCOL_SCTP:
		break;
	default:
		return 1;
	}
	if (at > OFFSET_MAX || (void *)(ports + 2) > data_end)
		return -1;
	packet->source_port = ports[0];
	packet->destination_port = ports[1];
	return 0;
}

#endif
