/**
 * Metrics by service and by real server, in Prometheus' text format. Written here and not by the
 * library: ten thousand services with ten servers are 850,000 samples, which it holds the main
 * thread up for eight seconds to make; here they are made in slices.
 */
import { realServerTraffic, serviceTraffic } from '../table/counter';
import type { Director } from './director';
import { counted } from './listing';
import type { RealServer, VirtualService } from './model';
import type { ServerKey, ServiceKey } from './protocol';
import { inSlices } from './slice';

export interface MetricDescription {
  readonly name: string;
  readonly help: string;
  readonly type: string;
}

/** In the order of TRAFFIC_*. */
const TRAFFIC = [
  ['connections_total', 'Connections scheduled'],
  ['in_packets_total', 'Packets from clients'],
  ['out_packets_total', 'Packets to clients'],
  ['in_bytes_total', 'Bytes from clients, IP header included'],
  ['out_bytes_total', 'Bytes to clients, IP header included'],
] as const;

type ServiceValue = (director: Director, service: VirtualService) => number;
type ServerValue = (director: Director, server: RealServer) => number;
interface ServiceFamily extends MetricDescription {
  readonly of: 'service';
  readonly value: ServiceValue;
}
interface ServerFamily extends MetricDescription {
  readonly of: 'server';
  readonly value: ServerValue;
}

const SERVER_LEVELS: readonly (readonly [string, string, ServerValue])[] = [
  [
    'active_connections',
    'Connections in an active state',
    ({ tables }, { slot }) => tables.realServers.active(slot),
  ],
  [
    'inactive_connections',
    'Connections in another state',
    ({ tables }, { slot }) => Math.max(0, tables.realServers.inactive(slot)),
  ],
  ['weight', 'Weight', (_director, server) => server.settings.weight],
];

const FAMILIES: readonly (ServiceFamily | ServerFamily)[] = [
  ...TRAFFIC.flatMap(([suffix, help], which): (ServiceFamily | ServerFamily)[] => [
    {
      of: 'service',
      name: `xvs_service_${suffix}`,
      help: `${help}, by service`,
      type: 'counter',
      value: (director, { slot, zero }) => counted(director, serviceTraffic(slot), zero, which),
    },
    {
      of: 'server',
      name: `xvs_real_server_${suffix}`,
      help: `${help}, by real server`,
      type: 'counter',
      value: (director, { slot, zero }) => counted(director, realServerTraffic(slot), zero, which),
    },
  ]),
  ...SERVER_LEVELS.map(
    ([suffix, help, value]): ServerFamily => ({
      of: 'server',
      name: `xvs_real_server_${suffix}`,
      help,
      type: 'gauge',
      value,
    }),
  ),
];

export const SERVICE_METRICS: readonly MetricDescription[] = FAMILIES.map(
  ({ name, help, type }) => ({ name, help, type }),
);

function addressAndPort({ family, address, port }: ServerKey): string {
  return family === 6 ? `[${address}]:${port}` : `${address}:${port}`;
}

/** Labels of a service; none of the texts holds what would have to be escaped. */
function serviceLabels(key: ServiceKey): string {
  // A service by mark has no address of its own.
  if (key.fwmark === 0) return `service="${addressAndPort(key)}",protocol="${key.protocol}"`;
  const family = key.family === 6 ? ' IPv6' : '';
  return `service="fwmark ${key.fwmark}${family}",protocol="any"`;
}

/** All families, in slices. What is there when it begins is counted as it is at its line. */
export function serviceMetrics(director: Director): AsyncGenerator<string> {
  return inSlices(lines(director));
}

function* lines(director: Director): Generator<string> {
  const services = director.services.map((service) => ({
    service,
    labels: serviceLabels(service.key),
    servers: service.servers,
  }));
  for (const family of FAMILIES) {
    const { name } = family;
    yield `# HELP ${name} ${family.help}\n# TYPE ${name} ${family.type}\n`;
    for (const { service, labels, servers } of services) {
      if (family.of === 'service') {
        yield `${name}{${labels}} ${family.value(director, service)}\n`;
        continue;
      }
      for (const server of servers) {
        const value = family.value(director, server);
        yield `${name}{${labels},server="${addressAndPort(server.key)}"} ${value}\n`;
      }
    }
    yield '\n';
  }
}
