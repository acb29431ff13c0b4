/** Connections that the director itself makes to a service, which XDP never sees. */
import type { Facts } from './facts';
import { type Finding, ok, warning } from './finding';
import { serviceId } from './names';

export function checkOwnTraffic(facts: Facts): Finding[] {
  const services = new Map(
    facts.setup.services
      .filter(({ key }) => key.fwmark === 0)
      .map(({ key }) => [serviceId(key), key] as const),
  );
  const counts = new Map<string, number>();
  for (const peer of facts.host.socketPeers) {
    if (services.has(peer)) counts.set(peer, (counts.get(peer) ?? 0) + 1);
  }
  if (counts.size === 0) return [ok('own-traffic', 'this host', 'has no connection to a service')];
  return [...counts].map(([id, count]) =>
    warning(
      'own-traffic',
      id,
      `${count} socket(s) of the director itself are connected to the service`,
      'What the host sends itself does not pass XDP, so it is not balanced: it is refused, or ' +
        'answered by what listens here on that address.',
      [
        `ss -tunp | grep '${services.get(id)!.address}'   # which program it is`,
        'have it ask a real server by its own address, or through another host',
      ],
    ),
  );
}
