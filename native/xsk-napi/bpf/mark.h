/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The mangle table's mark rules on a packet: the same as src/table/mark.ts does for workers (man
 * iptables-extensions). A removed rule gives no mark: what it matches goes to the workers still,
 * as long as connections live that it may have brought about.
 */
#ifndef XSK_MARK_H
#define XSK_MARK_H

#include "maps.h"
#include "packet.h"

/* A packet on its way through the mark rules, in host order. */
struct marking {
	__u32 source[4];
	__u32 destination[4];
	__u32 source_port;
	__u32 destination_port;
	__u32 protocol;
	__u32 family_flag; /* RULE_IPV6 or 0 */
	__u32 interface;   /* its bit */
	__u32 count;
	__u32 mark;
	__u32 removed; /* a removed rule matches */
};

static __always_inline int is_within(__u32 range, __u32 port)
{
	return port >= range >> 16 && port <= (range & 0xffff);
}

static __always_inline int is_masked(const __u32 *address, const __u32 *mask, const __u32 *wanted)
{
	return (address[0] & mask[0]) == wanted[0] && (address[1] & mask[1]) == wanted[1] &&
	       (address[2] & mask[2]) == wanted[2] && (address[3] & mask[3]) == wanted[3];
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

/* All but the mark before the rule. */
static __always_inline int is_matched_by(const struct mark_rule *rule,
					 const struct marking *packet)
{
	__u32 flags = rule->flags;

	if ((flags & RULE_IPV6) != packet->family_flag)
		return 0;
	if (rule->interfaces != ANY_INTERFACE && !(rule->interfaces & packet->interface))
		return 0;
	if (rule->protocol && (rule->protocol == packet->protocol) == !!(flags & NOT_PROTOCOL))
		return 0;
	if (is_masked(packet->source, rule->source_mask, rule->source) == !!(flags & NOT_SOURCE))
		return 0;
	if (is_masked(packet->destination, rule->destination_mask, rule->destination) ==
	    !!(flags & NOT_DESTINATION))
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
	if (!is_matched_by(rule, packet))
		return 0;
	/* Removed rules come last. */
	if (rule->flags & RULE_REMOVED) {
		packet->removed = 1;
		return 1;
	}
	if (((packet->mark & rule->match_mask) == rule->match_value) == !!(rule->flags & NOT_MARK))
		return 0;
	packet->mark = (packet->mark & ~rule->mask) ^ rule->value;
	return 0;
}

static __always_inline void to_host_order(__u32 *to, const __u32 *from)
{
	to[0] = bpf_ntohl(from[0]);
	to[1] = bpf_ntohl(from[1]);
	to[2] = bpf_ntohl(from[2]);
	to[3] = bpf_ntohl(from[3]);
}

/*
 * REDIRECT_MARK when the rules give `packet` the mark of a service, REDIRECT_REMOVED_MARK when a
 * removed one matches it, else PASS_NO_MATCH.
 */
__noinline int mark_verdict(struct xdp_md *ctx, const struct packet *packet, __u32 flags)
{
	struct interface *interface = find_interface(ctx->ingress_ifindex);
	struct marking marking = {};
	__u32 *families;
	__u32 mark;

	if (!packet)
		return PASS_NO_MATCH;
	to_host_order(marking.source, packet->source);
	to_host_order(marking.destination, packet->destination);
	marking.source_port = bpf_ntohs(packet->source_port);
	marking.destination_port = bpf_ntohs(packet->destination_port);
	marking.protocol = packet->protocol;
	marking.family_flag = packet->family == FAMILY_IPV6 ? RULE_IPV6 : 0;
	marking.interface = interface ? interface->mark_bit : 0;
	marking.count = flags >> MARK_COUNT_SHIFT;
	if (flags & MARK_RULES_SECOND)
		bpf_for_each_map_elem(&mark_rules_1, apply_rule, &marking, 0);
	else
		bpf_for_each_map_elem(&mark_rules_0, apply_rule, &marking, 0);
	mark = marking.mark;
	families = mark ? bpf_map_lookup_elem(&mark_services, &mark) : 0;
	if (families &&
	    *families & (packet->family == FAMILY_IPV6 ? MARK_OF_IPV6 : MARK_OF_IPV4))
		return REDIRECT_MARK;
	return marking.removed ? REDIRECT_REMOVED_MARK : PASS_NO_MATCH;
}

#endif
