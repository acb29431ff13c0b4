/** Listing of local addresses (FULLNAT), column for column as DPVS's ipvsadm prints it. */
import type { ServiceListing } from '../control/protocol';
import { NUMERIC_NAMES } from './names';
import { formatEndpoint } from './print';

const WIDTHS = [20, 8, 20, 10, 10];

function row(...texts: readonly (string | number)[]): string {
  return `${WIDTHS.map((width, at) => String(texts[at] ?? '').padEnd(width)).join(' ')}\n`;
}

function serviceName({ family, protocol, address, port, fwmark }: ServiceListing): string {
  if (fwmark !== 0) return `FWM ${fwmark | 0}${family === 6 ? ' IPv6' : ''}`;
  return formatEndpoint(family, address, port, protocol, NUMERIC_NAMES);
}

/** `services`: arranged. */
export function printLocalAddresses(services: readonly ServiceListing[]): string {
  let text = row('VIP:VPORT', 'TOTAL', 'SNAT_IP', 'CONFLICTS', 'CONNS');
  for (const service of services) {
    const addresses = service.localAddresses ?? [];
    text += `${serviceName(service).padEnd(WIDTHS[0]!)} ${String(addresses.length).padEnd(8)} \n`;
    for (const { address, conflicts, connections } of addresses) {
      text += row('', '', address, conflicts, connections);
    }
  }
  return text;
}
