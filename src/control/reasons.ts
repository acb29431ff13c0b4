/** What each drop and pass reason means, in a sentence; typed, so that none is left out. */
import type { DropReason, PassReason } from '../table/counter';

export const DROP_MEANINGS: Readonly<Record<DropReason, string>> = {
  malformed: 'A header is cut short or its lengths contradict each other.',
  ip_checksum: 'The IPv4 header checksum is wrong.',
  no_real_server:
    'The service has no real server that may be chosen; the client gets ICMP port unreachable.',
  real_server_unavailable: 'Its real server was removed; it goes on when that is added again.',
  table_full: 'The connection table, or the index bucket of this connection, has no room.',
  lock_busy: 'A lock was not to be had in about 50 ms: its owner lost its CPU.',
  ttl_exceeded: 'The TTL would become 0; the sender gets ICMP time exceeded.',
  mtu_exceeded:
    'Longer than the way out allows and not to be cut (DF, IPv6); the sender is told the length.',
  no_route: 'The kernel has no route to the next hop, or its neighbour does not answer.',
  neighbour_queue_full:
    'Too many frames wait for neighbours already (256 a worker, 64 an address).',
  neighbour_unresolved: 'A frame waited three seconds for a neighbour in vain.',
  drop_packet: 'Every so many-th packet that would have made a connection (sysctl drop_packet).',
  real_server_refused:
    'From a real server, without a connection; it gets port unreachable (sysctl nat_icmp_send).',
  forwarding_method:
    'Its real server has a forwarding method that this version does not carry out.',
  fragment_refused:
    'A later fragment of a packet whose first one was dropped, or whose connection has ended.',
  fragment_unsound:
    'A fragment that ends beyond 65,535 bytes, is empty, or overlaps the transport header.',
  no_chunk: 'A packet to be cut to the MTU found no free chunk for its parts.',
  tunnel_source:
    'The director has no address of the family that the tunnel to the real server needs.',
  tunnel_unserved:
    'The way to a tunnelled real server leaves by an interface that xvs does not serve.',
  local_mapped:
    'To an address of the director itself that NAT would put in: its answers would not come back.',
  local_ports_exhausted:
    'To a FULLNAT server: its service has no local address with a port free towards it.',
  host_refused: "The TAP device did not take a frame for the host's stack.",
  icmp_checksum: 'The checksum of an ICMP error about a connection is wrong.',
  icmp_fragment: 'An ICMPv6 error that came in fragments.',
  tunnel_error:
    "An ICMP error about a tunnel's packet; the client is told, if it is concerned, in its stead.",
};

export const PASS_MEANINGS: Readonly<Record<PassReason, string>> = {
  no_connection: 'Neither a connection nor a service: what a real server sends of its own.',
  no_service: 'There are no services at all.',
  not_scheduled:
    'To a service, without a connection, and not the beginning of one (TCP without SYN).',
  protocol:
    'No IP packet, or a protocol without connections here: ICMP but errors, unknown headers.',
  fragment: 'A later fragment of a packet that the host was given.',
  fragment_orphan:
    'A later fragment whose first one did not come within a second, or too many of them waited.',
  local_real_server: 'The real server is the director itself, which has it as it came.',
  unserved_interface:
    'The route leaves by an interface that xvs does not serve; the host forwards it.',
};
