/** Where NAT real servers answer from, for nat_icmp_send: addresses with ports, by protocol. */
import type { Endpoint } from '../table/endpoint';
import type { Director } from './director';
import type { VirtualService } from './model';
import { PROTOCOL_NUMBERS } from './tableValues';

/** A service by mark takes every protocol. */
function protocolsOf({ key }: VirtualService): readonly number[] {
  const { tcp, udp } = PROTOCOL_NUMBERS;
  return key.fwmark === 0 ? [PROTOCOL_NUMBERS[key.protocol]] : [tcp, udp];
}

export function natEndpoints(director: Director): Endpoint[] {
  const { realServers } = director.tables;
  const found: Endpoint[] = [];
  for (const service of director.services) {
    if (service.key.family !== 4) continue;
    const protocols = protocolsOf(service);
    for (const { slot, key, settings } of service.servers) {
      if (settings.method !== 'nat') continue;
      const address = realServers.address4(slot);
      for (const protocol of protocols) found.push({ protocol, address, port: key.port });
    }
  }
  return found;
}
