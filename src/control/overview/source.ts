/**
 * The overview that `xvs top` and the web page show, read from the shared tables by the main
 * thread, in slices; workers do nothing for it. What it says is in protocol.ts.
 */
import { randomUUID } from 'node:crypto';
import {
  COUNTER,
  DROP,
  DROP_REASONS,
  PASS,
  PASS_REASONS,
  realServerTraffic,
  serviceTraffic,
} from '../../table/counter';
import { REAL_SERVERS_MAX } from '../../table/realServer';
import { SERVICES_MAX } from '../../table/service';
import { CONTROL_CHUNKS, CONTROL_FREE_CHUNKS, CONTROL_WAITING } from '../../worker/contract';
import type { Director } from '../director';
import { counted } from '../listing';
import { type RealServer, serverId, serviceId, type VirtualService } from '../model';
import type { ServiceKey } from '../protocol';
import { inSlices } from '../slice';
import { SOCKET_MEANINGS } from './meanings';
import type { Overview, Reasons, TableLevel, WorkerSample } from './protocol';

const COUNTERS = 5;

/** What the overview is made from. */
export interface OverviewSource {
  readonly director: Director;
  readonly program: { verdicts(): readonly number[] };
  readonly verdictNames: readonly string[];
  readonly socketCounters: readonly string[];
  /** Interface name by link slot. */
  readonly interfaces: readonly string[];
  readonly workers: readonly {
    readonly control: Int32Array;
    readonly ready: { readonly sockets: readonly { readonly counters: SharedArrayBuffer }[] };
  }[];
}

/** Counters of a process begin with it. */
const INSTANCE = randomUUID();

/** Which real servers a request asks for. */
type Wanted = (service: string) => boolean;

function wantedServers(query: URLSearchParams): Wanted {
  const servers = query.get('servers') ?? 'all';
  if (servers === 'all') return () => true;
  if (servers === 'none') return () => false;
  return (service) => service === servers;
}

/** A service's name in the overview; none of its characters is one that JSON escapes. */
export function serviceName(key: ServiceKey): string {
  if (key.fwmark === 0) return serviceId(key);
  return key.family === 6 ? `fwmark ${key.fwmark} IPv6` : `fwmark ${key.fwmark}`;
}

/** JSON of an Overview, in pieces. A row's numbers are those of when it is made. */
export function streamOverview(
  source: OverviewSource,
  query: URLSearchParams,
): AsyncGenerator<string> {
  return inSlices(overviewText(source, wantedServers(query)));
}

function* overviewText(source: OverviewSource, wanted: Wanted): Generator<string> {
  const { director } = source;
  const { services } = director;
  const head: Omit<Overview, 'services' | 'servers'> = {
    instance: INSTANCE,
    monotonicMs: performance.now(),
    unixMs: Date.now(),
    interfaces: source.interfaces.map((name, slot) => ({
      name,
      up: director.tables.nextHops.links.up(slot) !== 0,
    })),
    tables: tableLevels(director),
    workers: source.workers.map(({ control }, worker) =>
      workerSample(director.tables.counters[worker]!, control),
    ),
    drops: reasons(director, DROP_REASONS, DROP),
    passes: reasons(director, PASS_REASONS, PASS),
    sockets: socketLosses(source),
    xdp: Object.fromEntries(
      source.program.verdicts().map((count, at) => [source.verdictNames[at] ?? String(at), count]),
    ),
  };
  yield `${JSON.stringify(head).slice(0, -1)},"services":[`;
  let comma = '';
  for (const service of services) {
    yield comma + serviceText(director, service);
    comma = ',';
  }
  yield '],"servers":[';
  comma = '';
  for (const [index, service] of services.entries()) {
    if (!wanted(serviceName(service.key))) continue;
    for (const server of service.servers) {
      yield comma + serverText(director, index, server);
      comma = ',';
    }
  }
  yield ']}';
}

function trafficText(director: Director, at: number, zero: Float64Array): string {
  let text = '';
  for (let which = 0; which < COUNTERS; which++) {
    text += `,${counted(director, at, zero, which)}`;
  }
  return text;
}

function serviceText(director: Director, service: VirtualService): string {
  const { realServers } = director.tables;
  let active = 0;
  let inactive = 0;
  for (const { slot } of service.servers) {
    active += realServers.active(slot);
    inactive += Math.max(0, realServers.inactive(slot));
  }
  const { key, settings, servers, slot, zero } = service;
  const traffic = trafficText(director, serviceTraffic(slot), zero);
  const counts = `${servers.length},${active},${inactive}`;
  return `["${serviceName(key)}","${settings.scheduler}",${counts}${traffic}]`;
}

function serverText(director: Director, service: number, server: RealServer): string {
  const { realServers } = director.tables;
  const { slot, key, settings, zero } = server;
  const traffic = trafficText(director, realServerTraffic(slot), zero);
  const inactive = Math.max(0, realServers.inactive(slot));
  const state = `${settings.weight},${realServers.isOverloaded(slot) ? 1 : 0}`;
  return (
    `[${service},"${serverId(key)}","${settings.method}",${state},` +
    `${realServers.active(slot)},${inactive}${traffic}]`
  );
}

function tableLevels(director: Director): TableLevel[] {
  const { connections, services, realServers, localPorts } = director.tables;
  // Slot 0 of each is "none". Removed servers keep theirs for a while.
  return [
    {
      name: 'connections',
      used: connections.capacity - connections.freeCount,
      capacity: connections.capacity,
    },
    {
      name: 'services',
      used: SERVICES_MAX - 1 - services.freeCount,
      capacity: SERVICES_MAX - 1,
    },
    {
      name: 'real servers',
      used: REAL_SERVERS_MAX - 1 - realServers.freeCount,
      capacity: REAL_SERVERS_MAX - 1,
    },
    { name: 'local port maps', used: localPorts.mapsMade, capacity: localPorts.mapsMax },
  ];
}

function workerSample(block: Float64Array, control: Int32Array): WorkerSample {
  return {
    rxFrames: block[COUNTER.rx_frames]!,
    rxBytes: block[COUNTER.rx_bytes]!,
    txFrames: block[COUNTER.tx_frames]!,
    txBytes: block[COUNTER.tx_bytes]!,
    bursts: block[COUNTER.bursts]!,
    sleeps: block[COUNTER.sleeps]!,
    busy: block[COUNTER.busy_microseconds]!,
    total: block[COUNTER.total_microseconds]!,
    connectionsMade: block[COUNTER.connections_created]!,
    connectionsEnded: block[COUNTER.connections_expired]!,
    chunks: control[CONTROL_CHUNKS]!,
    freeChunks: control[CONTROL_FREE_CHUNKS]!,
    waiting: control[CONTROL_WAITING]!,
  };
}

function reasons(
  director: Director,
  names: readonly string[],
  index: Readonly<Record<string, number>>,
): Reasons {
  const { counters } = director.tables;
  const total = (at: number): number => counters.reduce((sum, block) => sum + block[at]!, 0);
  return Object.fromEntries(names.map((name) => [name, total(index[name]!)]));
}

/** Those of the sockets' counters that say that a frame was lost, or was in danger of it. */
function socketLosses(source: OverviewSource): Reasons {
  const sockets = source.workers.flatMap(({ ready }) =>
    ready.sockets.map(({ counters }) => new Float64Array(counters)),
  );
  const losses: Record<string, number> = {};
  for (const name of Object.keys(SOCKET_MEANINGS)) {
    const at = source.socketCounters.indexOf(name);
    if (at >= 0) losses[name] = sockets.reduce((sum, counters) => sum + counters[at]!, 0);
  }
  return losses;
}
