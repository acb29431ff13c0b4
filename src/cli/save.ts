/**
 * `-S`: the table as commands that build it again. Thresholds, timeouts and sync daemons are not
 * saved, as ipvsadm does not save them.
 */
import type {
  ForwardingMethodName,
  ServerSettings,
  ServiceKey,
  ServiceList,
  ServiceSettings,
} from '../control/protocol';
import type { NameView } from './names';
import { formatEndpoint, notableNetmask } from './print';
import { formatSchedulerFlags } from './schedulerFlags';

const SERVICE_OPTION = { tcp: '-t', udp: '-u', sctp: '--sctp-service' } as const;
const METHOD_OPTION: Readonly<Record<ForwardingMethodName, string>> = {
  nat: '-m',
  tunnel: '-i',
  dr: '-g',
  local: '-g',
  bypass: '-g',
  fullnat: '--fullnat',
};

/** Which service: `-t 192.0.2.1:80`. */
export function serviceWords(service: ServiceKey, names: NameView): string {
  const { family, protocol, address, port, fwmark } = service;
  if (fwmark !== 0) return `-f ${fwmark | 0}${family === 6 ? ' -6' : ''}`;
  return `${SERVICE_OPTION[protocol]} ${formatEndpoint(family, address, port, protocol, names)}`;
}

/** What it is like: `-s rr -p 300`. */
export function serviceSettingWords(service: Pick<ServiceKey, 'family'> & ServiceSettings): string {
  let line = `-s ${service.scheduler}`;
  if (service.persistentTimeout > 0) {
    const mask = notableNetmask(service);
    line += ` -p ${service.persistentTimeout}`;
    if (mask !== null) line += ` -M ${mask}`;
  }
  // Unlike the listing, which shows it with persistence only.
  if (service.persistenceEngine !== '') line += ` --pe ${service.persistenceEngine}`;
  if (service.onePacket) line += ' -o';
  if (service.schedulerFlags.includes(true)) {
    line += ` -b ${formatSchedulerFlags(service.schedulerFlags, service.scheduler)}`;
  }
  return line;
}

/** What a real server is like: `-m -w 1`. */
export function serverSettingWords(server: ServerSettings): string {
  return `${METHOD_OPTION[server.method]} -w ${server.weight}${tunnelWords(server)}`;
}

function tunnelWords(server: ServerSettings): string {
  if (server.method !== 'tunnel') return '';
  const { type, port, checksum } = server.tunnel;
  if (type === 'ipip') return ' --tun-type ipip';
  const portWords = type === 'gue' ? ` --tun-port ${port}` : '';
  return ` --tun-type ${type}${portWords} --tun-${checksum}`;
}

/** `list`: arranged. */
export function printRules(list: ServiceList, names: NameView): string {
  const lines: string[] = [];
  for (const service of list.services) {
    const words = serviceWords(service, names);
    lines.push(`-A ${words} ${serviceSettingWords(service)}`);
    for (const { address } of service.localAddresses ?? []) {
      lines.push(`--add-laddr ${words} -z ${address}`);
    }
    for (const server of service.servers) {
      const { family, address, port } = server;
      const real = formatEndpoint(family, address, port, service.protocol, names);
      lines.push(`-a ${words} -r ${real} ${serverSettingWords(server)}`);
    }
  }
  return lines.map((line) => `${line}\n`).join('');
}
