/**
 * Metrics by service, by real server and by local address. Written here and not by the library: ten
 * thousand services with ten servers are more than a million samples, which it holds the main
 * thread up for seconds to make; here they are made in slices.
 */
import { realServerTraffic, serviceTraffic } from '../table/counter';
import type { Director } from './director';
import { counted } from './listing';
import {
  familyHead,
  type MetricDescription,
  type MetricHead,
  type MetricsFormat,
} from './metricsFormat';
import type { LocalAddress, RealServer, VirtualService } from './model';
import type { ServerKey, ServiceKey } from './protocol';
import { inSlices } from './slice';

/** In the order of TRAFFIC_*. */
const TRAFFIC = [
  ['connections_total', 'Connections scheduled'],
  ['in_packets_total', 'Packets from clients'],
  ['out_packets_total', 'Packets to clients'],
  ['in_bytes_total', 'Bytes from clients, IP header included'],
  ['out_bytes_total', 'Bytes to clients, IP header included'],
] as const;

type Value<Item> = (director: Director, item: Item) => number;

interface Family<Of, Item, From = Value<Item>> extends MetricHead {
  readonly of: Of;
  readonly value: From;
  /** What the metric says beside whose it is; only of info metrics. */
  readonly info?: Readonly<Record<string, (item: Item) => string>>;
  /** Of one of several families that are one metric, and follow each other: which it is. */
  readonly state?: string;
}
type ServiceFamily = Family<'service', VirtualService>;
/** A number: which of TRAFFIC it is. */
type ServerFamily = Family<'server', RealServer, Value<RealServer> | number>;
type LocalAddressFamily = Family<'localAddress', LocalAddress>;
type AnyFamily = ServiceFamily | ServerFamily | LocalAddressFamily;

/** May a scheduler choose one of its servers? */
function choosableServers({ tables }: Director, { servers }: VirtualService): number {
  let count = 0;
  for (const { slot } of servers) if (tables.realServers.isEligible(slot)) count++;
  return count;
}

const SERVICE_FAMILIES: readonly ServiceFamily[] = [
  ...TRAFFIC.map(
    ([suffix, help], which): ServiceFamily => ({
      of: 'service',
      name: `xvs_service_${suffix}`,
      help: `${help}, by service`,
      type: 'counter',
      value: (director, { slot, zero }) => counted(director, serviceTraffic(slot), zero, which),
    }),
  ),
  {
    of: 'service',
    name: 'xvs_service_real_servers',
    help: 'Real servers of the service',
    type: 'gauge',
    value: (_director, { servers }) => servers.length,
  },
  {
    of: 'service',
    name: 'xvs_service_choosable_real_servers',
    help: 'Real servers that new connections may go to: weight above 0, not overloaded',
    type: 'gauge',
    value: choosableServers,
  },
  {
    of: 'service',
    name: 'xvs_service_persistence_timeout_seconds',
    help: 'How long a client stays with its real server; 0: not persistent',
    type: 'gauge',
    value: (_director, { settings }) => settings.persistentTimeout,
  },
  {
    of: 'service',
    name: 'xvs_service_info',
    help: "Scheduler of the service and its flags, as xvsadm's --sched-flags has them",
    type: 'gauge',
    value: () => 1,
    info: {
      scheduler: ({ settings }) => settings.scheduler,
      one_packet: ({ settings }) => String(settings.onePacket),
      flags: ({ settings }) => flagsText(settings.schedulerFlags),
    },
  },
];

const SERVER_FAMILIES: readonly ServerFamily[] = [
  ...TRAFFIC.map(
    ([suffix, help], value): ServerFamily => ({
      of: 'server',
      name: `xvs_real_server_${suffix}`,
      help: `${help}, by real server`,
      type: 'counter',
      value,
    }),
  ),
  ...(
    [
      ['active', ({ tables }, { slot }) => tables.realServers.active(slot)],
      ['inactive', ({ tables }, { slot }) => Math.max(0, tables.realServers.inactive(slot))],
    ] as readonly [string, Value<RealServer>][]
  ).map(
    ([state, value]): ServerFamily => ({
      of: 'server',
      name: 'xvs_real_server_current_connections',
      help: 'Connections by state as IPVS counts them: active, or inactive (closing, UDP)',
      type: 'gauge',
      ...{ value, state },
    }),
  ),
  ...(
    [
      [
        'persistence_templates',
        'Clients that stay with the real server',
        ({ tables }, { slot }) => tables.realServers.persistent(slot),
      ],
      [
        'overloaded',
        '1: at its upper threshold, and not yet back under the lower one',
        ({ tables }, { slot }) => (tables.realServers.isOverloaded(slot) ? 1 : 0),
      ],
      ['weight', 'Weight', (_director, { settings }) => settings.weight],
    ] as readonly [string, string, Value<RealServer>][]
  ).map(
    ([suffix, help, value]): ServerFamily => ({
      of: 'server',
      name: `xvs_real_server_${suffix}`,
      help,
      type: 'gauge',
      value,
    }),
  ),
  {
    of: 'server',
    name: 'xvs_real_server_info',
    help: 'Forwarding method of the real server',
    type: 'gauge',
    value: () => 1,
    info: { method: ({ settings }) => settings.method },
  },
];

const LOCAL_ADDRESS_FAMILIES: readonly LocalAddressFamily[] = [
  {
    of: 'localAddress',
    name: 'xvs_local_address_connections',
    help: 'FULLNAT: connections that come from the local address',
    type: 'gauge',
    value: ({ tables }, { slot }) => tables.localAddresses.connections(slot),
  },
  {
    of: 'localAddress',
    name: 'xvs_local_address_conflicts_total',
    help: 'FULLNAT: times the local address had no port free',
    type: 'counter',
    value: ({ tables }, { slot }) => tables.localAddresses.conflicts(slot),
  },
];

