/**
 * Listings byte for byte as ipvsadm 1.31 prints them, trailing spaces included: scripts cut these
 * lines by column and by field.
 */
import type {
  AddressFamily,
  ForwardingMethodName,
  ServerListing,
  ServiceList,
  ServiceListing,
  Statistics,
  Timeouts,
} from '../control/protocol';
import type { NameView } from './names';
import { largeNumber } from './numbers';
import type { ListFormat, OutputView, SyncCommand } from './request';
import { formatSchedulerFlags } from './schedulerFlags';
import { sortServers, sortServices } from './sort';

const LOCAL_TITLE = 'Prot LocalAddress:Port';
const REMOTE_TITLE = '  -> RemoteAddress:Port';
/** Columns kept of an IPv4 service's and an IPv4 server's name. */
const SERVICE_NAME_LENGTH = 33;
const SERVER_NAME_LENGTH = 28;

const METHOD_TITLE: Readonly<Record<ForwardingMethodName, string>> = {
  nat: 'Masq',
  local: 'Local',
  tunnel: 'Tunnel',
  dr: 'Route',
  bypass: 'Bypass',
  fullnat: 'FullNat',
};
const CHECKSUM_MARK = { nocsum: '-c', csum: '+c', remcsum: 'r+c' } as const;

function columns(texts: readonly (string | number)[], widths: readonly number[]): string {
  return texts.map((text, index) => String(text).padEnd(widths[index] ?? 0)).join(' ');
}

function statisticsTitle(names: readonly string[]): string {
  const heads = names.map((name) => ` ${name.padStart(8)}`).join('');
  return `${LOCAL_TITLE.padEnd(SERVICE_NAME_LENGTH)}${heads}\n${REMOTE_TITLE}\n`;
}

const THRESHOLD_WIDTHS = [33, 10, 10, 10, 10];
const PERSISTENT_WIDTHS = [33, 9, 11, 10, 10];

function title(view: OutputView): string {
  switch (view) {
    case 'stats':
      return statisticsTitle(['Conns', 'InPkts', 'OutPkts', 'InBytes', 'OutBytes']);
    case 'rate':
      return statisticsTitle(['CPS', 'InPPS', 'OutPPS', 'InBPS', 'OutBPS']);
    case 'thresholds': {
      const heads = [LOCAL_TITLE, 'Uthreshold', 'Lthreshold', 'ActiveConn', 'InActConn'];
      return `${columns(heads, THRESHOLD_WIDTHS)}\n${REMOTE_TITLE}\n`;
    }
    case 'persistent-conn': {
      const heads = [LOCAL_TITLE, 'Weight', 'PersistConn', 'ActiveConn', 'InActConn'];
      return `${columns(heads, PERSISTENT_WIDTHS)}\n${REMOTE_TITLE}\n`;
    }
    case 'tun-info':
      return (
        `${LOCAL_TITLE} Scheduler Flags\n` +
        `${REMOTE_TITLE}           Forward TunnelInfo    Weight ActiveConn InActConn\n`
      );
    case 'default':
      return (
        `${LOCAL_TITLE} Scheduler Flags\n` +
        `${REMOTE_TITLE}           Forward Weight ActiveConn InActConn\n`
      );
  }
}

/** `address:port`, IPv6 in brackets, by name where the view knows one. */
export function formatEndpoint(
  family: AddressFamily,
  address: string,
  port: number,
  protocol: string,
  names: NameView,
): string {
  const host = names.host(family, address) ?? address;
  const service = names.service(port, protocol) ?? String(port);
  return family === 6 ? `[${host}]:${service}` : `${host}:${service}`;
}

function serviceName(service: ServiceListing, names: NameView): string {
  const { family, protocol, address, port, fwmark } = service;
  if (fwmark !== 0) return `FWM  ${fwmark | 0}${family === 6 ? ' IPv6' : ''}`;
  const endpoint = formatEndpoint(family, address, port, protocol, names);
  const name = `${protocol.toUpperCase().padEnd(4)} ${endpoint}`;
  return family === 4 ? name.slice(0, SERVICE_NAME_LENGTH) : name;
}

/** The mask, unless it is the one that keeps the whole address. */
export function notableNetmask(service: Pick<ServiceListing, 'family' | 'netmask'>): string | null {
  const whole = service.family === 6 ? '128' : '255.255.255.255';
  return service.netmask === whole ? null : service.netmask;
}

function serviceFlags(service: ServiceListing): string {
  let text = ` ${service.scheduler}`;
  if (service.schedulerFlags.includes(true)) {
    text += ` (${formatSchedulerFlags(service.schedulerFlags, service.scheduler)})`;
  }
  if (service.persistentTimeout > 0) {
    const mask = notableNetmask(service);
    text += ` persistent ${service.persistentTimeout}`;
    if (mask !== null) text += ` mask ${mask}`;
    if (service.persistenceEngine !== '') text += ` pe ${service.persistenceEngine}`;
  }
  return service.onePacket ? `${text} ops` : text;
}

