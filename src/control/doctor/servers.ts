/**
 * Real servers: whether there is a way to each, whether the next hop answers, and whether what is
 * sent there comes back.
 */
import { NUD_FAILED, NUD_INCOMPLETE } from '../netlink';
import type { DaemonFacts, Facts, RouteFact, ServerConnections, ServerSetup } from './facts';
import { error, type Finding, ok, warning } from './finding';
import {
  hostPrefix,
  isServed,
  isWithin,
  linkNamed,
  type PlacedServer,
  serverId,
  serverSubject,
  serversOf,
  serviceOption,
} from './names';

/** So many connections without an answer are no accident of clients that went away. */
const WAITING_CERTAIN = 3;

export function checkServers(facts: Facts): Finding[] {
  return serversOf(facts).flatMap((placed) => {
    const route = facts.host.routes.get(placed.server.address);
    if (route === undefined) return [];
    const way = checkRoute(facts, placed, route);
    if (way !== null) return [way];
    const neighbour = checkNeighbour(facts, placed, route);
    // A server that cannot be reached does not answer: one cause, one finding.
    if (neighbour.severity === 'error' || placed.server.weight === 0) return [neighbour];
    return [neighbour, ...checkReplies(facts, placed, route)];
  });
}

function checkRoute(facts: Facts, placed: PlacedServer, route: RouteFact): Finding | null {
  const { server } = placed;
  const subject = serverSubject(placed);
  if (route.kind === 'none') {
    return error(
      'server-no-route',
      subject,
      `the kernel has no route to ${server.address}`,
      'Packets for it are dropped (no_route).',
      [`ip route add ${server.address} via GATEWAY`],
    );
  }
  if (route.kind === 'local') return ok('server', subject, 'is this host itself');
  if (server.method === 'dr' && route.gateway !== '') {
    return error(
      'server-behind-router',
      subject,
      `the way to ${server.address} leads over the gateway ${route.gateway}`,
      'Direct routing changes MAC addresses only, so the server has to be in the same network ' +
        "as the director: the gateway gets the client's packet and sends it back to the VIP.",
      [
        `xvsadm -e ${serviceOption(placed.service.key)} -r ${serverId(server)} -i   # a tunnel`,
        `or bring ${server.address} into a network of this host`,
      ],
    );
  }
  return isServed(facts, route.interface) ? null : unserved(facts, placed, route);
}

function unserved(facts: Facts, placed: PlacedServer, route: RouteFact): Finding {
  const { server } = placed;
  const link = linkNamed(facts, route.interface);
  const tagged = link?.kind === 'vlan' ? `${route.interface} is a VLAN on ${link.parent}. ` : '';
  return error(
    'server-unserved',
    serverSubject(placed),
    `the way to ${server.address} leaves by ${route.interface}, which xvs does not serve`,
    `${tagged}A worker can send only on served interfaces, and replies that come in there are ` +
      'not translated back: the host gets the packets, or they are dropped (tunnel_unserved).',
    [`add { name: ${route.interface} } to interfaces in the config file, and restart xvsd`],
  );
}

function checkNeighbour(facts: Facts, placed: PlacedServer, route: RouteFact): Finding {
  const hop = route.gateway === '' ? placed.server.address : route.gateway;
  const known = facts.host.neighbours.find(
    (one) => one.address === hop && one.interface === route.interface,
  );
  const subject = serverSubject(placed);
  if (known === undefined || (known.state & (NUD_FAILED | NUD_INCOMPLETE)) === 0) {
    return ok('server', subject, `is reached over ${hop} on ${route.interface}`);
  }
  const what = hop === placed.server.address ? 'the real server' : 'the gateway to it';
  if (placed.server.weight === 0) {
    return ok('server', subject, `${hop} does not answer, and its weight is 0`);
  }
  const protocol = placed.server.family === 4 ? 'ARP' : 'neighbour discovery';
  return error(
    'neighbour-unresolved',
    subject,
    `${hop}, ${what}, does not answer ${protocol} on ${route.interface}`,
    'Frames for it wait three seconds and are dropped (neighbour_unresolved, ' +
      'neighbour_queue_full): every client that it is chosen for waits in vain.',
    [
      `ping -c 1 -I ${route.interface} ${hop}   # is it up, in this network, with this address?`,
      'until then, take it out of service:',
      `xvsadm -e ${serviceOption(placed.service.key)} -r ${serverId(placed.server)} -w 0` +
        methodOption(placed.server.method),
    ],
  );
}

