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
    "Longer than the outgoing interface's MTU; with DF the sender gets ICMP fragmentation needed.",
  no_route: 'The kernel has no route to the next hop, or its neighbour does not answer.',
  neighbour_queue_full:
    'Too many frames wait for neighbours already (256 a worker, 64 an address).',
  neighbour_unresolved: 'A frame waited three seconds for a neighbour in vain.',
  drop_packet: 'Every so many-th packet that would have made a connection (sysctl drop_packet).',
  real_server_refused:
    'From a real server, without a connection; it gets port unreachable (sysctl nat_icmp_send).',
  forwarding_method:
    'Its real server has a forwarding method that this version does not carry out.',
  host_refused: "The TAP device did not take a frame for the host's stack.",
};

export const PASS_MEANINGS: Readonly<Record<PassReason, string>> = {
  no_connection: 'Neither a connection nor a service: what a real server sends of its own.',
  no_service: 'There are no services at all.',
  not_scheduled:
    'To a service, without a connection, and not the beginning of one (TCP without SYN).',
  protocol: 'Neither TCP nor UDP over IPv4.',
  fragment: 'A fragment.',
  local_real_server: 'The real server is the director itself.',
  bypass: 'To a marked service without a real server; the host forwards it (sysctl cache_bypass).',
  unserved_interface:
    'The route leaves by an interface that xvs does not serve; the host forwards it.',
};
