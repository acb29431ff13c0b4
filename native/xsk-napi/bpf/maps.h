/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What the control plane tells the redirect program: the records of its maps, and the maps. One
 * instance of the program an interface; `sockets` is its own, all others are shared by all of them.
 *
 * Byte order: addresses and ports in keys are as on the wire, an IPv4 address in the first word and
 * the rest 0; mark rules and all other words are in the machine's.
 */
#ifndef XSK_MAPS_H
#define XSK_MAPS_H

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <bpf/bpf_helpers.h>

#include "packet.h"

enum setting {
	WILDCARD_SERVICES = 1 << 0,     /* `services` has entries with port 0 */
	WILDCARD_REAL_SERVERS = 1 << 1, /* `real_servers` has entries with port 0 */
	REDIRECT_ICMP_ERRORS = 1 << 2,
	REDIRECT_FRAGMENTS = 1 << 3,
	MARK_RULES_SECOND = 1 << 4,     /* mark_rules_1 is in use, else mark_rules_0 */
	REDIRECT_ALL_FRAGMENTS = 1 << 5, /* a mark may be anybody's */
	ENDPOINTS_KEPT = 1 << 6,        /* `endpoints4` and `endpoints6` repeat the other maps */
	MARK_COUNT_SHIFT = 16,          /* number of mark rules, 0 to 512, in the bits from here */
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
	PASS_OTHER_MAC,
	REDIRECT_REMOVED_MARK,
	VERDICTS,
};

/* Values of `local_addresses`, bits. */
enum address_role {
	OWN_ADDRESS = 1,     /* the host's own: health checks, curl from the director */
	FULLNAT_ADDRESS = 2, /* source of connections towards FULLNAT real servers */
};

/* Values of `real_servers`, bits. */
enum server_kind {
	SERVER_REPLIES = 1, /* what comes from this address and port may be a reply */
	SERVER_TUNNEL = 2,  /* we send it tunnel packets of this protocol, and port if it has one */
};

/* Values of `fragment_addresses`, bits. */
enum fragment_use {
	FRAGMENTS_TO_SERVICE = 1,
	FRAGMENTS_FROM_SERVER = 2,
};

struct endpoint_key {
	__u32 address[4];
	__be16 port;
	__u8 protocol;
	__u8 family;
	__u32 reserved;
};

/*
 * What an endpoint is, bits; those of an address alone stand under port and protocol 0. 0: this
 * entry and those behind it were never used.
 */
enum endpoint_kind {
	KIND_SERVICE = 1,
	KIND_REPLIES = 2,     /* SERVER_REPLIES */
	KIND_TUNNEL = 4,      /* SERVER_TUNNEL */
	KIND_OWN_ADDRESS = 8, /* OWN_ADDRESS */
	KIND_FULLNAT = 16,    /* FULLNAT_ADDRESS */
	KIND_USED = 128,      /* alone: there is no such endpoint any more */
};

/* Behind its address, of one word (IPv4) or four. */
struct endpoint {
	__be16 port;
	__u8 protocol;
	__u8 kinds;
};

/*
 * Endpoints of one hash value, address and all: seven of IPv4 or three of IPv6. A line of the CPU's
 * cache, hence the maps' flag.
 */
#define BUCKET_BITS 16
#define BUCKET_WORDS 15
struct bucket {
	__u32 words[BUCKET_WORDS];
	__u32 left_out; /* entries of other maps that found no room here */
};

struct interface {
	__u32 index;    /* the kernel's number; 0: a free slot */
	__u32 mark_bit; /* in the rules' `interfaces` */
	__u8 mac[ETH_ALEN];
	__u16 mac_known; /* 0: frames to any unicast address are looked at */
};

/* An interface stands in slot `index` modulo the number of slots, or in one of the next. */
#define INTERFACE_SLOTS 256
#define INTERFACE_PROBES 4

struct mac_key {
	__u32 interface; /* the kernel's number */
	__u8 mac[ETH_ALEN];
	__u16 reserved;
};

/* 256 rules in force, and as many removed ones whose connections live on. */
#define MARK_RULES_MAX 512
#define PORT_LIST_MAX 15
#define ANY_INTERFACE 0xffffffff
#define MARK_OF_IPV4 1
#define MARK_OF_IPV6 2

enum mark_rule_flag {
	RULE_IPV6 = 1,
	NOT_SOURCE = 2,
	NOT_DESTINATION = 4,
	NOT_PROTOCOL = 8,
	NOT_SOURCE_PORTS = 16,
	NOT_DESTINATION_PORTS = 32,
	NOT_PORT_LIST = 64,
	NOT_MARK = 128,
	RULE_REMOVED = 256, /* gives no mark: what it matches may belong to an old connection */
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
	__u32 source[4];
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
_Static_assert(sizeof(struct bucket) == 64, "written as 64 bytes by the control plane");
_Static_assert(sizeof(struct interface) == 16, "written as 16 bytes by the control plane");
_Static_assert(sizeof(struct mac_key) == 12, "written as 12 bytes by the control plane");

/* 65,536 services and, for each removed server that connections still refer to, its service. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536 + 262144);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct endpoint_key);
	__type(value, __u32);
} services SEC(".maps");

/* 262,144 real servers; one of a mark's service takes a key for each protocol, or tunnel. */
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

/*
 * The entries of the three maps above once more. A look into a hash map is a call into the kernel
 * and takes 20 ns; one into an array is a load, and a frame asks up to three questions.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1 << BUCKET_BITS);
	__uint(map_flags, BPF_F_MMAPABLE); /* begins with a page, not behind the map's own record */
	__type(key, __u32);
	__type(value, struct bucket);
} endpoints4 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1 << BUCKET_BITS);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct bucket);
} endpoints6 SEC(".maps");

/* Services' and real servers' addresses: a fragment has no ports to be told by. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536 + 2 * 262144);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct address_key);
	__type(value, __u32);
} fragment_addresses SEC(".maps");

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

/* Those that are served: an array, since every frame asks. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, INTERFACE_SLOTS);
	__type(key, __u32);
	__type(value, struct interface);
} interfaces SEC(".maps");

/* MACs beside its own that an interface takes frames for: a virtual router's, its bridge's. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4096);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct mac_key);
	__type(value, __u32);
} other_macs SEC(".maps");

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

/* Null: not served. */
static __always_inline struct interface *find_interface(__u32 index)
{
	__u32 probe;

	for (probe = 0; probe < INTERFACE_PROBES; probe++) {
		__u32 slot = (index + probe) % INTERFACE_SLOTS;
		struct interface *found = bpf_map_lookup_elem(&interfaces, &slot);

		if (found && found->index == index)
			return found;
	}
	return 0;
}

#endif