/** xvsadm -e sets the forwarding method too: without it, direct routing. */
function methodOption(method: string): string {
  const options: Readonly<Record<string, string>> = {
    nat: ' -m',
    tunnel: ' -i',
    fullnat: ' --fullnat',
  };
  return options[method] ?? '';
}

/** A server without a port of its own, of a service by mark, has connections on any. */
function connectionsOf({ connections }: DaemonFacts, server: ServerSetup): ServerConnections {
  const id = serverId(server);
  const any = server.port === 0 ? id.slice(0, id.lastIndexOf(':') + 1) : null;
  let waiting = 0;
  let progressed = 0;
  for (const [key, counts] of connections) {
    if (any === null ? key !== id : key.slice(0, key.lastIndexOf(':') + 1) !== any) continue;
    waiting += counts.waiting;
    progressed += counts.progressed;
  }
  return { waiting, progressed };
}

function checkReplies(facts: Facts, placed: PlacedServer, route: RouteFact): Finding[] {
  const { daemon } = facts;
  if (daemon === null) return [];
  const counts = connectionsOf(daemon, placed.server);
  if (counts.waiting === 0) return [];
  // One that answers some of its clients is reached and answers.
  if (counts.progressed > 0) return [];
  const isTwoWay = placed.server.method === 'nat' || placed.server.method === 'fullnat';
  const answered = isTwoWay && (placed.server.statistics?.outPackets ?? 0) > 0;
  if (answered && counts.waiting < WAITING_CERTAIN) return [];
  const seen =
    `${counts.waiting} connection(s) wait in SYN_RECV, and none since the first of them went on` +
    (isTwoWay ? '' : ' (the client has not acknowledged)');
  return [isTwoWay ? silent(facts, daemon, placed, route, seen) : unanswered(placed, seen)];
}

function silent(
  facts: Facts,
  daemon: DaemonFacts,
  placed: PlacedServer,
  route: RouteFact,
  seen: string,
): Finding {
  const { server } = placed;
  const subject = serverSubject(placed);
  const reachable = daemon.reachable.get(serverId(server));
  if (reachable === false) {
    return error(
      'server-down',
      subject,
      `${seen}; it does not take a connection of the director's own either`,
      'The service on the real server does not run, or a firewall is in front of it.',
      [
        `on the real server: ss -ltn 'sport = :${server.port}'`,
        `xvsadm -e ${serviceOption(placed.service.key)} -r ${serverId(server)} -w 0` +
          `${methodOption(server.method)}   # until it runs`,
      ],
    );
  }
  const near = facts.host.addresses.filter((one) => one.interface === route.interface);
  const own = near.find((one) => isWithin(server.address, one))?.address ?? 'THE-DIRECTOR';
  const ip = server.family === 6 ? 'ip -6' : 'ip';
  const fullnat = server.method === 'fullnat';
  return error(
    'server-gateway',
    subject,
    reachable === true ? `${seen}; yet it takes a connection of the director's own` : seen,
    fullnat
      ? 'Its replies to the local address do not come here: it has no route to it.'
      : 'Its replies to clients do not come back through the director, so their address is not ' +
          'translated back: its gateway is another host, or there is none.',
    fullnat
      ? [`on ${server.address}: ip route get LOCAL-ADDRESS   # it has to lead here`]
      : [
          `on ${server.address}: ${ip} route replace default via ${own}`,
          `on ${server.address}: ${ip} route get CLIENT   # no other route may lead to clients`,
        ],
  );
}

function unanswered(placed: PlacedServer, seen: string): Finding {
  const { server, service } = placed;
  const { key } = service;
  const vip = key.fwmark === 0 ? key.address : 'VIP';
  const tunnel = server.method === 'tunnel';
  const on = `on ${server.address}:`;
  return warning(
    'server-unanswered',
    serverSubject(placed),
    seen,
    'Its answers go past the director, who sees only that clients do not go on: the server has ' +
      `not got the address ${vip}, nothing listens on it, or its packets do not reach clients.`,
    [
      `${on} ip address show to ${vip}   # missing: ip address add ${hostPrefix(vip)} dev lo`,
      `${on} ss -ltn   # something has to listen on ${vip} or on every address`,
      ...(tunnel
        ? [
            `${on} ip -d link show type ipip   # or: xvs decap INTERFACE --vip ${vip}`,
            `${on} sysctl net.ipv4.conf.all.rp_filter   # 1 drops what came by a tunnel`,
          ]
        : []),
      `${on} ip route get CLIENT from ${vip}`,
    ],
  );
}
