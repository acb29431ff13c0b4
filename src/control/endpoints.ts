/** Where NAT real servers answer from, for nat_icmp_send: addresses with ports, by protocol. */
import type { Endpoint } from '../table/endpoint';
import type { Director } from './director';
import type { VirtualService } from './model';
import { PROTOCOL_NUMBERS } from './tableValues';

/** A service by mark takes every protocol. */
function protocolsOf({ key }: VirtualService): readonly number[] {
  return key.fwmark === 0 ? [PROTOCOL_NUMBERS[key.protocol]] : Object.values(PROTOCOL_NUMBERS);
}

/** Each once, though several services may have it. */
export function natEndpoints(director: Director): Endpoint[] {
  const { realServers } = director.tables;
  const found = new Map<string, Endpoint>();
  for (const service of director.services) {
    for (const { slot, key, settings } of service.servers) {
      if (settings.method !== 'nat') continue;
      const word = (at: number): number => realServers.addressWord(slot, at);
      const address = key.family === 4 ? word(0) : ([word(0), word(1), word(2), word(3)] as const);
      for (const protocol of protocolsOf(service)) {
        const endpoint = { protocol, address, port: key.port };
        found.set(`${protocol} ${address} ${key.port}`, endpoint);
      }
    }
  }
  return [...found.values()];
}
