/**
 * What a reader shows of two overviews: rows with rates, one kind for each section. Runs in
 * `xvs top` and in the browser alike: it imports nothing of Node.
 *
 * A rate is NaN until there are two overviews of one daemon; a counter that went back (zeroed, or
 * removed and added again) counts from 0.
 */
import { meaningOf, type ReasonKind } from './meanings';
import type { Overview, Reasons, ServerRow, ServiceRow, TableLevel, TrafficRow } from './protocol';

/** One line of a section: its values by column. `id` stays the same from picture to picture. */
export type Row = Readonly<Record<string, string | number>> & { readonly id: string };

export interface Totals {
  /** Per second: what clients sent and got, connections made, frames dropped and to the host. */
  readonly inPackets: number;
  readonly outPackets: number;
  readonly inBits: number;
  readonly outBits: number;
  readonly connections: number;
  readonly drops: number;
  readonly host: number;
  readonly active: number;
  readonly inactive: number;
  /** The busiest worker's share of its time. */
  readonly load: number;
}

export interface Picture {
  readonly unixMs: number;
  /** Between the two overviews; NaN: there is one only. */
  readonly seconds: number;
  readonly totals: Totals;
  readonly tables: readonly TableLevel[];
  readonly interfaces: Overview['interfaces'];
  readonly services: readonly Row[];
  readonly servers: readonly Row[];
  readonly workers: readonly Row[];
  readonly drops: readonly Row[];
}

/** Where the traffic begins in a row of each kind. */
const SERVICE_TRAFFIC = 5;
const SERVER_TRAFFIC = 7;
const BITS = 8;

type Rate = (before: number | undefined, now: number) => number;

function rateOver(seconds: number): Rate {
  return (before, now) => {
    if (!(seconds > 0)) return Number.NaN;
    const since = before ?? 0;
    return (now >= since ? now - since : now) / seconds;
  };
}

/** `before`: of the same reader, null the first time. */
export function makePicture(before: Overview | null, now: Overview): Picture {
  const past = before?.instance === now.instance ? before : null;
  const seconds = past === null ? Number.NaN : (now.monotonicMs - past.monotonicMs) / 1000;
  const rate = rateOver(seconds);
  const services = serviceRows(past, now, rate);
  const workers = workerRows(past, now, rate);
  const drops = reasonRows(past, now, rate);
  return {
    unixMs: now.unixMs,
    seconds,
    totals: totalsOf(services, workers, drops),
    tables: now.tables,
    interfaces: now.interfaces,
    services,
    servers: serverRows(past, now, rate),
    workers,
    drops,
  };
}

function traffic(row: readonly unknown[], at: number): TrafficRow {
  return row.slice(at, at + 5) as unknown as TrafficRow;
}

const NOTHING: TrafficRow = [0, 0, 0, 0, 0];

function rates(before: TrafficRow, now: TrafficRow, rate: Rate) {
  return {
    connections: rate(before[0], now[0]),
    inPackets: rate(before[1], now[1]),
    outPackets: rate(before[2], now[2]),
    inBits: rate(before[3], now[3]) * BITS,
    outBits: rate(before[4], now[4]) * BITS,
    connectionsTotal: now[0],
    inPacketsTotal: now[1],
    outPacketsTotal: now[2],
    inBytesTotal: now[3],
    outBytesTotal: now[4],
  };
}

/**
 * The row of the same name before. Most rows stand where they stood; an index of all is made when
 * the first one does not.
 */
function finder<Found>(
  rows: readonly Found[],
  nameOf: (row: Found) => string,
): (name: string, at: number) => Found | undefined {
  let index: Map<string, Found> | null = null;
  return (name, at) => {
    const same = rows[at];
    if (same !== undefined && nameOf(same) === name) return same;
    index ??= new Map(rows.map((row) => [nameOf(row), row]));
    return index.get(name);
  };
}

function serviceRows(past: Overview | null, now: Overview, rate: Rate): Row[] {
  const find = finder<ServiceRow>(past?.services ?? [], ([name]) => name);
  return now.services.map((row, at) => {
    const [name, scheduler, servers, active, inactive] = row;
    const before = find(name, at);
    const old = before === undefined ? NOTHING : traffic(before, SERVICE_TRAFFIC);
    const counted = rates(old, traffic(row, SERVICE_TRAFFIC), rate);
    return { id: name, service: name, scheduler, servers, active, inactive, ...counted };
  });
}

