/**
 * A new connection of every method and family beside NAT over IPv4, round by round: its first
 * packet through the pipeline, and its end when its time is over. The table is half full all the
 * time. See ../connections for schedulers and fuller tables.
 */
import { measureRates, type RateRow } from '../connections/rates';
import type { Result } from '../support/report';
import { judgeGoal, type Target } from '../support/target';
import { rowsOf } from './methods';
import type { Protocol, Row } from './row';
import type { Settings } from './settings';

const CAPACITY_MIN = 65536;
const SERVERS = 8;

function rateRow(row: Row): RateRow {
  const capacity = Math.max(CAPACITY_MIN, Math.min(2 * row.flows, 2 ** 24 - 1));
  const { name, protocol, flows } = row;
  return {
    name,
    parameters: { flows, protocol, packet: 'first' },
    capacity,
    options: { row, scheduler: 'rr', servers: SERVERS, live: flows },
  };
}

interface Measured {
  readonly results: readonly Result[];
  readonly notes: readonly string[];
  readonly targets: readonly Target[];
}

export async function measureBirths(
  settings: Settings,
  protocol: Protocol,
  flows: number,
  say: (text: string) => void,
): Promise<Measured> {
  const { rounds, cpu } = settings;
  const rows = rowsOf(settings, protocol, flows);
  const rates = rows.map(rateRow);
  const connections = settings.packets >> 2;
  const results = await measureRates(rates, { rounds, connections, cpu }, say);
  const both = results.filter(({ parameters }) => parameters['step'] === 'both');
  const [base] = both;
  const notes = both.slice(1).map(({ name, median }) => {
    const ratio = (base!.median / median).toFixed(2);
    const what = `new connection, ${name}, ${protocol}, ${flows} flows`;
    return `${what}: ${ratio} times the time of ${base!.name}`;
  });
  const what = `new connections of a worker, ${base!.name}, ${protocol}, ${flows} flows`;
  return { results, notes, targets: [judgeGoal('births', base!, what)] };
}
