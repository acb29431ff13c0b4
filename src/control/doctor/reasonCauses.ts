/**
 * What usually brings about each drop and pass reason, and what to do about it; typed, so that none
 * is left out. What a reason means is in reasons.ts.
 */
import type { DropReason, PassReason } from '../../table/counter';

export interface ReasonCause {
  /** "usual": it belongs to a healthy director and is only shown. */
  readonly severity: 'error' | 'warning' | 'usual';
  readonly cause: string;
  readonly remedy: readonly string[];
}

const TABLE_REMEDY = [
  'xvs connections --count --by client --limit 10   # who has them',
  'raise connections.capacity in the config file, and restart xvsd',
  'xvs sysctl drop_entry=1 drop_packet=1            # while an attack lasts',
];
const NEIGHBOUR_REMEDY = [
  'ip neighbour show                                # FAILED: nobody answers for that address',
  'xvsadm -Ln                                       # is the address the right one?',
];
const MTU_REMEDY = [
  'ip link show                                     # MTU of the interface the server is behind',
  'let ICMP "fragmentation needed" and "packet too big" through to the clients',
  'raise the MTU between director and real servers, or lower the MSS on the real servers:',
  'ip route change default via GATEWAY advmss 1400  # on each real server',
];
const ATTACK_REMEDY = ['xvs trace, or tcpdump on the sender: see what sends such packets'];