function statisticsColumns(statistics: Statistics, exact: boolean): string {
  const { connections, inPackets, outPackets, inBytes, outBytes } = statistics;
  return [connections, inPackets, outPackets, inBytes, outBytes]
    .map((value) => largeNumber(value, exact))
    .join('');
}

/** A server's rates: the first three have no unit, however large. */
function rateColumns(rates: Statistics, exact: boolean): string {
  const plain = [rates.connections, rates.inPackets, rates.outPackets];
  const bytes = [rates.inBytes, rates.outBytes];
  return (
    plain.map((value) => ` ${String(value).padStart(8)}`).join('') +
    bytes.map((value) => largeNumber(value, exact)).join('')
  );
}

function serviceRow(service: ServiceListing, format: ListFormat, names: NameView): string {
  const name = serviceName(service, names);
  if (format.view === 'stats') {
    return name.padEnd(SERVICE_NAME_LENGTH) + statisticsColumns(service.statistics, format.exact);
  }
  if (format.view === 'rate') {
    return name.padEnd(SERVICE_NAME_LENGTH) + statisticsColumns(service.rates, format.exact);
  }
  return name + serviceFlags(service);
}

function tunnelInfo(server: ServerListing): string {
  if (server.method !== 'tunnel') return 'n/a';
  const { type, port, checksum } = server.tunnel;
  if (type === 'ipip') return type;
  const mark = CHECKSUM_MARK[checksum];
  return type === 'gue' ? `${type}:${port}:${mark}` : `${type}:${mark}`;
}

function serverColumns(server: ServerListing, format: ListFormat): string {
  const { weight, active, inactive, persistent, upperThreshold, lowerThreshold } = server;
  const method = METHOD_TITLE[server.method];
  switch (format.view) {
    case 'stats':
      return statisticsColumns(server.statistics, format.exact);
    case 'rate':
      return rateColumns(server.rates, format.exact);
    case 'thresholds':
      return ` ${columns([upperThreshold, lowerThreshold, active, inactive], [10, 10, 10, 10])}`;
    case 'persistent-conn':
      return ` ${columns([weight, persistent, active, inactive], [9, 11, 10, 10])}`;
    case 'tun-info':
      return ` ${columns(
        [method, tunnelInfo(server), weight, active, inactive],
        [7, 13, 6, 10, 10],
      )}`;
    case 'default':
      return ` ${columns([method, weight, active, inactive], [7, 6, 10, 10])}`;
  }
}

function serverRow(
  service: ServiceListing,
  server: ServerListing,
  format: ListFormat,
  names: NameView,
): string {
  const full = formatEndpoint(server.family, server.address, server.port, service.protocol, names);
  const name = server.family === 4 ? full.slice(0, SERVER_NAME_LENGTH) : full;
  return `  -> ${name.padEnd(SERVER_NAME_LENGTH)}${serverColumns(server, format)}`;
}

/** The list in the order in which it is shown. */
export function arrangeServices(list: ServiceList, sorted: boolean): ServiceList {
  if (!sorted) return list;
  const services = sortServices(list.services).map((service) => ({
    ...service,
    servers: sortServers(service.servers),
  }));
  return { ...list, services };
}

/** `list`: arranged. `whole`: the table, not one service, which goes without the first line. */
export function printServices(
  list: ServiceList,
  whole: boolean,
  format: ListFormat,
  names: NameView,
): string {
  const lines: string[] = [];
  for (const service of list.services) {
    lines.push(serviceRow(service, format, names));
    for (const server of service.servers) lines.push(serverRow(service, server, format, names));
  }
  const size = list.connectionTableSize;
  const head = whole ? `IP Virtual Server version 1.2.1 (size=${size})\n` : '';
  return head + title(format.view) + lines.map((line) => `${line}\n`).join('');
}

export function printTimeouts(timeouts: Timeouts): string {
  return `Timeout (tcp tcpfin udp): ${timeouts.tcp} ${timeouts.tcpFin} ${timeouts.udp}\n`;
}

export type SyncDaemon = Omit<Extract<SyncCommand, { command: 'start-daemon' }>, 'command'>;

/** Running sync daemons, the master first; nothing when none runs. */
export function printSyncDaemons(daemons: readonly SyncDaemon[]): string {
  const row = (daemon: SyncDaemon): string => {
    const parts = [`mcast=${daemon.interface}`, `syncid=${daemon.syncId}`];
    if (daemon.maxLength !== 0) parts.push(`maxlen=${daemon.maxLength}`);
    if (daemon.group !== '') parts.push(`group=${daemon.group}`);
    if (daemon.port !== 0) parts.push(`port=${daemon.port}`);
    if (daemon.ttl !== 0) parts.push(`ttl=${daemon.ttl}`);
    return `${daemon.role} sync daemon (${parts.join(', ')})\n`;
  };
  const ordered = [
    ...daemons.filter((daemon) => daemon.role === 'master'),
    ...daemons.filter((daemon) => daemon.role === 'backup'),
  ];
  return ordered.map(row).join('');
}
