/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What is known of an address and port: a service, a real server, an address of this host. Asked of
 * the buckets first; where these had no room for all, of the hash maps.
 */
#ifndef XSK_ENDPOINTS_H
#define XSK_ENDPOINTS_H

#include "maps.h"
#include "packet.h"

/* No kinds: the buckets do not know. */
#define KINDS_UNKNOWN 0x100

/* As bucketOf of the control plane's redirectBuckets.ts. */
static __always_inline __u32 bucket_of(const __be32 *address, __u32 words, __be16 port,
				       __u32 protocol)
{
	__u32 hash = address[0];
	__u32 word;

#pragma unroll
	for (word = 1; word < words; word++)
		hash = hash * 0x9e3779b1 ^ address[word];
	hash = hash * 0x9e3779b1 ^ ((__u32)port << 8 | protocol);
	return hash * 0x85ebca6b >> (32 - BUCKET_BITS);
}

static __always_inline int is_address(const __be32 *one, const __be32 *other, __u32 words)
{
	return one[0] == other[0] && (words == 1 || (one[1] == other[1] && one[2] == other[2] &&
						     one[3] == other[3]));
}

/*
 * Of addresses of `words`, a constant. Past an endpoint that is gone it looks on: while the control
 * plane writes over that, word by word, it may look like one that stands behind it.
 */
static __always_inline __u32 kinds_in(void *map, __u32 words, const __be32 *address, __be16 port,
				      __u32 protocol)
{
	__u32 at = bucket_of(address, words, port, protocol);
	const struct bucket *bucket = bpf_map_lookup_elem(map, &at);
	__u32 place;

	if (!bucket)
		return KINDS_UNKNOWN;
#pragma unroll
	for (place = 0; place + words < BUCKET_WORDS; place += words + 1) {
		const struct endpoint *endpoint = (const void *)&bucket->words[place + words];

		if (!endpoint->kinds)
			break;
		if (is_address(&bucket->words[place], address, words) && endpoint->port == port &&
		    endpoint->protocol == protocol && endpoint->kinds != KIND_USED)
			return endpoint->kinds;
	}
	return bucket->left_out ? KINDS_UNKNOWN : 0;
}

/* Bits of enum endpoint_kind; 0: nothing is known of it; KINDS_UNKNOWN: nor whether it is. */
static __always_inline __u32 kinds_of(const struct packet *packet, const __be32 *address,
				      __be16 port, __u32 protocol, __u32 flags)
{
	if (!(flags & ENDPOINTS_KEPT))
		return KINDS_UNKNOWN;
	return packet->family == FAMILY_IPV4 ? kinds_in(&endpoints4, 1, address, port, protocol)
					     : kinds_in(&endpoints6, 4, address, port, protocol);
}

static __always_inline struct endpoint_key endpoint_key(const struct packet *packet,
							const __be32 *address, __be16 port)
{
	struct endpoint_key key = {
		.port = port,
		.protocol = packet->protocol,
		.family = packet->family,
	};

	key.address[0] = address[0];
	if (packet->family == FAMILY_IPV6)
		__builtin_memcpy(key.address, address, sizeof(key.address));
	return key;
}

/* Of a map whose keys are addresses. */
static __always_inline __u32 value_of(void *map, const struct packet *packet,
				      const __be32 *address)
{
	struct address_key key = { .family = packet->family };
	__u32 *value;

	key.address[0] = address[0];
	if (packet->family == FAMILY_IPV6)
		__builtin_memcpy(key.address, address, sizeof(key.address));
	value = bpf_map_lookup_elem(map, &key);
	return value ? *value : 0;
}

static __always_inline int is_service_at(const struct packet *packet, const __be32 *address,
					 __be16 port, __u32 flags)
{
	__u32 kinds = kinds_of(packet, address, port, packet->protocol, flags);
	struct endpoint_key key;

	if (!(kinds & KINDS_UNKNOWN))
		return kinds & KIND_SERVICE;
	key = endpoint_key(packet, address, port);
	return bpf_map_lookup_elem(&services, &key) != 0;
}

static __always_inline int is_service(const struct packet *packet, const __be32 *address,
				      __be16 port, __u32 flags)
{
	return is_service_at(packet, address, port, flags) ||
	       (flags & WILDCARD_SERVICES && is_service_at(packet, address, 0, flags));
}

static __always_inline __u32 server_kind_at(const struct packet *packet, const __be32 *address,
					    __be16 port, __u32 flags)
{
	__u32 kinds = kinds_of(packet, address, port, packet->protocol, flags);
	struct endpoint_key key;
	__u32 *kind;

	if (!(kinds & KINDS_UNKNOWN))
		return kinds / KIND_REPLIES & (SERVER_REPLIES | SERVER_TUNNEL);
	key = endpoint_key(packet, address, port);
	kind = bpf_map_lookup_elem(&real_servers, &key);
	return kind ? *kind : 0;
}

/* Bits of enum server_kind; 0: no real server. */
static __always_inline __u32 server_kind(const struct packet *packet, const __be32 *address,
					 __be16 port, __u32 flags)
{
	__u32 kinds = server_kind_at(packet, address, port, flags);

	if (kinds & SERVER_REPLIES || !(flags & WILDCARD_REAL_SERVERS))
		return kinds;
	return kinds | server_kind_at(packet, address, 0, flags);
}

/* Bits of enum address_role; 0: an address like others. */
static __always_inline __u32 address_role(const struct packet *packet, const __be32 *address,
					  __u32 flags)
{
	__u32 kinds = kinds_of(packet, address, 0, 0, flags);

	if (!(kinds & KINDS_UNKNOWN))
		return kinds / KIND_OWN_ADDRESS & (OWN_ADDRESS | FULLNAT_ADDRESS);
	return value_of(&local_addresses, packet, address);
}

#endif