const FAMILIES: readonly AnyFamily[] = [
  ...SERVICE_FAMILIES,
  ...SERVER_FAMILIES,
  ...LOCAL_ADDRESS_FAMILIES,
];

const LABELS: Readonly<Record<AnyFamily['of'], readonly string[]>> = {
  service: ['service', 'protocol'],
  server: ['service', 'protocol', 'server'],
  localAddress: ['service', 'protocol', 'local_address'],
};

/** Has the metric begun with the family before? */
function isContinued({ name }: AnyFamily, at: number): boolean {
  return at > 0 && FAMILIES[at - 1]!.name === name;
}

export const SERVICE_METRICS: readonly MetricDescription[] = FAMILIES.filter(
  (family, at) => !isContinued(family, at),
).map(({ of, name, help, type, info = {}, state }) => ({
  ...{ name, help, type },
  labels: [...LABELS[of], ...Object.keys(info), ...(state === undefined ? [] : ['state'])],
}));

/** Labels of an info metric that stand behind the others; '' of any other metric. */
function infoLabels<Item>({ info }: Pick<Family<string, Item>, 'info'>, item: Item): string {
  if (info === undefined) return '';
  return Object.entries(info)
    .map(([name, value]) => `,${name}="${value(item)}"`)
    .join('');
}

function flagsText(flags: readonly boolean[]): string {
  return flags.flatMap((isSet, at) => (isSet ? [`flag-${at + 1}`] : [])).join(' ');
}

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

/** A service as it is when the page begins. */
interface Row {
  readonly service: VirtualService;
  readonly labels: string;
  readonly servers: readonly RealServer[];
  /** Of the servers; made with their first metric, and so is their traffic, all at that moment. */
  serverLabels: readonly string[];
  traffic: Float64Array;
}

const NO_LABELS: readonly string[] = [];
const NO_TRAFFIC = new Float64Array(0);
const SERVERS_AT_ONCE = 32;

/**
 * All families, in slices. What is there when it begins is counted as it is at its line, and a
 * server's traffic as it is at its first.
 */
export function serviceMetrics(director: Director, format: MetricsFormat): AsyncGenerator<string> {
  return inSlices(lines(director, format));
}

function* lines(director: Director, format: MetricsFormat): Generator<string> {
  const rows = director.services.map(
    (service): Row => ({
      service,
      labels: serviceLabels(service.key),
      servers: [...service.servers],
      serverLabels: NO_LABELS,
      traffic: NO_TRAFFIC,
    }),
  );
  for (const [at, family] of FAMILIES.entries()) {
    if (!isContinued(family, at)) yield familyHead(family, format);
    for (const row of rows) {
      if (family.of === 'service') yield serviceLine(director, family, row);
      else if (family.of === 'server') yield* serverLines(director, family, row);
      else yield* localAddressLines(director, family, row);
    }
  }
}

function serviceLine(director: Director, family: ServiceFamily, row: Row): string {
  const more = infoLabels(family, row.service);
  return `${family.name}{${row.labels}${more}} ${family.value(director, row.service)}\n`;
}

/** The engine keeps a joint text as a tree of its parts, and would walk that for each metric. */
function serverLabelsOf({ servers, labels }: Row): readonly string[] {
  const texts = servers.map(({ key }) => `${labels},server="${addressAndPort(key)}"`);
  return texts.join('\n').split('\n');
}

/** TRAFFIC of each server: a worker's counters of one are a cache line, which is read once. */
function trafficOf({ tables }: Director, servers: readonly RealServer[]): Float64Array {
  const totals = new Float64Array(servers.length * TRAFFIC.length);
  for (const counters of tables.counters) {
    for (let server = 0; server < servers.length; server++) {
      const from = realServerTraffic(servers[server]!.slot);
      const to = server * TRAFFIC.length;
      for (let which = 0; which < TRAFFIC.length; which++) {
        totals[to + which]! += counters[from + which]!;
      }
    }
  }
  for (let server = 0; server < servers.length; server++) {
    const { zero } = servers[server]!;
    const to = server * TRAFFIC.length;
    for (let which = 0; which < TRAFFIC.length; which++) totals[to + which]! -= zero[which]!;
  }
  return totals;
}

/** Some servers' lines at once: handing on each alone would take longer than to make it. */
function* serverLines(director: Director, family: ServerFamily, row: Row): Generator<string> {
  const { servers } = row;
  if (row.serverLabels.length < servers.length) {
    row.serverLabels = serverLabelsOf(row);
    row.traffic = trafficOf(director, servers);
  }
  const { value, info, state } = family;
  const { serverLabels } = row;
  const stateLabel = state === undefined ? '' : `,state="${state}"`;
  const begin = `${family.name}{`;
  for (let first = 0; first < servers.length; first += SERVERS_AT_ONCE) {
    const end = Math.min(first + SERVERS_AT_ONCE, servers.length);
    let text = '';
    for (let at = first; at < end; at++) {
      const server = servers[at]!;
      const more = info === undefined ? stateLabel : infoLabels(family, server);
      const number =
        typeof value === 'number'
          ? row.traffic[at * TRAFFIC.length + value]!
          : value(director, server);
      text += `${begin}${serverLabels[at]!}${more}} ${number}\n`;
    }
    yield text;
  }
}

function* localAddressLines(
  director: Director,
  { name, value }: LocalAddressFamily,
  { service, labels }: Row,
): Generator<string> {
  for (const local of service.localAddresses) {
    yield `${name}{${labels},local_address="${local.address}"} ${value(director, local)}\n`;
  }
}
