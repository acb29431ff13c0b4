/** Whether packets fit the way to tunnelled servers once they have their outer headers. */
import type { Facts, RouteFact, ServerSetup } from './facts';
import { error, type Finding, ok, warning } from './finding';
import { linkNamed, type PlacedServer, serverId, serverSubject, serversOf } from './names';

/** What clients send with DF set: a full Ethernet frame. */
const CLIENT_PACKET_BYTES = 1500;
const OUTER_IPV4_BYTES = 20;
const OUTER_IPV6_BYTES = 40;
const TCP_AND_IPV4_BYTES = 40;
const TCP_AND_IPV6_BYTES = 60;

/** Bytes in front of the inner packet; of GUE's and GRE's options the longest. */
export function overheadOf({ family, tunnel }: ServerSetup): number {
  const ip = family === 6 ? OUTER_IPV6_BYTES : OUTER_IPV4_BYTES;
  if (tunnel.type === 'ipip') return ip;
  if (tunnel.type === 'gue') return ip + (tunnel.checksum === 'remcsum' ? 20 : 12);
  return ip + (tunnel.checksum === 'nocsum' ? 4 : 8);
}

export function checkTunnels(facts: Facts): Finding[] {
  return serversOf(facts)
    .filter(({ server }) => server.method === 'tunnel')
    .flatMap((placed) => {
      const route = facts.host.routes.get(placed.server.address);
      return route === undefined || route.kind !== 'unicast'
        ? []
        : [checkTunnel(facts, placed, route)];
    });
}

/** The narrowest place that is known: route, interface, what ICMP errors told of the way. */
function wayOf(facts: Facts, { server }: PlacedServer, route: RouteFact) {
  const places = [
    { mtu: linkNamed(facts, route.interface)?.mtu ?? 0, what: `MTU of ${route.interface}` },
    { mtu: route.mtu, what: 'MTU of the route' },
    {
      mtu: facts.daemon?.after.pathMtus[serverId(server)] ?? 0,
      what: 'MTU of the path, as an ICMP error of the last ten minutes told,',
    },
  ].filter(({ mtu }) => mtu > 0);
  return places.reduce((least, place) => (place.mtu < least.mtu ? place : least), {
    mtu: Number.POSITIVE_INFINITY,
    what: '',
  });
}

function checkTunnel(facts: Facts, placed: PlacedServer, route: RouteFact): Finding {
  const { server, service } = placed;
  const overhead = overheadOf(server);
  const { mtu, what } = wayOf(facts, placed, route);
  const room = mtu - overhead;
  const subject = serverSubject(placed);
  if (room >= CLIENT_PACKET_BYTES) return ok('tunnel-mtu', subject, `room for ${room} bytes`);
  const needed = CLIENT_PACKET_BYTES + overhead;
  const headers = service.key.family === 6 ? TCP_AND_IPV6_BYTES : TCP_AND_IPV4_BYTES;
  const { before, after } = facts.daemon ?? {};
  const drops = (after?.drops['mtu_exceeded'] ?? 0) - (before?.drops['mtu_exceeded'] ?? 0);
  const dropped = after !== undefined ? after.drops['mtu_exceeded']! : 0;
  const seen =
    `${what} is ${mtu}; ${server.tunnel.type} takes ${overhead} bytes of it, ${room} are left, ` +
    `and clients send ${CLIENT_PACKET_BYTES}` +
    (dropped > 0 ? `; ${dropped} packets were too long (mtu_exceeded), ${drops} just now` : '');
  const make = dropped > 0 ? error : warning;
  return make(
    'tunnel-mtu',
    subject,
    seen,
    'Long packets from clients (uploads) with DF set are dropped, and the client is told by ' +
      'ICMP. Where ICMP is filtered, such a connection is made and then hangs.',
    [
      `ip link set ${route.interface} mtu ${needed}   # after every hop to the real server`,
      'or lower what clients may send, on the real server:',
      `ip route change default via GATEWAY advmss ${room - headers}`,
    ],
  );
}