function serverRows(past: Overview | null, now: Overview, rate: Rate): Row[] {
  const idOf = (overview: Overview, row: ServerRow): string =>
    `${overview.services[row[0]]?.[0]} ${row[1]}`;
  const find = finder<ServerRow>(past?.servers ?? [], (row) => idOf(past!, row));
  return now.servers.map((row, at) => {
    const [service, server, method, weight, overloaded, active, inactive] = row;
    const id = idOf(now, row);
    const before = find(id, at);
    // Of one that was not listed before nothing is known: it need not be new.
    const known = before === undefined ? rateOver(Number.NaN) : rate;
    const old = before === undefined ? NOTHING : traffic(before, SERVER_TRAFFIC);
    return {
      id,
      service: now.services[service]?.[0] ?? '',
      server,
      method,
      weight,
      state: stateOf(weight, overloaded),
      active,
      inactive,
      ...rates(old, traffic(row, SERVER_TRAFFIC), known),
    };
  });
}

function stateOf(weight: number, overloaded: number): string {
  if (overloaded === 1) return 'overload';
  return weight === 0 ? 'quiet' : '';
}

function workerRows(past: Overview | null, now: Overview, rate: Rate): Row[] {
  return now.workers.map((sample, at) => {
    const before = past?.workers[at];
    const since = (name: 'busy' | 'total' | 'rxFrames' | 'bursts'): number =>
      before === undefined ? Number.NaN : sample[name] - before[name];
    return {
      id: String(at),
      worker: at,
      load: since('total') > 0 ? Math.min(1, since('busy') / since('total')) : Number.NaN,
      inPackets: rate(before?.rxFrames, sample.rxFrames),
      outPackets: rate(before?.txFrames, sample.txFrames),
      inBits: rate(before?.rxBytes, sample.rxBytes) * BITS,
      outBits: rate(before?.txBytes, sample.txBytes) * BITS,
      burst: since('bursts') > 0 ? since('rxFrames') / since('bursts') : Number.NaN,
      sleeps: rate(before?.sleeps, sample.sleeps),
      connections: rate(before?.connectionsMade, sample.connectionsMade),
      ended: rate(before?.connectionsEnded, sample.connectionsEnded),
      chunks: sample.chunks,
      freeChunks: sample.freeChunks,
      waiting: sample.waiting,
    };
  });
}

function reasonRows(past: Overview | null, now: Overview, rate: Rate): Row[] {
  const rows = (kind: ReasonKind, before: Reasons | undefined, reasons: Reasons): Row[] =>
    Object.entries(reasons).map(([reason, total]) => ({
      id: `${kind} ${reason}`,
      kind,
      reason,
      rate: rate(before?.[reason], total),
      total,
      meaning: meaningOf(kind, reason),
    }));
  return [
    ...rows('drop', past?.drops, now.drops),
    ...rows('host', past?.passes, now.passes),
    ...rows('socket', past?.sockets, now.sockets),
    ...rows('xdp', past?.xdp, now.xdp),
  ];
}

function totalsOf(
  services: readonly Row[],
  workers: readonly Row[],
  drops: readonly Row[],
): Totals {
  const sum = (rows: readonly Row[], key: string): number =>
    rows.reduce((total, row) => total + Number(row[key]), 0);
  const kind = (wanted: ReasonKind): Row[] => drops.filter((row) => row['kind'] === wanted);
  return {
    inPackets: sum(services, 'inPackets'),
    outPackets: sum(services, 'outPackets'),
    inBits: sum(services, 'inBits'),
    outBits: sum(services, 'outBits'),
    connections: sum(services, 'connections'),
    drops: sum(kind('drop'), 'rate'),
    host: sum(kind('host'), 'rate'),
    active: sum(services, 'active'),
    inactive: sum(services, 'inactive'),
    load: workers.reduce((most, row) => Math.max(most, Number(row['load'])), 0),
  };
}