export const DROP_CAUSES: Readonly<Record<DropReason, ReasonCause>> = {
  malformed: {
    severity: 'warning',
    cause: 'A broken or hostile sender, or an interface that hands over frames cut short.',
    remedy: ATTACK_REMEDY,
  },
  ip_checksum: {
    severity: 'warning',
    cause: 'A broken link, card or middlebox on the way to the director.',
    remedy: ['ethtool -S INTERFACE | grep -i err                # of each served interface'],
  },
  no_real_server: {
    severity: 'error',
    cause: 'The service has no real server, all have weight 0, or all are above their threshold.',
    remedy: ['xvsadm -Ln --thresholds', 'xvsadm -e SERVICE -r SERVER -w 1'],
  },
  real_server_unavailable: {
    severity: 'warning',
    cause: 'A real server was removed while it had connections.',
    remedy: [
      'xvs sysctl expire_nodest_conn=1                  # end such connections at once',
      'next time: xvsadm -e SERVICE -r SERVER -w 0, and remove it when it has no more',
    ],
  },
  table_full: {
    severity: 'error',
    cause: 'More connections than connections.capacity allows, or an attack that makes them.',
    remedy: TABLE_REMEDY,
  },
  lock_busy: {
    severity: 'error',
    cause: 'A worker lost its CPU while it held a lock: other work runs on the CPUs of workers.',
    remedy: [
      'set workers.cpus to CPUs of their own, and keep others off (isolcpus=, taskset)',
      'ps -eLo psr,pcpu,comm --sort=psr                 # what else runs there',
    ],
  },
  ttl_exceeded: {
    severity: 'warning',
    cause: 'A routing loop between director and router, or somebody runs traceroute.',
    remedy: ['ip route get VIP                                 # on the router: it must end here'],
  },
  mtu_exceeded: {
    severity: 'warning',
    cause:
      'Packets that are longer than the way to the real server, mostly because of a ' +
      "tunnel's outer header, and whose senders do not hear the ICMP error about it.",
    remedy: MTU_REMEDY,
  },
  no_route: {
    severity: 'error',
    cause:
      'The director has no route to a real server or back to the client, or the neighbour on ' +
      'the way does not answer.',
    remedy: [
      'ip route get ADDRESS                             # of each real server',
      ...NEIGHBOUR_REMEDY,
    ],
  },
  neighbour_queue_full: {
    severity: 'error',
    cause: 'A real server or router that does not answer ARP (IPv6: neighbour discovery).',
    remedy: NEIGHBOUR_REMEDY,
  },
  neighbour_unresolved: {
    severity: 'error',
    cause: 'A real server or router that does not answer ARP (IPv6: neighbour discovery).',
    remedy: NEIGHBOUR_REMEDY,
  },
  host_refused: {
    severity: 'error',
    cause: "More frames for the host's stack than it takes, or the TAP device is down or gone.",
    remedy: ['ip link show type tun                            # xvsPID has to be up'],
  },
  drop_packet: {
    severity: 'warning',
    cause: 'The defence is on: sysctl drop_packet, by hand or for want of memory.',
    remedy: ['xvs sysctl drop_packet=0'],
  },
  real_server_refused: {
    severity: 'warning',
    cause: 'A real server answers connections that have ended here: its timeouts are longer.',
    remedy: [
      'xvsadm --set TCP TCPFIN UDP                      # seconds, longer than on the servers',
    ],
  },
  forwarding_method: {
    severity: 'error',
    cause: 'A real server with a forwarding method that this version does not carry out.',
    remedy: [
      'xvsadm -Ln',
      'xvsadm -e SERVICE -r SERVER -m                   # or -g, -i, --fullnat',
    ],
  },
  local_mapped: {
    severity: 'error',
    cause: "A real server's address is one of the director's own, and NAT would translate to it.",
    remedy: ['xvsadm -e SERVICE -r SERVER -g                   # the director itself, without NAT'],
  },
  local_ports_exhausted: {
    severity: 'error',
    cause: 'All ports of the local addresses towards a FULLNAT server are taken.',
    remedy: ['xvsadm --get-laddr', 'xvsadm --add-laddr -z ADDRESS SERVICE -F INTERFACE'],
  },
  fragment_refused: {
    severity: 'warning',
    cause: 'The first fragment of a packet was dropped; its own reason says why.',
    remedy: ['look at the other drop reasons that grow'],
  },
  fragment_unsound: {
    severity: 'warning',
    cause: 'An attack by fragments, or a broken sender.',
    remedy: ATTACK_REMEDY,
  },
  no_chunk: {
    severity: 'warning',
    cause: 'The UMEM has no room for the parts of packets that are cut to the MTU.',
    remedy: ['raise the MTU between director and real servers, so that less is cut'],
  },
  tunnel_source: {
    severity: 'error',
    cause: 'The director has no address of the family of the tunnel on the way to the server.',
    remedy: ['ip address add ADDRESS/LENGTH dev INTERFACE'],
  },
  tunnel_unserved: {
    severity: 'error',
    cause: 'The route to a tunnelled real server leaves by an interface that xvs does not serve.',
    remedy: ['ip route get SERVER', 'add that interface to interfaces in the config file'],
  },
  icmp_checksum: {
    severity: 'warning',
    cause: 'A broken router or middlebox that sends ICMP errors.',
    remedy: ATTACK_REMEDY,
  },
  icmp_fragment: {
    severity: 'warning',
    cause: 'No honest host sends ICMPv6 errors in fragments.',
    remedy: ATTACK_REMEDY,
  },
  tunnel_error: {
    severity: 'warning',
    cause:
      'A router or the real server refuses tunnel packets: no route to the server, its protocol ' +
      'is blocked, it does not decapsulate, or the MTU on the way is too small.',
    remedy: [
      'on the real server: ip link set tunl0 up, or xvs decap INTERFACE --vip VIP',
      'let protocol 4 (gre: 47, gue: its UDP port) through to the real servers',
    ],
  },
};

const USUAL = (cause: string): ReasonCause => ({ severity: 'usual', cause, remedy: [] });

export const PASS_CAUSES: Readonly<Record<PassReason, ReasonCause>> = {
  no_connection: USUAL('Real servers have traffic of their own, which the host forwards.'),
  no_service: USUAL('All services were removed; the host has what is under way.'),
  not_scheduled: USUAL(
    'Packets of connections that xvs does not know: ended, or made before it started.',
  ),
  protocol: USUAL('ICMP echo and other protocols to a service by mark or to a real server.'),
  fragment: USUAL('Fragments of what the host has.'),
  fragment_orphan: {
    severity: 'warning',
    cause: 'Fragments whose first one is lost, or takes another way.',
    remedy: ['look for loss, or for two ways with different queues, before the director'],
  },
  local_real_server: USUAL('The director is a real server of its own.'),
  unserved_interface: {
    severity: 'warning',
    cause: 'The way to real servers or clients leaves by an interface that xvs does not serve.',
    remedy: ['ip route get ADDRESS', 'add that interface to interfaces in the config file'],
  },
};
